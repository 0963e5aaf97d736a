/**
 * The L1 sockets that replies list (docs/wire.md): those of the members in memory, and those of other members, which are
 * read when a reply needs them. Peers find members by the replies to their descriptions, so these are read again after
 * seconds; to read a thousand members for each few messages would cost more than the messages.
 */
import type { Clock, Log } from '@cmbs/shared';
import { DISCOVERY_LAYER, type IndexTerm, membersInPages, socketOf } from '@cmbs/shared/broker';
import type { Entity, Path } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';

/** L1 sockets that a reply lists. */
export const MAX_SOCKETS_LISTED = 1000;
/** Milliseconds for which the sockets of other members count as known, for a peer that describes itself. */
const ASKED_MS = 5000;
/** The same for other replies, which do not wait for them either. */
const LISTED_MS = 5 * 60_000;

export interface KnownSocketsOptions {
  readonly store: Pick<Store, 'query' | 'get' | 'getAll'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  /** The members in memory. */
  readonly own: () => Iterable<Entity>;
  readonly isOwn: (path: Path) => boolean;
  /** Queries for the members that are not in memory; those of the first are listed where there is no room for all. */
  readonly others: () => readonly (readonly IndexTerm[])[];
}

export class KnownSockets {
  readonly #options: KnownSocketsOptions;
  #others = new Map<Path, string>();
  #all: readonly string[] | undefined;
  #readAt: number | undefined;
  #reading: Promise<void> | undefined;
  /** Members that were found changed during a read, which may have missed it. */
  #changed = new Map<Path, Entity | undefined>();

  constructor(options: KnownSocketsOptions) {
    this.#options = options;
  }

  /** The members in memory have changed. */
  ownChanged(): void {
    this.#all = undefined;
  }

  /** Another member was read; undefined: it does not exist, or is in memory now. */
  note(path: Path, member: Entity | undefined): void {
    if (this.#reading !== undefined) this.#changed.set(path, member);
    const socket = member === undefined ? undefined : socketOf(member, DISCOVERY_LAYER);
    if (this.#readAt === undefined || this.#others.get(path) === socket) return;
    if (socket === undefined) this.#others.delete(path);
    else if (this.#others.size < MAX_SOCKETS_LISTED || this.#others.has(path)) this.#others.set(path, socket);
    this.#all = undefined;
  }

  /**
   * The same list until it changes.
   * @param isAsked the peer describes itself, and wants to know other members
   */
  async list(isAsked: boolean): Promise<readonly string[]> {
    const { clock, log, own } = this.#options;
    const age = this.#readAt === undefined ? Infinity : clock.now() - this.#readAt;
    if (age >= (isAsked ? ASKED_MS : LISTED_MS)) {
      this.#reading ??= this.#read()
        .catch((error: unknown) => log.warn('sockets of other members not read', { cause: error }))
        .finally(() => {
          this.#reading = undefined;
          this.#changed = new Map();
        });
    }
    if (isAsked || age === Infinity) await this.#reading;
    if (this.#all === undefined) {
      const here = [...own()].flatMap((member) => socketOf(member, DISCOVERY_LAYER) ?? []);
      this.#all = [...new Set([...here, ...this.#others.values()])].slice(0, MAX_SOCKETS_LISTED);
    }
    return this.#all;
  }

  async #read(): Promise<void> {
    const { store, clock, isOwn, others } = this.#options;
    const began = clock.now();
    const found = new Map<Path, string>();
    for (const where of others()) {
      const left = MAX_SOCKETS_LISTED - found.size;
      for await (const { entity } of membersInPages(store, where, left)) {
        const socket = socketOf(entity, DISCOVERY_LAYER);
        if (socket !== undefined && !isOwn(entity.path)) found.set(entity.path, socket);
      }
    }
    this.#others = found;
    this.#readAt = began;
    this.#all = undefined;
    const changed = this.#changed;
    this.#changed = new Map();
    this.#reading = undefined;
    for (const [path, member] of changed) this.note(path, member);
  }
}

/** All members of the deployment, in memory: follows their changes in the store. */
import type { Clock } from '@cmbs/shared';
import {
  allMembers,
  descriptionChars,
  DISCOVERY_LAYER,
  isLocal,
  isUnverified,
  type KnownMembers,
  type Layers,
  MEMBER_KIND,
  MEMBERS,
  socketOf,
  type UnverifiedMember,
} from '@cmbs/shared/broker';
import { ENTITIES, type Entity, type Path, readEntity, type StoredEntity } from '@cmbs/shared/occi';
import type { Watch } from '@cmbs/shared/store';
import { IndexRenewal, type IndexRenewalOptions } from './index-renewal';

export interface MembersOptions extends IndexRenewalOptions {
  readonly layers: Layers;
  readonly clock: Clock;
  /** Milliseconds between two reads of all members, where the watch may fail. */
  readonly lookAgainMs?: number;
}

/** Called after a change; `before` is the member as it was known. */
export type MemberListener = (path: Path, before: Entity | undefined) => void;

export class Members implements KnownMembers {
  readonly #options: MembersOptions;
  readonly #renewal: IndexRenewal;
  readonly #known = new Map<Path, Entity>();
  readonly #unverified = new Map<Path, UnverifiedMember>();
  readonly #listeners = new Set<MemberListener>();
  readonly #watch: Watch;
  /** Numbers the reads, so that a slow read does not undo the result of a later one. */
  #lastRead = 0;
  /** Reads under way, the oldest first. */
  readonly #reading = new Set<number>();
  /** The read that found a member, or found that it was deleted. */
  readonly #applied = new Map<Path, number>();
  /** Deleted members; remembered while a read is under way that may have seen them. */
  readonly #gone = new Set<Path>();
  #cancelLook: () => void = () => undefined;
  #isClosed = false;
  /** Raised with every change, so that callers can keep what they derive from all members. */
  version = 0;

  private constructor(options: MembersOptions) {
    this.#options = options;
    this.#renewal = new IndexRenewal(options);
    this.#watch = options.store.watch({ collection: ENTITIES, prefix: MEMBERS }, (changes) => {
      for (const { id } of changes) void this.refresh(id);
    });
  }

  static async load(options: MembersOptions): Promise<Members> {
    const members = new Members(options);
    try {
      await members.#watch.ready;
      await members.#readAll();
      members.#lookSoon();
      return members;
    } catch (error) {
      members.close();
      throw error;
    }
  }

  get(path: Path): Entity | undefined {
    return this.#known.get(path);
  }

  size(): number {
    return this.#known.size;
  }

  all(): IterableIterator<Entity> {
    return this.#known.values();
  }

  unverified(): IterableIterator<UnverifiedMember> {
    return this.#unverified.values();
  }

  local(): readonly Entity[] {
    return [...this.#known.values()].filter(isLocal);
  }

  /** Every known L1 socket, for replies. */
  l1Sockets(): readonly string[] {
    return [...new Set([...this.#known.values()].flatMap((member) => socketOf(member, DISCOVERY_LAYER) ?? []))];
  }

  /** Reads one member again, for callers that must see their own write. The last known state when the store does not answer. */
  async refresh(path: Path): Promise<Entity | undefined> {
    try {
      await this.#inOrder(async (read) => {
        const stored = await readEntity(this.#options.store, path);
        this.#apply(path, stored, read);
      });
    } catch (error) {
      // The next change of the member, or the next action on it, reads it again.
      this.#options.log.warn('member not read', { member: path, cause: error });
    }
    return this.#known.get(path);
  }

  #apply(path: Path, stored: StoredEntity | undefined, read: number): void {
    if (stored?.hasOldIndex === true) this.#renewal.add(path);
    if ((this.#applied.get(path) ?? 0) > read) return;
    const found = stored?.entity;
    const before = this.#known.get(path);
    this.#applied.set(path, read);
    if (found?.kind === MEMBER_KIND) {
      this.#known.set(path, found);
      this.#gone.delete(path);
    } else {
      this.#known.delete(path);
      this.#gone.add(path);
    }
    if (found?.kind === MEMBER_KIND && isUnverified(found)) {
      this.#unverified.set(path, {
        path,
        chars: descriptionChars(found.attributes, this.#options.layers),
        since: found.createdAt,
      });
    } else this.#unverified.delete(path);
    // Without a change nothing is reported: a listener that writes the member would otherwise cause its own next call.
    if (JSON.stringify(before) === JSON.stringify(this.#known.get(path))) return;
    this.version += 1;
    for (const listener of [...this.#listeners]) listener(path, before);
  }

  /** Numbers a read of members, and then forgets members that were deleted before every read under way began. */
  async #inOrder<T>(work: (read: number) => Promise<T>): Promise<T> {
    const read = (this.#lastRead += 1);
    this.#reading.add(read);
    try {
      return await work(read);
    } finally {
      this.#reading.delete(read);
      const [oldest = Infinity] = this.#reading;
      for (const path of this.#gone) {
        if ((this.#applied.get(path) ?? 0) >= oldest) continue;
        this.#gone.delete(path);
        this.#applied.delete(path);
      }
    }
  }

  /** Calls `listener` after each change of a member, until the returned function is called. */
  onChange(listener: MemberListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #lookSoon(): void {
    const { clock, lookAgainMs } = this.#options;
    if (lookAgainMs === undefined || this.#isClosed) return;
    this.#cancelLook = clock.after(lookAgainMs, () => void this.#look());
  }

  /** Finds changes that the watch may have missed. */
  async #look(): Promise<void> {
    try {
      const gone = new Set(this.#known.keys());
      for (const path of await this.#readAll()) gone.delete(path);
      for (const path of gone) await this.refresh(path);
    } catch (error) {
      this.#options.log.warn('members not read', { cause: error });
    }
    this.#lookSoon();
  }

  /** Resolves with the paths of the members that were found. */
  #readAll(): Promise<readonly Path[]> {
    return this.#inOrder(async (read) => {
      const found = await allMembers(this.#options.store);
      for (const member of found) this.#apply(member.entity.path, member, read);
      this.#renewal.allRead();
      return found.map(({ entity }) => entity.path);
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelLook();
    this.#watch.end();
    this.#renewal.close();
    this.#listeners.clear();
  }
}

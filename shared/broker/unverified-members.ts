/** The unverified members: read from the store now and then, and kept up with what this process changes. */
import type { Clock } from '../clock';
import type { Entity, Path } from '../occi';
import { descriptionChars } from './description';
import type { Layers } from './layer-definition';
import { type MemberReader, membersInPages } from './member';
import { UNVERIFIED_GROUP } from './member-groups';
import { isUnverified } from './provenance';

export interface UnverifiedMember {
  readonly path: Path;
  /** Characters of the description. */
  readonly chars: number;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export interface UnverifiedMembersOptions {
  readonly store: MemberReader;
  readonly clock: Pick<Clock, 'now'>;
  readonly layers: Layers;
}

export class UnverifiedMembers {
  readonly #options: UnverifiedMembersOptions;
  #known: ReadonlyMap<Path, UnverifiedMember> = new Map();
  #readAt = -Infinity;
  #reading: Promise<void> | undefined;
  /** Changes during a read, which may have missed them. */
  #changed = new Map<Path, UnverifiedMember | undefined>();

  constructor(options: UnverifiedMembersOptions) {
    this.#options = options;
  }

  get all(): Iterable<UnverifiedMember> {
    return this.#known.values();
  }

  /** This process has written or deleted the member. */
  note(path: Path, member: Entity | undefined): void {
    const now = member === undefined || !isUnverified(member) ? undefined : this.#outlineOf(member);
    if (this.#reading !== undefined) this.#changed.set(path, now);
    this.#known = withChange(new Map(this.#known), path, now);
  }

  /** Reads the members, unless they were read within the last `ageMs` milliseconds. */
  async readWithin(ageMs: number): Promise<void> {
    if (this.#reading === undefined && this.#options.clock.now() - this.#readAt < ageMs) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
      this.#changed = new Map();
    });
    await this.#reading;
  }

  async #read(): Promise<void> {
    const { store, clock } = this.#options;
    const began = clock.now();
    const found = new Map<Path, UnverifiedMember>();
    for await (const { entity } of membersInPages(store, [UNVERIFIED_GROUP])) {
      found.set(entity.path, this.#outlineOf(entity));
    }
    for (const [path, now] of this.#changed) withChange(found, path, now);
    this.#known = found;
    this.#readAt = began;
  }

  #outlineOf({ path, attributes, createdAt }: Entity): UnverifiedMember {
    return { path, chars: descriptionChars(attributes, this.#options.layers), since: createdAt };
  }
}

function withChange(
  members: Map<Path, UnverifiedMember>,
  path: Path,
  now: UnverifiedMember | undefined,
): ReadonlyMap<Path, UnverifiedMember> {
  if (now === undefined) members.delete(path);
  else members.set(path, now);
  return members;
}

/**
 * Limits the members that peers describe. Unverified members, which never answered this deployment, share a limit: at
 * the limit the least recently used are removed.
 */
import { CATEGORY_FIELD, ENTITIES, type Entity, type Path } from '../occi';
import type { Store } from '../store';
import { MEMBER_KIND } from './cmbs';
import { MAX_RECEIVERS } from './limits';
import { type UnverifiedMember, UnverifiedMembers, type UnverifiedMembersOptions } from './unverified-members';

/** Most unverified members: half of what one message may reach, so that there is room for members that answer. */
export const MAX_UNVERIFIED = 500;
/** Most characters of their descriptions: an honest description has less than a thousand. */
const MAX_UNVERIFIED_CHARS = 2 * 1024 * 1024;
/** Milliseconds for which a member that is in use is not considered for removal again. */
const IN_USE_MS = 60_000;

/** Milliseconds for which the unverified members are known, while there is room. */
const KNOWN_MS = 60_000;
/** The same, before one of them is removed: at the limit, any peer can make a deployment read them all. */
const KNOWN_FOR_REMOVAL_MS = 10_000;

/** The members that a program knows. */
export interface KnownMembers {
  /** The member, as it was in the last seconds. */
  find(path: Path): Promise<Entity | undefined>;
  /** Reads the member again. */
  refresh(path: Path): Promise<Entity | undefined>;
}

export interface RegistrationLimits {
  /** Most unverified members. */
  readonly unverified: number;
  /** Most characters of the descriptions of unverified members. */
  readonly unverifiedChars: number;
  /** Members of all kinds beyond which no member is registered. */
  readonly members: number;
}

const LIMITS: RegistrationLimits = {
  unverified: MAX_UNVERIFIED,
  unverifiedChars: MAX_UNVERIFIED_CHARS,
  members: MAX_RECEIVERS,
};

export interface RegistrationRoomOptions extends UnverifiedMembersOptions {
  readonly store: UnverifiedMembersOptions['store'] & Pick<Store, 'count'>;
}

export class RegistrationRoom {
  readonly #options: RegistrationRoomOptions;
  readonly #unverified: UnverifiedMembers;
  readonly #limits: RegistrationLimits;
  /** Members that are being stored. */
  readonly #arriving = { unverified: 0, chars: 0, members: 0 };
  /** Unverified members that are being removed. */
  readonly #leaving = new Set<Path>();
  /** Milliseconds since the epoch when an unverified member was last described, or until which it is in use. */
  readonly #usedAt = new Map<Path, number>();
  /** Members that were stored, less those that were removed, since the start. */
  #added = 0;

  constructor(options: RegistrationRoomOptions, limits: RegistrationLimits = LIMITS) {
    this.#options = options;
    this.#unverified = new UnverifiedMembers(options);
    this.#limits = limits;
  }

  /** Counts a new member while `store` runs. @param chars of its description; 0 for a member that answered */
  async whileArriving<T>(isUnverified: boolean, chars: number, store: () => Promise<T>): Promise<T> {
    const arriving = this.#arriving;
    const unverified = isUnverified ? 1 : 0;
    arriving.members += 1;
    arriving.unverified += unverified;
    arriving.chars += chars;
    try {
      return await store();
    } finally {
      arriving.members -= 1;
      arriving.unverified -= unverified;
      arriving.chars -= chars;
    }
  }

  /**
   * Calls `store` with the unverified members whose removal makes room, least recently used first, and does not offer
   * them to other calls meanwhile. Undefined if there are too few.
   */
  async withRoom<T>(store: (leaving: readonly Path[]) => Promise<T>): Promise<T | undefined> {
    const before = this.#added;
    const { store: reader } = this.#options;
    const where = [{ field: CATEGORY_FIELD, value: MEMBER_KIND }];
    const counted = await reader.count(
      { collection: ENTITIES, where },
      this.#limits.members + this.#leaving.size + 1,
    );
    await this.#unverified.readWithin(KNOWN_MS);
    const size = (): number => counted + this.#added - before;
    if (this.#toRemove(size())?.length !== 0) await this.#unverified.readWithin(KNOWN_FOR_REMOVAL_MS);
    const leaving = this.#toRemove(size());
    if (leaving === undefined) return undefined;
    for (const path of leaving) this.#leaving.add(path);
    try {
      return await store(leaving);
    } finally {
      for (const path of leaving) this.#leaving.delete(path);
    }
  }

  /** The unverified members whose removal makes room, least recently used first; undefined if there are too few. */
  #toRemove(size: number): readonly Path[] | undefined {
    const now = this.#options.clock.now();
    const arriving = this.#arriving;
    const known = [...this.#unverified.all].filter(({ path }) => !this.#leaving.has(path));
    let count = known.length + arriving.unverified - this.#limits.unverified;
    let chars = known.reduce((sum, member) => sum + member.chars, arriving.chars) - this.#limits.unverifiedChars;
    let all = size - this.#leaving.size + arriving.members - this.#limits.members;
    const hasRoom = (): boolean => count <= 0 && chars <= 0 && all <= 0;
    if (hasRoom()) return [];
    const usedAt = ({ path, since }: UnverifiedMember): number => this.#usedAt.get(path) ?? since;
    const leaving: Path[] = [];
    for (const member of known.sort((a, b) => usedAt(a) - usedAt(b))) {
      if (hasRoom()) break;
      if (usedAt(member) > now) return undefined;
      leaving.push(member.path);
      count -= 1;
      chars -= member.chars;
      all -= 1;
    }
    return hasRoom() ? leaving : undefined;
  }

  /** The member was registered, or its description was taken. */
  noteWritten(path: Path, member: Entity | undefined, isNew: boolean): void {
    if (isNew) this.#added += 1;
    this.#unverified.note(path, member);
  }

  noteRemoved(path: Path): void {
    this.#added -= 1;
    this.#unverified.note(path, undefined);
    this.#usedAt.delete(path);
  }

  /** A peer has described the member again. */
  noteUse(path: Path): void {
    this.#note(path, this.#options.clock.now());
  }

  /** The member cannot be removed for now. */
  noteInUse(path: Path): void {
    this.#note(path, this.#options.clock.now() + IN_USE_MS);
  }

  #note(path: Path, at: number): void {
    // The map also contains members that were removed by other means.
    if (this.#usedAt.size >= 2 * this.#limits.unverified) this.#usedAt.clear();
    this.#usedAt.set(path, at);
  }
}

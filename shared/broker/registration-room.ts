/**
 * Limits the members that peers describe. Unverified members, which never answered this deployment, share a limit: at
 * the limit the least recently used are removed.
 */
import type { Clock } from '../clock';
import type { Entity, Path } from '../occi';
import { MAX_RECEIVERS } from './limits';

/** Most unverified members: half of what one message may reach, so that there is room for members that answer. */
export const MAX_UNVERIFIED = 500;
/** Most characters of their descriptions: an honest description has less than a thousand. */
const MAX_UNVERIFIED_CHARS = 2 * 1024 * 1024;
/** Milliseconds for which a member that is in use is not considered for removal again. */
const IN_USE_MS = 60_000;

/** The members in memory. */
export interface KnownMembers {
  get(path: Path): Entity | undefined;
  /** Number of members. */
  size(): number;
  /** Members that never answered this deployment. */
  unverified(): Iterable<UnverifiedMember>;
  /** Reads the member again. */
  refresh(path: Path): Promise<unknown>;
}

export interface UnverifiedMember {
  readonly path: Path;
  /** Characters of the description. */
  readonly chars: number;
  /** Milliseconds since the epoch. */
  readonly since: number;
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

export class RegistrationRoom {
  readonly #members: Pick<KnownMembers, 'size' | 'unverified'>;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #limits: RegistrationLimits;
  /** Members that are being stored. */
  readonly #arriving = { unverified: 0, chars: 0, members: 0 };
  /** Unverified members that are being removed. */
  readonly #leaving = new Set<Path>();
  /** Milliseconds since the epoch when an unverified member was last described, or until which it is in use. */
  readonly #usedAt = new Map<Path, number>();

  constructor(
    members: Pick<KnownMembers, 'size' | 'unverified'>,
    clock: Pick<Clock, 'now'>,
    limits: RegistrationLimits = LIMITS,
  ) {
    this.#members = members;
    this.#clock = clock;
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

  /** Does not offer the members for removal while `remove` runs. */
  async whileLeaving<T>(paths: readonly Path[], remove: () => Promise<T>): Promise<T> {
    for (const path of paths) this.#leaving.add(path);
    try {
      return await remove();
    } finally {
      for (const path of paths) this.#leaving.delete(path);
    }
  }

  /** The unverified members whose removal makes room, least recently used first; undefined if there are too few. */
  toRemove(): readonly Path[] | undefined {
    const now = this.#clock.now();
    const arriving = this.#arriving;
    const known = [...this.#members.unverified()].filter(({ path }) => !this.#leaving.has(path));
    let count = known.length + arriving.unverified - this.#limits.unverified;
    let chars = known.reduce((sum, member) => sum + member.chars, arriving.chars) - this.#limits.unverifiedChars;
    let all = this.#members.size() - this.#leaving.size + arriving.members - this.#limits.members;
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

  /** A peer has described the member again. */
  noteUse(path: Path): void {
    this.#note(path, this.#clock.now());
  }

  /** The member cannot be removed for now. */
  noteInUse(path: Path): void {
    this.#note(path, this.#clock.now() + IN_USE_MS);
  }

  forget(path: Path): void {
    this.#usedAt.delete(path);
  }

  #note(path: Path, at: number): void {
    // The map also contains members that were removed by other means.
    if (this.#usedAt.size >= 2 * this.#limits.unverified) this.#usedAt.clear();
    this.#usedAt.set(path, at);
  }
}

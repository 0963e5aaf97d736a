/** Members that are not held in memory, as they were read a moment ago: frames from one peer do not read it each time. */
import type { Clock } from '@cmbs/shared';
import type { Entity, Path } from '@cmbs/shared/occi';

/** Milliseconds for which a member counts as known. Changes of its addresses are reported sooner (`MemberMoves`). */
export const RECENT_MS = 5000;
/** Members, and characters of them as JSON. */
const MAX_RECENT = 2000;
const MAX_RECENT_CHARS = 8 * 1024 * 1024;

interface Recent {
  /** Undefined where there is no member. */
  readonly member: Entity | undefined;
  readonly until: number;
  readonly chars: number;
}

export class RecentMembers {
  readonly #clock: Pick<Clock, 'now'>;
  /** The one that was read longest ago first. */
  readonly #recent = new Map<Path, Recent>();
  #chars = 0;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** Undefined when it is not known whether there is a member. */
  get(path: Path): { readonly member: Entity | undefined } | undefined {
    const recent = this.#recent.get(path);
    return recent === undefined || recent.until <= this.#clock.now() ? undefined : recent;
  }

  /** The same, however long ago it was read. */
  last(path: Path): { readonly member: Entity | undefined } | undefined {
    return this.#recent.get(path);
  }

  put(path: Path, member: Entity | undefined): void {
    this.delete(path);
    const chars = path.length + (member === undefined ? 0 : JSON.stringify(member).length);
    this.#recent.set(path, { member, until: this.#clock.now() + RECENT_MS, chars });
    this.#chars += chars;
    for (const [oldest] of this.#recent) {
      if (this.#recent.size <= MAX_RECENT && this.#chars <= MAX_RECENT_CHARS) break;
      this.delete(oldest);
    }
  }

  delete(path: Path): void {
    this.#chars -= this.#recent.get(path)?.chars ?? 0;
    this.#recent.delete(path);
  }
}

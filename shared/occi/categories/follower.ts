/** Keeps a snapshot of the stored categories that is at most as old as {@link Freshness} allows. */
import type { Clock } from '../../clock';
import type { Store, Watch } from '../../store';
import {
  CURRENT,
  STATE,
  storedCategoriesAt,
  type BuiltInCategories,
  type CategorySnapshot,
  type StoredCategories,
} from './snapshot';

/** How a process notices changes that other processes make. */
export interface Freshness {
  /** Whether the store reports changes at once. False for processes that are suspended between requests. */
  readonly watch: boolean;
  /** Age in milliseconds from which a snapshot is compared with the store before it is used. Absent: no limit. */
  readonly maxAgeMs?: number;
  readonly clock: Clock;
}

export class CategoryFollower {
  readonly #store: Store;
  readonly #builtIn: BuiltInCategories;
  readonly #freshness: Freshness;
  readonly #watches: readonly Watch[];
  #stored: StoredCategories | undefined;
  /** Whether the store may have changed since {@link #stored} was read. */
  #isStale = true;
  /** Milliseconds since the epoch. */
  #checkedAt = 0;
  #checking: Promise<void> | undefined;

  constructor(store: Store, builtIn: BuiltInCategories, freshness: Freshness) {
    this.#store = store;
    this.#builtIn = builtIn;
    this.#freshness = freshness;
    const invalidate = (): void => this.invalidate();
    this.#watches = freshness.watch ? [store.watch({ collection: STATE }, invalidate)] : [];
    // A watch does not report changes that precede its start.
    for (const { ready } of this.#watches) ready.then(invalidate, invalidate);
  }

  /** The latest categories read from the store; undefined before the first {@link current}. */
  get stored(): StoredCategories | undefined {
    return this.#stored;
  }

  /** Makes the next {@link current} read the store. */
  invalidate(): void {
    this.#isStale = true;
  }

  close(): void {
    for (const watch of this.#watches) watch.end();
  }

  /** A snapshot that has every change committed before this call in this process, and others as {@link Freshness} allows. */
  async current(): Promise<CategorySnapshot> {
    const { maxAgeMs, clock } = this.#freshness;
    const isYoung = maxAgeMs === undefined || clock.now() - this.#checkedAt < maxAgeMs;
    if (!isYoung || this.#stored === undefined) await this.#checked();
    // A check that was under way may have missed a change made before this call. A second check cannot miss it.
    for (let checks = 0; this.#isStale && checks < 2; checks += 1) await this.#checked();
    if (this.#stored === undefined) throw new Error('the categories were read and are not there');
    return this.#stored.snapshot;
  }

  #checked(): Promise<void> {
    return (this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    }));
  }

  async #check(): Promise<void> {
    const now = this.#freshness.clock.now();
    this.#isStale = false;
    try {
      const state = await this.#store.get(STATE, CURRENT);
      this.#stored = await storedCategoriesAt(state, this.#stored, this.#store, this.#builtIn);
      this.#checkedAt = now;
    } catch (error) {
      this.#isStale = true; // The next caller tries again.
      throw error;
    }
  }
}

/** Writes members that an earlier release stored again, so that the store's index finds them by their topics. */
import type { Clock, Log } from '@cmbs/shared';
import { recordTopicIndex, renewIndex } from '@cmbs/shared/broker';
import type { Categories, Path } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';

/** Members that are written at the same time. More would delay other requests. */
const AT_ONCE = 20;
/** Milliseconds after which a failed write is tried again. Until then, lookups by topic read all members. */
const RETRY_MS = 60_000;

export interface IndexRenewalOptions {
  readonly store: Store;
  readonly categories: Pick<Categories, 'current'>;
  readonly clock: Pick<Clock, 'after'>;
  readonly log: Log;
}

export class IndexRenewal {
  readonly #options: IndexRenewalOptions;
  readonly #waiting = new Set<Path>();
  #isRunning = false;
  /** Every stored member was read. */
  #areAllKnown = false;
  /** The record in the store is as it should be: absent while members wait, there when none does. */
  #recorded: 'complete' | 'incomplete' | undefined;
  #cancelRetry: () => void = () => undefined;
  #isClosed = false;

  constructor(options: IndexRenewalOptions) {
    this.#options = options;
  }

  /** An earlier release stored the member. Such a release may run beside this one during an upgrade. */
  add(path: Path): void {
    this.#waiting.add(path);
    this.#begin();
  }

  /** Every stored member was read, and those of an earlier release were added. */
  allRead(): void {
    this.#areAllKnown = true;
    this.#begin();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelRetry();
  }

  #begin(): void {
    if (this.#isClosed || this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    const { store, log } = this.#options;
    try {
      // Members that are added while a record is written need another record.
      while (!this.#isClosed && this.#recorded !== this.#wanted()) {
        const recorded = this.#wanted();
        if (recorded !== undefined) await recordTopicIndex(store, recorded);
        this.#recorded = recorded;
        await this.#renewAll();
      }
    } catch (error) {
      this.#recorded = undefined;
      if (this.#isClosed) return;
      const [member] = this.#waiting;
      log.warn('index of members not renewed', { member, left: this.#waiting.size, cause: error });
      this.#cancelRetry();
      this.#cancelRetry = this.#options.clock.after(RETRY_MS, () => this.#begin());
    } finally {
      this.#isRunning = false;
    }
  }

  #wanted(): 'complete' | 'incomplete' | undefined {
    if (this.#waiting.size > 0) return 'incomplete';
    return this.#areAllKnown ? 'complete' : undefined;
  }

  /** @throws the first error, after the other members were written; the members that failed wait */
  async #renewAll(): Promise<void> {
    const { store, categories } = this.#options;
    const failures: unknown[] = [];
    const failed: Path[] = [];
    const { registry } = await categories.current();
    while (this.#waiting.size > 0 && !this.#isClosed) {
      const batch = [...this.#waiting].slice(0, AT_ONCE);
      const renewing = batch.map(async (path) => {
        this.#waiting.delete(path);
        await renewIndex(store, path, registry).catch((error: unknown) => {
          failures.push(error);
          failed.push(path);
        });
      });
      await Promise.all(renewing);
    }
    for (const path of failed) this.#waiting.add(path);
    if (failures.length > 0) throw failures[0];
  }
}

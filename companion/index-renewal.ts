/** Writes members again that the store's index does not find by their topics or their group: release 1.0 stored them. */
import type { Clock, Log, NewId } from '@cmbs/shared';
import { type Layers, recordTopicIndex, renewIndex, type ShardOf } from '@cmbs/shared/broker';
import type { Categories, Path } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';

/** Members that are written at the same time. More would delay other requests. */
const AT_ONCE = 20;
/** Milliseconds after which a failed write is tried again. Until then, lookups by topic read all members. */
const RETRY_MS = 60_000;

export interface IndexRenewalOptions {
  readonly store: Store;
  readonly categories: Pick<Categories, 'current'>;
  readonly clock: Pick<Clock, 'after' | 'now'>;
  readonly layers: Layers;
  readonly newId: NewId;
  /** Name of the shard of a local member. */
  readonly shardOf: ShardOf;
  readonly log: Log;
}

export class IndexRenewal {
  readonly #options: IndexRenewalOptions;
  /** Members, with the shards that some have left. */
  readonly #waiting = new Map<Path, string | undefined>();
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

  /**
   * An earlier release stored the member, or it is not in its group. Such a release may run beside this one during an
   * upgrade.
   * @param cameFrom the shard that the member is known to have left
   */
  add(path: Path, cameFrom?: string): void {
    this.#waiting.set(path, cameFrom ?? this.#waiting.get(path));
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
      const [member] = this.#waiting.keys();
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
    const { categories } = this.#options;
    const failures: unknown[] = [];
    const failed: (readonly [Path, string | undefined])[] = [];
    const { registry } = await categories.current();
    while (this.#waiting.size > 0 && !this.#isClosed) {
      const batch = [...this.#waiting].slice(0, AT_ONCE);
      const renewing = batch.map(async ([path, cameFrom]) => {
        this.#waiting.delete(path);
        await renewIndex(this.#options, path, registry, cameFrom).catch((error: unknown) => {
          failures.push(error);
          failed.push([path, cameFrom]);
        });
      });
      await Promise.all(renewing);
    }
    for (const [path, cameFrom] of failed) this.#waiting.set(path, cameFrom);
    if (failures.length > 0) throw failures[0];
  }
}

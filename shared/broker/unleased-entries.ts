/** Finds the entries of an inbox that no reader has leased, and passes the leased ones by the order (`inbox-order.ts`). */
import { MAX_PAGE_CHARS, PAGE_PORTION_CHARS } from '../limits';
import type { Portions } from '../occi';
import type { Doc, Page, Query, Store } from '../store';
import type { InboxLeases } from './inbox-leases';
import { AFTER_LEASED, movedUntil } from './inbox-order';
import { isUnexpired, receiptOf } from './receipt';

/** Most entries that are read to fill one page: release 1.0 leases entries without moving them. */
const MAX_INBOX_SCAN = 10_000;
/** Entries that are read at first, at most, because they may be leased. */
const FIRST_READ = 10;
/** Where all entries that were read had ended leases, so many times as many are read next. */
const READ_GROWTH = 4;
/** Leased entries counted, at most, of those that are passed: Firestore counts so many for the price of one read. */
const MAX_PASSED_COUNTED = 1000;

export interface Wanted {
  readonly collection: string;
  readonly now: number;
  readonly cursor?: string;
  readonly limit: number;
  /** Characters of messages after which the page ends; {@link MAX_PAGE_CHARS} when absent. */
  readonly maxChars?: number;
}

/** Entries of a page before they are leased. */
export interface Unleased {
  readonly free: readonly Doc[];
  /** Cursor of the next page. */
  readonly after: string | undefined;
  /** Leased entries that were skipped or passed. */
  readonly leased: number;
  /** Milliseconds until the first of their leases ends; Infinity when there are none. */
  readonly leaseEndsInMs: number;
}

/** One search. */
export class UnleasedEntries {
  readonly #store: Pick<Store, 'query' | 'count'>;
  readonly #leases: InboxLeases;
  readonly #wanted: Wanted;
  readonly #latest: number;
  readonly #free: Doc[] = [];
  #leased = 0;
  #leaseEndsInMs = Infinity;
  /** Characters of the free entries. */
  #chars = 0;
  /** Characters that the current portion may still have. */
  #portionChars = 0;
  /** Entries that the next query reads, at most. */
  #atOnce = FIRST_READ;

  constructor(store: Pick<Store, 'query' | 'count'>, leases: InboxLeases, wanted: Wanted) {
    this.#store = store;
    this.#leases = leases;
    this.#wanted = wanted;
    this.#latest = leases.latest(wanted.now);
  }

  async find(portions: Portions): Promise<Unleased> {
    const { cursor, maxChars = MAX_PAGE_CHARS } = this.#wanted;
    let from: Pick<Query, 'above' | 'after'> = cursor === undefined ? {} : { after: cursor };
    let after: string | undefined;
    for (let scanned = 0; scanned < MAX_INBOX_SCAN;) {
      const page = await this.#read(from, portions);
      scanned += page.docs.length;
      after = page.next;
      if (after === undefined || this.#chars >= maxChars || this.#missing === 0) break;
      const leasedFrom = this.#look(page);
      if (leasedFrom === undefined) {
        from = { ...from, after };
      } else {
        await this.#count(leasedFrom);
        from = { above: AFTER_LEASED };
        scanned = 0;
      }
    }
    return { free: this.#free, after, leased: this.#leased, leaseEndsInMs: this.#leaseEndsInMs };
  }

  get #missing(): number {
    return this.#wanted.limit - this.#free.length;
  }

  async #read(from: Pick<Query, 'above' | 'after'>, portions: Portions): Promise<Page> {
    if (this.#portionChars <= 0) {
      await portions.next();
      this.#portionChars = PAGE_PORTION_CHARS;
    }
    const { collection } = this.#wanted;
    const limit = Math.min(this.#missing, this.#atOnce);
    const page = await this.#store.query({
      ...from,
      collection,
      by: 'order',
      limit,
      maxChars: this.#portionChars,
    });
    for (const doc of page.docs) this.#take(doc);
    // Fewer entries than were asked for were as many as a portion has.
    if (page.docs.length < limit) this.#portionChars = 0;
    return page;
  }

  #take(doc: Doc): void {
    const receipt = receiptOf(doc);
    const chars = receipt.frame.length + (receipt.answer?.length ?? 0);
    this.#portionChars -= chars;
    if (!isUnexpired(doc, this.#wanted.now)) return;
    const msLeft = this.#leases.msLeft(receipt, this.#wanted.now);
    if (msLeft > 0) {
      this.#leased += 1;
      this.#leaseEndsInMs = Math.min(this.#leaseEndsInMs, msLeft);
      return;
    }
    this.#free.push(doc);
    this.#chars += chars;
  }

  /** The order from which on all moved entries are leased, if the page has reached it. Sets the number of entries to read next. */
  #look({ docs }: Page): string | undefined {
    const last = docs.at(-1)?.order ?? '';
    const until = movedUntil(last);
    if (until !== undefined && until <= this.#latest) {
      this.#atOnce *= READ_GROWTH;
      return undefined;
    }
    this.#atOnce = Infinity;
    return until === undefined ? undefined : last;
  }

  async #count(above: string): Promise<void> {
    const passed = { collection: this.#wanted.collection, by: 'order', above, upTo: AFTER_LEASED } as const;
    this.#leased += await this.#store.count(passed, MAX_PASSED_COUNTED);
  }
}

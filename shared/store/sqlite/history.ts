/**
 * The recent changes of a collection, to check a transaction's reads at its commit.
 *
 * A read sees the committed state and notes the number of the last commit. At the commit of the transaction the read
 * holds when no later change concerns it: a change of the document, or of a document that was or is in the part of the
 * query's result that was read. When every read holds at one moment, the transaction is serialisable at that moment.
 * Revisions would not suffice, because a document that was deleted and made again has an old one.
 *
 * Changes are kept only while transactions run that may have missed them. Tests: the transactions of
 * `test/contract/store-contract.ts`.
 */
import { covers, type IndexEntry, type Position, type Selection } from '../store-query';

/** Changes kept per collection; a transaction that began before the oldest of them runs again. */
const MAX_REMEMBERED_CHANGES = 50_000;

export interface RememberedChange {
  readonly seq: number;
  readonly id: string;
  readonly before: IndexEntry | undefined;
  readonly after: IndexEntry | undefined;
}

/** The changes of one collection. */
export class History {
  /** Number of the last commit that changed the collection. */
  lastSeq = 0;
  /** The list has every change after this commit. */
  #completeSince = 0;
  #changes: RememberedChange[] = [];
  readonly #lastOf = new Map<string, number>();

  /** Notes a change that no running transaction can have missed. */
  skip(seq: number): void {
    this.lastSeq = seq;
    this.#completeSince = seq;
    if (this.#changes.length > 0) {
      this.#changes = [];
      this.#lastOf.clear();
    }
  }

  add(change: RememberedChange): void {
    this.lastSeq = change.seq;
    this.#changes.push(change);
    this.#lastOf.set(change.id, change.seq);
    if (this.#changes.length > MAX_REMEMBERED_CHANGES) this.#forget(MAX_REMEMBERED_CHANGES / 2);
  }

  /** Drops changes up to `seq`, which every running transaction has seen. */
  forgetUpTo(seq: number): void {
    let n = 0;
    while ((this.#changes[n]?.seq ?? Infinity) <= seq) n++;
    // Half of the list at a time, so that the cost of moving the rest is amortised.
    if (n > 0 && n * 2 >= this.#changes.length) this.#forget(n);
  }

  #forget(n: number): void {
    for (const { id, seq } of this.#changes.splice(0, n)) {
      this.#completeSince = Math.max(this.#completeSince, seq);
      if (this.#lastOf.get(id) === seq) this.#lastOf.delete(id);
    }
  }

  /** Removes commit `seq`, the last one, which failed. */
  undo(seq: number): void {
    if (this.lastSeq < seq) return;
    this.lastSeq = seq - 1;
    // Changes that {@link skip} dropped stay dropped, as if the commit before had dropped them.
    this.#completeSince = Math.min(this.#completeSince, seq - 1);
    this.#changes = this.#changes.filter((change) => change.seq < seq);
    this.#lastOf.clear();
    for (const change of this.#changes) this.#lastOf.set(change.id, change.seq);
  }

  documentHolds(id: string, readAt: number): boolean {
    if (this.lastSeq <= readAt) return true;
    return readAt >= this.#completeSince && (this.#lastOf.get(id) ?? 0) <= readAt;
  }

  queryHolds(
    selection: Selection,
    last: Position | undefined,
    fieldNumber: (field: string) => number | undefined,
    readAt: number,
  ): boolean {
    if (this.lastSeq <= readAt) return true;
    if (readAt < this.#completeSince) return false;
    for (let i = this.#changes.length - 1; i >= 0; i--) {
      const change = this.#changes[i];
      if (change === undefined || change.seq <= readAt) return true;
      const { id, before, after } = change;
      if (before !== undefined && covers(selection, last, fieldNumber, id, before)) return false;
      if (after !== undefined && covers(selection, last, fieldNumber, id, after)) return false;
    }
    return true;
  }
}

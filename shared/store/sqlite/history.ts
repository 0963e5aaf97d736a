/**
 * What changed lately, so that a transaction can be checked at its commit against what it read.
 *
 * Reads see the committed state at their own moment and note the number of the last commit. At commit a read still
 * holds when no change since then touches it: for a document, a change of it; for a query, a change of a document
 * that is (or was, or is now) inside the part of the result that was read. When every read holds at one moment, the
 * transaction is as good as run in that moment. Revisions would not do: a document deleted and made again has an old
 * one.
 *
 * Changes are remembered only while a transaction runs, and only those that one of the running can have missed.
 */
import { covers, type IndexEntry, type Position, type Selection } from '../store-query';

/** Changes remembered per collection for running transactions; one that is older than all of them runs again. */
const MAX_REMEMBERED_CHANGES = 50_000;

export interface RememberedChange {
  readonly seq: number;
  readonly id: string;
  readonly before: IndexEntry | undefined;
  readonly after: IndexEntry | undefined;
}

/** The changes of one collection. */
export class History {
  /** Number of the last write to the collection, remembered or not. */
  lastSeq = 0;
  /** Every change after this is in the list. */
  #completeSince = 0;
  #changes: RememberedChange[] = [];
  readonly #lastOf = new Map<string, number>();

  /** A write that nobody can have missed. */
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

  /** Drops what every running transaction has seen: changes up to `seq`. */
  forgetUpTo(seq: number): void {
    let n = 0;
    while ((this.#changes[n]?.seq ?? Infinity) <= seq) n++;
    // Half of the list at a time, so that moving the rest costs less than what was added since.
    if (n > 0 && n * 2 >= this.#changes.length) this.#forget(n);
  }

  #forget(n: number): void {
    for (const { id, seq } of this.#changes.splice(0, n)) {
      this.#completeSince = Math.max(this.#completeSince, seq);
      if (this.#lastOf.get(id) === seq) this.#lastOf.delete(id);
    }
  }

  /** Commit `seq`, the last one here, did not happen after all. */
  undo(seq: number): void {
    if (this.lastSeq < seq) return;
    this.lastSeq = seq - 1;
    // What {@link skip} dropped is gone; to have dropped the same in the commit before is true as well.
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

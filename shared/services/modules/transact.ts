/**
 * Transactions on key-value databases, in the thread of a module. The function of a transaction cannot cross the port, so
 * it runs here on entries that are read one by one. The commit writes only if they still have the revisions that were
 * read; otherwise the function runs again.
 */
import { backOff, type Random } from '../../back-off';
import type { Clock } from '../../clock';
import { pause } from '../../waiting';
import { Fault, FAULT } from '../fault';
import type { Entry, KeyValueOptions, KeyValues, KeyValueTransaction, Value } from './kit';

/** Runs of the function: as many as other transactions can be ahead of this one in ordinary use. */
export const MAX_TRANSACTION_RUNS = 30;
/** Milliseconds between two runs after a conflict, at first and at most: the other transaction has ended already. */
const CONFLICT_FIRST_MS = 2;
const CONFLICT_MAX_MS = 100;
/** Milliseconds after which the function does not run again: less than a call has. */
export const TRANSACTION_MS = 15_000;

export interface TransactParts {
  readonly kv: Pick<KeyValues, 'get' | 'commit'>;
  readonly clock: Clock;
  readonly random?: Random;
  /** Aborts when the call is over. */
  readonly signal: AbortSignal;
}

/** @throws Fault with `unavailable` after too many conflicts, and the error of `fn`, after which nothing was written */
export async function transact<T>(
  { kv, clock, random = Math.random, signal }: TransactParts,
  database: string,
  fn: (tx: KeyValueTransaction) => Promise<T> | T,
  options: KeyValueOptions = {},
): Promise<T> {
  const began = clock.elapsed();
  for (let run = 1; ; run++) {
    const tx = new Run((key) => kv.get(database, key, options));
    let outcome: { readonly result: T } | { readonly error: unknown };
    try {
      outcome = { result: await fn(tx) };
    } catch (error) {
      outcome = { error };
    }
    const { reads, writes } = tx.end();
    const isError = 'error' in outcome;
    // The entries may have been read at different times, so that an error proves nothing if one has changed since.
    if (reads.length === 0 && (isError || writes.length === 0)) return resultOf(outcome);
    const committed = await kv.commit(database, { reads, writes: isError ? [] : writes }, options);
    if (committed !== null) return resultOf(outcome);
    if (run === MAX_TRANSACTION_RUNS || clock.elapsed() - began > TRANSACTION_MS || signal.aborted) {
      throw new Fault(FAULT.refused, 'Too many transactions change the same entries; repeat the call later.', {
        code: 'unavailable',
      });
    }
    await pause(clock, backOff(run, CONFLICT_FIRST_MS, CONFLICT_MAX_MS, random), signal);
  }
}

function resultOf<T>(outcome: { readonly result: T } | { readonly error: unknown }): T {
  if ('error' in outcome) throw outcome.error;
  return outcome.result;
}

interface Effects {
  readonly reads: readonly { readonly key: string; readonly revision: string }[];
  readonly writes: readonly { readonly key: string; readonly value?: Value }[];
}

/** One run of the function. */
class Run implements KeyValueTransaction {
  readonly #read: (key: string) => Promise<Entry | null>;
  readonly #entries = new Map<string, Promise<Entry | null>>();
  readonly #revisions = new Map<string, string>();
  readonly #writes = new Map<string, { readonly key: string; readonly value?: Value }>();
  #isOver = false;

  constructor(read: (key: string) => Promise<Entry | null>) {
    this.#read = read;
  }

  get(key: string): Promise<Entry | null> {
    this.#requireOpen();
    if (this.#writes.size > 0) throw new Error('A transaction reads before it writes; move this read up.');
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const entry = this.#read(key).then((found) => {
      this.#revisions.set(key, found?.revision ?? '');
      return found;
    });
    this.#entries.set(key, entry);
    return entry;
  }

  put(key: string, value: Value): void {
    this.#requireOpen();
    this.#writes.set(key, { key, value });
  }

  delete(key: string): void {
    this.#requireOpen();
    this.#writes.set(key, { key });
  }

  #requireOpen(): void {
    if (this.#isOver) throw new Error('The transaction has ended; await every call inside its function.');
  }

  end(): Effects {
    this.#isOver = true;
    const reads = [...this.#revisions].map(([key, revision]) => ({ key, revision }));
    return { reads, writes: [...this.#writes.values()] };
  }
}

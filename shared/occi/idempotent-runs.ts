/**
 * `Idempotency-Key` for work that must not be done twice and whose effects are not in the store: `running` is written
 * before the work and its answer after it. Work that a crash cuts off is answered "outcome unknown", and is not done again.
 */
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import { type JsonObject, isJsonObject } from '../json';
import type { Store } from '../store';
import { IDEMPOTENCY, IDEMPOTENCY_MS, idOf, type IdempotentRequest, mismatch } from './idempotency';

/** Characters of an answer that is kept: less than the least limit of an engine on a document. */
const MAX_KEPT_CHARS = 256 * 1024;

export interface IdempotentRunsOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Names this process among all that have run on the store. */
  readonly runner: string;
  /** Whether no other process uses the store, so that what another runner has not ended was cut off. */
  readonly isAlone: boolean;
  /** Milliseconds after which work without an answer counts as cut off, whichever process does it. */
  readonly runMs: number;
  /** Characters of an answer that is kept; {@link MAX_KEPT_CHARS} when absent. */
  readonly maxKeptChars?: number;
  /** {@link MAX_RUNNING} when absent. */
  readonly maxRunning?: number;
  /** {@link MAX_RUNNING_BYTES} when absent. */
  readonly maxRunningBytes?: number;
}

/** Requests in flight in one process, and their bytes: their work goes on when their callers leave. */
const MAX_RUNNING = 1000;
const MAX_RUNNING_BYTES = 64 * 1024 * 1024;

/** What a request asks for. */
export interface Work {
  /** Bytes of the request, which the work keeps in memory; 0 when absent. One request always fits. */
  readonly bytes?: number;
  /** Does the work; resolves with the answer. When it rejects with `unauthenticated`, nothing was done. */
  run(): Promise<string>;
  /** The answer when it is not known whether the work was done, or what came of it. */
  unknown(why: string): string;
}

const textOf = ({ text }: JsonObject): string => (typeof text === 'string' ? text : '');

/** The answer; undefined when the signal aborts first. Leaves no listener. */
async function untilGone(answer: Promise<string>, signal: AbortSignal): Promise<string | undefined> {
  let leave = (): void => undefined;
  const gone = new Promise<undefined>((resolve) => {
    leave = () => resolve(undefined);
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
  });
  try {
    return await Promise.race([answer, gone]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

/** What the store says about a request. */
type Found =
  | { readonly is: 'new' }
  | { readonly is: 'answered'; readonly answer: string }
  /** Another process is doing the work, until the time in milliseconds since the epoch at the latest. */
  | { readonly is: 'elsewhere'; readonly until: number };

const CUT_OFF = 'The request was cut off by a restart: its outcome is unknown, and it is not run again.';

export class IdempotentRuns {
  readonly #options: IdempotentRunsOptions;
  /** Work of this process, by the id of the request. */
  readonly #running = new Map<string, { readonly fingerprint: string; readonly answer: Promise<string> }>();
  #runningBytes = 0;

  constructor(options: IdempotentRunsOptions) {
    this.#options = options;
  }

  /**
   * The answer to a request. Does the work unless an earlier request with the key did; waits while that one runs.
   * The work goes on when the caller leaves, so that a repeated request gets the answer.
   * @throws CmbsError `idempotency_mismatch`; `queue_full` for too many requests at a time; `deadline_exceeded` when the signal aborts first
   */
  async once(request: IdempotentRequest, work: Work, signal: AbortSignal): Promise<string> {
    const id = idOf(request);
    const begun = this.#running.get(id);
    if (begun !== undefined && begun.fingerprint !== request.fingerprint) throw mismatch();
    if (begun === undefined && !this.#hasRoom(work)) {
      throw new CmbsError(
        'queue_full',
        'Too many requests with an Idempotency-Key are running; repeat this one.',
        {
          headers: { 'Retry-After': '5' },
        },
      );
    }
    const answer = begun?.answer ?? this.#begin(id, request, work);
    const first = await untilGone(answer, signal);
    if (first !== undefined) return first;
    throw new CmbsError(
      'deadline_exceeded',
      'The request takes longer than its caller waits; repeat it with the same Idempotency-Key for its answer.',
    );
  }

  #hasRoom({ bytes = 0 }: Work): boolean {
    const { maxRunning = MAX_RUNNING, maxRunningBytes = MAX_RUNNING_BYTES } = this.#options;
    const { size } = this.#running;
    return size < maxRunning && (size === 0 || this.#runningBytes + bytes <= maxRunningBytes);
  }

  #begin(id: string, request: IdempotentRequest, work: Work): Promise<string> {
    const { bytes = 0 } = work;
    const answer = this.#answer(id, request, work);
    this.#running.set(id, { fingerprint: request.fingerprint, answer });
    this.#runningBytes += bytes;
    const forget = (): void => {
      this.#running.delete(id);
      this.#runningBytes -= bytes;
    };
    answer.then(forget, forget);
    return answer;
  }

  async #answer(id: string, request: IdempotentRequest, work: Work): Promise<string> {
    for (;;) {
      const found = await this.#claim(id, request, work);
      if (found.is === 'answered') return found.answer;
      if (found.is === 'new') break;
      await this.#change(id, found.until);
    }
    let answer: string;
    try {
      answer = await work.run();
    } catch (thrown) {
      if (thrown instanceof CmbsError && thrown.code === 'unauthenticated') await this.#forget(id);
      throw thrown;
    }
    return this.#keep(id, request, work, answer);
  }

  /** Marks the work as begun, unless it was before. */
  async #claim(id: string, { fingerprint }: IdempotentRequest, work: Work): Promise<Found> {
    const { store, clock, runner, isAlone, runMs } = this.#options;
    return store.transact(async (tx): Promise<Found> => {
      const doc = await tx.get(IDEMPOTENCY, id);
      const now = clock.now();
      const expiresAt = now + IDEMPOTENCY_MS;
      if (doc === undefined) {
        tx.put(IDEMPOTENCY, id, { fingerprint, running: { runner, until: now + runMs } }, { expiresAt });
        return { is: 'new' };
      }
      if (doc.value.fingerprint !== fingerprint) throw mismatch();
      const { answer, running } = doc.value;
      if (isJsonObject(answer)) return { is: 'answered', answer: textOf(answer) };
      const { runner: other, until } = (running ?? {}) as JsonObject;
      // This process itself has no such work any more, so its answer was not stored.
      if (!isAlone && other !== runner && Number(until) > now) return { is: 'elsewhere', until: Number(until) };
      const text = work.unknown(CUT_OFF);
      tx.put(IDEMPOTENCY, id, { fingerprint, answer: { text } }, { expiresAt });
      return { is: 'answered', answer: text };
    });
  }

  /** Keeps the answer for later requests; resolves with the answer of this one. */
  async #keep(id: string, { fingerprint }: IdempotentRequest, work: Work, answer: string): Promise<string> {
    const { store, clock, maxKeptChars = MAX_KEPT_CHARS } = this.#options;
    const tooLarge = `The request has run, but its answer has more than ${maxKeptChars} characters and was not kept.`;
    const kept = answer.length > maxKeptChars ? work.unknown(tooLarge) : answer;
    return store.transact(async (tx) => {
      const doc = await tx.get(IDEMPOTENCY, id);
      // Another process may have given this one up; then the answer that it stored stays.
      if (doc !== undefined && isJsonObject(doc.value.answer)) return textOf(doc.value.answer);
      tx.put(
        IDEMPOTENCY,
        id,
        { fingerprint, answer: { text: kept } },
        { expiresAt: clock.now() + IDEMPOTENCY_MS },
      );
      return answer;
    });
  }

  async #forget(id: string): Promise<void> {
    await this.#options.store.transact(async (tx) => tx.delete(IDEMPOTENCY, id));
  }

  /** Waits for the answer of another process, or until it counts as cut off. */
  async #change(id: string, until: number): Promise<void> {
    const { store, clock } = this.#options;
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    const watch = store.watch({ collection: IDEMPOTENCY, id }, () => wake());
    const cancel = clock.after(Math.max(0, until - clock.now()) + 1, () => wake());
    try {
      await watch.ready;
      const doc = await store.get(IDEMPOTENCY, id);
      if (doc !== undefined && doc.value.answer === undefined) await woken;
    } finally {
      cancel();
      watch.end();
    }
  }
}

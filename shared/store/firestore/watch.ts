/**
 * A watch over Firestore's `Listen` streams. It reconnects when a stream ends or is silent, and continues where it was:
 * the listener misses no change, and no change is reported twice (`test/cloud/store-faults.test.ts`, "while it watches").
 */
import { backOff } from '../../back-off';
import { STATUS, statusOf } from '../../grpc-status';
import { Deadline } from './deadline';
import { type Listening } from './client';
import { type Context } from './context';
import { closedError, toStoreError } from './errors';
import { FIELD, layoutOf } from './layout';
import { ListenTarget, type ReportedChange } from './listen';
import { indexKey, placeOf } from './names';
import { indexable } from '../keys';
import { type ListenRequest, type ListenResponse, type StructuredQuery } from './protocol';
import { hasEntry, isNamed, notReadByOrder, prefixFilters, where } from './query';
import { parentOf } from './read-snapshot';
import { type Change, type Watch, type WatchScope } from '../store';

/** Milliseconds without a message after which a watch reconnects; Firestore sends one more often. */
const FIRESTORE_WATCH_IDLE_MS = 120_000;
/** Milliseconds before a watch reconnects, at first and at most. */
const FIRESTORE_WATCH_RETRY_MS = 100;
const FIRESTORE_WATCH_RETRY_MAX_MS = 5000;

/** Each watch has a stream of its own, with one target. */
const TARGET_ID = 1;
/** Consecutive failures that are logged: streams end in normal operation too. */
const LOGGED_FAILURES = 2;

export interface WatchOptions {
  readonly scope: WatchScope;
  readonly listener: (changes: readonly Change[]) => void;
  /** Called once, when the watch is ended. */
  readonly onEnd: () => void;
  /** Milliseconds to connect, and after which `ready` rejects while Firestore is unreachable; the watch goes on trying. */
  readonly readMs: number;
}

export class FirestoreWatch implements Watch {
  readonly ready: Promise<void>;
  readonly #context: Context;
  readonly #options: WatchOptions;
  readonly #target: ListenTarget;
  readonly #began = performance.now();
  #resolveReady: () => void = () => undefined;
  #rejectReady: (error: Error) => void = () => undefined;
  #listening: Listening | undefined;
  /** Reconnects, or ends a silent stream. */
  #timer: NodeJS.Timeout | undefined;
  /** Consecutive, since the last snapshot. */
  #failures = 0;
  #hasWarned = false;
  #hasEnded = false;

  /** Throws when the layout has no index for it: a mistake in the program. */
  constructor(context: Context, options: WatchOptions) {
    const { collection, newest } = options.scope;
    const place = placeOf(collection);
    if (newest === true && layoutOf(place.group).order !== 'both') throw notReadByOrder(place);
    this.#context = context;
    this.#options = options;
    this.#target = new ListenTarget(() => context.clock.now());
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.ready.catch(() => undefined); // Callers need not wait for it.
    void this.#connect();
  }

  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    this.#listening?.end();
    this.#rejectReady(closedError());
    this.#options.onEnd();
  }

  async #connect(): Promise<void> {
    this.#target.reconnect();
    const { connection } = this.#context;
    const deadline = new Deadline(this.#options.readMs, undefined);
    try {
      const request = listenRequest(
        this.#options.scope,
        await connection.database(deadline),
        this.#target.resumeToken,
      );
      this.#listening = await connection.listen(
        request,
        { onResponse: (response) => this.#take(response), onEnd: (error) => this.#broken(error) },
        deadline,
      );
    } catch (error) {
      this.#broken(error);
      return;
    }
    if (this.#hasEnded) this.#listening.end();
    else this.#expectMessageWithin(this.#options.readMs);
  }

  #expectMessageWithin(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#listening?.end(), ms).unref();
  }

  #take(response: ListenResponse): void {
    if (this.#hasEnded) return;
    this.#expectMessageWithin(this.#target.isCurrent ? FIRESTORE_WATCH_IDLE_MS : this.#options.readMs);
    const step = this.#target.take(response);
    switch (step.kind) {
      case 'nothing':
        return;
      case 'snapshot':
        this.#connected();
        this.#report(step.changes);
        return;
      case 'restart':
        this.#listening?.end();
        return;
      case 'refused':
        this.#target.resumeToken = undefined;
        this.#context.log.debug('Firestore ended a watch', { code: step.code, details: step.details });
        this.#listening?.end();
        return;
    }
  }

  #connected(): void {
    const { log } = this.#context;
    const { collection } = this.#options.scope;
    if (this.#failures >= LOGGED_FAILURES) log.info('a watch has reached Firestore again', { collection });
    this.#failures = 0;
    if (this.#target.isOverflowing && !this.#hasWarned) {
      this.#hasWarned = true;
      log.warn('a watch has too many documents and may miss deletions while it reconnects', {
        collection,
      });
    }
    this.#resolveReady();
  }

  #report(changes: readonly ReportedChange[]): void {
    const { collection, newest } = this.#options.scope;
    const wanted = newest === true ? changes.filter(({ deleted }) => !deleted) : changes;
    if (wanted.length === 0) return;
    try {
      this.#options.listener(wanted.map((change) => ({ collection, ...change })));
    } catch (error) {
      this.#context.log.error('a listener of the store failed', { collection, cause: error });
    }
  }

  /** The stream ended or failed, or could not be opened. */
  #broken(error: unknown): void {
    if (this.#hasEnded) return;
    this.#listening = undefined;
    this.#failures += 1;
    const { connection, log, random } = this.#context;
    if (statusOf(error) === STATUS.invalidArgument) this.#target.resumeToken = undefined;
    if (this.#failures === LOGGED_FAILURES) {
      log.warn('a watch cannot reach Firestore; retrying', {
        collection: this.#options.scope.collection,
        cause: error,
      });
    }
    if (performance.now() - this.#began >= this.#options.readMs) {
      // A stream that ended or was silent has no error.
      this.#rejectReady(toStoreError(error ?? { code: STATUS.unavailable }, connection.names));
    }
    const pause = backOff(this.#failures, FIRESTORE_WATCH_RETRY_MS, FIRESTORE_WATCH_RETRY_MAX_MS, random);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#connect(), pause).unref();
  }
}

function listenRequest(scope: WatchScope, database: string, resumeToken: Uint8Array | undefined): ListenRequest {
  const place = placeOf(scope.collection);
  const structuredQuery: StructuredQuery = {
    from: [{ collectionId: place.group }],
    ...where([
      ...(scope.where === undefined ? [] : [hasEntry(indexKey(scope.where.field, indexable(scope.where.value)))]),
      ...(scope.id === undefined
        ? prefixFilters(place, scope.prefix ?? '', database)
        : [isNamed(place, scope.id, database)]),
    ]),
    ...(scope.newest === true ? NEWEST : {}),
  };
  return {
    database,
    addTarget: {
      query: { parent: parentOf(database, place.parent), structuredQuery },
      targetId: TARGET_ID,
      ...(resumeToken === undefined ? {} : { resumeToken }),
    },
  };
}

const NEWEST = {
  orderBy: [{ field: { fieldPath: FIELD.order }, direction: 'DESCENDING' }],
  limit: { value: 1 },
} as const satisfies Partial<StructuredQuery>;

/**
 * Statistics of calls by method, since the start of the process: as the services of NATS report them (ADR-32), with a
 * histogram. A program shows them at `/metrics` and by `system.stats`.
 */
import type { Clock } from '../clock';
import { CALL_SECONDS } from '../metrics';
import type { Fault } from './fault';
import type { ServiceMethod } from './module';
import type { Value } from './value';

/** Methods that have statistics of their own, also of modules that are gone. Further ones are not counted. */
const MAX_METHODS = 10_000;

/** What happened to the calls of one method. */
export interface MethodStatistics {
  readonly name: string;
  readonly calls: number;
  /** Calls that ended with a fault. */
  readonly faults: number;
  /** Milliseconds of all calls together. */
  readonly totalMs: number;
  /** Milliseconds of the longest call. */
  readonly longestMs: number;
  /** Calls that took at most as many seconds as the entry of `CALL_SECONDS`, not counting those of the entries before. */
  readonly histogram: readonly number[];
  readonly lastError?: { readonly code: number; readonly text: string; readonly at: Date };
}

/** The method `stats` of the module `system`. @param statistics as `Services.statistics` */
export function statsMethod(
  statistics: () => { readonly since: Date; readonly methods: readonly MethodStatistics[] },
): ServiceMethod {
  return {
    documentation:
      'Returns what happened to the calls of each method in this process: since (time), and methods, an array of ' +
      'structs with name, calls, faults, total_ms, average_ms, longest_ms, histogram (structs with seconds, an upper ' +
      'bound or nothing for longer calls, and calls) and last_error (code, text, at). With the name of a module or ' +
      'method, only of that one.',
    signatures: [['struct'], ['struct', 'string']],
    // The texts of faults may name what other callers asked for.
    flags: { idempotent: true, callers: 'administrators' },
    call: (_context, [asked]) => {
      const { since, methods } = statistics();
      const isAsked = ({ name }: MethodStatistics): boolean =>
        typeof asked !== 'string' || name === asked || name.startsWith(`${asked}.`);
      return { since, methods: methods.filter(isAsked).map(shown) };
    },
  };
}

function shown({ name, calls, faults, totalMs, longestMs, histogram, lastError }: MethodStatistics): Value {
  const bounded = (at: number): { readonly seconds?: number } => {
    const seconds = CALL_SECONDS[at];
    return seconds === undefined ? {} : { seconds };
  };
  return {
    name,
    calls,
    faults,
    total_ms: rounded(totalMs),
    average_ms: rounded(totalMs / calls),
    longest_ms: rounded(longestMs),
    histogram: histogram.map((count, at) => ({ ...bounded(at), calls: count })),
    ...(lastError === undefined ? {} : { last_error: lastError }),
  };
}

/** Milliseconds to the microsecond. */
const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;

interface Counts {
  calls: number;
  faults: number;
  totalMs: number;
  longestMs: number;
  /** One more than there are bounds: the last is of calls that took longer. */
  readonly histogram: number[];
  lastError?: { readonly code: number; readonly text: string; readonly at: Date };
}

export class CallStatistics {
  readonly #clock: Clock;
  readonly #since: Date;
  readonly #methods = new Map<string, Counts>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = new Date(clock.now());
  }

  /** When counting began. */
  get since(): Date {
    return this.#since;
  }

  /** Counts a call that has ended; false for a method beyond those that have statistics. */
  add(method: string, ms: number, fault: Fault | undefined): boolean {
    let counts = this.#methods.get(method);
    if (counts === undefined) {
      if (this.#methods.size >= MAX_METHODS) return false;
      const histogram = new Array<number>(CALL_SECONDS.length + 1).fill(0);
      counts = { calls: 0, faults: 0, totalMs: 0, longestMs: 0, histogram };
      this.#methods.set(method, counts);
    }
    counts.calls += 1;
    counts.totalMs += ms;
    counts.longestMs = Math.max(counts.longestMs, ms);
    const at = CALL_SECONDS.findIndex((bound) => ms / 1000 <= bound);
    const slot = at < 0 ? CALL_SECONDS.length : at;
    counts.histogram[slot] = (counts.histogram[slot] ?? 0) + 1;
    if (fault === undefined) return true;
    counts.faults += 1;
    counts.lastError = { code: fault.code, text: fault.message, at: new Date(this.#clock.now()) };
    return true;
  }

  /** The methods that were called, sorted by name. */
  list(): readonly MethodStatistics[] {
    return [...this.#methods]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, counts]) => ({ name, ...counts, histogram: [...counts.histogram] }));
  }
}

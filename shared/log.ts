/** Logs and counters. Both are options, so that the program chooses the format and the destination. */
import type { CounterLabels, CounterName, HistogramLabels, HistogramName } from './metrics';

export type LogFields = Readonly<Record<string, unknown>>;

/** Writes log lines. Fields must not have secrets or the contents of messages. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Counts events. */
export interface Counters {
  /**
   * Adds `n` (1 by default) to a counter of `COUNTERS`.
   *
   * @param labels one value for each label of the counter, where the counter has labels
   */
  add<N extends CounterName>(name: N, labels?: CounterLabels<N>, n?: number): void;
}

/** Measures events. */
export interface Histograms {
  /** Adds a value to a histogram of `HISTOGRAMS`, in the unit of its name. */
  observe<N extends HistogramName>(name: N, labels: HistogramLabels<N>, value: number): void;
}

const nothing = (): void => undefined;

/** For tests and for programs that have no log. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** For tests and for programs without metrics. */
export const silentCounters: Counters = { add: nothing };
export const silentHistograms: Histograms = { observe: nothing };

/** Where a program says what it does. Both are passed in, so that a library chooses no format and no destination. */

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export interface Counters {
  /** Adds `n` (1 by default) to the counter `name`; `labels` have few distinct values each, never an id. */
  add(name: string, labels?: Readonly<Record<string, string>>, n?: number): void;
}

const nothing = (): void => undefined;

/** For tests and for programs that have no log. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export const silentCounters: Counters = { add: nothing };

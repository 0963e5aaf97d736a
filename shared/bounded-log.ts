/**
 * A log that clients cannot flood. Lines with the same level, message, error code and service module are of one kind. The first lines of
 * a kind are written and further ones counted; once a minute, one line shows the latest and how many were withheld.
 */
import type { Clock } from './clock';
import type { Log, LogFields } from './log';

/** Lines of one kind that are written at once: enough to show several members or paths. */
const LOG_BURST_LINES = 3;
/** Milliseconds between two lines of one kind after that, so that no client can fill a disk. */
const LOG_PERIOD_MS = 60_000;

export interface BoundedLogOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** Whether a line is a record, which metrics count. All records are written. No line is one by default. */
  readonly isRecord?: (fields: LogFields) => boolean;
  /** Lines of one kind that are written before further ones are counted. */
  readonly burst?: number;
  /** Milliseconds between two lines of one kind after that. */
  readonly periodMs?: number;
}

export interface BoundedLog extends Log {
  /** Writes a line for each kind with withheld lines; for the end of a program. */
  flush(): void;
}

/** Lines of one kind, from the first until a period without any. */
interface Kind {
  written: number;
  /** Lines that were not written since the last one. */
  withheld: number;
  latest: LogFields;
  hasNew: boolean;
  /** Writes a line for the withheld ones. */
  readonly flush: () => void;
}

type Level = 'info' | 'warn' | 'error';

/** Bounds a log; debug lines pass unchanged. */
export function boundedLog({
  log,
  clock,
  isRecord = () => false,
  burst = LOG_BURST_LINES,
  periodMs = LOG_PERIOD_MS,
}: BoundedLogOptions): BoundedLog {
  const kinds = new Map<string, Kind>();

  const begin = (key: string, level: Level, message: string): Kind => {
    const flush = (): void => {
      if (kind.withheld === 0) return;
      log[level](message, { ...kind.latest, withheld: kind.withheld });
      kind.withheld = 0;
    };
    const kind: Kind = { written: 0, withheld: 0, latest: {}, hasNew: false, flush };
    const look = (): void => {
      flush();
      if (!kind.hasNew) {
        kinds.delete(key);
        return;
      }
      kind.hasNew = false;
      clock.after(periodMs, look);
    };
    clock.after(periodMs, look);
    kinds.set(key, kind);
    return kind;
  };

  const line =
    (level: Level) =>
    (message: string, fields: LogFields = {}): void => {
      if (isRecord(fields)) {
        log[level](message, fields);
        return;
      }
      const key = `${level} ${String(fields.code)} ${String(fields.module)} ${message}`;
      const kind = kinds.get(key) ?? begin(key, level, message);
      kind.hasNew = true;
      if (kind.written < burst) {
        kind.written += 1;
        log[level](message, fields);
        return;
      }
      kind.withheld += 1;
      kind.latest = fields;
    };

  return {
    debug: (message, fields) => log.debug(message, fields),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    flush: () => {
      for (const kind of kinds.values()) kind.flush();
    },
  };
}

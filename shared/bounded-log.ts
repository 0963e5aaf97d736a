/**
 * A log that nobody can fill from outside. Of lines of one kind, the first ones are written, and the others are counted:
 * for as long as more come, one line a minute shows the latest and says how many were not written. Lines are of one kind
 * when they have the same level, message and error code; the messages of a program are few.
 */
import type { Clock } from './clock';
import type { Log, LogFields } from './log';

/** Lines of one kind that a log takes at once: enough to see several members or paths concerned. */
const LOG_BURST_LINES = 3;
/** Milliseconds between two lines of one kind after that, so that nobody fills a disk by causing them. */
const LOG_PERIOD_MS = 60_000;

export interface BoundedLogOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** Lines that are records, which somebody counts: all of them are written. None by default. */
  readonly isRecord?: (fields: LogFields) => boolean;
  /** Lines of one kind that are written before the others are counted. */
  readonly burst?: number;
  /** Milliseconds between two lines of one kind after that. */
  readonly periodMs?: number;
}

export interface BoundedLog extends Log {
  /** Writes what is counted; for the end of a program. */
  flush(): void;
}

/** Lines of one kind, from the first until a period without any. */
interface Kind {
  written: number;
  /** Since the last line that was written. */
  withheld: number;
  latest: LogFields;
  hasNew: boolean;
  /** Writes what was withheld. */
  readonly flush: () => void;
}

type Level = 'info' | 'warn' | 'error';

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
      const key = `${level} ${String(fields.code)} ${message}`;
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

/** What the socket tests share: an environment that records, and waits that end with an event or with a deadline. */
import { SocketContext, type SocketEnvironment } from '../../companion/exchanges/zeromq/options';
import { type Counters, type Log, type LogFields } from '@cmbs/shared';
import { PATIENCE_MS } from '../patience';

/** `promise`, or an error that names what did not happen in time. */
export async function within<T>(promise: Promise<T>, what: string, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when `listener` was called with a value that `wanted` accepts. */
export function next<T>(
  subscribe: (listener: (value: T) => void) => () => void,
  wanted: (value: T) => boolean,
  what: string,
): Promise<void> {
  let stop = (): void => undefined;
  const seen = new Promise<void>((resolve) => {
    stop = subscribe((value) => {
      if (wanted(value)) resolve();
    });
  });
  return within(seen, what).finally(() => stop());
}

/** Resolves in the first turn of the event loop in which `condition` holds. */
export async function becomes(condition: () => boolean, what: string, ms = PATIENCE_MS): Promise<void> {
  const started = performance.now();
  while (!condition()) {
    if (performance.now() - started > ms) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise(setImmediate);
  }
}

/** Counts, and tells when a count is reached. */
export class RecordedCounters implements Counters {
  readonly #counts = new Map<string, number>();
  readonly #waits = new Set<() => void>();

  add(name: string, labels: Readonly<Record<string, string>> = {}, n = 1): void {
    for (const key of [name, `${name}:${labels.reason ?? ''}`]) this.#counts.set(key, this.get(key) + n);
    for (const wait of this.#waits) wait();
  }

  get(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** @param key a counter's name, or `name:reason` */
  reaches(key: string, count: number): Promise<void> {
    return next<undefined>(
      (listener) => {
        const look = (): void => listener(undefined);
        this.#waits.add(look);
        look();
        return () => void this.#waits.delete(look);
      },
      () => this.get(key) >= count,
      `${key} reaches ${count}`,
    );
  }
}

/** Keeps what was logged, so that a test can say that nothing was, or what. */
export class RecordedLog implements Log {
  readonly lines: { level: string; message: string; fields: LogFields | undefined }[] = [];
  debug = this.#at('debug');
  info = this.#at('info');
  warn = this.#at('warn');
  error = this.#at('error');

  #at(level: string) {
    return (message: string, fields?: LogFields): void => void this.lines.push({ level, message, fields });
  }

  get errors(): string[] {
    return this.lines.filter(({ level }) => level === 'error').map(({ message }) => message);
  }
}

export interface RecordedEnvironment extends SocketEnvironment {
  readonly counters: RecordedCounters;
  readonly log: RecordedLog;
}

export function recordedEnvironment(): RecordedEnvironment {
  return { context: new SocketContext(), counters: new RecordedCounters(), log: new RecordedLog() };
}

export { freePort } from './free-port';

/** A promise and what settles it. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

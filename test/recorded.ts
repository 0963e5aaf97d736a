/** A log and counters that record their calls. */
import type { Counters, Log, LogFields } from '@cmbs/shared';
import { next } from './waits';

/** Counters that report when a count is reached. */
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

/** A log that keeps its lines, so that a test can check them. */
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

/** Log lines of a deployed function: one JSON object a line, as Cloud Logging reads them. */
import type { Log, LogFields } from '@cmbs/shared';

export function structuredLog(write: (line: string) => void): Log {
  const line =
    (severity: string) =>
    (message: string, fields: LogFields = {}): void =>
      write(`${JSON.stringify({ ...fields, severity, message })}\n`);
  return { debug: line('DEBUG'), info: line('INFO'), warn: line('WARNING'), error: line('ERROR') };
}

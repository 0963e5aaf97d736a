/** The log of the local stack: a line of text for each entry. */
import { boundedLog, describeError, systemClock, type BoundedLog, type Log, type LogFields } from '@cmbs/shared';

export const SEVERITIES = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type Severity = (typeof SEVERITIES)[number];

const TRAFFIC: ReadonlySet<unknown> = new Set(['request', 'delivery', 'call']);

/** Entries for each request, delivery and call are `debug` at a terminal, unless they warn, as of a slow call. */
const isTraffic = ({ event }: LogFields): boolean => TRAFFIC.has(event);

/** Escapes control characters, with which a client could forge lines. */
const shown = (value: unknown): string => {
  const text = textOf(value);
  return /^[\w./:@%+-]+$/.test(text) ? text : JSON.stringify(text.slice(0, 2000));
};

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return describeError(value, String);
  // Undefined for functions and for undefined, which the declared type does not say.
  const json = JSON.stringify(value) as string | undefined;
  return json ?? 'undefined';
}

/** {@link terminalLog} with a bounded rate. A line with a correlation id is written: a caller has been told of it. */
export const stackLog = (least: Severity, write: (line: string) => void): BoundedLog =>
  boundedLog({
    log: terminalLog(least, write),
    clock: systemClock,
    isRecord: (fields) => isTraffic(fields) || fields.correlationId !== undefined,
  });

export function terminalLog(least: Severity, write: (line: string) => void): Log {
  const line =
    (severity: Severity) =>
    (message: string, fields: LogFields = {}): void => {
      const level = severity === 'info' && isTraffic(fields) ? 'debug' : severity;
      if (SEVERITIES.indexOf(level) < SEVERITIES.indexOf(least)) return;
      const details = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => ` ${name}=${shown(value)}`)
        .join('');
      write(`${new Date().toISOString()} ${severity.padEnd(5)} ${message}${details}\n`);
    };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

/** Log lines of the local stack: a line of text for a person at a terminal. */
import { boundedLog, describeError, systemClock, type BoundedLog, type Log, type LogFields } from '@cmbs/shared';

export const SEVERITIES = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** One line per request and delivery is for a log that is searched, not for one that is read. */
const isTraffic = ({ event }: LogFields): boolean => event === 'request' || event === 'delivery';

/** Control characters in values would let a client write lines of its own. */
const shown = (value: unknown): string => {
  const text = textOf(value);
  return /^[\w./:@%+-]+$/.test(text) ? text : JSON.stringify(text.slice(0, 2000));
};

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return describeError(value, String);
  // The declared type leaves out that undefined and functions have no JSON.
  const json = JSON.stringify(value) as string | undefined;
  return json ?? 'undefined';
}

/** The log of a stack at the terminal: as {@link terminalLog}, and bounded. */
export const stackLog = (least: Severity, write: (line: string) => void): BoundedLog =>
  boundedLog({ log: terminalLog(least, write), clock: systemClock, isRecord: isTraffic });

export function terminalLog(least: Severity, write: (line: string) => void): Log {
  const line =
    (severity: Severity) =>
    (message: string, fields: LogFields = {}): void => {
      const level = isTraffic(fields) ? 'debug' : severity;
      if (SEVERITIES.indexOf(level) < SEVERITIES.indexOf(least)) return;
      const details = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => ` ${name}=${shown(value)}`)
        .join('');
      write(`${new Date().toISOString()} ${severity.padEnd(5)} ${message}${details}\n`);
    };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

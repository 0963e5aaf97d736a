/**
 * Log lines in the cloud: one JSON object on each line, with the fields that Cloud Logging reads from standard output
 * (https://cloud.google.com/logging/docs/structured-logging).
 */
import { boundedLog, type BoundedLog } from './bounded-log';
import { systemClock } from './clock';
import { describeError } from './errors';
import type { Log, LogFields } from './log';
import { traceIds } from './trace';

const SEVERITIES = { debug: 'DEBUG', info: 'INFO', warn: 'WARNING', error: 'ERROR' } as const;
const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LEVELS)[number];

/** Characters of one value: enough for the stack of an error. */
const MAX_VALUE_LENGTH = 8192;

export interface StructuredLogOptions {
  readonly write: (line: string) => void;
  readonly least: LogLevel;
  /** Project of Cloud Trace; without a project a line has the id of the trace alone. */
  readonly project?: string;
  /** Labels of every line. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** Writes each line as JSON; lines below `least` are omitted. */
export function structuredLog({ write, least, project, labels }: StructuredLogOptions): Log {
  const line =
    (level: keyof typeof SEVERITIES) =>
    (message: string, fields: LogFields = {}): void => {
      if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
      const { trace, ...others } = fields;
      write(
        `${JSON.stringify({
          ...Object.fromEntries(Object.entries(others).map(([name, value]) => [name, plain(value)])),
          severity: SEVERITIES[level],
          message,
          time: new Date().toISOString(),
          ...traceFields(trace, project),
          ...(labels === undefined ? {} : { 'logging.googleapis.com/labels': labels }),
        })}\n`,
      );
    };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

/**
 * The log of a program in the cloud: a {@link structuredLog} that clients cannot flood. All lines with an `event` are
 * written, because metrics count them, and all with a correlation id, because a caller has been told of them.
 */
export const cloudLog = (options: StructuredLogOptions): BoundedLog =>
  boundedLog({
    log: structuredLog(options),
    clock: systemClock,
    isRecord: ({ event, correlationId }) => event !== undefined || correlationId !== undefined,
  });

function traceFields(trace: unknown, project: string | undefined): Readonly<Record<string, unknown>> {
  const ids = typeof trace === 'string' ? traceIds(trace) : undefined;
  if (ids === undefined) return {};
  return {
    'logging.googleapis.com/trace':
      project === undefined ? ids.traceId : `projects/${project}/traces/${ids.traceId}`,
    'logging.googleapis.com/spanId': ids.spanId,
    'logging.googleapis.com/trace_sampled': ids.isSampled,
  };
}

/** `JSON.stringify` would write an error as `{}`. */
function plain(value: unknown): unknown {
  const text = value instanceof Error ? describeError(value) : value;
  return typeof text === 'string' && text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH)}…` : text;
}

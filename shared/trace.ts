/**
 * Traces (W3C Trace Context): the context of a request goes with its messages, over sockets and topics, to the receiver.
 * Spans go to the SDK that the program has registered with `@opentelemetry/api`. Without an SDK nothing is recorded, and
 * the context is passed on unchanged.
 */
import {
  context,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type SpanContext,
} from '@opentelemetry/api';
import { VERSION } from './version';

/** Value of the header `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`. */
export type Traceparent = string;

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;

/** The value if it is valid. A malformed value is ignored (Trace Context §3.2). */
export function parseTraceparent(text: string | undefined): Traceparent | undefined {
  return text !== undefined && TRACEPARENT.test(text) ? text : undefined;
}

/** The parts of a {@link Traceparent}. */
export interface TraceIds {
  readonly traceId: string;
  readonly spanId: string;
  readonly isSampled: boolean;
}

/** Splits a traceparent; undefined for text that is not valid. */
export function traceIds(traceparent: Traceparent | undefined): TraceIds | undefined {
  const [, traceId, spanId, flags = ''] = TRACEPARENT.exec(traceparent ?? '') ?? [];
  if (traceId === undefined || spanId === undefined) return undefined;
  return { traceId, spanId, isSampled: (parseInt(flags, 16) & 1) === 1 };
}

const KINDS = {
  server: SpanKind.SERVER,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const;

export interface SpanOptions {
  readonly name: string;
  readonly kind: keyof typeof KINDS;
  readonly parent: Traceparent | undefined;
  readonly attributes?: Attributes;
}

const tracer = trace.getTracer('cmbs', VERSION);

/** Runs `work` in a span, with the context to pass on: that of the span, or of the parent where nothing is recorded. */
export async function inSpan<T>(
  { name, kind, parent, attributes = {} }: SpanOptions,
  work: (traceparent: Traceparent | undefined) => Promise<T>,
): Promise<T> {
  const ids = traceIds(parent);
  const remote: SpanContext | undefined =
    ids === undefined
      ? undefined
      : { traceId: ids.traceId, spanId: ids.spanId, traceFlags: ids.isSampled ? 1 : 0, isRemote: true };
  const around = remote === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote);
  const span = tracer.startSpan(name, { kind: KINDS[kind], attributes }, around);
  if (!span.isRecording()) return work(parent);
  const { traceId, spanId, traceFlags } = span.spanContext();
  const own = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
  try {
    return await context.with(trace.setSpan(around, span), () => work(own));
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR });
    throw error;
  } finally {
    span.end();
  }
}

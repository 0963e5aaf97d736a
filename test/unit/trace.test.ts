import { context, propagation, trace, type Span, type SpanContext, type TracerProvider } from '@opentelemetry/api';
import { inSpan, parseTraceparent, traceIds } from '@cmbs/shared/trace';

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const PARENT = `00-${TRACE_ID}-b7ad6b7169203331-01`;

describe('a traceparent', () => {
  it.each([PARENT, `00-${TRACE_ID}-b7ad6b7169203331-00`, `01-${TRACE_ID}-b7ad6b7169203331-01`])(
    'may be %s',
    (text) => {
      expect(parseTraceparent(text)).toBe(text);
    },
  );

  it.each([
    undefined,
    '',
    `ff-${TRACE_ID}-b7ad6b7169203331-01`,
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    `00-${TRACE_ID}-${'0'.repeat(16)}-01`,
    `00-${TRACE_ID.toUpperCase()}-b7ad6b7169203331-01`,
    `00-${TRACE_ID}-b7ad6b7169203331`,
    `${PARENT}\n`,
    `${PARENT}${'-x'.repeat(100_000)}`,
  ])('is ignored when it is not well-formed (%#)', (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });

  it('is split into its parts', () => {
    expect(traceIds(PARENT)).toEqual({ traceId: TRACE_ID, spanId: 'b7ad6b7169203331', isSampled: true });
  });
});

describe('work in a span', () => {
  it('passes the context on unchanged when nothing records spans', async () => {
    expect(await inSpan({ name: 'w', kind: 'server', parent: PARENT }, (own) => Promise.resolve(own))).toBe(
      PARENT,
    );
    expect(await inSpan({ name: 'w', kind: 'server', parent: undefined }, (own) => Promise.resolve(own))).toBe(
      undefined,
    );
  });

  describe('with an SDK', () => {
    const ended: string[] = [];
    /** The minimum of an SDK: spans with their own ids in the trace of their parent. */
    const sdk: TracerProvider = {
      getTracer: () => ({
        startActiveSpan: () => {
          throw new Error('not used');
        },
        startSpan: (name, _options, around) => {
          const parent = around === undefined ? undefined : trace.getSpanContext(around);
          const own: SpanContext = {
            traceId: parent?.traceId ?? 'f'.repeat(32),
            spanId: '1234567890abcdef',
            traceFlags: 1,
          };
          const inert = trace.wrapSpanContext(own);
          const span: Span = Object.assign(Object.create(inert) as Span, {
            isRecording: () => true,
            setStatus: ({ code }: { code: number }) => {
              ended.push(`${name} has status ${code}`);
              return span;
            },
            end: () => void ended.push(`${name} of ${parent?.spanId ?? 'nobody'}`),
          });
          return span;
        },
      }),
    };
    beforeAll(() => trace.setGlobalTracerProvider(sdk));
    beforeEach(() => void ended.splice(0));
    afterAll(() => {
      trace.disable();
      context.disable();
      propagation.disable();
    });

    it('is recorded under its parent, and passes on the context of the span', async () => {
      const own = await inSpan({ name: 'w', kind: 'consumer', parent: PARENT }, (it) => Promise.resolve(it));
      expect(own).toBe(`00-${TRACE_ID}-1234567890abcdef-01`);
      expect(ended).toEqual(['w of b7ad6b7169203331']);
    });

    it('marks its span as failed when the work fails', async () => {
      const failing = inSpan({ name: 'w', kind: 'producer', parent: undefined }, () =>
        Promise.reject(new Error('no')),
      );
      await expect(failing).rejects.toThrow('no');
      expect(ended).toEqual(['w has status 2', 'w of nobody']);
    });
  });
});

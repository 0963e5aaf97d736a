/** Arbitrary objects of devices, as wide as a format can carry them. */
import { type Draft, type Element, ELEMENT_NAMES, type Status, STATUSES } from '@cmbs/shared/devices';
import fc from '../../property';

const DAY_NS = 86_400_000_000_000n;
const I64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

/** What a format cannot carry is left out of the objects. */
export interface Carried {
  /** Texts that the format has. */
  readonly text: fc.Arbitrary<string>;
  /** Whether times keep the offset with which they are written. */
  readonly offsets: boolean;
  /** Nanoseconds since 1970 of the absolute times that the format has. */
  readonly times: { readonly min: bigint; readonly max: bigint };
  readonly location: boolean;
}

/** Texts without characters that XML does not allow. */
export const XML_TEXT = fc
  .string({ unit: 'binary', maxLength: 12 })
  .map((text) => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/gu, ''));
/** Any text of JavaScript, with halves of pairs. */
export const ANY_TEXT = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('\0', '\ud800', '"\\', '__proto__', '\u2028', ' a\tb\r\nc ', ']]>', '&amp;'),
);
export const ASCII_TEXT = fc
  .string({ unit: 'binary-ascii', maxLength: 12 })
  .map((text) => text.replaceAll('\0', ''));
export const UTF8_TEXT = fc.string({ unit: 'binary', maxLength: 12 }).map((text) => text.replaceAll('\0', ''));

/** The years 0001 to 9998, so that no offset leaves the years of a time. */
export const ALL_TIMES = { min: -719_162n * DAY_NS, max: 2_932_531n * DAY_NS };
/** 292 years around 2000. */
const EPOCH = 946_684_800_000_000_000n;
export const BINARY_TIMES = { min: I64.min + EPOCH, max: I64.max + EPOCH };

export const XML: Carried = { text: XML_TEXT, offsets: true, times: ALL_TIMES, location: true };
export const JSONML: Carried = { text: ANY_TEXT, offsets: true, times: ALL_TIMES, location: true };
export const BINARY: Carried = { text: ASCII_TEXT, offsets: false, times: BINARY_TIMES, location: false };
export const BINARY_UTF8: Carried = { ...BINARY, text: UTF8_TEXT };

const contract = fc.constantFrom('obix:int', 'iot:Pump', 'obix:Watch', 'obix:History', 'obix:HistoryRecord', 'x');
const contracts = fc.array(contract, { minLength: 1, maxLength: 3 });
const seconds = (nanoseconds: bigint): bigint => nanoseconds - (nanoseconds % 1_000_000_000n);
/** Whole seconds about as often as nanoseconds. */
const someTime = (range: { min: bigint; max: bigint }): fc.Arbitrary<bigint> =>
  fc.tuple(fc.bigInt(range), fc.boolean()).map(([value, isWhole]) => (isWhole ? seconds(value) : value));

function valuesOf({ text, offsets, times }: Carried): Readonly<Record<string, fc.Arbitrary<unknown>>> {
  const offset = offsets ? fc.integer({ min: -840, max: 840 }) : fc.constant(0);
  const zone: fc.Arbitrary<object> = offsets ? fc.oneof(fc.constant({}), fc.record({ offset })) : fc.constant({});
  const zoned = (value: fc.Arbitrary<object>): fc.Arbitrary<object> =>
    fc.tuple(value, zone).map(([facets, zoneOf]) => ({ ...facets, ...zoneOf }));
  return {
    boolean: fc.boolean(),
    integer: fc.oneof(fc.bigInt(I64), fc.bigInt({ min: -300n, max: 70_000n }), fc.constantFrom(I64.min, I64.max)),
    real: fc.double(),
    text,
    absoluteTime: fc.record({ nanoseconds: someTime(times), offset }),
    relativeTime: someTime(I64),
    date: zoned(
      fc.record({
        year: fc.integer({ min: 0, max: 9999 }),
        month: fc.integer({ min: 1, max: 12 }),
        day: fc.integer({ min: 1, max: 28 }),
      }),
    ),
    time: zoned(fc.record({ nanoseconds: someTime({ min: 0n, max: DAY_NS - 1n }) })),
    count: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    contracts,
  };
}

/** The types of values and facets, written again from oBIX 1.1 so that a wrong table is noticed. */
const TYPES: Readonly<Record<Element, Readonly<Record<string, string>>>> = {
  obj: {},
  bool: { value: 'boolean', range: 'text' },
  int: { value: 'integer', min: 'integer', max: 'integer', unit: 'text' },
  real: { value: 'real', min: 'real', max: 'real', unit: 'text', precision: 'count' },
  str: { value: 'text', min: 'count', max: 'count' },
  enum: { value: 'text', range: 'text' },
  uri: { value: 'text' },
  abstime: { value: 'absoluteTime', min: 'absoluteTime', max: 'absoluteTime', tz: 'text' },
  reltime: { value: 'relativeTime', min: 'relativeTime', max: 'relativeTime' },
  date: { value: 'date', min: 'date', max: 'date', tz: 'text' },
  time: { value: 'time', min: 'time', max: 'time', tz: 'text' },
  list: { of: 'contracts', min: 'count', max: 'count' },
  op: { in: 'contracts', out: 'contracts' },
  feed: { in: 'contracts', of: 'contracts' },
  ref: {},
  err: {},
};

/** Drafts of objects of one element, with any facets, without children. */
export function leaf(element: Element, carried: Carried): fc.Arbitrary<Draft> {
  const values = valuesOf(carried);
  const text = values.text!;
  const own = Object.fromEntries(Object.entries(TYPES[element]).map(([facet, type]) => [facet, values[type]!]));
  return fc.record(
    {
      element: fc.constant(element),
      name: text,
      href: text,
      is: fc.array(contract, { maxLength: 2 }),
      display: text,
      displayName: text,
      icon: text,
      ...(carried.location ? { location: text } : {}),
      status: fc.constantFrom<Status>(...STATUSES),
      isNull: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
      writable: fc.boolean(),
      ...own,
    },
    { requiredKeys: ['element'] },
  ) as fc.Arbitrary<unknown> as fc.Arbitrary<Draft>;
}

/** Drafts of trees. */
export function tree(carried: Carried): fc.Arbitrary<Draft> {
  const leaves = fc.oneof(...ELEMENT_NAMES.map((element) => leaf(element, carried)));
  return fc.letrec<{ node: Draft }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'small', maxDepth: 4 },
      leaves,
      fc
        .tuple(leaves, fc.array(tie('node'), { maxLength: 4 }))
        .map(([draft, children]): Draft => ({ ...draft, children })),
    ),
  })).node;
}

const linkText = fc.string({ unit: 'grapheme', maxLength: 12 });
const token = fc.stringMatching(/^[a-z0-9.:-]{1,8}$/);

/** Drafts of lists of links. */
export const links: fc.Arbitrary<Draft> = fc
  .array(
    fc.record(
      {
        href: fc.stringMatching(/^[a-z0-9/._~%:?#[\]@!$&'()*+,;=-]{0,12}$/),
        is: fc.array(token, { maxLength: 3 }),
        displayName: linkText,
        children: fc.uniqueArray(
          fc.oneof(
            fc.record({ element: fc.constant('bool' as const), name: token2(), value: fc.constant(true) }),
            fc.record({ element: fc.constant('str' as const), name: token2(), value: linkText }),
            fc.record({ element: fc.constant('str' as const), name: fc.constant('sz'), value: token }),
          ),
          { maxLength: 4, selector: ({ name }) => name },
        ),
      },
      { requiredKeys: ['href'] },
    ),
    { maxLength: 4 },
  )
  .map((refs): Draft => ({
    element: 'list',
    of: ['obix:ref'],
    children: refs.map((ref): Draft => ({ element: 'ref', ...ref })),
  }));

/** Names of attributes of links that are written in quotes. */
function token2(): fc.Arbitrary<string> {
  return fc.oneof(fc.constantFrom('if', 'ct', 'anchor', 'rel', 'obs'), fc.stringMatching(/^x[a-z0-9-]{1,5}$/));
}

const senmlName = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9:./_-]{0,12}$/);
const unit = fc.constantFrom('senml:units/Cel', 'senml:units/%RH', 'senml:units/');
const real = fc.double({ noDefaultInfinity: true, noNaN: true });
/** Integers of which a double would lose digits: the others come back as reals. */
const large = fc.bigInt(I64).filter((value) => String(Number(value)) !== String(value));

/** Drafts of packs. @param stepNs the precision of the times */
export function packs(stepNs: bigint): fc.Arbitrary<Draft> {
  // From 1978, when times become absolute, to 2242.
  const absolute = fc.bigInt({ min: 2n ** 28n * 1_000_000_000n, max: 2n ** 33n * 1_000_000_000n });
  const relative = fc.bigInt({ min: -(2n ** 57n), max: 2n ** 57n });
  const stepped = (value: fc.Arbitrary<bigint>): fc.Arbitrary<bigint> => value.map((ns) => ns - (ns % stepNs));
  const time = fc.oneof(
    stepped(absolute).map((nanoseconds): Draft => ({
      element: 'abstime',
      name: 'time',
      value: { nanoseconds, offset: 0 },
    })),
    stepped(relative)
      .filter((value) => value !== 0n)
      .map((value): Draft => ({ element: 'reltime', name: 'time', value })),
  );
  const update = stepped(relative).map((value): Draft => ({ element: 'reltime', name: 'update', value }));
  const sum = real.map((value): Draft => ({ element: 'real', name: 'sum', value }));
  const extras = (...all: fc.Arbitrary<Draft>[]): fc.Arbitrary<Draft[]> =>
    fc
      .tuple(...all.map((one) => fc.option(one, { nil: undefined })))
      .map((children) => children.filter((one) => one !== undefined));
  const unitChild = unit.map((value): Draft => ({ element: 'str', name: 'unit', value }));
  const numbers = fc.oneof(
    real.map((value) => ({ element: 'real' as const, value })),
    large.map((value) => ({ element: 'int' as const, value })),
  );
  const others = fc.oneof(
    fc.string({ unit: 'grapheme' }).map((value) => ({ element: 'str' as const, value })),
    fc.boolean().map((value) => ({ element: 'bool' as const, value })),
    fc.uint8Array().map((bytes) => ({
      element: 'str' as const,
      is: ['senml:data'],
      value: Buffer.from(bytes).toString('base64url'),
    })),
  );
  const record = fc.oneof(
    fc
      .tuple(numbers, senmlName, fc.option(unit), extras(time, update, sum))
      .map(([value, name, u, children]): Draft => ({
        ...value,
        name,
        ...(u === null ? {} : { unit: u }),
        children,
      })),
    fc
      .tuple(others, senmlName, extras(time, update, sum, unitChild))
      .map(([value, name, children]): Draft => ({ ...value, name, children })),
    fc.tuple(senmlName, extras(time, update), sum).map(([name, children, total]): Draft => ({
      element: 'real',
      name,
      isNull: true,
      children: [...children, total],
    })),
  );
  return fc.array(record, { maxLength: 5 }).map((children): Draft => ({ element: 'list', children }));
}

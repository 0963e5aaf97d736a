/** Objects of devices: values, classes, trees, hrefs, and what a newer state replaces. */
import {
  absoluteHrefs,
  type AbsoluteTime,
  absoluteTimeText,
  child,
  childrenOf,
  CLASS_OF_ELEMENT,
  CONTRACTS,
  dateText,
  descendant,
  DeviceObjectError,
  DeviceObjects,
  type Draft,
  type Element,
  ELEMENT_NAMES,
  errorText,
  everyObject,
  MAX_TREE_DEPTH,
  MAX_TREE_OBJECTS,
  parseAbsoluteTime,
  parseDate,
  parseRelativeTime,
  parseTimeOfDay,
  relativeTimeText,
  resolveHref,
  timeOfDayText,
} from '@cmbs/shared/devices';
import fc from '../../property';
import { leaf, tree, XML } from './trees';

const objects = new DeviceObjects();
const nsOf = (iso: string): bigint => BigInt(Date.parse(iso)) * 1_000_000n;

describe('a time with zone', () => {
  it.each<[text: string, utc: string, offset: number, written?: string]>([
    ['2013-03-31T15:37:22.076+02:00', '2013-03-31T13:37:22.076Z', 120],
    ['1970-01-01T01:00:00.000+01:00', '1970-01-01T00:00:00Z', 60],
    ['2000-01-01T00:00:10Z', '2000-01-01T00:00:10Z', 0, '2000-01-01T00:00:10.000Z'],
    ['1969-12-31T23:59:59.999-14:00', '1970-01-01T13:59:59.999Z', -840],
    ['2024-02-29T12:00:00.5+05:30', '2024-02-29T06:30:00.5Z', 330, '2024-02-29T12:00:00.500+05:30'],
    ['2013-12-31T24:00:00Z', '2014-01-01T00:00:00Z', 0, '2014-01-01T00:00:00.000Z'],
    ['2016-12-31T23:59:60Z', '2017-01-01T00:00:00Z', 0, '2017-01-01T00:00:00.000Z'],
    ['2000-01-01T00:00:00+00:00', '2000-01-01T00:00:00Z', 0, '2000-01-01T00:00:00.000Z'],
  ])('%s', (text, utc, offset, written = text) => {
    const time = parseAbsoluteTime(text);
    expect(time).toEqual({ nanoseconds: nsOf(utc), offset });
    expect(absoluteTimeText(time)).toBe(written);
  });

  it('has nanoseconds', () => {
    const time = parseAbsoluteTime('2000-01-01T00:00:00.123456789Z');
    expect(time.nanoseconds % 1_000_000_000n).toBe(123_456_789n);
    expect(absoluteTimeText(time)).toBe('2000-01-01T00:00:00.123456789Z');
    expect(parseAbsoluteTime('2000-01-01T00:00:00.1234567890000Z')).toEqual(time);
  });

  it('is the day that Date has, on any day', () => {
    fc.assert(
      fc.property(
        fc.date({
          min: new Date('0000-01-01T00:00:00Z'),
          max: new Date('9999-12-31T23:59:59Z'),
          noInvalidDate: true,
        }),
        (date) => {
          const time: AbsoluteTime = { nanoseconds: BigInt(date.getTime()) * 1_000_000n, offset: 0 };
          expect(absoluteTimeText(time)).toBe(date.toISOString());
          expect(parseAbsoluteTime(date.toISOString())).toEqual(time);
        },
      ),
    );
  });

  it.each([
    '2013-03-31T15:37:22',
    '2013-03-31T15:37:22.076+15:00',
    '2013-03-31T15:37:22+02:60',
    '2013-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '2013-13-01T00:00:00Z',
    '2013-00-01T00:00:00Z',
    '2013-01-32T00:00:00Z',
    '2013-01-01T24:00:01Z',
    '2013-01-01T25:00:00Z',
    '2013-01-01T00:60:00Z',
    '2013-01-01T12:00:60Z',
    '2013-01-01T00:00:00.1234567891Z',
    '9999-12-31T24:00:00Z',
    '-2013-01-01T00:00:00Z',
    '12013-01-01T00:00:00Z',
    '2013-01-01 00:00:00Z',
    '',
  ])('is not %s', (text) => expect(() => parseAbsoluteTime(text)).toThrow(DeviceObjectError));
});

describe('a date, a time of day, a relative time', () => {
  it.each([
    ['2013-09-13', { year: 2013, month: 9, day: 13 }],
    // A client of the original wrote the day of the year here.
    ['2013-12-31+02:00', { year: 2013, month: 12, day: 31, offset: 120 }],
    ['0000-02-29Z', { year: 0, month: 2, day: 29, offset: 0 }],
  ])('%s', (text, date) => {
    expect(parseDate(text)).toEqual(date);
    expect(dateText(date)).toBe(text);
  });

  it.each<[string, bigint, number | undefined]>([
    ['13:30:15', 48_615_000_000_000n, undefined],
    ['00:00:00.000000001Z', 1n, 0],
    ['23:59:59.5-01:30', 86_399_500_000_000n, -90],
  ])('%s', (text, nanoseconds, offset) => {
    const time = offset === undefined ? { nanoseconds } : { nanoseconds, offset };
    expect(parseTimeOfDay(text)).toEqual(time);
    expect(parseTimeOfDay(timeOfDayText(time))).toEqual(time);
  });

  it.each<[string, bigint, string]>([
    ['PT60S', 60_000_000_000n, 'PT60S'],
    ['PT1M0.5S', 60_500_000_000n, 'PT60.5S'],
    ['P1DT2H3M4S', 93_784_000_000_000n, 'PT93784S'],
    ['-PT0.000000001S', -1n, '-PT0.000000001S'],
    ['P0Y0M0DT0H0M1.000S', 1_000_000_000n, 'PT1S'],
    ['PT0S', 0n, 'PT0S'],
    ['PT9223372036.854775807S', 2n ** 63n - 1n, 'PT9223372036.854775807S'],
    ['-PT9223372036.854775808S', -(2n ** 63n), '-PT9223372036.854775808S'],
  ])('%s', (text, nanoseconds, written) => {
    expect(parseRelativeTime(text)).toBe(nanoseconds);
    expect(relativeTimeText(nanoseconds)).toBe(written);
  });

  it.each([
    'P',
    'PT',
    'P1DT',
    'P1Y',
    'P1M',
    'PT1',
    '1S',
    'PT-1S',
    'PT1.5M',
    'PT9223372036.854775808S',
    `PT${'9'.repeat(100_000)}S`,
  ])('is not %.30s', (text) => expect(() => parseRelativeTime(text)).toThrow(DeviceObjectError));

  it.each(['2013-9-13', '2013-02-30', '2013-09-13+14:01', 'x'])('is not the date %s', (text) =>
    expect(() => parseDate(text)).toThrow(DeviceObjectError),
  );
  it.each(['24:00:01', '1:00:00', '12:00:60', '12:00', ''])('is not the time %s', (text) =>
    expect(() => parseTimeOfDay(text)).toThrow(DeviceObjectError),
  );
});

describe('an object', () => {
  it('is of the class of its element', () => {
    for (const element of ELEMENT_NAMES) expect(objects.make({ element }).class).toBe(CLASS_OF_ELEMENT[element]);
  });

  it('has 30 classes', () => {
    const names = new Set<string>([...Object.values(CLASS_OF_ELEMENT), ...Object.keys(CONTRACTS)]);
    expect(names.size).toBe(30);
  });

  it.each<[element: Element, value: unknown]>([
    ['bool', false],
    ['int', 0n],
    ['real', 0],
    ['str', ''],
    ['uri', ''],
    ['reltime', 0n],
    ['enum', ''],
  ])('of the element %s has a value when none is given', (element, value) => {
    expect(objects.make({ element })).toMatchObject({ isNull: false, value });
  });

  it.each<Element>(['abstime', 'date', 'time'])('of the element %s is null when no value is given', (element) => {
    const object = objects.make({ element });
    expect(object.isNull).toBe(true);
    expect(object).not.toHaveProperty('value');
  });

  it('has no value when it is null', () => {
    const object = objects.make({ element: 'int', value: 5n, isNull: true });
    expect(object).not.toHaveProperty('value');
  });

  it('has no limits that say nothing', () => {
    const limits = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
    expect(objects.make({ element: 'int', ...limits })).toEqual(objects.make({ element: 'int' }));
    expect(objects.make({ element: 'str', min: 0, max: 2 ** 31 - 1 })).toEqual(objects.make({ element: 'str' }));
    expect(objects.make({ element: 'real', min: -Infinity, max: Infinity })).toEqual(
      objects.make({ element: 'real' }),
    );
  });

  it('cannot be changed', () => {
    const object = objects.make({
      element: 'obj',
      is: ['obix:Watch'],
      children: [{ element: 'abstime', value: parseAbsoluteTime('2000-01-01T00:00:00Z') }],
    });
    const frozen = [...everyObject(object)].flatMap((one): unknown[] => [
      one,
      ...(Object.values(one) as unknown[]),
    ]);
    for (const part of frozen)
      if (typeof part === 'object' && part !== null) expect(Object.isFrozen(part)).toBe(true);
  });

  it.each<[why: string, draft: unknown]>([
    ['an integer of 65 bits', { element: 'int', value: 2n ** 63n }],
    ['an integer that is a number', { element: 'int', value: 1 }],
    ['a relative time of 65 bits', { element: 'reltime', value: -(2n ** 63n) - 1n }],
    ['a minimum of another type', { element: 'real', min: 1n }],
    ['a negative length', { element: 'str', min: -1 }],
    ['a text that is a number', { element: 'str', value: 1 }],
    ['a status that does not exist', { element: 'obj', status: 'broken' }],
    ['a contract with a space', { element: 'obj', is: ['a b'] }],
    ['an empty contract', { element: 'op', in: [''] }],
    ['a day that does not exist', { element: 'date', value: { year: 2013, month: 2, day: 29 } }],
    ['an offset of a fraction', { element: 'abstime', value: { nanoseconds: 0n, offset: 0.5 } }],
    ['a name that is a number', { element: 'obj', name: 1 }],
    ['an element that is not registered', { element: 'obj', tag: 'gauge' }],
  ])('cannot have %s', (_why, draft) => expect(() => objects.make(draft as Draft)).toThrow(DeviceObjectError));

  it('may be nested 64 deep, and no deeper', () => {
    const nested = (depth: number): Draft =>
      depth === 1 ? { element: 'obj' } : { element: 'obj', children: [nested(depth - 1)] };
    expect([...everyObject(objects.make(nested(MAX_TREE_DEPTH)))]).toHaveLength(MAX_TREE_DEPTH);
    expect(() => objects.make(nested(MAX_TREE_DEPTH + 1))).toThrow(/64 levels/);
    expect(() => objects.make(nested(2000))).toThrow(DeviceObjectError);
  });

  it('may have 100,000 objects in its tree, and no more', () => {
    const wide = (count: number): Draft => ({
      element: 'obj',
      children: Array.from({ length: count - 1 }, () => ({ element: 'obj' })),
    });
    expect(objects.make(wide(MAX_TREE_OBJECTS)).children).toHaveLength(MAX_TREE_OBJECTS - 1);
    expect(() => objects.make(wide(MAX_TREE_OBJECTS + 1))).toThrow(/100000 objects/);
  });
});

describe('the class of an object', () => {
  it.each<[why: string, draft: Draft, expected: string]>([
    ['a reference, whatever its contract', { element: 'ref', is: ['obix:History'] }, 'reference'],
    ['that of the contract', { element: 'obj', is: ['obix:Watch'] }, 'watch'],
    [
      'that of the last contract that is known',
      { element: 'obj', is: ['obix:Watch', 'obix:History', 'iot:X'] },
      'history',
    ],
    ['that of the element where no contract is known', { element: 'real', is: ['iot:X'] }, 'real'],
    [
      'that of the element where the contract is for another one',
      { element: 'int', is: ['obix:Watch'] },
      'integer',
    ],
    ['an error, whatever its contract', { element: 'err', is: ['obix:BadUriErr'] }, 'error'],
  ])('is %s', (_why, draft, expected) => expect(objects.make(draft).class).toBe(expected));

  it('is that of the list for items that do not say more', () => {
    const items: readonly Draft[] = [
      { element: 'obj' },
      { element: 'obj', is: ['iot:X'] },
      { element: 'obj', is: ['obix:Watch'] },
      { element: 'err' },
      { element: 'ref' },
    ];
    const of = ['iot:X', 'obix:HistoryRecord'];
    for (const element of ['list', 'feed'] as const) {
      expect(objects.make({ element, of, children: items }).children.map((item) => item.class)).toEqual([
        'historyRecord',
        'historyRecord',
        'watch',
        'error',
        'reference',
      ]);
    }
    // It does not reach the children of the items.
    const nested: Draft = { element: 'list', of, children: [{ element: 'obj', children: [{ element: 'obj' }] }] };
    expect(objects.make(nested).children[0]?.children[0]?.class).toBe('object');
  });
});

describe('the fields of a contract', () => {
  const start = parseAbsoluteTime('2013-03-31T15:37:22.076+02:00');
  const end = parseAbsoluteTime('2013-03-31T15:38:22.076+02:00');
  const extent: readonly Draft[] = [
    { element: 'int', name: 'count', value: 2n },
    { element: 'abstime', name: 'start', value: start },
    { element: 'abstime', name: 'end', value: end },
  ];

  it('of a watch are its lease and its operations', () => {
    const watch = objects.make({
      element: 'obj',
      is: ['obix:Watch'],
      children: [
        { element: 'reltime', name: 'lease', value: 60_000_000_000n, writable: true },
        { element: 'op', name: 'add', href: '/watch1/add' },
        { element: 'op', name: 'pollChanges', href: '/watch1/pollChanges' },
        { element: 'op', name: 'nowhere' },
      ],
    });
    if (watch.class !== 'watch') throw new Error(watch.class);
    expect(watch.fields).toEqual({
      lease: 60_000_000_000n,
      operations: { add: '/watch1/add', pollChanges: '/watch1/pollChanges' },
    });
  });

  it('of the argument of a watch are the hrefs, with their filters', () => {
    const filter: Draft = {
      element: 'obj',
      is: ['obix:HistoryFilter'],
      children: [{ element: 'int', name: 'limit', value: 2n }],
    };
    const watchIn = objects.make({
      element: 'obj',
      is: ['obix:WatchIn'],
      children: [
        {
          element: 'list',
          name: 'hrefs',
          of: ['obix:WatchInItem'],
          children: [
            { element: 'uri', value: '/light/value' },
            { element: 'uri', value: '/feed', children: [filter] },
          ],
        },
      ],
    });
    if (watchIn.class !== 'watchIn') throw new Error(watchIn.class);
    expect(watchIn.fields.items).toEqual([
      { target: '/light/value' },
      {
        target: '/feed',
        in: expect.objectContaining({ class: 'historyFilter', fields: { limit: 2n } }) as unknown,
      },
    ]);
    expect(watchIn.children[0]?.children.map((item) => item.class)).toEqual(['watchInItem', 'watchInItem']);
  });

  it('of the answer of a watch are the objects of its list, also without name', () => {
    const values: readonly Draft[] = [
      { element: 'bool', href: '/light/value', value: true },
      { element: 'err', href: '/nope' },
    ];
    for (const name of ['values', undefined]) {
      const list: Draft = { element: 'list', ...(name === undefined ? {} : { name }), children: values };
      const watchOut = objects.make({ element: 'obj', is: ['obix:WatchOut'], children: [list] });
      if (watchOut.class !== 'watchOut') throw new Error(watchOut.class);
      expect(watchOut.fields.values.map(({ href }) => href)).toEqual(['/light/value', '/nope']);
    }
  });

  it('of a history are its extent, its feed and its operations', () => {
    const history = objects.make({
      element: 'obj',
      is: ['obix:History'],
      children: [
        ...extent,
        { element: 'str', name: 'tz', value: 'Europe/Vienna' },
        { element: 'feed', name: 'feed', href: 'feed', in: ['obix:HistoryFilter'], of: ['obix:HistoryRecord'] },
        { element: 'op', name: 'query', href: 'query' },
      ],
    });
    if (history.class !== 'history') throw new Error(history.class);
    expect(history.fields).toEqual({
      count: 2n,
      start,
      end,
      tz: 'Europe/Vienna',
      feed: 'feed',
      operations: { query: 'query' },
    });
  });

  it('of an empty history have no start and no end', () => {
    const children: readonly Draft[] = [
      { element: 'int', name: 'count' },
      { element: 'abstime', name: 'start', isNull: true },
    ];
    const history = objects.make({ element: 'obj', is: ['obix:History'], children });
    if (history.class !== 'history') throw new Error(history.class);
    expect(history.fields).toEqual({ count: 0n, operations: {} });
  });

  it('of a record are its time and its value, with names and without', () => {
    const named: readonly Draft[] = [
      { element: 'int', name: 'value', value: 20n },
      { element: 'abstime', name: 'timestamp', value: start },
    ];
    const unnamed: readonly Draft[] = [
      { element: 'abstime', value: start, tz: 'Europe/Vienna' },
      { element: 'int', value: 20n },
    ];
    for (const children of [named, unnamed]) {
      const out = objects.make({
        element: 'obj',
        is: ['obix:HistoryQueryOut'],
        children: [
          ...extent,
          { element: 'list', of: ['obix:HistoryRecord'], children: [{ element: 'obj', children }] },
        ],
      });
      if (out.class !== 'historyQueryOut') throw new Error(out.class);
      expect(out.fields).toMatchObject({
        count: 2n,
        start,
        end,
        records: [{ time: start, value: { value: 20n } }],
      });
      expect(out.children[3]?.children[0]).toMatchObject({ class: 'historyRecord', fields: { time: start } });
    }
  });

  it('of a rollup are its buckets, with integers and reals', () => {
    const record: Draft = {
      element: 'obj',
      children: [
        ...extent,
        { element: 'real', name: 'min', value: 1.5 },
        { element: 'int', name: 'max', value: 3n },
        { element: 'real', name: 'avg', value: 2 },
        { element: 'real', name: 'sum', value: 6 },
      ],
    };
    const out = objects.make({
      element: 'obj',
      is: ['obix:HistoryRollupOut'],
      children: [...extent, { element: 'list', of: ['obix:HistoryRollupRecord'], children: [record] }],
    });
    const fields = { count: 2n, start, end, min: 1.5, max: 3, avg: 2, sum: 6 };
    expect(out).toMatchObject({ class: 'historyRollupOut', fields: { count: 2n, records: [fields] } });
    expect(out.children[3]?.children[0]).toMatchObject({ class: 'historyRollupRecord', fields });
    const rollupIn = objects.make({
      element: 'obj',
      is: ['obix:HistoryRollupIn'],
      children: [...extent, { element: 'reltime', name: 'interval', value: 5n }],
    });
    expect(rollupIn).toMatchObject({ class: 'historyRollupIn', fields: { start, end, interval: 5n } });
  });

  it('of an append are the records, and what the history has then', () => {
    const record: Draft = { element: 'obj', children: [{ element: 'abstime', name: 'timestamp', value: start }] };
    expect(
      objects.make({
        element: 'obj',
        is: ['obix:HistoryAppendIn'],
        children: [{ element: 'list', name: 'data', children: [record] }],
      }),
    ).toMatchObject({ class: 'historyAppendIn', fields: { records: [{ time: start }] } });
    expect(
      objects.make({
        element: 'obj',
        is: ['obix:HistoryAppendOut'],
        children: [
          { element: 'int', name: 'numAdded', value: 1n },
          { element: 'int', name: 'newCount', value: 3n },
          { element: 'abstime', name: 'newStart', value: start },
          { element: 'abstime', name: 'newEnd', value: end },
        ],
      }),
    ).toMatchObject({
      class: 'historyAppendOut',
      fields: { numAdded: 1n, newCount: 3n, newStart: start, newEnd: end },
    });
  });

  it('are absent where a child is of another element', () => {
    const children: readonly Draft[] = [
      { element: 'str', name: 'lease', value: 'PT60S' },
      { element: 'err', name: 'count' },
    ];
    expect(objects.make({ element: 'obj', is: ['obix:Watch'], children })).toMatchObject({
      fields: { operations: {} },
    });
  });
});

describe('a tree', () => {
  const root = objects.make({
    element: 'obj',
    name: 'a',
    children: [
      { element: 'obj', name: 'b', children: [{ element: 'int', name: 'c', value: 1n }] },
      { element: 'int', name: 'd' },
      { element: 'int', name: 'b' },
    ],
  });

  it('is walked by name, by class, and as a whole', () => {
    expect(child(root, 'b')?.class).toBe('object');
    expect(child(root, 'x')).toBeUndefined();
    expect(descendant(root, 'b', 'c')).toMatchObject({ value: 1n });
    expect(descendant(root, 'x', 'c')).toBeUndefined();
    expect(childrenOf(root, 'integer').map(({ name }) => name)).toEqual(['d', 'b']);
    expect([...everyObject(root)].map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd', 'b']);
  });

  it.each<[facets: Partial<Draft>, text: string]>([
    // The gateways of IoTSyS have the text in the name, the standard has it in display.
    [{ name: 'Object not found', is: ['obix:BadUriErr'] }, 'Object not found'],
    [{ name: 'value', display: 'Out of range' }, 'Out of range'],
    [{ display: '', is: ['obix:BadUriErr'] }, 'obix:BadUriErr'],
  ])('of an error %j has the text %s', (facets, text) => {
    expect(errorText(objects.make({ ...facets, element: 'err' }))).toBe(text);
  });
});

describe('an href', () => {
  /** The examples of RFC 3986 §5.4. */
  it.each<[reference: string, target: string]>([
    ['g:h', 'g:h'],
    ['g', 'http://a/b/c/g'],
    ['./g', 'http://a/b/c/g'],
    ['g/', 'http://a/b/c/g/'],
    ['/g', 'http://a/g'],
    ['//g', 'http://g'],
    ['?y', 'http://a/b/c/d;p?y'],
    ['g?y', 'http://a/b/c/g?y'],
    ['#s', 'http://a/b/c/d;p?q#s'],
    ['g#s', 'http://a/b/c/g#s'],
    ['g?y#s', 'http://a/b/c/g?y#s'],
    [';x', 'http://a/b/c/;x'],
    ['g;x', 'http://a/b/c/g;x'],
    ['g;x?y#s', 'http://a/b/c/g;x?y#s'],
    ['', 'http://a/b/c/d;p?q'],
    ['.', 'http://a/b/c/'],
    ['./', 'http://a/b/c/'],
    ['..', 'http://a/b/'],
    ['../', 'http://a/b/'],
    ['../g', 'http://a/b/g'],
    ['../..', 'http://a/'],
    ['../../', 'http://a/'],
    ['../../g', 'http://a/g'],
    ['../../../g', 'http://a/g'],
    ['../../../../g', 'http://a/g'],
    ['/./g', 'http://a/g'],
    ['/../g', 'http://a/g'],
    ['g.', 'http://a/b/c/g.'],
    ['.g', 'http://a/b/c/.g'],
    ['g..', 'http://a/b/c/g..'],
    ['..g', 'http://a/b/c/..g'],
    ['./../g', 'http://a/b/g'],
    ['./g/.', 'http://a/b/c/g/'],
    ['g/./h', 'http://a/b/c/g/h'],
    ['g/../h', 'http://a/b/c/h'],
    ['g;x=1/./y', 'http://a/b/c/g;x=1/y'],
    ['g;x=1/../y', 'http://a/b/c/y'],
    ['g?y/./x', 'http://a/b/c/g?y/./x'],
    ['g?y/../x', 'http://a/b/c/g?y/../x'],
    ['g#s/./x', 'http://a/b/c/g#s/./x'],
    ['g#s/../x', 'http://a/b/c/g#s/../x'],
    ['http:g', 'http:g'],
  ])('%s', (reference, target) => expect(resolveHref(reference, 'http://a/b/c/d;p?q')).toBe(target));

  it.each([
    ['with the slash', '/light/', '/light/', 'value', 'value/history/'],
    ['without the slash', '/light', 'light/', 'light/value', 'light/value/history/'],
  ])('is the same in the answer to a request %s', (_form, path, own, value, history) => {
    const answer = objects.make({
      element: 'obj',
      href: own,
      children: [
        { element: 'bool', href: value, children: [{ element: 'ref', href: history }] },
        { element: 'str', name: 'without' },
        { element: 'ref', href: '/watch1' },
        { element: 'ref', href: 'coap://[::1]:5684/x' },
      ],
    });
    expect([...absoluteHrefs(answer, `coap://gateway:5683${path}`).values()]).toEqual([
      'coap://gateway:5683/light/',
      'coap://gateway:5683/light/value',
      'coap://gateway:5683/light/value/history/',
      'coap://gateway:5683/watch1',
      'coap://[::1]:5684/x',
    ]);
  });

  it('may be relative to a path, or to an address without one', () => {
    expect(resolveHref('value', '/light/')).toBe('/light/value');
    expect(resolveHref('light', 'coap://gateway')).toBe('coap://gateway/light');
  });
});

describe('a newer state', () => {
  it('replaces every facet of every element, and every child', () => {
    for (const element of ELEMENT_NAMES) {
      const states = fc.tuple(leaf(element, XML), leaf(element, XML), fc.array(tree(XML), { maxLength: 2 }));
      fc.assert(
        fc.property(states, ([before, after, children]) => {
          const old = objects.make({ ...before, is: [], children: [{ element: 'int', name: 'gone' }] });
          const fresh = objects.make({ ...after, is: [], name: 'n', href: 'h', children });
          expect(objects.merge(old, fresh)).toEqual(fresh);
        }),
        { numRuns: 50 },
      );
    }
  });

  it('keeps the name and the href that an answer leaves out', () => {
    const old = objects.make({
      element: 'real',
      name: 'value',
      href: 'value',
      value: 1,
      unit: 'obix:units/celsius',
    });
    const fresh = objects.make({ element: 'real', value: 2 });
    expect(objects.merge(old, fresh)).toEqual(
      objects.make({ element: 'real', name: 'value', href: 'value', value: 2 }),
    );
  });

  it('keeps the class that a list gave, for the object and for its children', () => {
    const of = ['obix:HistoryRecord'];
    const list = objects.make({ element: 'list', of, children: [{ element: 'obj', name: 'r' }] });
    const item = list.children[0]!;
    const fresh = objects.make({ element: 'obj', children: [{ element: 'int', value: 3n }] });
    expect(fresh.class).toBe('object');
    expect(objects.merge(item, fresh)).toMatchObject({
      class: 'historyRecord',
      name: 'r',
      fields: { value: { value: 3n } },
    });
    const parent = objects.make({
      element: 'obj',
      children: [{ element: 'list', name: 'l', of, children: [{ element: 'obj' }] }],
    });
    const bare = objects.make({
      element: 'obj',
      children: [{ element: 'list', name: 'l', children: [{ element: 'obj' }] }],
    });
    expect(objects.merge(parent, bare).children[0]?.children[0]?.class).toBe('historyRecord');
  });

  it('loses the class that it does not claim any more', () => {
    const old = objects.make({ element: 'obj', is: ['obix:Watch'] });
    expect(objects.merge(old, objects.make({ element: 'obj' })).class).toBe('object');
  });

  it('is another object where the element is another one, such as an error', () => {
    const old = objects.make({ element: 'int', name: 'value', value: 1n });
    const error = objects.make({ element: 'err', name: 'Object not found' });
    expect(objects.merge(old, error)).toEqual(error);
  });
});

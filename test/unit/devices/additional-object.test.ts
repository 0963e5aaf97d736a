/** Classes of objects from outside, through the door only: one for a contract, one for a new element. */
import {
  binaryFormat,
  child,
  defineObject,
  DeviceFormatError,
  DeviceObjectError,
  DeviceObjects,
  jsonFormat,
  xmlFormat,
} from '@cmbs/shared/devices';

/** A blind, for the contract of the gateways; `moves` counts the changes of position that were seen. */
interface Blind {
  readonly percent: number;
  readonly moves: number;
}

const seen: string[] = [];

const BLIND = defineObject<Blind>({
  class: 'example:Blind',
  element: 'obj',
  contracts: ['iot:SunblindActuator', 'example:Blind'],
  read: (object) => {
    const position = child(object, 'position');
    if (position?.element !== 'int' || position.value === undefined) {
      throw new DeviceObjectError('A blind has a position.');
    }
    return { percent: Number(position.value), moves: 0 };
  },
  write: ({ percent }, object) => ({
    ...object,
    element: 'obj',
    children: object.children.map((one) =>
      one.element === 'int' && one.name === 'position' ? { ...one, value: BigInt(percent) } : one,
    ),
  }),
  merge: (old, fresh) => ({ ...fresh, moves: old.moves + (old.percent === fresh.percent ? 0 : 1) }),
  onMade: ({ fields }) => seen.push(`made ${fields.percent}`),
  onMerged: ({ fields }, old) => seen.push(`merged ${old.fields.percent} into ${fields.percent}`),
});

/** A gauge, an element that oBIX does not have, with the facets of a real. */
const GAUGE = defineObject<{ readonly isHigh: boolean }>({
  class: 'example:Gauge',
  element: 'real',
  tag: 'gauge',
  read: (object) => ({
    isHigh: object.element === 'real' && object.value !== undefined && object.value > (object.max ?? Infinity),
  }),
});

const objects = new DeviceObjects([BLIND.definition, GAUGE.definition]);
const xml = xmlFormat(objects);
const blind = (percent: number): string =>
  `<obj is="iot:SunblindActuator">\n  <int name="position" val="${percent}" min="0" max="100" unit="obix:units/percent"/>\n</obj>\n`;

beforeEach(() => {
  seen.length = 0;
});

describe('a class for a contract', () => {
  it('has fields of its own, and hooks', () => {
    const first = xml.parse(Buffer.from(blind(30)));
    if (!BLIND.is(first)) throw new Error(first.class);
    expect(first.fields).toEqual({ percent: 30, moves: 0 });
    const later = objects.merge(first, xml.parse(Buffer.from(blind(40))));
    const last = objects.merge(later, xml.parse(Buffer.from(blind(40))));
    expect(last).toMatchObject({ class: 'example:Blind', fields: { percent: 40, moves: 1 } });
    expect(seen).toEqual([
      'made 30',
      'made 40',
      'made 40',
      'merged 30 into 40',
      'made 40',
      'made 40',
      'merged 40 into 40',
    ]);
  });

  it('is written with other fields', () => {
    const object = xml.parse(Buffer.from(blind(30)));
    if (!BLIND.is(object)) throw new Error(object.class);
    const changed = objects.change(object, { percent: 70 });
    expect(Buffer.from(xml.render!(changed)).toString()).toBe(blind(70));
  });

  it('can refuse an object', () => {
    const parse = (): unknown => xml.parse(Buffer.from('<obj is="iot:SunblindActuator"/>'));
    expect(parse).toThrow(DeviceFormatError);
    expect(parse).toThrow('A blind has a position.');
  });

  it('is given by a list, too', () => {
    const list = xml.parse(
      Buffer.from('<list of="example:Blind"><obj><int name="position" val="5"/></obj></list>'),
    );
    expect(list.children[0]).toMatchObject({ class: 'example:Blind', fields: { percent: 5 } });
  });
});

describe('a new element', () => {
  const text = '<obj>\n  <gauge name="p" val="9.5" max="8.0" unit="obix:units/bar"/>\n</obj>\n';

  it('is read and written by XML and JSON, with the facets of the element that it is like', () => {
    const object = xml.parse(Buffer.from(text));
    const gauge = object.children[0]!;
    expect(gauge).toMatchObject({ class: 'example:Gauge', element: 'real', tag: 'gauge', value: 9.5, max: 8 });
    expect(GAUGE.is(gauge) && gauge.fields.isHigh).toBe(true);
    expect(Buffer.from(xml.render!(object)).toString()).toBe(text);
    const json = jsonFormat(objects);
    expect(json.parse(json.render!(object))).toEqual(object);
  });

  it('is unknown to other registries, and cannot be sent in binary', () => {
    expect(xmlFormat(new DeviceObjects()).parse(Buffer.from(text)).children).toEqual([]);
    const object = xml.parse(Buffer.from(text));
    expect(() => binaryFormat(objects).render!(object)).toThrow('Binary oBIX has no element "gauge".');
  });
});

describe('a registry', () => {
  const read = (): object => ({});

  it.each([
    ['a class twice', [BLIND.definition, BLIND.definition]],
    ['a contract of oBIX', [{ class: 'a:A' as const, element: 'obj' as const, contracts: ['obix:Watch'], read }]],
    ['an element of oBIX', [{ class: 'a:A' as const, element: 'real' as const, tag: 'int', read }]],
    [
      'an element whose name XML does not allow',
      [{ class: 'a:A' as const, element: 'real' as const, tag: 'a b', read }],
    ],
    ['a class for references', [{ class: 'a:A' as const, element: 'ref' as const, read }]],
  ])('does not take %s', (_what, definitions) => {
    expect(() => new DeviceObjects(definitions)).toThrow(DeviceObjectError);
  });

  it('changes fields only by a definition that can write them', () => {
    const object = objects.make({ element: 'real', tag: 'gauge' });
    if (!GAUGE.is(object)) throw new Error(object.class);
    expect(() => objects.change(object, { isHigh: true })).toThrow(DeviceObjectError);
  });
});

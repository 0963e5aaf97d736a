/**
 * SenML (RFC 8428): packs of measurements, for devices that do not speak oBIX. What JSON and CBOR share is here.
 *
 * A pack is a `list`; each of its records is an object, after base fields have been resolved (§4.6):
 *
 * | field                  | in the object                                                                          |
 * | ---------------------- | -------------------------------------------------------------------------------------- |
 * | `bn` and `n`           | `name`                                                                                 |
 * | `v`                    | a `real`; an `int` where it is whole, has 64 bits, and a double would lose digits      |
 * | `vs`, `vb`             | a `str`, a `bool`                                                                      |
 * | `vd`                   | a `str` in base64url with the contract `senml:data`                                    |
 * | only `s`               | a `real` that is null                                                                  |
 * | `u`                    | `unit`, as `senml:units/Cel`; for values without unit a child `str`, `unit`            |
 * | `t`                    | a child `abstime`, `time`, in UTC; a child `reltime`, `time`, for a relative time that |
 * |                        | is not 0, unless the time of arrival is known                                          |
 * | `s`, `ut`              | children: a `real`, `sum`, and a `reltime`, `update`                                   |
 *
 * Written are records without base fields. The names of nested objects are joined by slashes. Other facets are left out,
 * and objects without a value that SenML has are refused.
 */
import { ExactNumber } from '../../exact-json';
import { plainDecimal, wholeOf } from '../../services';
import { DeviceFormatError, shown } from '../errors';
import type { DeviceObject, Draft } from '../objects/object';
import { fitsI64, SECOND_NS } from '../objects/times';
import { child } from '../objects/tree';
import type { Allowance } from './format';

export type SenmlValue = string | boolean | number | bigint | ExactNumber | Uint8Array;
/** Fields by their labels in JSON. */
export type SenmlRecord = ReadonlyMap<string, SenmlValue>;
type Numeric = number | bigint | ExactNumber;

/** Labels in JSON, and in CBOR (§6). */
export const LABELS = {
  bver: -1n,
  bn: -2n,
  bt: -3n,
  bu: -4n,
  bv: -5n,
  bs: -6n,
  n: 0n,
  u: 1n,
  v: 2n,
  vs: 3n,
  vb: 4n,
  s: 5n,
  t: 6n,
  ut: 7n,
  vd: 8n,
} as const;
type Label = keyof typeof LABELS;

export const isLabel = (label: string): label is Label => Object.hasOwn(LABELS, label);
/** The version of RFC 8428, and the default of `bver`. */
const VERSION = 10n;
/** Times from here on are absolute, in seconds (§4.5.3). */
const ABSOLUTE_NS = 2n ** 28n * SECOND_NS;
/** A resolved name (§4.5.1). */
const NAME = /^[A-Za-z0-9][A-Za-z0-9:./_-]*$/;
const UNITS = 'senml:units/';
export const DATA_CONTRACT = 'senml:data';
/** Units of oBIX that SenML has, for objects of gateways (RFC 8428 §12.1). */
const UNITS_OF_OBIX: ReadonlyMap<string, string> = new Map([
  ['obix:units/celsius', 'Cel'],
  ['obix:units/kelvin', 'K'],
  ['obix:units/percent', '%'],
  ['obix:units/watt', 'W'],
  ['obix:units/volt', 'V'],
  ['obix:units/ampere', 'A'],
  ['obix:units/joule', 'J'],
  ['obix:units/meter', 'm'],
  ['obix:units/second', 's'],
  ['obix:units/hertz', 'Hz'],
  ['obix:units/lumen', 'lm'],
  ['obix:units/lux', 'lx'],
  ['obix:units/pascal', 'Pa'],
  ['obix:units/liter', 'l'],
]);

/** Fields that a record without measurement has. */
const BASES: readonly string[] = ['bver', 'bn', 'bt', 'bu', 'bv', 'bs'];

interface Bases {
  name: string;
  time: bigint;
  unit: string | undefined;
  value: Numeric | undefined;
  sum: Numeric | undefined;
}

/**
 * The list for a pack.
 * @param now nanoseconds since 1970, to which relative times refer
 */
export function listOf(records: readonly SenmlRecord[], allowance: Allowance, now: bigint | undefined): Draft {
  const bases: Bases = { name: '', time: 0n, unit: undefined, value: undefined, sum: undefined };
  const children: Draft[] = [];
  allowance.object();
  for (const record of records) {
    const draft = new Resolver(record, bases, allowance).draft(now);
    if (draft !== undefined) children.push(draft);
  }
  return { element: 'list', children };
}

const sourceOf = (value: Numeric): string => {
  if (value instanceof ExactNumber) return value.source;
  return Object.is(value, -0) ? '-0' : String(value);
};

/** The sum of two numbers, of which one may be absent: exact where both are whole. */
function plus(one: Numeric | undefined, other: Numeric | undefined): Numeric | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const [a, b] = [wholeOf(one), wholeOf(other)];
  return a !== undefined && b !== undefined ? a + b : Number(sourceOf(one)) + Number(sourceOf(other));
}

class Resolver {
  constructor(
    readonly record: SenmlRecord,
    readonly bases: Bases,
    readonly allowance: Allowance,
  ) {}

  draft(now: bigint | undefined): Draft | undefined {
    this.#checkVersion();
    this.#takeBases();
    if ([...this.record.keys()].every((label) => BASES.includes(label))) return undefined;
    this.allowance.object();
    const name = this.bases.name + (this.#string('n') ?? '');
    this.allowance.chars(name.length);
    if (!NAME.test(name)) throw this.allowance.error(`${shown(name)} is no name of a record.`);
    const unit = this.#string('u') ?? this.bases.unit;
    const children = [...this.#times(now), ...this.#sum()];
    return this.#measurement(name, unit, children);
  }

  #checkVersion(): void {
    const version = this.#number('bver');
    if (version === undefined) return;
    const whole = wholeOf(version);
    if (whole === undefined || whole < 1n || whole > VERSION) {
      throw this.allowance.error(`Version ${shown(sourceOf(version))} of SenML is not supported; ${VERSION} is.`);
    }
  }

  #takeBases(): void {
    const { bases } = this;
    bases.name = this.#string('bn') ?? bases.name;
    bases.unit = this.#string('bu') ?? bases.unit;
    bases.value = this.#number('bv') ?? bases.value;
    bases.sum = this.#number('bs') ?? bases.sum;
    bases.time = this.#nanoseconds('bt') ?? bases.time;
  }

  #string(label: Label): string | undefined {
    const value = this.record.get(label);
    if (value === undefined || typeof value === 'string') return value;
    throw this.allowance.error(`The field ${label} is a text.`);
  }

  #number(label: Label): Numeric | undefined {
    const value = this.record.get(label);
    if (value === undefined) return undefined;
    const isNumber = typeof value === 'bigint' || value instanceof ExactNumber || Number.isFinite(value);
    if (!isNumber) throw this.allowance.error(`The field ${label} is a number.`);
    return value as Numeric;
  }

  /** Of a number of seconds. Digits beyond nanoseconds are dropped. */
  #nanoseconds(label: Label): bigint | undefined {
    const seconds = this.#number(label);
    if (seconds === undefined) return undefined;
    const plain = plainDecimal(sourceOf(seconds));
    if (plain === undefined) throw this.allowance.error(`The field ${label} is no time.`);
    const [, sign, whole = '', fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(plain) ?? [];
    const length = BigInt(whole + fraction.slice(0, 9).padEnd(9, '0'));
    return sign === '-' ? -length : length;
  }

  #times(now: bigint | undefined): readonly Draft[] {
    const resolved = this.bases.time + (this.#nanoseconds('t') ?? 0n);
    const isAbsolute = resolved >= ABSOLUTE_NS;
    const update = this.#nanoseconds('ut');
    const children: Draft[] = [];
    if (isAbsolute || now !== undefined) {
      const nanoseconds = isAbsolute ? resolved : (now ?? 0n) + resolved;
      children.push({ element: 'abstime', name: 'time', value: { nanoseconds, offset: 0 } });
    } else if (resolved !== 0n) children.push({ element: 'reltime', name: 'time', value: resolved });
    if (update !== undefined) children.push({ element: 'reltime', name: 'update', value: update });
    return children;
  }

  #sum(): readonly Draft[] {
    const sum = plus(this.bases.sum, this.#number('s'));
    return sum === undefined ? [] : [{ element: 'real', name: 'sum', value: this.#real(sum) }];
  }

  #real(value: Numeric): number {
    const real = Number(sourceOf(value));
    if (!Number.isFinite(real)) throw this.allowance.error('A number is too large.');
    return real;
  }

  #measurement(name: string, unit: string | undefined, children: readonly Draft[]): Draft {
    const values = (['v', 'vs', 'vb', 'vd'] as const).filter((label) => this.record.has(label));
    if (values.length > 1) throw this.allowance.error('A record has one value at most.');
    const asFacet = unit === undefined ? {} : { unit: UNITS + unit };
    const withUnit: readonly Draft[] =
      unit === undefined ? children : [...children, { element: 'str', name: 'unit', value: UNITS + unit }];
    const [label] = values;
    if (label === undefined) {
      if (!children.some((one) => one.name === 'sum'))
        throw this.allowance.error('A record has a value or a sum.');
      return { element: 'real', name, isNull: true, ...asFacet, children };
    }
    switch (label) {
      case 'v':
        return { ...this.#typed(), name, ...asFacet, children };
      case 'vs':
        return { element: 'str', name, value: this.#string('vs') ?? '', children: withUnit };
      case 'vb': {
        const value = this.record.get('vb');
        if (typeof value !== 'boolean') throw this.allowance.error('The field vb is a boolean.');
        return { element: 'bool', name, value, children: withUnit };
      }
      case 'vd':
        return { element: 'str', name, is: [DATA_CONTRACT], value: this.#data(), children: withUnit };
    }
  }

  #typed(): { element: 'int'; value: bigint } | { element: 'real'; value: number } {
    const value = plus(this.bases.value, this.#number('v')) ?? 0;
    const whole = typeof value === 'number' ? undefined : wholeOf(value);
    const isDouble = whole === undefined || String(Number(whole)) === String(whole);
    if (!isDouble && fitsI64(whole)) return { element: 'int', value: whole };
    return { element: 'real', value: this.#real(value) };
  }

  #data(): string {
    const value = this.record.get('vd');
    if (value instanceof Uint8Array) {
      return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64url');
    }
    if (typeof value !== 'string' || !isBase64Url(value)) {
      throw this.allowance.error('The field vd is in base64url, without padding.');
    }
    return value;
  }
}

/** Whether a text is base64url without padding, and has no bits left over. */
const isBase64Url = (text: string): boolean => Buffer.from(text, 'base64url').toString('base64url') === text;

/** How a format writes what it has in forms of its own. */
export interface SenmlForms {
  readonly name: string;
  /** A decimal number of seconds. */
  readonly seconds: (decimal: string) => SenmlValue;
  /** Bytes in base64url. */
  readonly data: (base64url: string) => SenmlValue;
}

/** The records of an object, in the order of its tree. @throws DeviceFormatError */
export function recordsOf(root: DeviceObject, forms: SenmlForms): readonly SenmlRecord[] {
  const records: SenmlRecord[] = [];
  addRecords(root, '', forms, records);
  return records;
}

function addRecords(object: DeviceObject, prefix: string, forms: SenmlForms, records: SenmlRecord[]): void {
  const { element, name, children } = object;
  const path = name === undefined ? prefix : prefix + name;
  if (element !== 'obj' && element !== 'list') {
    records.push(recordOf(object, path, forms));
    return;
  }
  for (const one of children) addRecords(one, path === '' ? '' : `${path}/`, forms, records);
}

function recordOf(object: DeviceObject, name: string, forms: SenmlForms): SenmlRecord {
  const refused = (text: string): DeviceFormatError => new DeviceFormatError(forms.name, text);
  if (!NAME.test(name)) throw refused(`SenML does not allow the name ${shown(name)}.`);
  const other = object.children.find((one) => !['time', 'update', 'sum', 'unit'].includes(one.name ?? ''));
  if (other !== undefined) throw refused(`A measurement has no child ${shown(other.name ?? '')}.`);
  const record = new Map<string, SenmlValue>([['n', name]]);
  const unit = unitOf(object);
  if (unit !== undefined) {
    const text = unit.startsWith(UNITS) ? unit.slice(UNITS.length) : UNITS_OF_OBIX.get(unit);
    if (text === undefined) throw refused(`SenML has no unit ${shown(unit)}.`);
    record.set('u', text);
  }
  const value = valueOf(object, forms);
  if (value !== undefined) record.set(...value);
  const sum = child(object, 'sum');
  if (sum?.element === 'real' && sum.value !== undefined) record.set('s', finite(sum.value, forms));
  if (value === undefined && !record.has('s'))
    throw refused(`SenML cannot carry ${shown(name)}: ${object.element}.`);
  const time = child(object, 'time');
  const nanoseconds = time?.element === 'abstime' ? time.value?.nanoseconds : durationOf(time);
  if (nanoseconds !== undefined) record.set('t', forms.seconds(secondsText(nanoseconds)));
  if (time?.element === 'abstime' && nanoseconds !== undefined && nanoseconds < ABSOLUTE_NS) {
    throw refused('SenML has no absolute times before July 1978.');
  }
  const update = durationOf(child(object, 'update'));
  if (update !== undefined) record.set('ut', forms.seconds(secondsText(update)));
  return record;
}

const durationOf = (object: DeviceObject | undefined): bigint | undefined =>
  object?.element === 'reltime' ? object.value : undefined;

function unitOf(object: DeviceObject): string | undefined {
  if (object.element === 'real' || object.element === 'int') return object.unit;
  const unit = child(object, 'unit');
  return unit?.element === 'str' ? unit.value : undefined;
}

function finite(value: number, { name }: SenmlForms): number {
  if (Number.isFinite(value)) return value;
  throw new DeviceFormatError(name, `SenML has no number ${value}.`);
}

function valueOf(object: DeviceObject, forms: SenmlForms): readonly [Label, SenmlValue] | undefined {
  switch (object.element) {
    case 'real':
      return object.value === undefined ? undefined : ['v', finite(object.value, forms)];
    case 'int':
      return object.value === undefined ? undefined : ['v', object.value];
    case 'bool':
      return object.value === undefined ? undefined : ['vb', object.value];
    case 'str':
      if (object.value === undefined) return undefined;
      if (!object.is.includes(DATA_CONTRACT)) return ['vs', object.value];
      if (!isBase64Url(object.value)) throw new DeviceFormatError(forms.name, 'Data is in base64url.');
      return ['vd', forms.data(object.value)];
    case 'enum':
    case 'uri':
      return object.value === undefined ? undefined : ['vs', object.value];
    case 'obj':
    case 'abstime':
    case 'reltime':
    case 'date':
    case 'time':
    case 'list':
    case 'op':
    case 'feed':
    case 'ref':
    case 'err':
      return undefined;
  }
}

/** Seconds in plain decimals. */
function secondsText(nanoseconds: bigint): string {
  const length = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = String(length % SECOND_NS)
    .padStart(9, '0')
    .replace(/0+$/, '');
  return `${nanoseconds < 0n ? '-' : ''}${length / SECOND_NS}${fraction === '' ? '' : `.${fraction}`}`;
}

/** The elements of oBIX 1.1, and the facets that each has. All formats read and write objects by this table. */
import { DeviceObjectError, shown } from '../errors';
import {
  type AbsoluteTime,
  absoluteTimeText,
  type CalendarDate,
  checkAbsoluteTime,
  checkDate,
  checkRelativeTime,
  checkTimeOfDay,
  dateText,
  fitsI64,
  parseAbsoluteTime,
  parseDate,
  parseRelativeTime,
  parseTimeOfDay,
  relativeTimeText,
  type TimeOfDay,
  timeOfDayText,
} from './times';

/** How an object is doing, the most urgent first. */
export const STATUSES = [
  'disabled',
  'fault',
  'down',
  'unackedAlarm',
  'alarm',
  'unacked',
  'overridden',
  'ok',
] as const;
export type Status = (typeof STATUSES)[number];

/** The types of values, by name. */
export interface ValueTypes {
  boolean: boolean;
  /** Of 64 bits. */
  integer: bigint;
  real: number;
  text: string;
  absoluteTime: AbsoluteTime;
  /** Nanoseconds, of 64 bits. */
  relativeTime: bigint;
  date: CalendarDate;
  time: TimeOfDay;
  /** A number of characters or of children, from 0 to 2^31 - 1. */
  count: number;
  /** URIs of contracts. */
  contracts: readonly string[];
}
export type ValueType = keyof ValueTypes;

interface ValueCodec<T> {
  /** The value as an object keeps it. @throws DeviceObjectError */
  readonly check: (value: T) => T;
  /** @throws DeviceObjectError */
  readonly parse: (text: string) => T;
  readonly text: (value: T) => string;
  /** The value of an object without `val`; an object is null where there is none (oBIX 1.1, "null"). */
  readonly absent?: T;
}

export const MAX_COUNT = 2 ** 31 - 1;
/** A decimal number of XML Schema. */
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
/** Besides the forms of XML Schema, those of Java. */
const SPECIAL: ReadonlyMap<string, number> = new Map([
  ['NaN', Number.NaN],
  ['INF', Infinity],
  ['+INF', Infinity],
  ['-INF', -Infinity],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
]);

function parseBoolean(text: string): boolean {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw new DeviceObjectError(`${shown(text)} is no boolean: true or false.`);
}

function checkInteger(value: bigint): bigint {
  if (typeof value === 'bigint' && fitsI64(value)) return value;
  throw new DeviceObjectError('An integer has 64 bits at most, as a bigint.');
}

function parseInteger(text: string): bigint {
  const [, sign = '', written = ''] = /^([+-]?)(\d+)$/.exec(text) ?? [];
  const digits = written.replace(/^0+(?=\d)/, '');
  // BigInt takes quadratic time for very many digits.
  if (digits === '' || digits.length > 19) {
    throw new DeviceObjectError(`${shown(text)} is no integer of 64 bits.`);
  }
  return checkInteger(BigInt(digits) * (sign === '-' ? -1n : 1n));
}

function parseReal(text: string): number {
  const value = SPECIAL.get(text) ?? (DECIMAL.test(text) ? Number(text) : undefined);
  // A number that a double does not hold would become infinite.
  if (value === undefined || (!SPECIAL.has(text) && !Number.isFinite(value))) {
    throw new DeviceObjectError(`${shown(text)} is no real number of 64 bits.`);
  }
  return value;
}

/** With a point, as gateways write it: `21.0`. */
function realText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value < 0 ? '-INF' : 'INF';
  const text = Object.is(value, -0) ? '-0' : String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function checkCount(value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= MAX_COUNT) return value;
  throw new DeviceObjectError(`A length is an integer from 0 to ${MAX_COUNT}.`);
}

function checkReal(value: number): number {
  if (typeof value === 'number') return value;
  throw new DeviceObjectError('A real is a number.');
}

function checkText(value: string): string {
  if (typeof value === 'string') return value;
  throw new DeviceObjectError('A text is a string.');
}

function checkContracts(value: readonly string[]): readonly string[] {
  if (value.some((contract) => contract === '' || /[ \t\r\n]/.test(contract))) {
    throw new DeviceObjectError('The URI of a contract is not empty, and has no white space.');
  }
  return Object.freeze([...value]);
}

export const VALUES: { readonly [T in ValueType]: ValueCodec<ValueTypes[T]> } = {
  boolean: {
    check: (value) => {
      if (typeof value === 'boolean') return value;
      throw new DeviceObjectError('A boolean is true or false.');
    },
    parse: parseBoolean,
    text: String,
    absent: false,
  },
  integer: { check: checkInteger, parse: parseInteger, text: String, absent: 0n },
  real: { check: checkReal, parse: parseReal, text: realText, absent: 0 },
  text: { check: checkText, parse: (text) => text, text: (value) => value, absent: '' },
  absoluteTime: { check: checkAbsoluteTime, parse: parseAbsoluteTime, text: absoluteTimeText },
  relativeTime: { check: checkRelativeTime, parse: parseRelativeTime, text: relativeTimeText, absent: 0n },
  date: { check: checkDate, parse: parseDate, text: dateText },
  time: { check: checkTimeOfDay, parse: parseTimeOfDay, text: timeOfDayText },
  count: { check: checkCount, parse: (text) => checkCount(Number(parseInteger(text))), text: String },
  contracts: {
    check: checkContracts,
    parse: (text) => text.split(/[ \t\r\n]+/).filter((contract) => contract !== ''),
    text: (value) => value.join(' '),
  },
};

/** The facets of every element, and their types. A facet that is absent has no key, but for those that always are. */
export const COMMON_FACETS = {
  name: 'text',
  href: 'text',
  display: 'text',
  displayName: 'text',
  icon: 'text',
  /** An extension of IoTSyS. */
  location: 'text',
} as const;

interface ElementDefinition {
  /** Absent for elements without value. */
  readonly value?: ValueType;
  readonly facets: Readonly<Record<string, ValueType>>;
}

/** The elements. The facets are in the order in which formats write them. */
export const ELEMENTS = {
  obj: { facets: {} },
  bool: { value: 'boolean', facets: { range: 'text' } },
  int: { value: 'integer', facets: { min: 'integer', max: 'integer', unit: 'text' } },
  real: { value: 'real', facets: { min: 'real', max: 'real', unit: 'text', precision: 'count' } },
  str: { value: 'text', facets: { min: 'count', max: 'count' } },
  enum: { value: 'text', facets: { range: 'text' } },
  uri: { value: 'text', facets: {} },
  abstime: { value: 'absoluteTime', facets: { min: 'absoluteTime', max: 'absoluteTime', tz: 'text' } },
  reltime: { value: 'relativeTime', facets: { min: 'relativeTime', max: 'relativeTime' } },
  date: { value: 'date', facets: { min: 'date', max: 'date', tz: 'text' } },
  time: { value: 'time', facets: { min: 'time', max: 'time', tz: 'text' } },
  list: { facets: { of: 'contracts', min: 'count', max: 'count' } },
  op: { facets: { in: 'contracts', out: 'contracts' } },
  feed: { facets: { in: 'contracts', of: 'contracts' } },
  ref: { facets: {} },
  err: { facets: {} },
} as const satisfies Readonly<Record<string, ElementDefinition>>;

export type Element = keyof typeof ELEMENTS;
export const ELEMENT_NAMES = Object.keys(ELEMENTS) as readonly Element[];

export const isElement = (name: string): name is Element => Object.hasOwn(ELEMENTS, name);
/** The definition of an element, where its own type does not matter. */
export const elementOf = (element: Element): ElementDefinition => ELEMENTS[element];
/** The value of an element without `val`; undefined where it is null then, or has no value at all. */
export function absentValue(element: Element): ValueTypes[ValueType] | undefined {
  const { value } = elementOf(element);
  return value === undefined ? undefined : VALUES[value].absent;
}

type OwnOf<E extends Element> = (typeof ELEMENTS)[E];
/** The facets that an element has besides those of all; its value is absent where it is null. */
export type OwnFacets<E extends Element> = {
  readonly [F in keyof OwnOf<E>['facets']]?: OwnOf<E>['facets'][F] extends ValueType
    ? ValueTypes[OwnOf<E>['facets'][F]]
    : never;
} & (OwnOf<E> extends { readonly value: infer V extends ValueType }
  ? { readonly value?: ValueTypes[V] }
  : unknown);

/** The value that stands for the absence of a facet: no limit. */
export function isDefault(element: Element, facet: string, value: unknown): boolean {
  switch (element) {
    case 'int':
      return (facet === 'min' && value === -(2n ** 63n)) || (facet === 'max' && value === 2n ** 63n - 1n);
    case 'real':
      return (facet === 'min' && value === -Infinity) || (facet === 'max' && value === Infinity);
    case 'str':
    case 'list':
      return (facet === 'min' && value === 0) || (facet === 'max' && value === MAX_COUNT);
    default:
      return Array.isArray(value) && value.length === 0;
  }
}

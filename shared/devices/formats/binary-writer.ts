/** Writes oBIX in binary. */
import { DeviceFormatError, shown } from '../errors';
import { elementOf, type ValueType, type ValueTypes } from '../objects/elements';
import type { DeviceObject } from '../objects/object';
import { type CalendarDate, SECOND_NS } from '../objects/times';
import {
  type BinaryFacet,
  type BinaryFormatOptions,
  CHILDREN_END,
  EPOCH_S,
  FACET_CODES,
  HAS_CHILDREN,
  MAX_TABLE,
  MORE,
  OBJECT_CODES,
  STATUS_CODES,
} from './binary-codes';

export const BINARY = 'obix-binary';

const refused = (text: string): DeviceFormatError => new DeviceFormatError(BINARY, text);

/** What a null object has where its value would be. */
const NULL_VALUES: ValueTypes = {
  boolean: false,
  integer: 0n,
  real: 0,
  text: '',
  absoluteTime: { nanoseconds: EPOCH_S * SECOND_NS, offset: 0 },
  relativeTime: 0n,
  date: { year: 2000, month: 1, day: 1 },
  time: { nanoseconds: 0n },
  count: 0,
  contracts: [],
};

/** A byte without MORE, and the bytes after it. */
interface Piece {
  readonly byte: number;
  readonly rest: Uint8Array;
}

const NONE = new Uint8Array(0);

function fixed(size: number, put: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size);
  put(new DataView(bytes.buffer));
  return bytes;
}

const int32 = (value: bigint): Uint8Array => fixed(4, (view) => view.setInt32(0, Number(value)));
const int64 = (value: bigint): Uint8Array => fixed(8, (view) => view.setBigInt64(0, value));
const fits32 = (value: bigint): boolean => BigInt.asIntN(32, value) === value;

function integer(code: number, value: bigint): Piece {
  if (value >= 0n && value <= 0xffn) return { byte: code, rest: Uint8Array.of(Number(value)) };
  if (value >= 0n && value <= 0xffffn) {
    return { byte: code | 1, rest: fixed(2, (view) => view.setUint16(0, Number(value))) };
  }
  return fits32(value) ? { byte: code | 2, rest: int32(value) } : { byte: code | 3, rest: int64(value) };
}

/** In seconds where that is exact, else in nanoseconds. */
function nanoseconds(code: number, value: bigint): Piece {
  if (value % SECOND_NS === 0n && fits32(value / SECOND_NS)) return { byte: code, rest: int32(value / SECOND_NS) };
  if (BigInt.asIntN(64, value) === value) return { byte: code | 1, rest: int64(value) };
  throw refused('A time is at most 292 years from the year 2000.');
}

function date({ year, month, day }: CalendarDate): Uint8Array {
  return fixed(4, (view) => {
    view.setUint16(0, year);
    view.setUint8(2, month);
    view.setUint8(3, day);
  });
}

export class BinaryWriter {
  readonly #utf8: boolean;
  readonly #table = new Map<string, number>();
  readonly #chunks: Uint8Array[] = [];

  constructor({ utf8 = false }: BinaryFormatOptions) {
    this.#utf8 = utf8;
  }

  /** The bytes of an object. @throws DeviceFormatError */
  write(root: DeviceObject): Uint8Array {
    this.#object(root);
    return Buffer.concat(this.#chunks);
  }

  #object(object: DeviceObject): void {
    const { element, tag, children } = object;
    if (tag !== undefined) throw refused(`Binary oBIX has no element ${shown(tag)}.`);
    // Texts enter the table in the order in which they are written, so this order is that of the bytes.
    let last = this.#value(OBJECT_CODES[element], elementOf(element).value, valueOf(object));
    for (const next of this.#facets(object)) {
      this.#push(last, true);
      last = next();
    }
    this.#push(last, children.length > 0);
    if (children.length === 0) return;
    this.#chunks.push(Uint8Array.of(HAS_CHILDREN));
    for (const one of children) this.#object(one);
    this.#chunks.push(Uint8Array.of(CHILDREN_END));
  }

  #push({ byte, rest }: Piece, more: boolean): void {
    this.#chunks.push(Uint8Array.of(more ? byte | MORE : byte), rest);
  }

  /** The facets in the order of the gateways of IoTSyS, each of which is made when it is its turn. */
  *#facets(object: DeviceObject): Generator<() => Piece> {
    const { element } = object;
    const facets = object as unknown as Readonly<Record<string, unknown>>;
    for (const [facet, type] of Object.entries(elementOf(element).facets)) {
      const value = facets[facet];
      if (value !== undefined) yield () => this.#value(FACET_CODES[facet as BinaryFacet], type, value);
    }
    const text = (facet: 'name' | 'href' | 'display' | 'displayName' | 'icon'): (() => Piece)[] => {
      const value = object[facet];
      return value === undefined ? [] : [() => this.#text(FACET_CODES[facet], value)];
    };
    yield* text('name');
    yield* text('href');
    if (object.is.length > 0) yield () => this.#text(FACET_CODES.is, object.is.join(' '));
    const { status } = object;
    if (status !== 'ok') yield () => ({ byte: STATUS_CODES[status], rest: NONE });
    yield* text('display');
    yield* text('displayName');
    yield* text('icon');
    if (object.isNull) yield () => ({ byte: FACET_CODES.isNull | 1, rest: NONE });
    if (object.writable) yield () => ({ byte: FACET_CODES.writable | 1, rest: NONE });
  }

  #value(code: number, type: ValueType | undefined, value: unknown): Piece {
    if (type === undefined) return { byte: code, rest: NONE };
    const typed = { type, value } as TypedValue;
    switch (typed.type) {
      case 'boolean':
        return { byte: typed.value ? code | 1 : code, rest: NONE };
      case 'integer':
        return integer(code, typed.value);
      case 'count':
        return integer(code, BigInt(typed.value));
      case 'real':
        return { byte: code | 1, rest: fixed(8, (view) => view.setFloat64(0, typed.value)) };
      case 'text':
        return this.#text(code, typed.value);
      case 'contracts':
        return this.#text(code, typed.value.join(' '));
      case 'absoluteTime':
        return nanoseconds(code, typed.value.nanoseconds - EPOCH_S * SECOND_NS);
      case 'relativeTime':
        return nanoseconds(code, typed.value);
      case 'time':
        return nanoseconds(code, typed.value.nanoseconds);
      case 'date':
        return { byte: code, rest: date(typed.value) };
    }
    return typed satisfies never;
  }

  #text(code: number, text: string): Piece {
    const index = this.#table.get(text);
    if (index !== undefined) return { byte: code | 1, rest: fixed(2, (view) => view.setUint16(0, index)) };
    const bytes = this.#bytes(text);
    if (this.#table.size < MAX_TABLE) this.#table.set(text, this.#table.size);
    return { byte: code, rest: bytes };
  }

  #bytes(text: string): Uint8Array {
    if (text.includes('\0')) throw refused('A text has no character U+0000.');
    if (!this.#utf8 && /[^\u0000-\u007f]/.test(text)) throw refused(`${shown(text)} has characters beyond ASCII.`);
    if (/\p{Surrogate}/u.test(text)) throw refused('A text has half of a pair of surrogates.');
    return Buffer.from(`${text}\0`, 'utf8');
  }
}

type TypedValue = { [T in ValueType]: { readonly type: T; readonly value: ValueTypes[T] } }[ValueType];

function valueOf(object: DeviceObject): unknown {
  const type = elementOf(object.element).value;
  if (type === undefined) return undefined;
  return 'value' in object ? object.value : NULL_VALUES[type];
}

/**
 * The part of CBOR (RFC 8949) that SenML uses: integers, floats, texts, bytes, booleans, null, arrays, maps, and decimal
 * fractions (tag 4). Integers are `bigint`, since labels are integers and a JavaScript number would not tell 1 from 1.0.
 * Written for this purpose: the packages for CBOR accept much more, recurse without bound, or bring native code.
 */
import { ExactNumber } from '../../exact-json';
import { DeviceObjectError } from '../errors';
import type { Allowance } from './format';

export type Cbor =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | ExactNumber
  | readonly Cbor[]
  | ReadonlyMap<bigint | string, Cbor>;

/** Levels of arrays and maps: a pack has two. */
const MAX_DEPTH = 16;
const BREAK = 0xff;
/** The tag of a decimal fraction. */
const DECIMAL_FRACTION = 4n;

/** @throws DeviceFormatError */
export function readCbor(bytes: Uint8Array, allowance: Allowance): Cbor {
  const reader = new Reader(bytes, allowance);
  const value = reader.value(1);
  if (!reader.isAtEnd) throw reader.error('There are bytes after the value');
  return value;
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #allowance: Allowance;
  #at = 0;
  #containers = 0;

  constructor(bytes: Uint8Array, allowance: Allowance) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#allowance = allowance;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  error(text: string): Error {
    return this.#allowance.error(`${text} (byte ${this.#at}).`);
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw this.error('The document ends too early');
    this.#at += count;
    return at;
  }

  #isBreak(): boolean {
    if (this.#bytes[this.#at] !== BREAK) return false;
    this.#at += 1;
    return true;
  }

  /** @param depth of the arrays and maps around the value, and 1 */
  value(depth: number): Cbor {
    if (depth > MAX_DEPTH) throw this.error(`Values nest at most ${MAX_DEPTH} levels deep`);
    const first = this.#view.getUint8(this.#take(1));
    const info = first & 0x1f;
    switch (first >> 5) {
      case 0:
        return this.#argument(info);
      case 1:
        return -1n - this.#argument(info);
      case 2:
        return info === 31 ? Buffer.concat(this.#pieces(0x40)) : this.#slice(this.#argument(info));
      case 3:
        return info === 31
          ? this.#pieces(0x60)
              .map((piece) => this.#text(piece))
              .join('')
          : this.#text(this.#slice(this.#argument(info)));
      case 4:
        return this.#array(info, depth);
      case 5:
        return this.#map(info, depth);
      case 6:
        return this.#tagged(this.#argument(info), depth);
      default:
        return this.#simple(info);
    }
  }

  #argument(info: number): bigint {
    if (info < 24) return BigInt(info);
    switch (info) {
      case 24:
        return BigInt(this.#view.getUint8(this.#take(1)));
      case 25:
        return BigInt(this.#view.getUint16(this.#take(2)));
      case 26:
        return BigInt(this.#view.getUint32(this.#take(4)));
      case 27:
        return this.#view.getBigUint64(this.#take(8));
      default:
        throw this.error('A length is malformed');
    }
  }

  #slice(length: bigint): Uint8Array {
    const at = this.#take(Number(length));
    return this.#bytes.slice(at, this.#at);
  }

  /** The pieces of bytes or of a text of indefinite length. @param major the first byte of a piece, without length */
  #pieces(major: number): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    while (!this.#isBreak()) {
      const first = this.#view.getUint8(this.#take(1));
      if ((first & 0xe0) !== major || (first & 0x1f) === 31) throw this.error('A piece of a text is malformed');
      pieces.push(this.#slice(this.#argument(first & 0x1f)));
    }
    return pieces;
  }

  #text(bytes: Uint8Array): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.error('A text is not in UTF-8');
    }
  }

  /** How many items of an array or a map follow; undefined where a break ends them. */
  #count(info: number): bigint | undefined {
    this.#containers += 1;
    // An empty map takes one byte in a document, and hundreds in memory. Besides the records there is their array.
    const { maxObjects } = this.#allowance.limits;
    if (this.#containers > maxObjects + 1) throw this.error(`There are more than ${maxObjects} arrays and maps`);
    if (info === 31) return undefined;
    const count = this.#argument(info);
    // Each takes a byte at least, so that a large number is refused before the items are read.
    if (count > BigInt(this.#bytes.length - this.#at)) throw this.error('The document ends too early');
    return count;
  }

  #array(info: number, depth: number): readonly Cbor[] {
    const count = this.#count(info);
    const items: Cbor[] = [];
    while (count === undefined ? !this.#isBreak() : BigInt(items.length) < count)
      items.push(this.value(depth + 1));
    return items;
  }

  #map(info: number, depth: number): ReadonlyMap<bigint | string, Cbor> {
    const count = this.#count(info);
    const entries = new Map<bigint | string, Cbor>();
    for (let read = 0n; count === undefined ? !this.#isBreak() : read < count; read++) {
      const key = this.value(depth + 1);
      if (typeof key !== 'bigint' && typeof key !== 'string') throw this.error('A label is an integer or a text');
      if (entries.has(key)) throw this.error('A map has a label twice');
      entries.set(key, this.value(depth + 1));
    }
    return entries;
  }

  #tagged(tag: bigint, depth: number): Cbor {
    const value = this.value(depth + 1);
    if (tag !== DECIMAL_FRACTION) return value; // a tag adds meaning, and SenML gives none to the others
    const [exponent, mantissa] = Array.isArray(value) ? (value as readonly Cbor[]) : [];
    if (typeof exponent !== 'bigint' || typeof mantissa !== 'bigint') {
      throw this.error('A decimal fraction is an exponent and a mantissa');
    }
    return new ExactNumber(`${mantissa}e${exponent}`);
  }

  #simple(info: number): Cbor {
    switch (info) {
      case 20:
        return false;
      case 21:
        return true;
      case 22:
        return null;
      case 25:
        return half(this.#view.getUint16(this.#take(2)));
      case 26:
        return this.#view.getFloat32(this.#take(4));
      case 27:
        return this.#view.getFloat64(this.#take(8));
      default:
        throw this.error('There is no such value');
    }
  }
}

/** A float of 16 bits (RFC 8949, appendix D). */
function half(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : Number.NaN;
  return sign * (mantissa + 1024) * 2 ** (exponent - 25);
}

/**
 * Bytes of a value: definite lengths, the shortest integers, floats of 32 bits where they are exact.
 * @throws DeviceObjectError for a text that UTF-8 does not have
 */
export function writeCbor(value: Cbor): Uint8Array {
  const chunks: Uint8Array[] = [];
  write(value, chunks);
  return Buffer.concat(chunks);
}

function write(value: Cbor, chunks: Uint8Array[]): void {
  if (value === null) chunks.push(Uint8Array.of(0xf6));
  else if (typeof value === 'boolean') chunks.push(Uint8Array.of(value ? 0xf5 : 0xf4));
  else if (typeof value === 'bigint') chunks.push(value < 0n ? head(1, -1n - value) : head(0, value));
  else if (typeof value === 'number') chunks.push(float(value));
  else if (typeof value === 'string') {
    // UTF-8 has none, and another character would take its place.
    if (/\p{Surrogate}/u.test(value)) throw new DeviceObjectError('A text has half of a pair of surrogates.');
    const bytes = Buffer.from(value, 'utf8');
    chunks.push(head(3, BigInt(bytes.length)), bytes);
  } else if (value instanceof Uint8Array) chunks.push(head(2, BigInt(value.length)), value);
  else if (value instanceof ExactNumber) writeDecimal(value, chunks);
  else if (value instanceof Map) {
    chunks.push(head(5, BigInt(value.size)));
    for (const [key, entry] of value as ReadonlyMap<bigint | string, Cbor>) {
      write(key, chunks);
      write(entry, chunks);
    }
  } else {
    const items = value as readonly Cbor[];
    chunks.push(head(4, BigInt(items.length)));
    for (const item of items) write(item, chunks);
  }
}

/** A decimal number as a decimal fraction; without point and exponent it is an integer. */
function writeDecimal({ source }: ExactNumber, chunks: Uint8Array[]): void {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(source) ?? [];
  const mantissa = BigInt(`${sign}${whole}${fraction}`);
  const power = BigInt(exponent) - BigInt(fraction.length);
  if (power === 0n) write(mantissa, chunks);
  else {
    chunks.push(head(6, DECIMAL_FRACTION));
    write([power, mantissa], chunks);
  }
}

/** @param argument not negative, of 64 bits */
function head(major: number, argument: bigint): Uint8Array {
  const first = major << 5;
  if (argument < 24n) return Uint8Array.of(first | Number(argument));
  const [info, size] =
    argument < 0x100n ? [24, 1] : argument < 0x1_0000n ? [25, 2] : argument < 2n ** 32n ? [26, 4] : [27, 8];
  const bytes = Buffer.alloc(9);
  bytes.writeUInt8(first | info);
  bytes.writeBigUInt64BE(argument, 1);
  // The last bytes of the eight.
  return Buffer.concat([bytes.subarray(0, 1), bytes.subarray(9 - size)]);
}

function float(value: number): Uint8Array {
  const isShort = Object.is(Math.fround(value), value);
  const bytes = Buffer.alloc(isShort ? 5 : 9);
  bytes.writeUInt8(isShort ? 0xfa : 0xfb);
  if (isShort) bytes.writeFloatBE(value, 1);
  else bytes.writeDoubleBE(value, 1);
  return bytes;
}

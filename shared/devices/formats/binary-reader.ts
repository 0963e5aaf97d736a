/** Reads oBIX in binary. */
import { type Element, elementOf, ELEMENT_NAMES, type Status, type ValueType, VALUES } from '../objects/elements';
import type { Draft } from '../objects/object';
import { SECOND_NS } from '../objects/times';
import { draftOf, openDraft, type OpenDraft } from './attributes';
import {
  type BinaryFacet,
  type BinaryFormatOptions,
  CHILDREN_END,
  CODE,
  EPOCH_S,
  FACET_CODES,
  HAS_CHILDREN,
  MAX_TABLE,
  MORE,
  OBJECT_CODES,
  STATUS_0,
  STATUS_1,
  STATUS_CODES,
  VARIANT,
} from './binary-codes';
import type { Allowance } from './format';

const ELEMENT_OF_CODE: ReadonlyMap<number, Element> = new Map(
  ELEMENT_NAMES.map((element) => [OBJECT_CODES[element], element]),
);
const FACET_OF_CODE: ReadonlyMap<number, BinaryFacet> = new Map(
  (Object.keys(FACET_CODES) as BinaryFacet[]).map((facet) => [FACET_CODES[facet], facet]),
);
const STATUS_OF_CODE: ReadonlyMap<number, Status> = new Map(
  (Object.keys(STATUS_CODES) as (keyof typeof STATUS_CODES)[]).map((status) => [STATUS_CODES[status], status]),
);

/** Facets that every object can have, and those that the encoder of IoTSyS writes after a status. */
const COMMON: Readonly<Partial<Record<BinaryFacet, ValueType>>> = {
  name: 'text',
  href: 'text',
  is: 'contracts',
  isNull: 'boolean',
  icon: 'text',
  displayName: 'text',
  display: 'text',
  writable: 'boolean',
};
const AFTER_STATUS: ReadonlySet<BinaryFacet> = new Set(['display', 'displayName', 'icon', 'isNull', 'writable']);

export class BinaryReader {
  /** Whether the document has a status without MORE, after which the encoder of IoTSyS may have written facets. */
  hasBareStatus = false;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #allowance: Allowance;
  readonly #utf8: boolean;
  readonly #bare: 'last' | 'followed';
  readonly #table: string[] = [];
  #at = 0;

  /** @param bare whether a status without MORE is the last facet, or is followed by facets where the next byte is one */
  constructor(
    bytes: Uint8Array,
    allowance: Allowance,
    { utf8 = false }: BinaryFormatOptions,
    bare: 'last' | 'followed',
  ) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#allowance = allowance;
    this.#utf8 = utf8;
    this.#bare = bare;
  }

  /** @throws DeviceFormatError */
  read(): Draft {
    const root = this.#object(this.#byte(), 1);
    if (this.#at !== this.#bytes.length) throw this.#error('There are bytes after the object');
    return root;
  }

  #error(text: string): Error {
    return this.#allowance.error(`${text} (byte ${this.#at}).`);
  }

  /** Where the next bytes begin, which are then behind. */
  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw this.#error('The document ends too early');
    this.#at += count;
    return at;
  }

  #byte(): number {
    return this.#view.getUint8(this.#take(1));
  }

  #object(first: number, depth: number): Draft {
    this.#allowance.object();
    this.#allowance.depth(depth);
    const element = ELEMENT_OF_CODE.get(first & CODE);
    if (element === undefined) throw this.#error('There is no object with this code');
    const draft = openDraft(element, element);
    const type = elementOf(element).value;
    if (type !== undefined) draft.facets.value = this.#value(type, first & VARIANT);
    else if ((first & VARIANT) !== 0) throw this.#error(`${element} has no value`);
    let more = (first & MORE) !== 0;
    while (more) more = this.#facet(draft, element, depth);
    return draftOf(draft);
  }

  /** Reads a facet. Returns whether another one follows. */
  #facet(draft: OpenDraft, element: Element, depth: number): boolean {
    const byte = this.#byte();
    const code = byte & CODE;
    const more = (byte & MORE) !== 0;
    if (code === HAS_CHILDREN) {
      if (more || (byte & VARIANT) !== 0) throw this.#error('The children of an object are not its last facet');
      for (let next = this.#byte(); next !== CHILDREN_END; next = this.#byte()) {
        draft.children.push(this.#object(next, depth + 1));
      }
      return false;
    }
    if (code === STATUS_0 || code === STATUS_1) {
      draft.facets.status = STATUS_OF_CODE.get(byte & ~MORE);
      if (draft.facets.status === undefined) throw this.#error('There is no such status');
      return more || this.#isFollowed();
    }
    const facet = FACET_OF_CODE.get(code);
    const type = facet && (COMMON[facet] ?? elementOf(element).facets[facet]);
    if (facet === undefined || type === undefined) throw this.#error(`${element} has no facet with this code`);
    draft.facets[facet] = this.#value(type, byte & VARIANT);
    return more;
  }

  /** Whether facets follow a status that has no MORE. */
  #isFollowed(): boolean {
    this.hasBareStatus = true;
    const next = this.#bytes[this.#at];
    if (this.#bare === 'last' || next === undefined) return false;
    if (next === HAS_CHILDREN) return true;
    const facet = FACET_OF_CODE.get(next & CODE);
    if (facet === undefined || !AFTER_STATUS.has(facet)) return false;
    // The encoder writes these two only where they are true, and indices of texts in one form.
    const isBoolean = facet === 'isNull' || facet === 'writable';
    return isBoolean ? (next & VARIANT) === 1 : (next & VARIANT) <= 1;
  }

  #value(type: ValueType, variant: number): unknown {
    switch (type) {
      case 'boolean':
        this.#checkVariant(variant, 1);
        return variant === 1;
      case 'integer':
        return this.#integer(variant);
      case 'count':
        return VALUES.count.check(Number(this.#integer(variant)));
      case 'real':
        this.#checkVariant(variant, 1);
        return variant === 0 ? this.#view.getFloat32(this.#take(4)) : this.#view.getFloat64(this.#take(8));
      case 'text':
        return this.#text(variant);
      case 'contracts':
        return VALUES.contracts.parse(this.#text(variant));
      case 'absoluteTime':
        return { nanoseconds: this.#nanoseconds(variant) + EPOCH_S * SECOND_NS, offset: 0 };
      case 'relativeTime':
        return this.#nanoseconds(variant);
      case 'time':
        return { nanoseconds: this.#nanoseconds(variant) };
      case 'date': {
        this.#checkVariant(variant, 0);
        const at = this.#take(4);
        return {
          year: this.#view.getUint16(at),
          month: this.#view.getUint8(at + 2),
          day: this.#view.getUint8(at + 3),
        };
      }
    }
  }

  #checkVariant(variant: number, most: number): void {
    if (variant > most) throw this.#error('There is no such encoding of this value');
  }

  #integer(variant: number): bigint {
    switch (variant) {
      case 0:
        return BigInt(this.#byte());
      case 1:
        return BigInt(this.#view.getUint16(this.#take(2)));
      case 2:
        return BigInt(this.#view.getInt32(this.#take(4)));
      default:
        return this.#view.getBigInt64(this.#take(8));
    }
  }

  #nanoseconds(variant: number): bigint {
    this.#checkVariant(variant, 1);
    if (variant === 0) return BigInt(this.#view.getInt32(this.#take(4))) * SECOND_NS;
    return this.#view.getBigInt64(this.#take(8));
  }

  /** A text, or the index of a text that was sent before. */
  #text(variant: number): string {
    this.#checkVariant(variant, 1);
    const text = variant === 1 ? this.#table[this.#view.getUint16(this.#take(2))] : this.#newText();
    if (text === undefined) throw this.#error('There is no text with this index');
    this.#allowance.chars(text.length);
    return text;
  }

  #newText(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end === -1) throw this.#error('A text does not end');
    const bytes = this.#bytes.subarray(this.#at, end);
    const text = this.#decoded(bytes);
    this.#at = end + 1;
    if (this.#table.length < MAX_TABLE) this.#table.push(text);
    return text;
  }

  #decoded(bytes: Uint8Array): string {
    if (!this.#utf8) {
      if (bytes.some((byte) => byte > 0x7f)) throw this.#error('A text has characters beyond ASCII');
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    }
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.#error('A text is not in UTF-8');
    }
  }
}

/** Formats: bytes → object, and object → bytes. The registry finds a format by media type or by CoAP number. */
import { Fault } from '../../services';
import { DeviceFormatError, DeviceObjectError } from '../errors';
import type { DeviceObject } from '../objects/object';
import { MAX_TREE_DEPTH, MAX_TREE_OBJECTS } from '../objects/objects';

/** Bounds of what a parser reads, beyond which it refuses. */
export interface FormatLimits {
  /** Bytes of a document. */
  readonly maxBytes: number;
  /** Objects of a document. */
  readonly maxObjects: number;
  /** Levels of objects. */
  readonly maxDepth: number;
  /** Characters of all texts: a short document can repeat a long text. */
  readonly maxChars: number;
}

export const FORMAT_LIMITS: FormatLimits = {
  // Read in a second at most, during which nothing else runs.
  maxBytes: 4 * 1024 * 1024,
  maxObjects: MAX_TREE_OBJECTS,
  maxDepth: MAX_TREE_DEPTH,
  maxChars: 16 * 1024 * 1024,
};

/** What a parser has left out, since the model has no place for it. */
export interface Unknown {
  readonly kind: 'element' | 'attribute' | 'text' | 'field';
  readonly name: string;
  /** The name of the element around it, where there is one. */
  readonly within?: string;
}

/** Calls of `onUnknown` for one document; the rest is not reported. */
export const MAX_REPORTED = 100;

export interface ParseOptions {
  /** The header `Content-Type`; its charset counts for XML. */
  readonly contentType?: string;
  /** Called with what is left out, up to {@link MAX_REPORTED} times. */
  readonly onUnknown?: (unknown: Unknown) => void;
  /** Nanoseconds since 1970-01-01T00:00:00Z when the document arrived, to which relative times of SenML refer. */
  readonly now?: bigint;
  readonly limits?: Partial<FormatLimits>;
}

export interface DeviceFormat {
  /** Such as `obix-xml`. */
  readonly name: string;
  /** In lower case, without parameters. What is sent has the first. */
  readonly mediaTypes: readonly string[];
  /** Content formats of CoAP (RFC 7252 §12.3). What is sent has the first. */
  readonly numbers: readonly number[];
  /** @throws DeviceFormatError, and nothing else; in a time linear in the bytes */
  parse(bytes: Uint8Array, options?: ParseOptions): DeviceObject;
  /**
   * Absent for formats that are only received.
   * @throws DeviceFormatError for an object that the format cannot carry
   */
  render?(object: DeviceObject): Uint8Array;
}

export class DeviceFormats {
  readonly #byName = new Map<string, DeviceFormat>();
  readonly #byMediaType = new Map<string, DeviceFormat>();
  readonly #byNumber = new Map<number, DeviceFormat>();

  /** @throws RangeError where two formats have one name, media type or number */
  constructor(formats: readonly DeviceFormat[]) {
    for (const format of formats) {
      add(this.#byName, format.name, format);
      for (const type of format.mediaTypes) add(this.#byMediaType, type.toLowerCase(), format);
      for (const number of format.numbers) add(this.#byNumber, number, format);
    }
  }

  get names(): readonly string[] {
    return [...this.#byName.keys()];
  }

  named(name: string): DeviceFormat | undefined {
    return this.#byName.get(name);
  }

  /** @param type a media type; parameters are left out */
  ofMediaType(type: string): DeviceFormat | undefined {
    return this.#byMediaType.get((type.split(';', 1)[0] ?? '').trim().toLowerCase());
  }

  /** @param number content format of CoAP */
  ofNumber(number: number): DeviceFormat | undefined {
    return this.#byNumber.get(number);
  }
}

function add<K extends string | number>(formats: Map<K, DeviceFormat>, key: K, format: DeviceFormat): void {
  const other = formats.get(key);
  if (other !== undefined) throw new RangeError(`The formats ${other.name} and ${format.name} both have ${key}.`);
  formats.set(key, format);
}

/** The text of an error that is a fault of this program; its cause says more. */
export const UNEXPECTED = 'The document cannot be read or written.';

/** Runs a parser or a renderer, whose errors become errors of the format. */
export function inFormat<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof DeviceFormatError) throw thrown;
    // Faults come from the decoder of XML, which calls have too.
    if (thrown instanceof DeviceObjectError || thrown instanceof Fault) {
      throw new DeviceFormatError(name, thrown.message, { cause: thrown });
    }
    throw new DeviceFormatError(name, UNEXPECTED, { cause: thrown });
  }
}

/** What is left of the limits for one document. */
export class Allowance {
  readonly limits: FormatLimits;
  readonly #format: string;
  #objects = 0;
  #chars = 0;
  #reported = 0;
  readonly #onUnknown: ParseOptions['onUnknown'];

  /** @throws DeviceFormatError for a document that is too large */
  constructor(format: string, bytes: Uint8Array, { limits, onUnknown }: ParseOptions) {
    this.#format = format;
    this.#onUnknown = onUnknown;
    this.limits = { ...FORMAT_LIMITS, ...limits };
    if (bytes.length > this.limits.maxBytes) {
      throw this.error(`A document has at most ${this.limits.maxBytes} bytes.`);
    }
  }

  error(text: string, options?: ErrorOptions): DeviceFormatError {
    return new DeviceFormatError(this.#format, text, options);
  }

  /** One more object. */
  object(): void {
    this.#objects += 1;
    if (this.#objects > this.limits.maxObjects) {
      throw this.error(`A document has at most ${this.limits.maxObjects} objects.`);
    }
  }

  /** @param depth 1 for the root */
  depth(depth: number): void {
    if (depth > this.limits.maxDepth) {
      throw this.error(`Objects nest at most ${this.limits.maxDepth} levels deep.`);
    }
  }

  chars(count: number): void {
    this.#chars += count;
    if (this.#chars > this.limits.maxChars) {
      throw this.error(`The texts of a document have at most ${this.limits.maxChars} characters.`);
    }
  }

  unknown(unknown: Unknown): void {
    this.#reported += 1;
    if (this.#reported <= MAX_REPORTED) this.#onUnknown?.(unknown);
  }
}

/** @throws DeviceFormatError for bytes that are no text in UTF-8 */
export function utf8(allowance: Allowance, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (thrown) {
    throw allowance.error('The document is no text in UTF-8.', { cause: thrown });
  }
}

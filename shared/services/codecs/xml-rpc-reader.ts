/** Reads calls of XML-RPC from a stream of XML events, without recursion; the time is linear in the size. */
import { SaxesParser } from 'saxes';
import type { ExactNumber } from '../../exact-json';
import { MAX_JSON_DEPTH, MAX_NAME_LENGTH, MAX_SHOWN_NAME_LENGTH } from '../../limits';
import { parseRfc3339 } from '../../rfc3339';
import { Fault, FAULT } from '../fault';
import { base64Bytes, exactOf, fitsI8, fitsInt, type Value } from '../value';
import { checkCharacters, checkDeclared, decodeXml } from './xml-encoding';

/** How a client spells nil, an extension. */
export type Nil = 'nil' | 'ex:nil';

/** A call as read. */
export interface XmlCall {
  readonly method: string;
  readonly params: readonly Value[];
  /** Present where the call contains nil, in the first spelling that occurs. */
  readonly nil?: Nil;
}

export interface ReaderLimits {
  /** Bytes of a document. */
  readonly maxBytes: number;
  /** Elements of a document. */
  readonly maxElements: number;
}

export const READER_LIMITS: ReaderLimits = {
  // Read in half a second at most, during which nothing else runs.
  maxBytes: 4 * 1024 * 1024,
  // Each takes about 150 bytes of memory.
  maxElements: 250_000,
};

/** Attributes of an element. XML-RPC has none; some clients declare name spaces. */
const MAX_ATTRIBUTES = 16;

/** Each element, with the elements that may contain it. */
const PARENTS = {
  methodCall: ['document'],
  methodName: ['methodCall'],
  params: ['methodCall'],
  param: ['params'],
  value: ['param', 'data', 'member'],
  int: ['value'],
  i4: ['value'],
  i8: ['value'],
  'ex:i8': ['value'],
  boolean: ['value'],
  string: ['value'],
  double: ['value'],
  'dateTime.iso8601': ['value'],
  base64: ['value'],
  nil: ['value'],
  'ex:nil': ['value'],
  array: ['value'],
  data: ['array'],
  struct: ['value'],
  member: ['struct'],
  name: ['member'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

type Element = keyof typeof PARENTS;

/** Elements with text. A `value` without a type is a string. */
const WITH_TEXT: ReadonlySet<string> = new Set<Element>([
  'methodName',
  'value',
  'int',
  'i4',
  'i8',
  'ex:i8',
  'boolean',
  'string',
  'double',
  'dateTime.iso8601',
  'base64',
  'name',
]);

const isElement = (name: string): name is Element => Object.hasOwn(PARENTS, name);
const isBlank = (text: string): boolean => !/[^ \t\r\n]/.test(text);
const trimmed = (text: string): string => text.replace(/^[ \t\r\n]+/, '').replace(/(?<![ \t\r\n])[ \t\r\n]+$/, '');

/** An element that is open. */
interface Frame {
  readonly element: Element;
  text: string;
  /** The value of the element, or of its content; undefined until there is one. */
  value: Value | undefined;
  /** The name of a member; whether a call has its name. */
  name: string | undefined;
  /** Whether a call has its parameters. */
  hasParams: boolean;
}

const invalid = (text: string): Fault => new Fault(FAULT.invalidRequest, text);
const shown = (text: string): string => JSON.stringify(text.slice(0, MAX_SHOWN_NAME_LENGTH));

/**
 * The call in a document.
 * @param document bytes; or text, whose declaration of an encoding means nothing
 * @throws Fault, and nothing else: -32700, -32701, -32702, -32600
 */
export function readCall(
  document: Uint8Array | string,
  contentType?: string,
  { maxBytes, maxElements }: ReaderLimits = READER_LIMITS,
): XmlCall {
  if (document.length > maxBytes) throw invalid(`A call has at most ${maxBytes} bytes.`);
  const isText = typeof document === 'string';
  const { text, encoding } = isText ? { text: document, encoding: undefined } : decodeXml(document, contentType);
  if (isText) checkCharacters(text);
  const content = new Content(maxElements);
  // Version 1.1 is read as 1.0, as 1.0 tells its processors to (XML 1.0 §2.8): 1.1 allows control characters.
  const parser = new SaxesParser({ defaultXMLVersion: '1.0', forceXMLVersion: true });
  parser.on('error', (error) => {
    throw new Fault(
      FAULT.parseError,
      `The XML is not well-formed: ${error.message.slice(0, MAX_SHOWN_NAME_LENGTH)}`,
    );
  });
  parser.on('doctype', () => {
    throw invalid('A call has no document type declaration.');
  });
  // No client writes any, and the parser does not check how their targets end.
  parser.on('processinginstruction', () => {
    throw invalid('A call has no processing instructions.');
  });
  parser.on('xmldecl', (declaration) => {
    if (encoding !== undefined && declaration.encoding !== undefined)
      checkDeclared(declaration.encoding, encoding);
  });
  let attributes = 0;
  parser.on('attribute', () => {
    attributes += 1;
    if (attributes > MAX_ATTRIBUTES) throw invalid(`An element has at most ${MAX_ATTRIBUTES} attributes.`);
  });
  parser.on('opentagstart', ({ name }) => {
    attributes = 0;
    content.open(name);
  });
  parser.on('text', (piece) => content.text(piece));
  parser.on('cdata', (piece) => content.text(piece));
  parser.on('closetag', () => content.close());
  parser.on('end', () => content.flush());
  try {
    parser.write(text).close();
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown;
    throw new Fault(FAULT.parseError, 'The XML cannot be read.', undefined, { cause: thrown });
  }
  return content.call;
}

/** Makes the call from the events. */
class Content {
  readonly #maxElements: number;
  #elements = 0;
  readonly #open: Frame[] = [];
  /** Arrays and structs that are open. */
  #depth = 0;
  #method: string | undefined;
  readonly #params: Value[] = [];
  #nil: Nil | undefined;
  /** The parser reports the end of an element before it checks that the end has the right name. */
  #isClosing = false;

  constructor(maxElements: number) {
    this.#maxElements = maxElements;
  }

  get call(): XmlCall {
    if (this.#method === undefined) throw invalid('The document is not a call.');
    return {
      method: this.#method,
      params: this.#params,
      ...(this.#nil === undefined ? {} : { nil: this.#nil }),
    };
  }

  open(element: string): void {
    this.flush();
    this.#elements += 1;
    if (this.#elements > this.#maxElements) throw invalid(`A call has at most ${this.#maxElements} elements.`);
    const parent = this.#open.at(-1);
    const within = parent?.element ?? 'document';
    if (!isElement(element) || !(PARENTS[element] as readonly string[]).includes(within)) {
      throw invalid(
        `XML-RPC has no element ${shown(element)} in ${within === 'document' ? 'a document' : within}.`,
      );
    }
    if (parent !== undefined) checkPlace(element, parent);
    const frame: Frame = { element, text: '', value: undefined, name: undefined, hasParams: false };
    if (element === 'array' || element === 'struct') {
      this.#depth += 1;
      if (this.#depth > MAX_JSON_DEPTH)
        throw invalid(`Arrays and structs nest at most ${MAX_JSON_DEPTH} levels deep.`);
    }
    if (element === 'struct') frame.value = Object.create(null) as Record<string, Value>;
    if (element === 'data') frame.value = [];
    this.#open.push(frame);
  }

  text(piece: string): void {
    this.flush();
    const frame = this.#open.at(-1);
    if (frame === undefined) return; // the parser refuses text outside the root
    if (WITH_TEXT.has(frame.element)) frame.text += piece;
    else if (!isBlank(piece)) throw invalid(`There is text in ${frame.element}, which has none.`);
  }

  close(): void {
    this.flush();
    this.#isClosing = true;
  }

  /** Closes the element whose end has been read. */
  flush(): void {
    if (!this.#isClosing) return;
    this.#isClosing = false;
    const frame = this.#open.pop();
    const parent = this.#open.at(-1);
    if (frame === undefined) return;
    if (parent === undefined) {
      this.#method = frame.name;
      if (frame.name === undefined) throw invalid('A call has a methodName.');
      return;
    }
    this.#finish(frame, parent);
  }

  #finish(frame: Frame, parent: Frame): void {
    switch (frame.element) {
      case 'methodCall':
      case 'params':
        break;
      case 'methodName':
        parent.name = methodName(trimmed(frame.text));
        break;
      case 'param':
        this.#params.push(filled(frame));
        break;
      case 'value':
        this.#deliver(valueOf(frame), parent);
        break;
      case 'array':
      case 'struct':
        this.#depth -= 1;
        parent.value = filled(frame);
        break;
      case 'data':
        parent.value = filled(frame);
        break;
      case 'name':
        parent.name = frame.text;
        break;
      case 'member':
        addMember(parent.value as Record<string, Value>, frame);
        break;
      case 'nil':
      case 'ex:nil':
        this.#nil ??= frame.element;
        parent.value = null;
        break;
      default:
        parent.value = scalar(frame.element, frame.text);
    }
  }

  #deliver(value: Value, parent: Frame): void {
    if (parent.element === 'data') (parent.value as Value[]).push(value);
    else parent.value = value;
  }
}

/** Refuses a second element where there is one. */
function checkPlace(element: Element, parent: Frame): void {
  if (parent.element === 'value' && !isBlank(parent.text)) throw invalid('A value has text or a type, not both.');
  const isSecond =
    element === 'methodName' || element === 'name'
      ? parent.name !== undefined
      : element === 'params'
        ? parent.hasParams
        : parent.element !== 'data' && parent.element !== 'struct' && parent.value !== undefined;
  if (isSecond) throw invalid(`There is more than one ${element} in ${parent.element}, which has one element.`);
  if (element === 'params') {
    if (parent.name === undefined) throw invalid('The methodName of a call comes before its params.');
    parent.hasParams = true;
  }
}

function filled({ element, value }: Frame): Value {
  if (value === undefined) throw invalid(`There is no content in ${element}.`);
  return value;
}

function valueOf({ value, text }: Frame): Value {
  if (value === undefined) return text;
  if (!isBlank(text)) throw invalid('A value has text or a type, not both.');
  return value;
}

function addMember(struct: Record<string, Value>, { name, value }: Frame): void {
  if (name === undefined || value === undefined) throw invalid('A member has a name and a value.');
  // Clients keep the first or the last of two; what one party checks must not differ from what another party uses.
  if (Object.hasOwn(struct, name)) throw invalid(`A struct has two members ${shown(name)}.`);
  struct[name] = value;
}

function methodName(text: string): string {
  if (!/^[A-Za-z0-9_.:/]+$/.test(text) || text.length > MAX_NAME_LENGTH) {
    throw invalid(
      `${shown(text)} is no method's name: up to ${MAX_NAME_LENGTH} letters, digits, underscores, dots, colons, slashes.`,
    );
  }
  return text;
}

type Scalar = Exclude<
  Element,
  | 'methodCall'
  | 'methodName'
  | 'params'
  | 'param'
  | 'value'
  | 'array'
  | 'data'
  | 'struct'
  | 'member'
  | 'name'
  | 'nil'
  | 'ex:nil'
>;

/** The value of an element. White space around it means something in strings only. */
function scalar(element: Scalar, text: string): Value {
  switch (element) {
    case 'string':
      return text;
    case 'int':
    case 'i4':
      return whole(element, text, fitsInt);
    case 'i8':
    case 'ex:i8':
      return whole(element, text, fitsI8);
    case 'boolean':
      return boolean(trimmed(text));
    case 'double':
      return double(trimmed(text));
    case 'dateTime.iso8601':
      return dateTime(trimmed(text));
    case 'base64':
      return bytes(text);
  }
}

function whole(element: string, text: string, fits: (value: bigint) => boolean): number | ExactNumber {
  const [, sign = '', written = ''] = /^([+-]?)(\d+)$/.exec(trimmed(text)) ?? [];
  const digits = written.replace(/^0+(?=\d)/, '');
  // No integer in range has more than 19 digits; BigInt takes quadratic time for many.
  const value = digits === '' || digits.length > 19 ? undefined : BigInt(digits) * (sign === '-' ? -1n : 1n);
  if (value === undefined || !fits(value)) {
    throw invalid(`${shown(text)} is no ${element}: an integer of ${element.endsWith('8') ? 64 : 32} bits.`);
  }
  return exactOf(value);
}

function boolean(text: string): boolean {
  if (text !== '0' && text !== '1') throw invalid(`${shown(text)} is no boolean: 0 or 1.`);
  return text === '1';
}

function double(text: string): number {
  // The exponent is that of Python and C.
  const value = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(value)) throw invalid(`${shown(text)} is no double: a decimal number of 64 bits.`);
  return value;
}

const TIME = /^(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)([.,]\d{1,9})?(?:(Z)|([+-]\d\d):?(\d\d)?)?$/;

/** A time without zone is in UTC; XML-RPC leaves that to the server. Digits beyond milliseconds are dropped. */
function dateTime(text: string): Date {
  const [, year, month, day, hour, minute, second, fraction = '', , offset, offsetMinutes = '00'] =
    TIME.exec(text) ?? [];
  const zone = offset === undefined ? 'Z' : `${offset}:${offsetMinutes}`;
  const time =
    year === undefined
      ? undefined
      : parseRfc3339(`${year}-${month}-${day}T${hour}:${minute}:${second}${fraction.replace(',', '.')}${zone}`);
  if (time === undefined) throw invalid(`${shown(text)} is no dateTime.iso8601, such as 19980717T14:08:55.`);
  return new Date(time);
}

function bytes(text: string): Uint8Array {
  // Clients break lines as in MIME.
  const value = base64Bytes(text.replace(/[ \t\r\n]+/g, ''));
  if (value === undefined) throw invalid('A base64 is not in base64 with padding.');
  return value;
}

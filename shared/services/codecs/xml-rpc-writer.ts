/** Writes answers of XML-RPC. */
import { ExactNumber } from '../../exact-json';
import { Fault } from '../fault';
import { faultEntry } from '../multicall';
import {
  AnswerSize,
  asType,
  base64Of,
  checkDepth,
  fitsI8,
  fitsInt,
  formOf,
  MAX_ANSWER_CHARS,
  plainDecimal,
  rfc3339Of,
  unwritable,
  type Value,
  wholeOf,
} from '../value';
import { forbiddenIn, withoutForbidden } from './xml-encoding';
import type { Nil } from './xml-rpc-reader';

export interface WriterOptions {
  /** Type of the result, from the signature of the method. A result of another type is written as what it is. */
  readonly type?: string | undefined;
  /** How to write nil, an extension; a result with nil is a fault when absent. `ex:nil` is that of Apache, as is its `ex:i8`. */
  readonly nil?: Nil | undefined;
  /** Characters of the answer. */
  readonly maxChars?: number | undefined;
}

const HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n';
/** The name space of the extensions of Apache. */
const EX = ' xmlns:ex="http://ws.apache.org/xmlrpc/namespaces/extensions"';

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#13;' };
const escaped = (text: string): string => text.replace(/[&<>\r]/g, (char) => ESCAPES[char] ?? char);

/** The document for the outcome of a call: its result, or a fault, also for a result that XML-RPC cannot carry. */
export function writeAnswer(outcome: Value | Fault, options: WriterOptions = {}): string {
  if (outcome instanceof Fault) return faultDocument(outcome);
  const written = resultDocument(outcome, options);
  return written instanceof Fault ? faultDocument(written) : written;
}

/**
 * The document for the result of `system.multicall`. An entry that XML-RPC cannot carry becomes a fault, so that the
 * caller gets the others.
 */
export function writeEntries(entries: readonly Value[], options: WriterOptions = {}): string {
  const written = resultDocument(entries, options);
  if (!(written instanceof Fault)) return written;
  const writable = entries.map((entry) => {
    const alone = resultDocument(entry, options);
    return alone instanceof Fault ? faultEntry(alone) : entry;
  });
  return writeAnswer(writable, options);
}

function resultDocument(result: Value, options: WriterOptions): string | Fault {
  try {
    const value = new Writer(options).document(result);
    const extensions = options.nil === 'ex:nil' ? EX : '';
    return `${HEAD}<methodResponse${extensions}><params><param>${value}</param></params></methodResponse>\n`;
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
    throw thrown;
  }
}

/** XML-RPC has no place for data, so the text has the correlation id. A fault itself can always be written. */
function faultDocument({ code, message, correlationId }: Fault): string {
  const isMissing = correlationId !== undefined && !message.includes(correlationId);
  const text = escaped(withoutForbidden(`${message}${isMissing ? ` (${correlationId})` : ''}`));
  const member = (name: string, value: string): string =>
    `<member><name>${name}</name><value>${value}</value></member>`;
  const members = member('faultCode', `<int>${code}</int>`) + member('faultString', `<string>${text}</string>`);
  return `${HEAD}<methodResponse><fault><value><struct>${members}</struct></value></fault></methodResponse>\n`;
}

class Writer {
  #out = '';
  readonly #type: string | undefined;
  readonly #nil: Nil | undefined;
  readonly #size: AnswerSize;

  constructor({ type, nil, maxChars = MAX_ANSWER_CHARS }: WriterOptions) {
    this.#type = type;
    this.#nil = nil;
    this.#size = new AnswerSize(maxChars);
  }

  document(result: Value): string {
    const typed = this.#type === undefined ? undefined : asType(this.#type, result);
    this.#value(typed ?? result, 0, this.#type);
    return this.#out;
  }

  #write(text: string): void {
    this.#size.spend(text.length);
    this.#out += text;
  }

  #element(name: string, text: string): void {
    this.#write(`<value><${name}>${text}</${name}></value>`);
  }

  /** @param type of the value, from a signature */
  #value(value: unknown, depth: number, type?: string): void {
    const form = formOf(value);
    switch (form.is) {
      case 'nil':
        this.#writeNil();
        break;
      case 'boolean':
        this.#element('boolean', form.value ? '1' : '0');
        break;
      case 'number':
        this.#element(...this.#number(form.value, type));
        break;
      case 'string':
        this.#element('string', textOf(form.value));
        break;
      case 'bytes':
        this.#element('base64', base64Of(form.value));
        break;
      case 'date':
        this.#element('dateTime.iso8601', dateTime(form.value));
        break;
      case 'array':
        checkDepth(depth);
        this.#write('<value><array><data>');
        // Unlike forEach, this visits holes.
        for (const item of form.value) this.#value(item, depth + 1);
        this.#write('</data></array></value>');
        break;
      case 'struct':
        checkDepth(depth);
        this.#write('<value><struct>');
        this.#members(form.value, depth + 1);
        this.#write('</struct></value>');
    }
  }

  #members(struct: Readonly<Record<string, unknown>>, depth: number): void {
    for (const [name, member] of Object.entries(struct)) {
      if (member === undefined) continue;
      this.#write(`<member><name>${textOf(name)}</name>`);
      this.#value(member, depth);
      this.#write('</member>');
    }
  }

  #writeNil(): void {
    if (this.#nil === undefined) {
      throw unwritable('it contains null, which XML-RPC has as an extension only; ask for nil, or use JSON-RPC');
    }
    this.#write(`<value><${this.#nil}/></value>`);
  }

  /** The element of a number, and its text. */
  #number(value: number | bigint | ExactNumber, type: string | undefined): [element: string, text: string] {
    const whole = wholeOf(value);
    if (type !== 'double' && whole !== undefined && !Object.is(value, -0)) {
      if (fitsInt(whole) && type !== 'i8') return ['int', String(whole)];
      if (fitsI8(whole)) return [this.#nil === 'ex:nil' ? 'ex:i8' : 'i8', String(whole)];
      // Digits of a larger integer would be lost in a double, unless it comes from one.
      if (typeof value !== 'number')
        throw unwritable(`it contains ${shown(String(whole))}, which has more than 64 bits`);
    }
    return ['double', double(value)];
  }
}

function textOf(text: string): string {
  const forbidden = forbiddenIn(text);
  if (forbidden === undefined) return escaped(text);
  throw unwritable(`it contains the character ${forbidden}, which XML does not allow; return such text as bytes`);
}

const shown = (digits: string): string => (digits.length > 50 ? `${digits.slice(0, 50)}…` : digits);

/** A double in plain decimals, which is what XML-RPC allows; always with a point, so that it is not taken for an integer. */
function double(value: number | bigint | ExactNumber): string {
  const source = value instanceof ExactNumber ? value.source : Object.is(value, -0) ? '-0' : String(value);
  const plain = plainDecimal(source);
  const isHeld =
    Number.isFinite(Number(source)) && (Number(source) !== 0 || !/[1-9]/.test(source.replace(/e.*/i, '')));
  if (plain === undefined || !isHeld) throw unwritable(`it contains ${shown(source)}, which is no double`);
  return plain.includes('.') ? plain : `${plain}.0`;
}

/** Without zone, in UTC, and without fraction: XML-RPC has neither. */
function dateTime(date: Date): string {
  return rfc3339Of(date).slice(0, 19).replace(/-/g, '');
}

/** Reads the syntax of the text renderings (GFD.229 §4, GFD.185 §3.5). */
import { badRequest, type CmbsError } from '../../../errors';
import type { Json } from '../../../json';
import { endOfString, nestsWithin } from '../../../json-depth';
import { MAX_JSON_DEPTH } from '../../../limits';
import { endOfJson } from '../../json-source';
import { excerpt, unescape } from './quoting';

/** A value, with its source text if the value had no quotes. */
export interface ReadValue {
  readonly value: Json;
  readonly source?: string;
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** A token (RFC 9110 §5.6.2), or a URI without quotes. */
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z:/?@-]+/y;

/** The text after a comma that separates two locations: another location, or nothing. */
const NEXT_LOCATION = /[ \t]*(?:$|[,</]|[a-z][a-z0-9+.-]*:\/\/)/iy;

/** Where unquoted text ends: behind a name, behind a word (a number, an unquoted value), behind a term. */
type Stop = 'name' | 'word' | 'term';
const RUNS: Readonly<Record<Stop, RegExp>> = {
  name: /[^=;,"]*/y,
  word: /[^;, \t]*/y,
  term: /[^;,]*/y,
};

/** Reads the items of one header or line from left to right. Every method throws `bad_request` and no other error. */
export class TextReader {
  readonly #text: string;
  readonly #field: string;
  #at = 0;

  /** @param field name of the header, for error messages */
  constructor(text: string, field: string) {
    this.#text = text;
    this.#field = field;
  }

  /** The next character that is not white space; '' at the end. */
  peek(): string {
    while (this.#at < this.#text.length && isBlank(this.#text.charCodeAt(this.#at))) this.#at++;
    return this.#text.charAt(this.#at);
  }

  /** Skips `char` if it comes next. */
  accept(char: string): boolean {
    if (this.peek() !== char) return false;
    this.#at++;
    return true;
  }

  /** Moves to the next item of a comma list, past empty items (RFC 9110 §5.6.1); false if no item is left. */
  nextItem(): boolean {
    while (this.accept(','));
    return this.peek() !== '';
  }

  /** Ends an item: a comma or the end must follow. Final semicolons are tolerated, because some clients write them. */
  endItem(): void {
    while (this.accept(';'));
    const next = this.peek();
    if (next !== '' && next !== ',') throw this.fault('has text where a comma should stand');
  }

  /** Moves to the next parameter of an item; false when the item ends. */
  nextParameter(): boolean {
    if (!this.accept(';')) {
      this.endItem();
      return false;
    }
    while (this.accept(';'));
    const next = this.peek();
    return next !== '' && next !== ',';
  }

  /** The text up to `stop`, without surrounding white space. */
  until(stop: Stop): string {
    const run = RUNS[stop];
    run.lastIndex = this.#at;
    const text = run.exec(this.#text)?.[0] ?? '';
    this.#at += text.length;
    return text.trim();
  }

  /** A URL or path. It may contain commas: a comma ends it only where another location follows. */
  location(): string {
    if (this.peek() === '<') return this.reference();
    const start = this.#at;
    let comma = this.#text.indexOf(',', start);
    while (comma !== -1) {
      NEXT_LOCATION.lastIndex = comma + 1;
      if (NEXT_LOCATION.test(this.#text)) break;
      comma = this.#text.indexOf(',', comma + 1);
    }
    this.#at = comma === -1 ? this.#text.length : comma;
    return this.#text.slice(start, this.#at).trim();
  }

  /** The text between `<` and `>`. */
  reference(): string {
    if (!this.accept('<')) throw this.fault('needs a URI in angle brackets');
    const end = this.#text.indexOf('>', this.#at);
    if (end === -1) throw this.fault('has an angle bracket that is not closed');
    const uri = this.#text.slice(this.#at, end).trim();
    this.#at = end + 1;
    return uri;
  }

  /** A name and the equals sign after it. */
  name(): string {
    const name = this.until('name');
    if (name === '' || /\s/.test(name)) throw this.fault('needs items of the form name=value');
    if (!this.accept('=')) throw this.fault(`gives no value for ${excerpt(name)}`);
    this.peek();
    return name;
  }

  /** A quoted string, or an unquoted word, since old clients leave the quotes out. */
  word(): string {
    return this.peek() === '"' ? this.quoted() : this.until('word');
  }

  quoted(): string {
    const end = endOfString(this.#text, this.#at);
    if (end === -1) throw this.fault('has a quote that is not closed');
    const inner = this.#text.slice(this.#at + 1, end - 1);
    this.#at = end;
    return inner.includes('\\') ? unescape(inner) : inner;
  }

  /** A typed value (GFD.185 §3.5.4): a quoted string, or a number, a boolean or JSON without quotes. */
  value(name: string): ReadValue {
    const first = this.peek();
    if (first === '"') return { value: this.quoted() };
    if (first === '{' || first === '[') return this.#bareJson(name);
    const source = this.until('word');
    // The source keeps digits that a JavaScript number would round.
    if (NUMBER.test(source)) return { value: Number(source), source };
    const word = source.toLowerCase();
    if (word === 'true' || word === 'false') return { value: word === 'true', source: word };
    if (word === 'null') return { value: null, source: word };
    throw this.fault(
      `gives ${excerpt(name)} a value without quotes that is not a number, true or false; put strings in quotes`,
    );
  }

  /** The value of a link's parameter, which may also be a token (GFD.229 §3.6): a string without quotes. */
  parameter(name: string): ReadValue {
    this.peek();
    TOKEN.lastIndex = this.#at;
    const token = TOKEN.exec(this.#text)?.[0];
    if (token === undefined || NUMBER.test(token) || /^(?:true|false|null)$/i.test(token)) return this.value(name);
    this.#at += token.length;
    return { value: token, source: token };
  }

  #bareJson(name: string): ReadValue {
    const end = endOfJson(this.#text, this.#at);
    const source = this.#text.slice(this.#at, end === -1 ? undefined : end);
    if (!nestsWithin(source, MAX_JSON_DEPTH)) {
      throw this.fault(`nests ${excerpt(name)} deeper than ${MAX_JSON_DEPTH} levels`);
    }
    let value: Json;
    try {
      value = JSON.parse(source) as Json;
    } catch (cause) {
      throw badRequest(`${this.#field} has invalid JSON for ${excerpt(name)}; correct it.`, { cause });
    }
    this.#at = end;
    return { value, source };
  }

  /** A refusal that names the header and the position of the reader. */
  fault(what: string): CmbsError {
    return badRequest(`${this.#field} ${what} (at character ${this.#at + 1}); correct it.`);
  }
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

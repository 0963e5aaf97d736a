/**
 * What the text renderings are made of (GFD.229 §4, GFD.185 §3): quoted strings, bare numbers and booleans, bare
 * JSON, attribute names and URIs, each read and written here.
 */
import { isUtf8 } from 'node:buffer';
import { badRequest, type CmbsError } from '../errors';
import type { Json } from '../json';
import { MAX_JSON_DEPTH } from '../limits';
import { endOfJson, endOfString, nestsWithin } from './json-source';
import type { RenderContext } from './rendering';

/** `ascii` for what travels in HTTP headers, `utf8` for bodies. */
export type TextCharset = 'ascii' | 'utf8';

/** The text of a body, without a byte order mark. Throws `bad_request` when it is not UTF-8. */
export function decodeBody(body: Buffer): string {
  if (!isUtf8(body)) throw badRequest('The body is not valid UTF-8; send it in that encoding.');
  const text = body.toString('utf8');
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Lines end with LF or CRLF (#68). */
export function linesOf(text: string): string[] {
  return text.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
}

/** The absolute URL of a path of this deployment; a URL stays as it is. */
export function urlOf(pathOrUrl: string, context: RenderContext): string {
  return pathOrUrl.startsWith('/') ? context.base + pathOrUrl : pathOrUrl;
}

/** A base that is more than scheme and authority. */
const HAS_PATH = /^[a-z]+:\/\/[^/]+\//i;

/**
 * How a path of this deployment is referred to: the path alone, since clients put the host in front themselves (#65); the
 * whole URL where the public base has a path, which a reference would lose (RFC 3986 §5.2).
 */
export function referenceTo(pathOrUrl: string, context: Pick<RenderContext, 'base'>): string {
  const isOwn = pathOrUrl.startsWith('/') && HAS_PATH.test(context.base);
  return escapeUri(isOwn ? context.base + pathOrUrl : pathOrUrl);
}

/** A string in quotes, escaped as in JSON. */
export function quote(value: string, charset: TextCharset): string {
  return PLAIN[charset].test(value) ? `"${value}"` : escapeUnsafe(JSON.stringify(value), charset);
}

/** Strings that need no escape. */
const PLAIN = {
  ascii: /^[ !#-[\]-~]*$/,
  utf8: /^[ !#-[\]-~\u00a0-\u2027\u202a-\ud7ff\ue000-\uffff]*$/,
} as const;

/** What may not stand in the text, which in valid JSON text occurs inside of strings only. */
const UNSAFE = {
  ascii: /[^ -~]/g,
  // Some parsers take U+0085, U+2028 and U+2029 for line ends; a lone surrogate has no UTF-8.
  utf8: /[\u007f-\u009f\u2028\u2029]|\p{Cs}/gu,
} as const;

function escapeUnsafe(jsonText: string, charset: TextCharset): string {
  return jsonText.replace(UNSAFE[charset], (char) => '\\u' + char.charCodeAt(0).toString(16).padStart(4, '0'));
}

/** Percent-encodes what would end a URI, an item or a line in the places where URIs stand. */
export function escapeUri(uri: string): string {
  return PLAIN_URI.test(uri) ? uri : percentEncode(uri, PLAIN_URI);
}

/**
 * Writes a term or an attribute name. OCCI's own names pass through; of others, what the syntax around them uses is
 * percent-encoded, so that no definition made through JSON can break the text of all.
 */
export function writeName(name: string): string {
  return PLAIN_NAME.test(name) ? name : percentEncode(name, PLAIN_NAME);
}

/** Printable ASCII without space, quote and angle brackets. */
const PLAIN_URI = /^[!#-;=?-~]*$/;
/** The same without comma, percent, semicolon, equals sign, backslash and braces. */
const PLAIN_NAME = /^[!#$&-+\--:?-[\]-z|~]*$/;

function percentEncode(text: string, plain: RegExp): string {
  let encoded = '';
  for (const char of text) {
    if (plain.test(char)) encoded += char;
    else for (const byte of Buffer.from(char)) encoded += '%' + byte.toString(16).toUpperCase().padStart(2, '0');
  }
  return encoded;
}

export function readName(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // Not an encoding of anything, so it stands for itself.
    return text;
  }
}

/** A value and, where it stood without quotes, the source it was read from. */
export interface ReadValue {
  readonly value: Json;
  readonly source?: string;
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** RFC 9110 §5.6.2, with what stands in URIs besides. */
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z:/?@-]+/y;

/** What follows a comma that parts two locations: another one, or nothing. */
const NEXT_LOCATION = /[ \t]*(?:$|[,</]|[a-z][a-z0-9+.-]*:\/\/)/iy;

/** Where unquoted text stops: a name, a word (a number, an unquoted value), a term. */
type Stop = 'name' | 'word' | 'term';
const RUNS: Readonly<Record<Stop, RegExp>> = {
  name: /[^=;,"]*/y,
  word: /[^;, \t]*/y,
  term: /[^;,]*/y,
};

/** Reads the items of one header or line from left to right. Every method throws `bad_request` and nothing else. */
export class TextReader {
  private at = 0;

  /** `field` is the name of the header, for messages. */
  constructor(
    private readonly text: string,
    private readonly field: string,
  ) {}

  /** The next character that is not white space, or '' at the end. */
  peek(): string {
    while (this.at < this.text.length && isBlank(this.text.charCodeAt(this.at))) this.at++;
    return this.text.charAt(this.at);
  }

  /** Steps over `char` when it comes next. */
  accept(char: string): boolean {
    if (this.peek() !== char) return false;
    this.at++;
    return true;
  }

  /** Moves to the next item of a comma list; false when none is left. Empty items are passed over (RFC 9110 §5.6.1). */
  nextItem(): boolean {
    while (this.accept(','));
    return this.peek() !== '';
  }

  /** After an item: only a comma or the end may follow. A last `;` is tolerated, since some clients write one. */
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

  /** The text up to where it stops, without the white space around it. */
  until(stop: Stop): string {
    const run = RUNS[stop];
    run.lastIndex = this.at;
    const text = run.exec(this.text)?.[0] ?? '';
    this.at += text.length;
    return text.trim();
  }

  /** A URL or path, which may hold commas itself: one ends it only where another location begins behind it. */
  location(): string {
    if (this.peek() === '<') return this.reference();
    const start = this.at;
    let comma = this.text.indexOf(',', start);
    while (comma !== -1) {
      NEXT_LOCATION.lastIndex = comma + 1;
      if (NEXT_LOCATION.test(this.text)) break;
      comma = this.text.indexOf(',', comma + 1);
    }
    this.at = comma === -1 ? this.text.length : comma;
    return this.text.slice(start, this.at).trim();
  }

  /** What stands between `<` and `>`. */
  reference(): string {
    if (!this.accept('<')) throw this.fault('needs a URI in angle brackets');
    const end = this.text.indexOf('>', this.at);
    if (end === -1) throw this.fault('has an angle bracket that does not close');
    const uri = this.text.slice(this.at, end).trim();
    this.at = end + 1;
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

  /** A quoted string, or an unquoted word where old clients leave the quotes out. */
  word(): string {
    return this.peek() === '"' ? this.quoted() : this.until('word');
  }

  quoted(): string {
    const end = endOfString(this.text, this.at);
    if (end === -1) throw this.fault('has a quote that does not close');
    const inner = this.text.slice(this.at + 1, end - 1);
    this.at = end;
    return inner.includes('\\') ? unescape(inner) : inner;
  }

  /** A typed value (#70): quoted string, bare number, boolean or JSON. */
  value(name: string): ReadValue {
    const first = this.peek();
    if (first === '"') return { value: this.quoted() };
    if (first === '{' || first === '[') return this.bareJson(name);
    const source = this.until('word');
    // What is more than a number holds may be kept as it came.
    if (NUMBER.test(source)) return { value: Number(source), source };
    const word = source.toLowerCase();
    if (word === 'true' || word === 'false') return { value: word === 'true', source: word };
    if (word === 'null') return { value: null, source: word };
    throw this.fault(
      `has no value it can read for ${excerpt(name)}: quote a string, write a number, true or false`,
    );
  }

  /** The value of a link's parameter, which may also be a token (GFD.229 §3.6): a string without quotes. */
  parameter(name: string): ReadValue {
    this.peek();
    TOKEN.lastIndex = this.at;
    const token = TOKEN.exec(this.text)?.[0];
    if (token === undefined || NUMBER.test(token) || /^(?:true|false|null)$/i.test(token)) return this.value(name);
    this.at += token.length;
    return { value: token, source: token };
  }

  private bareJson(name: string): ReadValue {
    const end = endOfJson(this.text, this.at);
    const source = this.text.slice(this.at, end === -1 ? undefined : end);
    if (!nestsWithin(source, MAX_JSON_DEPTH)) {
      throw this.fault(`nests ${excerpt(name)} deeper than ${MAX_JSON_DEPTH} levels`);
    }
    let value: Json;
    try {
      value = JSON.parse(source) as Json;
    } catch (cause) {
      throw badRequest(`${this.field} has invalid JSON for ${excerpt(name)}; correct it.`, { cause });
    }
    this.at = end;
    return { value, source };
  }

  /** A refusal that says where the reader stands. */
  fault(what: string): CmbsError {
    return badRequest(`${this.field} ${what} (at character ${this.at + 1}); correct it.`);
  }
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** A client's own text in a message: short, and in characters that fit a header. */
export function excerpt(text: string): string {
  return quote(text.length > 60 ? text.slice(0, 60) + '...' : text, 'ascii');
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** Undoes JSON's escapes. Any other backslash stays, so that a pattern like `\d+` need not be escaped twice. */
function unescape(text: string): string {
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|([\s\S]))/g, (whole: string, hex?: string, char?: string) =>
    hex === undefined ? (ESCAPES[char ?? ''] ?? whole) : String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

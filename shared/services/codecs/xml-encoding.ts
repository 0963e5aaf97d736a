/**
 * The encoding of an XML document (RFC 7303 §3, XML 1.0 §4.3.3): by its byte order mark, else by the charset of
 * `Content-Type`, else by its XML declaration, else UTF-8. Two of them that name different encodings are refused, since
 * sender and receiver might read different texts.
 */
import { MAX_SHOWN_NAME_LENGTH } from '../../limits';
import { Fault, FAULT } from '../fault';

type Encoding = 'UTF-8' | 'UTF-16' | 'ISO-8859-1' | 'US-ASCII';

/** The names of the encodings, in lower case. */
const NAMES: ReadonlyMap<string, Encoding> = new Map([
  ['utf-8', 'UTF-8'],
  ['utf8', 'UTF-8'],
  ['utf-16', 'UTF-16'],
  ['iso-8859-1', 'ISO-8859-1'],
  ['iso_8859-1', 'ISO-8859-1'],
  ['iso8859-1', 'ISO-8859-1'],
  ['latin1', 'ISO-8859-1'],
  ['us-ascii', 'US-ASCII'],
  ['ascii', 'US-ASCII'],
]);

/** Bytes in which an XML declaration ends. Of a longer one only the parser reads the encoding. */
const MAX_DECLARATION_BYTES = 1024;
const DECLARATION = /^<\?xml\s[^>]*?\sencoding\s*=\s*(?:"([^"]*)"|'([^']*)')/;
const CHARSET = /;\s*charset\s*=\s*["']?([^\s;"']*)/i;
/** Characters that XML 1.0 §2.2 does not allow, and halves of surrogate pairs. */
const NOT_ALLOWED = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu;

const unsupported = (text: string): Fault => new Fault(FAULT.unsupportedEncoding, text);
const invalid = (text: string): Fault => new Fault(FAULT.invalidCharacter, text);

/** The encoding of a name. @throws Fault -32701 for an unknown one */
function named(name: string): Encoding {
  const encoding = NAMES.get(name.toLowerCase());
  if (encoding === undefined) {
    const shown = JSON.stringify(name.slice(0, MAX_SHOWN_NAME_LENGTH));
    throw unsupported(`The encoding ${shown} is not supported; use UTF-8, UTF-16, ISO-8859-1 or US-ASCII.`);
  }
  return encoding;
}

/** @throws Fault -32701 where an XML declaration names another encoding than that of its document */
export function checkDeclared(name: string, encoding: string): void {
  const declared = named(name);
  if (declared !== encoding) {
    throw unsupported(`The XML declaration names ${declared}, but the document is in ${encoding}.`);
  }
}

/** The first character of a text that XML 1.0 does not allow, such as `U+0000`. */
export function forbiddenIn(text: string): string | undefined {
  const at = text.search(NOT_ALLOWED);
  return at === -1 ? undefined : `U+${text.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0')}`;
}

/** The text with U+FFFD in place of each character that XML 1.0 does not allow. */
export const withoutForbidden = (text: string): string => text.replace(NOT_ALLOWED, '\ufffd');

/** @throws Fault -32702 for a text with a character that XML 1.0 does not allow */
export function checkCharacters(text: string): void {
  const forbidden = forbiddenIn(text);
  if (forbidden === undefined) return;
  throw invalid(`XML does not allow the character ${forbidden}; send such text as base64.`);
}

interface Mark {
  readonly encoding: 'UTF-8' | 'UTF-16';
  readonly decoder: 'utf-8' | 'utf-16le' | 'utf-16be';
  readonly length: number;
}

/** The byte order mark of a document. @throws Fault for UTF-32, and for UTF-16 without a mark */
function markOf(bytes: Uint8Array): Mark | undefined {
  const [a, b, c, d] = bytes;
  if ((a === 0xff && b === 0xfe && c === 0 && d === 0) || (a === 0 && b === 0 && c === 0xfe && d === 0xff)) {
    throw unsupported('UTF-32 is not supported; use UTF-8.');
  }
  if (a === 0xef && b === 0xbb && c === 0xbf) return { encoding: 'UTF-8', decoder: 'utf-8', length: 3 };
  if (a === 0xff && b === 0xfe) return { encoding: 'UTF-16', decoder: 'utf-16le', length: 2 };
  if (a === 0xfe && b === 0xff) return { encoding: 'UTF-16', decoder: 'utf-16be', length: 2 };
  if ((a === 0x3c && b === 0) || (a === 0 && b === 0x3c)) {
    throw unsupported('A document in UTF-16 begins with a byte order mark; this one has none.');
  }
  return undefined;
}

/**
 * The text of a document, and its encoding.
 * @param contentType the header `Content-Type`
 * @throws Fault -32701, -32702
 */
export function decodeXml(bytes: Uint8Array, contentType = ''): { text: string; encoding: string } {
  const mark = markOf(bytes);
  const charset = CHARSET.exec(contentType)?.[1];
  const fromHeader = charset === undefined ? undefined : named(charset);
  if (mark !== undefined && fromHeader !== undefined && fromHeader !== mark.encoding) {
    throw unsupported(`Content-Type says ${fromHeader}, but the byte order mark is that of ${mark.encoding}.`);
  }
  const encoding = mark?.encoding ?? fromHeader ?? declaredIn(bytes) ?? 'UTF-8';
  const text = decoded(bytes.subarray(mark?.length ?? 0), encoding, mark?.decoder);
  checkCharacters(text);
  return { text, encoding };
}

/** The encoding that the declaration of a document names, which is in a superset of ASCII. */
function declaredIn(bytes: Uint8Array): Encoding | undefined {
  const [, double, single] = DECLARATION.exec(latin1(bytes.subarray(0, MAX_DECLARATION_BYTES))) ?? [];
  const name = double ?? single;
  return name === undefined ? undefined : named(name);
}

function decoded(bytes: Uint8Array, encoding: Encoding, decoder: Mark['decoder'] = 'utf-8'): string {
  switch (encoding) {
    // For TextDecoder, ISO-8859-1 is a name of windows-1252.
    case 'ISO-8859-1':
      return latin1(bytes);
    case 'US-ASCII': {
      const text = latin1(bytes);
      if (/[\u0080-\u00ff]/.test(text)) throw invalid('The document has a byte that US-ASCII does not have.');
      return text;
    }
    case 'UTF-8':
      return strictly(bytes, 'utf-8', encoding);
    case 'UTF-16':
      if (decoder === 'utf-8') throw unsupported('A document in UTF-16 begins with a byte order mark.');
      return strictly(bytes, decoder, encoding);
  }
}

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');

function strictly(bytes: Uint8Array, decoder: Mark['decoder'], encoding: Encoding): string {
  try {
    return new TextDecoder(decoder, { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalid(`The document has bytes that are no text in ${encoding}.`);
  }
}

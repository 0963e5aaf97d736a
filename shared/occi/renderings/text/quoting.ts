/** Quoted strings of the text renderings (GFD.229 §4, GFD.185 §3.5), escaped as in JSON. */

/** `ascii` for HTTP headers, `utf8` for bodies. */
export type TextCharset = 'ascii' | 'utf8';

/** Strings that need no escape. */
const PLAIN = {
  ascii: /^[ !#-[\]-~]*$/,
  utf8: /^[ !#-[\]-~\u00a0-\u2027\u202a-\ud7ff\ue000-\uffff]*$/,
} as const;

/** Characters that must be escaped. In valid JSON text they occur only inside strings. */
const UNSAFE = {
  ascii: /[^ -~]/g,
  // Some parsers take U+0085, U+2028 and U+2029 for line ends; a lone surrogate has no UTF-8.
  utf8: /[\u007f-\u009f\u2028\u2029]|\p{Cs}/gu,
} as const;

/** The string in quotes. */
export function quote(value: string, charset: TextCharset): string {
  return PLAIN[charset].test(value) ? `"${value}"` : escapeUnsafe(JSON.stringify(value), charset);
}

function escapeUnsafe(jsonText: string, charset: TextCharset): string {
  return jsonText.replace(UNSAFE[charset], (char) => '\\u' + char.charCodeAt(0).toString(16).padStart(4, '0'));
}

/** The start of a client's text, quoted, in characters that an HTTP header can hold: for error messages. */
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

/** Resolves JSON's escapes. Other backslashes stay, so that clients need not escape a pattern like `\d+` twice. */
export function unescape(text: string): string {
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|([\s\S]))/g, (whole: string, hex?: string, char?: string) =>
    hex === undefined ? (ESCAPES[char ?? ''] ?? whole) : String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

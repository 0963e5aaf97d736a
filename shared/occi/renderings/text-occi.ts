/** `text/occi`: the items are HTTP headers, and the body is `OK` (GFD.185 §3.6.6). */
import { isUtf8 } from 'node:buffer';
import { CmbsError } from '../../errors';
import type { Payload } from '../payload';
import type { RawInput, RenderedText, TextRendering } from './rendering';
import { TEXT_FIELDS, TextItems } from './text/items';
import type { TextItem } from './text/output';
import { itemRendering } from './text/rendering';

/**
 * Bytes of the OCCI headers of an answer. Clients and proxies accept 16 KiB of headers, and the other headers need less
 * than 1 KiB. The query interface with all extensions needs 12 KiB, and conformance suites read it in this rendering.
 */
const MAX_TEXT_OCCI_HEADER_BYTES = 15 * 1024;

const MEDIA_TYPE = 'text/occi';

function parse(input: RawInput): Payload {
  const items = new TextItems();
  for (const field of TEXT_FIELDS) {
    for (const value of input.headers[field] ?? []) items.add(field, decodeHeader(value));
  }
  return items.toPayload();
}

/** Node decodes each byte of a header as one character, but clients that do not escape send UTF-8. */
function decodeHeader(value: string): string {
  if (!/[\u0080-\u00ff]/.test(value) || /[^\u0000-\u00ff]/.test(value)) return value;
  const bytes = Buffer.from(value, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : value;
}

/**
 * Items in ASCII, because other characters are not safe in headers.
 * @throws CmbsError `too_large` for items that do not fit, since a truncated answer would be wrong
 */
function render(items: readonly TextItem[]): RenderedText {
  const headers: Record<string, string> = { 'Content-Type': MEDIA_TYPE };
  for (const [field, text] of items) {
    const before = headers[field];
    headers[field] = before === undefined ? text : `${before}, ${text}`;
  }
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) bytes += name.length + value.length;
  if (bytes > MAX_TEXT_OCCI_HEADER_BYTES) {
    throw new CmbsError(
      'too_large',
      'The answer does not fit into headers; ask for text/plain, or for a page with ?page=1&number=20.',
      { details: { bytes, limit: MAX_TEXT_OCCI_HEADER_BYTES } },
    );
  }
  return { headers, body: 'OK' };
}

export const textOcci: TextRendering = {
  ...itemRendering('ascii', render),
  mediaTypes: [MEDIA_TYPE],
  readsHeaders: true,
  parse,
  error: (error) => ({ headers: { 'Content-Type': MEDIA_TYPE }, body: error.message }),
};

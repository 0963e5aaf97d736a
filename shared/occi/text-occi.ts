/** `text/occi`: the items are HTTP headers, the body is `OK` (#69). */
import { isUtf8 } from 'node:buffer';
import { CmbsError } from '../errors';
import type { Payload } from './payload';
import type { RawInput, RenderedText, TextRendering } from './rendering';
import { TEXT_FIELDS, TextItems } from './text-input';
import { attributeItems, categoryItems, entityItems, locationItems, type TextItem } from './text-output';

/**
 * Bytes of the OCCI headers of a `text/occi` answer: clients and proxies stop at 16 KiB, and the other headers need
 * less than one (#71). The query interface with all extensions has 12, and suites read it in this rendering.
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

/** Node hands out a header's bytes as one character each; clients that do not escape send UTF-8. */
function decodeHeader(value: string): string {
  if (!/[\u0080-\u00ff]/.test(value) || /[^\u0000-\u00ff]/.test(value)) return value;
  const bytes = Buffer.from(value, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : value;
}

/** Items in ASCII, since a header holds nothing else safely. Throws `too_large` rather than cut anything off (#71). */
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
  mediaTypes: [MEDIA_TYPE],
  readsHeaders: true,
  parse,
  entity: (view, context) => render(entityItems(view, context, 'ascii')),
  collection: (views, context) =>
    render(
      locationItems(
        views.map((view) => view.entity.path),
        context,
      ),
    ),
  collectionIsLocations: true,
  created: (paths, context) => render(locationItems(paths, context)),
  done: () => render([]),
  categories: (categories) => render(categoryItems(categories, 'ascii')),
  attributes: (values) => render(attributeItems(values, 'ascii')),
  error: (error) => ({ headers: { 'Content-Type': MEDIA_TYPE }, body: error.message }),
};

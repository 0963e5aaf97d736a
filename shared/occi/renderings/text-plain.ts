/** `text/plain`, and `text/occi+plain`, GFD.229's name for it: one item a line, `Name: value`. */
import { badRequest } from '../../errors';
import type { Payload } from '../payload';
import { decodeBody, linesOf } from './body';
import type { RawInput, RenderedText, TextRendering } from './rendering';
import { TEXT_FIELDS, TextItems, type TextField } from './text/items';
import type { TextItem } from './text/output';
import { excerpt } from './text/quoting';
import { itemRendering, renderTextError } from './text/rendering';

const MEDIA_TYPE = 'text/plain';
const FIELDS: ReadonlyMap<string, TextField> = new Map(TEXT_FIELDS.map((field) => [field, field]));

function parse(input: RawInput): Payload {
  const items = new TextItems();
  for (const line of linesOf(decodeBody(input.body))) {
    if (line.trim() === '') continue;
    const colon = line.indexOf(':');
    const field = FIELDS.get(line.slice(0, Math.max(colon, 0)).trim().toLowerCase());
    if (field === undefined) {
      throw badRequest(
        `The line ${excerpt(line)} does not start with Category:, Link:, X-OCCI-Attribute: or X-OCCI-Location:; correct it.`,
      );
    }
    items.add(field, line.slice(colon + 1));
  }
  return items.toPayload();
}

function render(items: readonly TextItem[]): RenderedText {
  let body = '';
  for (const [field, text] of items) body += `${field}: ${text}\n`;
  return { headers: { 'Content-Type': MEDIA_TYPE }, body };
}

export const textPlain: TextRendering = {
  ...itemRendering('utf8', render),
  mediaTypes: [MEDIA_TYPE, 'text/occi+plain'],
  parse,
  error: renderTextError,
};

/** `text/plain` (and GFD.229's own name for it, `text/occi+plain`): one item a line, `Name: value` (#66, #68). */
import { badRequest } from '../errors';
import type { Payload } from './payload';
import type { RawInput, RenderedText, TextRendering } from './rendering';
import { TEXT_FIELDS, TextItems, type TextField } from './text-input';
import {
  attributeItems,
  categoryItems,
  entityItems,
  locationItems,
  renderTextError,
  type TextItem,
} from './text-output';
import { decodeBody, excerpt, linesOf } from './text-syntax';

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
  mediaTypes: [MEDIA_TYPE, 'text/occi+plain'],
  parse,
  entity: (view, context) => render(entityItems(view, context, 'utf8')),
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
  categories: (categories) => render(categoryItems(categories, 'utf8')),
  attributes: (values) => render(attributeItems(values, 'utf8')),
  error: renderTextError,
};

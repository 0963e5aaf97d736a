/**
 * `text/uri-list` (RFC 2483 §5): one absolute URL a line, for collections only. Lines end with LF although RFC 2483 says
 * CRLF: clients that split at LF would keep the CR, and all clients can read LF.
 */
import { badRequest, CmbsError } from '../../errors';
import { EMPTY_PAYLOAD, type Payload } from '../payload';
import { decodeBody, linesOf } from './body';
import type { RawInput, RenderContext, RenderedText, TextRendering } from './rendering';
import { renderTextError } from './text/rendering';
import { escapeUri, urlOf } from './urls';

const MEDIA_TYPE = 'text/uri-list';

function parse(input: RawInput): Payload {
  // Lines that begin with # are comments.
  const lines = linesOf(decodeBody(input.body)).map((line) => line.trim());
  const locations = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (locations.length === 0) return EMPTY_PAYLOAD;
  for (const location of locations) {
    if (/\s/.test(location)) {
      throw badRequest('A line of the list is not a URL; send one URL a line, with spaces written as %20.');
    }
  }
  return { ...EMPTY_PAYLOAD, form: 'text', locations };
}

function list(targets: readonly string[], context: RenderContext): RenderedText {
  const body = targets.map((target) => escapeUri(urlOf(target, context)) + '\n').join('');
  return { headers: { 'Content-Type': MEDIA_TYPE }, body };
}

export const uriList: TextRendering = {
  mediaTypes: [MEDIA_TYPE],
  canShowEntity: false,
  parse,
  entity: () => {
    throw badRequest('text/uri-list shows collections only; ask for text/plain or application/json here.');
  },
  collection: (views, context) =>
    list(
      views.map(({ entity }) => entity.path),
      context,
    ),
  collectionIsLocations: true,
  created: list,
  done: () => ({ headers: { 'Content-Type': MEDIA_TYPE }, body: '' }),
  // The query interface is shown as the collections of its categories. Abstract kinds and actions have none.
  categories: (categories, context) =>
    list(
      categories.flatMap((category) =>
        category.class === 'action' || category.location === undefined ? [] : [category.location],
      ),
      context,
    ),
  attributes: () => {
    throw new CmbsError(
      'not_acceptable',
      'text/uri-list cannot show the values that this action returned; ask for application/json.',
    );
  },
  // A sentence is not a list of URLs, so errors are plain text.
  error: renderTextError,
};

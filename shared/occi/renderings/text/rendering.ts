/** What `text/plain`, `text/occi` and `text/uri-list` share. */
import type { CmbsError } from '../../../errors';
import type { RenderedText, TextRendering } from '../rendering';
import { attributeItems, categoryItems, entityItems, locationItems, type TextItem } from './output';
import type { TextCharset } from './quoting';

/** A rendering that shows everything as items; `render` puts the items into an answer. */
export function itemRendering(
  charset: TextCharset,
  render: (items: readonly TextItem[]) => RenderedText,
): Omit<TextRendering, 'mediaTypes' | 'parse' | 'error'> {
  return {
    entity: (view, context) => render(entityItems(view, context, charset)),
    collection: (views, context) =>
      render(
        locationItems(
          views.map(({ entity }) => entity.path),
          context,
        ),
      ),
    collectionIsLocations: true,
    created: (paths, context) => render(locationItems(paths, context)),
    done: () => render([]),
    categories: (categories) => render(categoryItems(categories, charset)),
    attributes: (values) => render(attributeItems(values, charset)),
  };
}

/** An error as one sentence of plain text. */
export function renderTextError(error: CmbsError): RenderedText {
  return { headers: { 'Content-Type': 'text/plain' }, body: error.message + '\n' };
}

/** Filters: AND over all given categories, attributes and words, at any nesting depth (DESIGN decision 7, Q12). */
import type { Json } from '../json';
import { attributeField, CATEGORY_FIELD, indexText, indexTexts } from './entity-store';
import type { CategoryId, Entity } from './model';
import type { Registry } from './registry';

export interface Filter {
  readonly categories: readonly CategoryId[];
  readonly attributes: readonly { readonly name: string; readonly value: Json }[];
  /** Each has to be the value of some attribute (`?q=word`). */
  readonly words: readonly string[];
}

export const NO_FILTER: Filter = { categories: [], attributes: [], words: [] };

export function isEmptyFilter(filter: Filter): boolean {
  return filter.categories.length === 0 && filter.attributes.length === 0 && filter.words.length === 0;
}

/** The part that the store's index answers. */
export function indexedTerms(filter: Filter, registry: Registry): readonly { field: string; value: string }[] {
  return [
    ...filter.categories.map((id) => ({ field: CATEGORY_FIELD, value: registry.canonicalId(id) })),
    ...filter.attributes
      .filter(({ name }) => !isVerbatim(name, registry))
      .map(({ name, value }) => ({
        field: attributeField(registry.canonicalAttribute(name)),
        value: indexText(value),
      })),
  ];
}

function isVerbatim(name: string, registry: Registry): boolean {
  const canonical = registry.canonicalAttribute(name);
  return registry.verbatimNames.has(canonical);
}

/** The part that only the entity itself answers; undefined when the index answers everything. */
export function residualTest(filter: Filter, registry: Registry): ((entity: Entity) => boolean) | undefined {
  const verbatim = filter.attributes.filter(({ name }) => isVerbatim(name, registry));
  if (verbatim.length === 0 && filter.words.length === 0) return undefined;
  return (entity) =>
    verbatim.every(({ name, value }) => {
      const text = entity.verbatim[registry.canonicalAttribute(name)];
      return text !== undefined && indexTexts(JSON.parse(text) as Json).includes(indexText(value));
    }) &&
    filter.words.every((word) =>
      Object.values(entity.attributes).some((value) => indexTexts(value).includes(indexText(word))),
    );
}

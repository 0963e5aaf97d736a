/** Filters of collections: an entity matches if all categories, attributes and words match (docs/occi.md, "Filters and pages"). */
import { badRequest } from '../errors';
import type { Json } from '../json';
import type { CategoryRegistry } from './category-registry';
import { attributeField, CATEGORY_FIELD, indexText, indexTexts, isNumeric, numberText } from './entity-index';
import type { CategoryId, Entity } from './model';

export interface Filter {
  readonly categories: readonly CategoryId[];
  readonly attributes: readonly { readonly name: string; readonly value: Json }[];
  /** Each word must be the value of some attribute (`?q=word`). */
  readonly words: readonly string[];
}

export const NO_FILTER: Filter = { categories: [], attributes: [], words: [] };

export function isEmptyFilter(filter: Filter): boolean {
  return filter.categories.length === 0 && filter.attributes.length === 0 && filter.words.length === 0;
}

/**
 * Refuses a filter that no entity can match, because that is a client's mistake.
 * @throws CmbsError `bad_request` that names the wrong term
 */
export function checkFilter(filter: Filter, registry: CategoryRegistry): void {
  for (const { name } of filter.attributes) {
    const canonical = registry.canonicalAttribute(name);
    const declared = registry.declared(canonical);
    if (declared === undefined) {
      throw badRequest(
        `The filter names ${shown(name)}, an attribute that no category has; GET /-/ lists all attributes.`,
      );
    }
    const members = declared.spec.indexedMembers;
    const [, member = ''] = canonical.slice(declared.name.length).split('.');
    if (members !== undefined && !members.includes(member)) {
      const offered = members.map((one) => `${declared.name}.${one}`).join(', ');
      throw badRequest(`The filter names ${shown(name)}, which is not indexed; filter by ${offered}.`);
    }
  }
  for (const id of filter.categories) {
    if (registry.find(id) === undefined) {
      throw badRequest(`The filter names ${shown(id)}, an unknown category; GET /-/ lists all categories.`);
    }
  }
}

const shown = (name: string): string => JSON.stringify(name.slice(0, 200));

/** The terms that the store's index answers. */
export function indexedTerms(
  filter: Filter,
  registry: CategoryRegistry,
): readonly { field: string; value: string }[] {
  return [
    ...filter.categories.map((id) => ({ field: CATEGORY_FIELD, value: registry.canonicalId(id) })),
    ...filter.attributes
      .filter(({ name }) => !isRawJson(name, registry))
      .map(({ name, value }) => {
        const canonical = registry.canonicalAttribute(name);
        return { field: attributeField(canonical), value: soughtText(value, canonical, registry) };
      }),
  ];
}

/** The text under which the index has the value. */
function soughtText(value: Json, name: string, registry: CategoryRegistry): string {
  const declared = registry.declared(name);
  const isNumber = declared?.name === name && isNumeric(declared.spec);
  return (isNumber && typeof value === 'string' ? numberText(value) : undefined) ?? indexText(value);
}

/** Whether a value, or an element of a list, is the sought value. Numbers match in any spelling. */
function isSought(held: Json, sought: Json): boolean {
  const number = typeof held === 'number' && typeof sought === 'string' ? numberText(sought) : undefined;
  return indexTexts(held).includes(number ?? indexText(sought));
}

function isRawJson(name: string, registry: CategoryRegistry): boolean {
  return registry.rawJsonNames.has(registry.canonicalAttribute(name));
}

/** A test for the terms that need the entity itself; undefined if the index answers all terms. */
export function residualTest(
  filter: Filter,
  registry: CategoryRegistry,
): ((entity: Entity) => boolean) | undefined {
  const rawJson = filter.attributes.filter(({ name }) => isRawJson(name, registry));
  if (rawJson.length === 0 && filter.words.length === 0) return undefined;
  return (entity) =>
    rawJson.every(({ name, value }) => {
      const text = entity.rawJson[registry.canonicalAttribute(name)];
      return text !== undefined && isSought(JSON.parse(text) as Json, value);
    }) && filter.words.every((word) => Object.values(entity.attributes).some((value) => isSought(value, word)));
}

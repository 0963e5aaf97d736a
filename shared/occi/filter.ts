/** Filters: AND over all given categories, attributes and words, at any nesting depth (DESIGN decision 7, Q12). */
import { badRequest } from '../errors';
import type { Json } from '../json';
import { attributeField, CATEGORY_FIELD, indexText, indexTexts, isNumeric, numberText } from './entity-store';
import {
  CORE_ID,
  CORE_SOURCE,
  CORE_SUMMARY,
  CORE_TARGET,
  CORE_TITLE,
  type CategoryId,
  type Entity,
} from './model';
import type { CategoryRegistry } from './category-registry';

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

const CORE: ReadonlySet<string> = new Set([CORE_ID, CORE_TITLE, CORE_SUMMARY, CORE_SOURCE, CORE_TARGET]);

/**
 * A term that no entity can match is a mistake of the client's (DESIGN decision 7).
 * @throws CmbsError `bad_request` that names it
 */
export function checkFilter(filter: Filter, registry: CategoryRegistry): void {
  for (const { name } of filter.attributes) {
    const canonical = registry.canonicalAttribute(name);
    const declared = registry.declared(canonical);
    if (declared === undefined) {
      if (CORE.has(name)) continue;
      throw badRequest(
        `The filter names ${shown(name)}, an attribute that no category has; GET /-/ lists them all.`,
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
      throw badRequest(`The filter names ${shown(id)}, a category that is not here; GET /-/ lists them all.`);
    }
  }
}

const shown = (name: string): string => JSON.stringify(name.slice(0, 200));

/** The part that the store's index answers. */
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

/** The text under which the index has what is sought. */
function soughtText(value: Json, name: string, registry: CategoryRegistry): string {
  const declared = registry.declared(name);
  const isNumber = declared?.name === name && isNumeric(declared.spec);
  return (isNumber && typeof value === 'string' ? numberText(value) : undefined) ?? indexText(value);
}

/** Whether a value, or one in a list, is the one sought; a number however it is spelt. */
function isSought(held: Json, sought: Json): boolean {
  const spelt = typeof held === 'number' && typeof sought === 'string' ? numberText(sought) : undefined;
  return indexTexts(held).includes(spelt ?? indexText(sought));
}

function isRawJson(name: string, registry: CategoryRegistry): boolean {
  const canonical = registry.canonicalAttribute(name);
  return registry.rawJsonNames.has(canonical);
}

/** The part that only the entity itself answers; undefined when the index answers everything. */
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

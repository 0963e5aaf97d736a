/** Filters of collections: an entity matches if all categories, attributes and words match (docs/occi.md, "Filters and pages"). */
import { badRequest } from '../errors';
import { isJsonObject, type Json } from '../json';
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
      .filter(({ name }) => !isRawJson(name, registry) && objectOf(name, registry) === undefined)
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

/** The object attribute and the path in it that a name stands for, if the index does not have the members of the object. */
function objectOf(
  name: string,
  registry: CategoryRegistry,
): { readonly attribute: string; readonly path: readonly string[] } | undefined {
  const canonical = registry.canonicalAttribute(name);
  const declared = registry.declared(canonical);
  if (declared === undefined || declared.name === canonical) return undefined;
  const { type, indexedMembers, rawJson } = declared.spec;
  // For other attributes the index answers that no entity has such a value.
  const isObject = rawJson !== true && (type === 'object' || type === 'any');
  if (!isObject || indexedMembers !== undefined) return undefined;
  return { attribute: declared.name, path: canonical.slice(declared.name.length + 1).split('.') };
}

/** The values at a path; several, since a key may contain dots. */
function valuesAt(value: Json | undefined, path: readonly string[]): readonly Json[] {
  if (value === undefined) return [];
  if (path.length === 0) return [value];
  if (!isJsonObject(value)) return [];
  return path.flatMap((_, at) => {
    const key = path.slice(0, at + 1).join('.');
    return Object.hasOwn(value, key) ? valuesAt(value[key], path.slice(at + 1)) : [];
  });
}

/** Whether {@link residualTest} looks at raw JSON. */
export const needsRawJson = ({ attributes }: Filter, registry: CategoryRegistry): boolean =>
  attributes.some(({ name }) => isRawJson(name, registry) && objectOf(name, registry) === undefined);

/** A test for the terms that need the entity itself; undefined if the index answers all terms. */
export function residualTest(
  filter: Filter,
  registry: CategoryRegistry,
): ((entity: Entity) => boolean) | undefined {
  const tests: ((entity: Entity) => boolean)[] = filter.words.map(
    (word) => (entity) => Object.values(entity.attributes).some((value) => isSought(value, word)),
  );
  for (const { name, value: sought } of filter.attributes) {
    const member = objectOf(name, registry);
    if (member !== undefined) {
      tests.push(({ attributes }) => {
        const values = valuesAt(attributes[member.attribute], member.path);
        return values.some((held) => !isJsonObject(held) && isSought(held, sought));
      });
    } else if (isRawJson(name, registry)) {
      tests.push(({ rawJson }) => {
        const text = rawJson[registry.canonicalAttribute(name)];
        return text !== undefined && isSought(JSON.parse(text) as Json, sought);
      });
    }
  }
  return tests.length === 0 ? undefined : (entity) => tests.every((test) => test(entity));
}

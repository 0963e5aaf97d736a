/** Interprets payloads and query strings as filters (GFD.223 §7). */
import { badRequest, type CmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { exactValue, leaves } from './attribute-input';
import type { CategoryRegistry } from './category-registry';
import { coreValues } from './drafts';
import type { Filter } from './filter';
import { categoryId, splitCategoryId, type CategoryId } from './model';
import type { Payload } from './payload';

/**
 * The category that a filter names: an identifier, or the term of exactly one category. Unknown categories are kept, because
 * they match no entity; `checkFilter` refuses them.
 * @throws CmbsError `bad_request` for the term of several categories
 */
export function filterCategory(given: string, registry: CategoryRegistry): CategoryId {
  if (splitCategoryId(given) !== undefined) return registry.canonicalId(given);
  const named = registry.all.filter(({ term }) => term === given);
  if (named.length > 1) {
    throw badRequest(`${JSON.stringify(given)} is the term of several categories; give the scheme too.`);
  }
  return named[0] === undefined ? given : categoryId(named[0]);
}

/**
 * The filter in the body of a request, or in the headers of `text/occi`.
 * @throws CmbsError `bad_request`, `bad_attribute`
 */
export function payloadFilter(payload: Payload, registry: CategoryRegistry): Filter {
  // Without a scheme (`{"kinds":[{"term":"member"}]}`, the original's form) the identifier is the term.
  const categories = payload.categories.map((category) => filterCategory(categoryId(category), registry));
  const attributes: { name: string; value: Json }[] = [];
  const collect = (given: JsonObject, sourceText: Payload['sourceText']): void => {
    for (const { name, value, keys } of leaves(given, (candidate) => registry.rawJsonNames.has(candidate))) {
      const source = (): string | undefined => sourceText?.(keys);
      attributes.push({ name: registry.canonicalAttribute(name), value: exactValue(name, value, { source }) });
    }
  };
  collect(payload.attributes, payload.sourceText);
  for (const input of payload.entities) {
    if (input.kind !== undefined) categories.push(filterCategory(input.kind, registry));
    categories.push(...input.mixins.map((id) => filterCategory(id, registry)));
    collect(input.attributes, input.sourceText);
    for (const [name, value] of Object.entries(coreValues(input))) attributes.push({ name, value });
  }
  return { categories, attributes, words: [] };
}

/**
 * The filter in a query string: `?category=`, `?attribute=N&value=V`, `?q=N=V+W` (docs/occi.md, "Filters and pages").
 * @throws CmbsError `bad_request`
 */
export function queryFilter(query: readonly (readonly [string, string])[], registry: CategoryRegistry): Filter {
  const categories: CategoryId[] = [];
  const attributes: { name: string; value: Json }[] = [];
  const words: string[] = [];
  let pending: string | undefined;
  const add = (name: string, value: string): void => {
    attributes.push({ name: registry.canonicalAttribute(name), value });
  };
  for (const [key, value] of query) {
    switch (key) {
      case 'category':
        categories.push(filterCategory(value, registry));
        break;
      case 'attribute':
        if (pending !== undefined) throw withoutValue(pending);
        pending = value;
        break;
      case 'value':
        if (pending === undefined)
          throw badRequest('The query has a "value" without an "attribute" before it; add one.');
        add(pending, value);
        pending = undefined;
        break;
      case 'q':
        for (const term of value.split(/\s+/).filter((part) => part !== '')) {
          const equals = term.indexOf('=');
          if (equals > 0) add(term.slice(0, equals), term.slice(equals + 1));
          else words.push(term);
        }
        break;
    }
  }
  if (pending !== undefined) throw withoutValue(pending);
  return { categories, attributes, words };
}

const withoutValue = (attribute: string): CmbsError =>
  badRequest(
    `The attribute ${JSON.stringify(attribute.slice(0, 200))} in the query has no "value" after it; add one.`,
  );

/** A filter that matches the entities that match all of the filters. */
export function joinFilters(...filters: readonly Filter[]): Filter {
  return {
    categories: [...new Set(filters.flatMap((filter) => filter.categories))],
    attributes: filters.flatMap((filter) => filter.attributes),
    words: filters.flatMap((filter) => filter.words),
  };
}

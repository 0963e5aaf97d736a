/** Reads a parsed payload as what the request means: drafts of entities, an action call, locations, a filter. */
import { badRequest, CmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { leaves, requireExact, type Values } from './attributes';
import type { Filter } from './filter';
import {
  categoryId,
  CORE_ID,
  CORE_SOURCE,
  CORE_SUMMARY,
  CORE_TARGET,
  CORE_TITLE,
  DERIVED_NAMES,
  splitCategoryId,
  type CategoryId,
} from './model';
import type { CategoryInput, EntityInput, LinkInput, Payload } from './payload';
import type { CategoryRegistry } from './category-registry';
import { valueFromText } from './renderings/text/quoted-json';

/** An entity as a client wants it, names canonical, before any rule was applied. */
export interface Draft {
  readonly kind?: CategoryId;
  readonly mixins: readonly CategoryId[];
  readonly id?: string;
  /** Flat names to values, `occi.core.*` among them, without rawJson attributes. */
  readonly values: Values;
  readonly rawJson: Readonly<Record<string, string>>;
  readonly links: readonly LinkInput[];
}

/** Categories of the entity that a partial update or a replacement addresses. */
export interface Known {
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
}

function sortCategories(
  inputs: readonly CategoryInput[],
  registry: CategoryRegistry,
): { kind?: CategoryId; mixins: CategoryId[] } {
  const kinds: CategoryId[] = [];
  const mixins: CategoryId[] = [];
  for (const input of inputs) {
    const id = registry.canonicalId(categoryId(input));
    const category = registry.find(id);
    if (category === undefined) throw new CmbsError('unknown_category', `There is no category ${id} here.`);
    if (input.class !== undefined && input.class !== category.class) {
      throw badRequest(`${id} is of class ${category.class}, not ${input.class}.`);
    }
    if (category.class === 'kind') kinds.push(id);
    else if (category.class === 'mixin') mixins.push(id);
    else throw badRequest(`${id} is an action and cannot be a category of an entity.`);
  }
  if (new Set(kinds).size > 1) throw badRequest('An entity has exactly one kind.');
  return { ...(kinds[0] === undefined ? {} : { kind: kinds[0] }), mixins: [...new Set(mixins)] };
}

/** A rendering shows actions as links, so putting back what one got contains them; they are no links (#31). */
const isActionLink = (link: LinkInput): boolean => link.target.includes('?action=');

function textDraft(payload: Payload, registry: CategoryRegistry, known: Known | undefined): Draft {
  const { kind, mixins } = sortCategories(payload.categories, registry);
  return draft(
    {
      ...(kind === undefined ? {} : { kind }),
      mixins,
      attributes: payload.attributes,
      links: payload.links,
      core: {},
      isText: true,
      sourceText: payload.sourceText ?? (() => undefined),
    },
    registry,
    known,
  );
}

function jsonDraft(input: EntityInput, registry: CategoryRegistry, known: Known | undefined): Draft {
  const kind = input.kind === undefined ? undefined : registry.canonicalId(input.kind);
  if (kind !== undefined && registry.kind(kind) === undefined) {
    throw new CmbsError('unknown_category', `There is no kind ${kind} here.`);
  }
  const mixins = input.mixins.map((id) => categoryId(registry.requireMixin(id)));
  const core: Record<string, Json> = {};
  if (input.title !== undefined) core[CORE_TITLE] = input.title;
  if (input.summary !== undefined) core[CORE_SUMMARY] = input.summary;
  if (input.source !== undefined) core[CORE_SOURCE] = input.source;
  if (input.target !== undefined) core[CORE_TARGET] = input.target;
  if (input.id !== undefined) core[CORE_ID] = input.id;
  return draft(
    {
      ...(kind === undefined ? {} : { kind }),
      mixins: [...new Set(mixins)],
      attributes: input.attributes,
      links: input.links,
      core,
      sourceText: input.sourceText,
    },
    registry,
    known,
  );
}

interface RawDraft {
  readonly kind?: CategoryId;
  readonly mixins: readonly CategoryId[];
  readonly attributes: JsonObject;
  readonly links: readonly LinkInput[];
  readonly core: Values;
  readonly isText?: boolean;
  readonly sourceText: (keys: readonly string[]) => string | undefined;
}

function draft(raw: RawDraft, registry: CategoryRegistry, known: Known | undefined): Draft {
  const kind = raw.kind ?? known?.kind;
  const specs =
    kind === undefined ? {} : registry.specs(kind, [...new Set([...(known?.mixins ?? []), ...raw.mixins])]);
  const isDeclared = (name: string): boolean => Object.hasOwn(specs, registry.canonicalAttribute(name));
  const values: Record<string, Json> = { ...raw.core };
  const rawJson: Record<string, string> = {};
  for (const leaf of leaves(raw.attributes, isDeclared)) {
    const name = registry.canonicalAttribute(leaf.name);
    if (specs[name]?.rawJson === true) {
      rawJson[name] = raw.sourceText(leaf.keys) ?? JSON.stringify(leaf.value);
    } else if (!DERIVED_NAMES.has(name)) {
      const value = raw.isText === true ? valueFromText(leaf.value, specs[name]) : leaf.value;
      requireExact(name, value, () => (typeof leaf.value === 'string' ? leaf.value : raw.sourceText(leaf.keys)));
      values[name] = value;
    }
  }
  const id = values[CORE_ID];
  if (id !== undefined && typeof id !== 'string') throw badRequest('The id of an entity is a string.');
  return {
    ...(raw.kind === undefined ? {} : { kind: raw.kind }),
    mixins: raw.mixins,
    ...(id === undefined ? {} : { id }),
    values,
    rawJson: rawJson,
    links: raw.links.filter((link) => !isActionLink(link)),
  };
}

/** All entities that a creation request carries. */
export function drafts(payload: Payload, registry: CategoryRegistry): readonly Draft[] {
  if (payload.form === 'json') return payload.entities.map((input) => jsonDraft(input, registry, undefined));
  if (payload.form === 'none' || payload.categories.length === 0) return [];
  return [textDraft(payload, registry, undefined)];
}

/** The one entity that a PUT or partial POST carries; `known` gives the categories it need not repeat. */
export function singleDraft(payload: Payload, registry: CategoryRegistry, known?: Known): Draft {
  if (payload.form === 'text') return textDraft(payload, registry, known);
  if (payload.form === 'json' && payload.entities.length === 0 && payload.keys.has('attributes')) {
    // A bare `{"attributes":{…}}` is a partial entity as well.
    return jsonDraft(bareInput(payload), registry, known);
  }
  const [input, ...more] = payload.entities;
  if (input === undefined || more.length > 0)
    throw badRequest('This request takes exactly one entity in its body.');
  return jsonDraft(input, registry, known);
}

function bareInput({ attributes, sourceText }: Payload): EntityInput {
  return { mixins: [], attributes, links: [], isLink: false, sourceText: sourceText ?? (() => undefined) };
}

export interface ActionInput {
  readonly id?: CategoryId;
  readonly values: Values;
}

/** The action that the body names, if it does, and its attributes. */
export function actionInput(payload: Payload, registry: CategoryRegistry): ActionInput {
  const named = [
    ...(payload.action === undefined ? [] : [payload.action]),
    ...payload.categories.map((category) => categoryId(category)),
  ].map((id) => registry.canonicalId(id));
  if (new Set(named).size > 1) throw new CmbsError('bad_action', 'A request takes one action.');
  const id = named[0];
  if (id !== undefined && registry.action(id) === undefined) {
    throw new CmbsError('bad_action', `There is no action ${id} here.`);
  }
  const specs = id === undefined ? {} : (registry.action(id)?.attributes ?? {});
  const values = Object.fromEntries(
    leaves(payload.attributes, (name) => Object.hasOwn(specs, name)).map(({ name, value, keys }) => {
      requireExact(name, value, () => payload.sourceText?.(keys));
      return [name, value];
    }),
  );
  return { ...(id === undefined ? {} : { id }), values };
}

/**
 * A category that a filter names: a full identifier, or a term when that names exactly one category (#19).
 * An unknown one matches nothing rather than everything, so it is kept as it is.
 */
export function filterCategory(given: string, registry: CategoryRegistry): CategoryId {
  if (splitCategoryId(given) !== undefined) return registry.canonicalId(given);
  const named = registry.all.filter(({ term }) => term === given);
  if (named.length > 1) {
    throw badRequest(`${JSON.stringify(given)} is the term of several categories; give the scheme too.`);
  }
  return named[0] === undefined ? given : categoryId(named[0]);
}

/** The filter that a payload (a GET's body, or the headers of text/occi) expresses. */
export function payloadFilter(payload: Payload, registry: CategoryRegistry): Filter {
  // Without a scheme (`{"kinds":[{"term":"member"}]}`, as the original filters) the identifier is the bare term.
  const categories = payload.categories.map((category) => filterCategory(categoryId(category), registry));
  const attributes: { name: string; value: Json }[] = [];
  const collect = (given: JsonObject, sourceText: Payload['sourceText']): void => {
    for (const { name, value, keys } of leaves(given, (candidate) => registry.rawJsonNames.has(candidate))) {
      requireExact(name, value, () => sourceText?.(keys));
      attributes.push({ name: registry.canonicalAttribute(name), value });
    }
  };
  collect(payload.attributes, payload.sourceText);
  for (const input of payload.entities) {
    if (input.kind !== undefined) categories.push(filterCategory(input.kind, registry));
    categories.push(...input.mixins.map((id) => filterCategory(id, registry)));
    collect(input.attributes, input.sourceText);
    if (input.id !== undefined) attributes.push({ name: CORE_ID, value: input.id });
    if (input.title !== undefined) attributes.push({ name: CORE_TITLE, value: input.title });
    if (input.summary !== undefined) attributes.push({ name: CORE_SUMMARY, value: input.summary });
    if (input.source !== undefined) attributes.push({ name: CORE_SOURCE, value: input.source });
    if (input.target !== undefined) attributes.push({ name: CORE_TARGET, value: input.target });
  }
  return { categories, attributes, words: [] };
}

/** The filter in a query string: `?category=`, `?attribute=N&value=V`, `?q=N=V+W` (#19, #56). */
export function queryFilter(query: readonly (readonly [string, string])[], registry: CategoryRegistry): Filter {
  const categories: CategoryId[] = [];
  const attributes: { name: string; value: Json }[] = [];
  const words: string[] = [];
  let pending: string | undefined;
  for (const [key, value] of query) {
    switch (key) {
      case 'category':
        categories.push(filterCategory(value, registry));
        break;
      case 'attribute':
        if (pending !== undefined) throw badRequest('Each "attribute" in the query is followed by its "value".');
        pending = value;
        break;
      case 'value':
        if (pending === undefined) throw badRequest('A "value" in the query follows its "attribute".');
        attributes.push({ name: registry.canonicalAttribute(pending), value });
        pending = undefined;
        break;
      case 'q':
        for (const term of value.split(/\s+/).filter((part) => part !== '')) {
          const equals = term.indexOf('=');
          if (equals > 0) {
            attributes.push({
              name: registry.canonicalAttribute(term.slice(0, equals)),
              value: term.slice(equals + 1),
            });
          } else words.push(term);
        }
        break;
    }
  }
  if (pending !== undefined) throw badRequest('Each "attribute" in the query is followed by its "value".');
  return { categories, attributes, words };
}

export function joinFilters(...filters: readonly Filter[]): Filter {
  return {
    categories: [...new Set(filters.flatMap((filter) => filter.categories))],
    attributes: filters.flatMap((filter) => filter.attributes),
    words: filters.flatMap((filter) => filter.words),
  };
}

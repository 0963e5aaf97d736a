/**
 * JSON from a client to a payload. Both JSON types read every form that is in use (occi.md dialects A, B and C);
 * which declared attribute a name means, nested or flat, is decided later, where the declarations are known.
 */
import { badRequest, type CmbsError } from '../errors';
import { isJsonObject, type Json, type JsonObject } from '../json';
import { MAX_JSON_DEPTH } from '../limits';
import { jsonErrorAt } from './json-error';
import { nestsWithin, sourceOf } from './json-source';
import { CORE_SCHEME, CORE_TITLE, splitCategoryId, type CategoryClass } from './model';
import {
  EMPTY_PAYLOAD,
  type CategoryInput,
  type EntityInput,
  type LinkInput,
  type Payload,
  type ProviderInput,
} from './payload';
import { decodeBody } from './text-syntax';

type Dialect = CategoryInput['dialect'];
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Reads a body. `dialect` decides for definitions that do not show theirs. A bare list counts as the key
 * `locations`. Throws `bad_request` and nothing else, whatever the bytes.
 */
export function parseJsonBody(body: Buffer, dialect: Dialect): Payload {
  const text = decodeBody(body);
  if (text.trim() === '') return EMPTY_PAYLOAD;
  if (!nestsWithin(text, MAX_JSON_DEPTH)) {
    throw badRequest(`The JSON is nested deeper than ${MAX_JSON_DEPTH} levels; send it flatter.`);
  }
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (cause) {
    const where = placeOfError(text);
    throw badRequest(`The body is not valid JSON${where}; correct it, or name its real type in Content-Type.`, {
      cause,
    });
  }
  if (isJsonObject(value)) return new BodyReader(text, value, dialect).read();
  if (!Array.isArray(value)) throw badRequest('The body has to be a JSON object or a list of locations.');
  return {
    ...EMPTY_PAYLOAD,
    form: 'json',
    locations: strings(value, 'the body'),
    keys: new Set(['locations']),
  };
}

/** Where the text stops being JSON, as an editor counts. */
function placeOfError(text: string): string {
  const before = text.slice(0, jsonErrorAt(text));
  return ` at line ${before.split('\n').length}, column ${before.length - before.lastIndexOf('\n')}`;
}

/** Keys that only an entity has at the top; `kind` is one in any company, these where no collection stands beside. */
const ENTITY_KEYS = ['id', 'title', 'summary', 'source', 'target'] as const;
const COLLECTION_KEYS = [
  'resources',
  'kinds',
  'providers',
  'action',
  'X-OCCI-Location',
  'Location',
  'locations',
] as const;
const LOCATION_KEYS = ['X-OCCI-Location', 'Location', 'locations'] as const;

class BodyReader {
  constructor(
    private readonly text: string,
    private readonly body: JsonObject,
    private readonly dialect: Dialect,
  ) {}

  read(): Payload {
    const { body } = this;
    const keys = new Set(Object.keys(body));
    if (isBareCategory(body)) {
      const categories = [categoryInput(body, undefined, this.dialect, 'the category')];
      // An action may be asked for this way too, with values as attributes.
      const attributes = attributesOf(body.attributes, 'the category');
      return { ...EMPTY_PAYLOAD, form: 'json', categories, attributes, keys };
    }
    if (isBareEntity(body)) {
      const isLink = present(body.source) || present(body.target);
      const entities = [this.entity(body, [], 'the entity', isLink)];
      return { ...EMPTY_PAYLOAD, form: 'json', entities, keys };
    }
    if (mayNameItsMixins(body)) {
      // What is asked decides whether the mixins are an entity's or meant themselves.
      const categories = [...this.categories('mixins', 'mixin'), ...this.categories('actions', 'action')];
      const entities = [this.entity(body, [], 'the entity', false)];
      return { ...EMPTY_PAYLOAD, form: 'json', categories, entities, keys };
    }
    const entities = [...this.entities('resources', false), ...this.entities('links', true)];
    const categories = [
      ...this.categories('kinds', 'kind'),
      ...this.categories('mixins', 'mixin'),
      ...this.categories('actions', 'action'),
    ];
    const action = this.action(categories);
    return {
      form: 'json',
      categories,
      attributes: attributesOf(body.attributes, 'the body'),
      links: [],
      entities,
      locations: LOCATION_KEYS.flatMap((key) => (present(body[key]) ? strings(body[key], `"${key}"`) : [])),
      ...(action === undefined ? {} : { action }),
      providers: objects(body.providers, '"providers"').map(providerInput),
      keys,
      sourceText: (names) => sourceOf(this.text, ['attributes', ...names]),
    };
  }

  private entities(key: 'resources' | 'links', isLink: boolean): EntityInput[] {
    return objects(this.body[key], `"${key}"`).map((item, index) =>
      this.entity(item, [key, index], `${key}[${index}]`, isLink),
    );
  }

  private entity(
    item: JsonObject,
    path: readonly (string | number)[],
    where: string,
    isLink: boolean,
  ): EntityInput {
    const at = (key: string): string => `"${key}" of ${where}`;
    const entity: Mutable<EntityInput> = {
      mixins: identifiers(item.mixins, at('mixins')),
      attributes: attributesOf(item.attributes, where),
      links: objects(item.links, at('links')).map((link, index) => ({
        ...linkInput(link, `links[${index}] of ${where}`),
        sourceText: (names: readonly string[]) =>
          sourceOf(this.text, [...path, 'links', index, 'attributes', ...names]),
      })),
      isLink,
      sourceText: (names) => sourceOf(this.text, [...path, 'attributes', ...names]),
    };
    if (present(item.kind)) entity.kind = identifier(item.kind, at('kind'));
    if (present(item.id)) entity.id = string(item.id, at('id'));
    if (present(item.title)) entity.title = string(item.title, at('title'));
    if (present(item.summary)) entity.summary = string(item.summary, at('summary'));
    if (present(item.source)) entity.source = reference(item.source, at('source'));
    if (present(item.target)) entity.target = reference(item.target, at('target'));
    return entity;
  }

  private categories(key: 'kinds' | 'mixins' | 'actions', categoryClass: CategoryClass): CategoryInput[] {
    return list(this.body[key], `"${key}"`).map((item, index) =>
      categoryInput(item, categoryClass, this.dialect, `${key}[${index}]`),
    );
  }

  /** `{"action":id}`, or the first of `actions` where these are not definitions that kinds or mixins go with. */
  private action(categories: readonly CategoryInput[]): string | undefined {
    const { action, kinds, mixins } = this.body;
    if (present(action)) return identifier(action, '"action"');
    const [first] = categories;
    if (present(kinds) || present(mixins) || first === undefined || first.scheme === '') return undefined;
    return first.scheme + first.term;
  }
}

function isBareEntity(body: JsonObject): boolean {
  if (present(body.kind)) return true;
  if (COLLECTION_KEYS.some((key) => present(body[key]))) return false;
  return ENTITY_KEYS.some((key) => present(body[key]));
}

/** A category on its own, as GFD.226 has it for one that is added or removed. */
function isBareCategory(body: JsonObject): boolean {
  return (
    typeof body.term === 'string' && !present(body.kind) && !COLLECTION_KEYS.some((key) => present(body[key]))
  );
}

/** An entity of which nothing but its mixins, and perhaps attributes, is given; or a set of mixins. */
function mayNameItsMixins(body: JsonObject): boolean {
  const { mixins } = body;
  const isOnlyThese = !COLLECTION_KEYS.some((key) => present(body[key]));
  return isOnlyThese && Array.isArray(mixins) && mixins.length > 0 && mixins.every(isIdentifier);
}

/** Null is taken for absent: clients write it for what they do not know. */
function present(value: Json | undefined): value is Exclude<Json, null> {
  return value !== undefined && value !== null;
}

function wrong(where: string, expected: string): CmbsError {
  return badRequest(`${where} has to be ${expected}; correct it.`);
}

function string(value: Json, where: string): string {
  if (typeof value !== 'string') throw wrong(where, 'a string');
  return value;
}

function list(value: Json | undefined, where: string): readonly Json[] {
  if (!present(value)) return [];
  if (!isList(value)) throw wrong(where, 'a list');
  return value;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function strings(value: Json | undefined, where: string): string[] {
  return list(value, where).map((item) => {
    if (typeof item !== 'string') throw wrong(where, 'a list of strings');
    return item;
  });
}

function objects(value: Json | undefined, where: string): JsonObject[] {
  return list(value, where).map((item) => {
    if (!isJsonObject(item)) throw wrong(where, 'a list of objects');
    return item;
  });
}

function isIdentifier(value: Json): boolean {
  if (!isJsonObject(value)) return typeof value === 'string';
  return (
    (typeof value.term === 'string' && typeof value.scheme === 'string') || typeof value.category === 'string'
  );
}

/** A category as `"scheme#term"`, `{"term","scheme"}` or `{"category":"scheme#term"}` (an action as shown in A). */
function identifier(value: Json, where: string): string {
  if (typeof value === 'string' && value !== '') return value;
  if (isJsonObject(value)) {
    const { term, scheme, category } = value;
    if (typeof term === 'string' && typeof scheme === 'string' && term !== '') return scheme + term;
    if (typeof category === 'string' && category !== '') return category;
  }
  throw wrong(where, 'a category identifier such as "http://schemas.ogf.org/occi/core#resource"');
}

function identifiers(value: Json | undefined, where: string): string[] {
  return list(value, where).map((item) => identifier(item, where));
}

/** An end of a link: a URL or path, or GFD.226's `{"location","kind"}`. */
function reference(value: Json, where: string): string {
  const location = isJsonObject(value) ? value.location : value;
  if (typeof location !== 'string' || location === '') throw wrong(where, 'a location or {"location","kind"}');
  return location;
}

function attributesOf(value: Json | undefined, where: string): JsonObject {
  if (!present(value)) return {};
  if (!isJsonObject(value)) throw wrong(`"attributes" of ${where}`, 'an object');
  // Harmless here, but code that copies members by name would set a prototype with it.
  if (Object.hasOwn(value, '__proto__')) throw wrong(`"__proto__" of ${where}`, 'named otherwise');
  return value;
}

function linkInput(link: JsonObject, where: string): LinkInput {
  const at = (key: string): string => `"${key}" of ${where}`;
  if (!present(link.target)) throw wrong(at('target'), 'given: it is what the link points to');
  const attributes = attributesOf(link.attributes, where);
  const input: Mutable<LinkInput> = {
    target: reference(link.target, at('target')),
    categories: [
      ...(present(link.kind) ? [identifier(link.kind, at('kind'))] : []),
      ...identifiers(link.mixins, at('mixins')),
    ],
    attributes: present(link.title)
      ? { ...attributes, [CORE_TITLE]: string(link.title, at('title')) }
      : attributes,
  };
  if (present(link.self)) input.self = string(link.self, at('self'));
  if (present(link.id)) input.id = string(link.id, at('id'));
  return input;
}

function providerInput(item: JsonObject): ProviderInput {
  const provider = item.Provider;
  if (!isJsonObject(provider)) throw wrong('"Provider" of providers', 'an object with "local" and "remote"');
  return {
    category: identifier(item.OCCI_ID ?? null, '"OCCI_ID" of providers'),
    local: strings(provider.local, '"local" of Provider'),
    remote: strings(provider.remote, '"remote" of Provider'),
  };
}

/** `categoryClass` is undefined for a category on its own, which shows its class at most. */
function categoryInput(
  item: Json,
  categoryClass: CategoryClass | undefined,
  byType: Dialect,
  where: string,
): CategoryInput {
  const named = categoryNamed(item, where);
  if (named !== undefined) {
    return {
      ...named,
      ...(categoryClass === undefined ? {} : { class: categoryClass }),
      dialect: byType,
      given: [],
    };
  }
  if (!isJsonObject(item)) throw wrong(where, 'a category');
  const at = (key: string): string => `"${key}" of ${where}`;
  if (typeof item.term !== 'string' || item.term === '') throw wrong(at('term'), 'a string that is not empty');
  const input: Mutable<CategoryInput> = {
    term: item.term,
    // A filter of the original names a term alone; a definition without a scheme is refused where it is checked.
    scheme: present(item.scheme) ? string(item.scheme, at('scheme')) : '',
    dialect: dialectOf(item) ?? byType,
    given: givenKeys(item, categoryClass ?? statedClass(item, at('class'))),
  };
  const known = categoryClass ?? statedClass(item, at('class'));
  if (known !== undefined) input.class = known;
  else input.likelyClass = likelyClass(item);
  if (present(item.title)) input.title = string(item.title, at('title'));
  if (present(item.location)) input.location = string(item.location, at('location'));
  if (present(item.applies)) input.applies = identifiers(item.applies, at('applies'));
  if (present(item.actions)) input.actions = identifiers(item.actions, at('actions'));
  if (present(item.attributes)) input.attributes = attributesOf(item.attributes, where);
  // The nested dialect has one key, `related`, for the parent of a kind and for what a mixin depends on.
  if (known === undefined || known === 'kind') {
    const [parent] = oneOrMore(item.parent ?? item.related, at('parent'));
    if (parent !== undefined) input.parent = parent;
  }
  if ((known === undefined || known === 'mixin') && present(item.depends ?? item.related)) {
    input.depends = oneOrMore(item.depends ?? item.related, at('depends'));
  }
  return input;
}

function statedClass(item: JsonObject, where: string): CategoryClass | undefined {
  const { class: stated } = item;
  if (!present(stated)) return undefined;
  if (stated === 'kind' || stated === 'mixin' || stated === 'action') return stated;
  throw wrong(where, '"kind", "mixin" or "action"');
}

/** What a category that the server does not know seems to be: of the standard, a client adds mixins. */
function likelyClass(item: JsonObject): CategoryClass | undefined {
  const related = isList(item.related ?? null) ? (item.related as readonly Json[]) : [];
  if (present(item.parent) || related.some((id) => typeof id === 'string' && id.startsWith(CORE_SCHEME)))
    return 'kind';
  return present(item.location) ? 'mixin' : undefined;
}

/** A category that is named and not defined: an identifier, or `{"category":id}`. */
function categoryNamed(item: Json, where: string): { term: string; scheme: string } | undefined {
  const id = isJsonObject(item) ? (present(item.term) ? undefined : item.category) : item;
  if (!present(id)) return undefined;
  const named = typeof id === 'string' ? splitCategoryId(id) : undefined;
  if (named === undefined) throw wrong(where, 'a category, or the identifier of one (scheme#term)');
  return named;
}

function oneOrMore(value: Json | undefined, where: string): string[] {
  if (!present(value)) return [];
  return isList(value) ? identifiers(value, where) : [identifier(value, where)];
}

function givenKeys(item: JsonObject, categoryClass: CategoryClass | undefined): string[] {
  const given = new Set<string>();
  for (const key of Object.keys(item)) {
    if (key === 'term' || key === 'scheme' || key === 'class') continue;
    if (key !== 'related') given.add(key);
    else if (categoryClass === undefined) given.add('parent').add('depends');
    else if (categoryClass !== 'action') given.add(categoryClass === 'kind' ? 'parent' : 'depends');
  }
  return [...given];
}

/** What a definition shows of its dialect: levels of names or `related` are the original's, the rest is GFD.226's. */
function dialectOf(item: JsonObject): Dialect | undefined {
  const attributes = Object.entries(isJsonObject(item.attributes) ? item.attributes : {});
  if (Object.hasOwn(item, 'related') || attributes.some(([, value]) => isLevel(value))) return 'nested';
  const strict =
    attributes.some(([name]) => name.includes('.')) ||
    ['parent', 'depends', 'applies'].some((key) => Object.hasOwn(item, key));
  return strict ? 'strict' : undefined;
}

/** A level of names rather than the definition of one attribute, whose own objects are a default or a pattern. */
function isLevel(value: Json): boolean {
  return (
    isJsonObject(value) &&
    Object.entries(value).some(([key, inner]) => isJsonObject(inner) && key !== 'default' && key !== 'pattern')
  );
}

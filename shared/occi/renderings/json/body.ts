/**
 * Reads JSON bodies. Both JSON types accept every form in use: the original's nested names, GFD.226's flat names, and
 * mixtures (docs/occi.md, "Renderings"). Declarations decide later which declared attribute a name stands for.
 */
import { badRequest } from '../../../errors';
import { isJsonObject, type Json, type JsonObject } from '../../../json';
import { nestsWithin } from '../../../json-depth';
import { MAX_JSON_DEPTH } from '../../../limits';
import { sourceOf } from '../../json-source';
import type { CategoryClass } from '../../model';
import {
  EMPTY_PAYLOAD,
  type CategoryInput,
  type EntityInput,
  type Payload,
  type ProviderInput,
} from '../../payload';
import { decodeBody } from '../body';
import { readCategoryInput } from './category';
import { readEntityInput } from './entity';
import { jsonErrorAt } from './error-position';
import {
  identifierIn,
  isPresent,
  readAttributes,
  readIdentifier,
  readList,
  readObjects,
  readStrings,
  wrong,
} from './values';

type Dialect = CategoryInput['dialect'];

/**
 * Reads a body. A bare list counts as the key `locations`.
 * @param dialect dialect of definitions that do not show theirs
 * @throws CmbsError `bad_request` and no other error, whatever the bytes
 */
export function parseJsonBody(body: Buffer, dialect: Dialect): Payload {
  const text = decodeBody(body);
  if (text.trim() === '') return EMPTY_PAYLOAD;
  const value = parseJson(text);
  if (isJsonObject(value)) return new BodyReader(text, value, dialect).read();
  if (!Array.isArray(value))
    throw badRequest('The body must be a JSON object or a list of locations; correct it.');
  return {
    ...EMPTY_PAYLOAD,
    form: 'json',
    locations: readStrings(value, 'the body'),
    keys: new Set(['locations']),
  };
}

function parseJson(text: string): Json {
  if (!nestsWithin(text, MAX_JSON_DEPTH)) {
    throw badRequest(`The JSON is nested deeper than ${MAX_JSON_DEPTH} levels; send it flatter.`);
  }
  try {
    return JSON.parse(text) as Json;
  } catch (cause) {
    throw badRequest(
      `The body is not valid JSON${placeOfError(text)}; correct it, or name its real type in Content-Type.`,
      { cause },
    );
  }
}

/** The line and column of the first mistake, as editors count. */
function placeOfError(text: string): string {
  const before = text.slice(0, jsonErrorAt(text));
  return ` at line ${before.split('\n').length}, column ${before.length - before.lastIndexOf('\n')}`;
}

const LOCATION_KEYS = ['X-OCCI-Location', 'Location', 'locations'] as const;
const COLLECTION_KEYS = ['resources', 'kinds', 'providers', 'action', ...LOCATION_KEYS] as const;
/** Keys that make a body an entity, unless a collection stands beside them. `kind` makes it one in any case. */
const ENTITY_KEYS = ['id', 'title', 'summary', 'source', 'target'] as const;

class BodyReader {
  readonly #text: string;
  readonly #body: JsonObject;
  readonly #dialect: Dialect;

  constructor(text: string, body: JsonObject, dialect: Dialect) {
    this.#text = text;
    this.#body = body;
    this.#dialect = dialect;
  }

  read(): Payload {
    const body = this.#body;
    const read = { ...EMPTY_PAYLOAD, form: 'json', keys: new Set(Object.keys(body)) } as const;
    if (isBareCategory(body)) {
      const where = 'the category';
      const categories = [readCategoryInput(body, undefined, this.#dialect, where)];
      // A request for an action may have this form too, with the action's values as attributes.
      return { ...read, categories, attributes: readAttributes(body.attributes, where) };
    }
    if (isBareEntity(body)) {
      return { ...read, entities: [this.#bareEntity(isPresent(body.source) || isPresent(body.target))] };
    }
    if (mayNameItsMixins(body)) {
      // The operation decides whether the body is an entity with mixins or a set of mixins.
      const categories = [...this.#categories('mixins', 'mixin'), ...this.#categories('actions', 'action')];
      return { ...read, categories, entities: [this.#bareEntity(false)] };
    }
    const entities = [...this.#entities('resources', false), ...this.#entities('links', true)];
    const categories = [
      ...this.#categories('kinds', 'kind'),
      ...this.#categories('mixins', 'mixin'),
      ...this.#categories('actions', 'action'),
    ];
    const action = this.#action(categories);
    return {
      ...read,
      categories,
      attributes: readAttributes(body.attributes, 'the body'),
      entities,
      locations: LOCATION_KEYS.flatMap((key) => readStrings(body[key], `"${key}"`)),
      ...(action === undefined ? {} : { action }),
      providers: readObjects(body.providers, '"providers"').map(readProvider),
      sourceText: (names) => sourceOf(this.#text, ['attributes', ...names]),
    };
  }

  #bareEntity(isLink: boolean): EntityInput {
    return readEntityInput(this.#body, (path) => sourceOf(this.#text, path), 'the entity', isLink);
  }

  #entities(key: 'resources' | 'links', isLink: boolean): EntityInput[] {
    return readObjects(this.#body[key], `"${key}"`).map((item, index) =>
      readEntityInput(item, (path) => sourceOf(this.#text, [key, index, ...path]), `${key}[${index}]`, isLink),
    );
  }

  #categories(key: 'kinds' | 'mixins' | 'actions', categoryClass: CategoryClass): CategoryInput[] {
    return readList(this.#body[key], `"${key}"`).map((item, index) =>
      readCategoryInput(item, categoryClass, this.#dialect, `${key}[${index}]`),
    );
  }

  /** `{"action":id}`, or the first of `actions`, unless these are definitions beside kinds or mixins. */
  #action(categories: readonly CategoryInput[]): string | undefined {
    const { action, kinds, mixins } = this.#body;
    if (isPresent(action)) return readIdentifier(action, '"action"');
    const [first] = categories;
    if (isPresent(kinds) || isPresent(mixins) || first === undefined || first.scheme === '') return undefined;
    return first.scheme + first.term;
  }
}

function isCollection(body: JsonObject): boolean {
  return COLLECTION_KEYS.some((key) => isPresent(body[key]));
}

function isBareEntity(body: JsonObject): boolean {
  if (isPresent(body.kind)) return true;
  return !isCollection(body) && ENTITY_KEYS.some((key) => isPresent(body[key]));
}

/** A category that is the whole body: GFD.226's form for adding or removing one. */
function isBareCategory(body: JsonObject): boolean {
  return typeof body.term === 'string' && !isPresent(body.kind) && !isCollection(body);
}

/** An entity of which only mixins, and perhaps attributes, are given; or a set of mixins. */
function mayNameItsMixins(body: JsonObject): boolean {
  const { mixins } = body;
  if (isCollection(body) || !Array.isArray(mixins) || mixins.length === 0) return false;
  return (mixins as readonly Json[]).every((mixin) => identifierIn(mixin) !== undefined);
}

function readProvider(item: JsonObject): ProviderInput {
  const provider = item.Provider;
  if (!isJsonObject(provider)) throw wrong('"Provider" of providers', 'an object with "local" and "remote"');
  return {
    category: readIdentifier(item.OCCI_ID ?? null, '"OCCI_ID" of providers'),
    local: readStrings(provider.local, '"local" of Provider'),
    remote: readStrings(provider.remote, '"remote" of Provider'),
  };
}

/** How entities lie in the store: one document each under their path, indexed by category, link end and value. */
import { createHash } from 'node:crypto';
import { holdsExactly } from '../exact-json';
import { isJsonObject, type Json, type JsonObject } from '../json';
import type { Principal } from '../principal';
import type { Doc, Store, Transaction } from '../store';
import {
  CORE_ID,
  CORE_SOURCE,
  CORE_TARGET,
  type AttributeSpec,
  type AttributeSpecs,
  type CategoryId,
  type Entity,
  type Path,
} from './model';
import type { CategoryRegistry } from './category-registry';

/** Characters of an attribute value that are indexed as they are; longer ones by their digest. */
const MAX_INDEXED_VALUE_LENGTH = 256;
/** Levels of an object attribute whose scalar members are indexed for filters. */
const INDEXED_DEPTH = 3;

export const ENTITIES = 'entities';
/** Raw JSON attributes with a document of their own (DESIGN decision 18). */
const APART = 'entity-values';

export const CATEGORY_FIELD = 'category';
export const SOURCE_FIELD = 'source';
export const TARGET_FIELD = 'target';
export const attributeField = (name: string): string => `a.${name}`;

export type Reader = Pick<Store, 'get' | 'getAll'> | Pick<Transaction, 'get' | 'getAll'>;

export interface StoredEntity {
  readonly entity: Entity;
  readonly revision: number;
}

/** The text under which a value is found: without type, because query strings have none, and booleans without case. */
export function indexText(value: Json): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const lower = text.length <= 5 ? text.toLowerCase() : text;
  const folded = lower === 'true' || lower === 'false' ? lower : text;
  if (folded.length <= MAX_INDEXED_VALUE_LENGTH) return folded;
  return `sha256:${createHash('sha256').update(folded).digest('hex')}`;
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** The one text of a number that a string spells (`4.0`, `4e0`); undefined when it spells none that is exact. */
export function numberText(text: string): string | undefined {
  return NUMBER.test(text) && holdsExactly(text) ? JSON.stringify(Number(text)) : undefined;
}

/** Attributes that hold numbers are compared as such, however a client spells the number. */
export const isNumeric = (spec: AttributeSpec | undefined): boolean =>
  spec?.type === 'number' || spec?.type === 'scalar';

/** All texts under which an attribute is found: an array also by each of its scalar elements. */
export function indexTexts(value: Json): readonly string[] {
  if (!Array.isArray(value)) return [indexText(value)];
  const elements = (value as readonly Json[]).filter((one) => one === null || typeof one !== 'object');
  return [...new Set([indexText(value), ...elements.map(indexText)])];
}

const apartId = (path: Path, name: string): string => `${path}#${name}`;

/** An object is found by its scalar members (`cmbs.message.delivery.state`), down to {@link INDEXED_DEPTH}. */
function indexValue(index: Record<string, readonly string[]>, name: string, value: Json, depth = 0): void {
  if (!isJsonObject(value)) index[attributeField(name)] = indexTexts(value);
  else if (depth < INDEXED_DEPTH) {
    for (const [key, inner] of Object.entries(value)) indexValue(index, `${name}.${key}`, inner, depth + 1);
  }
}

function indexOf(entity: Entity, registry: CategoryRegistry): Record<string, readonly string[]> {
  const index: Record<string, readonly string[]> = {
    [attributeField(CORE_ID)]: [indexText(entity.id)],
    [CATEGORY_FIELD]: [...registry.ancestors(entity.kind), ...entity.mixins],
  };
  const specs: AttributeSpecs = registry.specs(entity.kind, entity.mixins);
  for (const [name, value] of Object.entries(entity.attributes)) {
    const spec = specs[name];
    const members = spec?.indexedMembers;
    const spelt = typeof value === 'string' && isNumeric(spec) ? numberText(value) : undefined;
    if (spelt !== undefined) index[attributeField(name)] = [...new Set([...indexTexts(value), spelt])];
    else if (members === undefined || !isJsonObject(value)) indexValue(index, name, value);
    else
      indexValue(index, name, Object.fromEntries(Object.entries(value).filter(([key]) => members.includes(key))));
  }
  const source = entity.attributes[CORE_SOURCE];
  const target = entity.attributes[CORE_TARGET];
  if (typeof source === 'string') index[SOURCE_FIELD] = [source];
  if (typeof target === 'string') index[TARGET_FIELD] = [target];
  return index;
}

/**
 * Writes an entity inside a transaction. `before` is what the transaction read there, so that documents of values
 * that are gone go too.
 */
export function writeEntity(
  tx: Transaction,
  entity: Entity,
  before: Entity | undefined,
  registry: CategoryRegistry,
): void {
  const specs: AttributeSpecs = registry.specs(entity.kind, entity.mixins);
  const lifetime = entity.expiresAt === undefined ? {} : { expiresAt: entity.expiresAt };
  const isNewLifetime = before?.expiresAt !== entity.expiresAt;
  const together: Record<string, string> = {};
  const apart: string[] = [];
  for (const [name, text] of Object.entries(entity.rawJson)) {
    if (specs[name]?.apart === true) {
      apart.push(name);
      if (before?.rawJson[name] !== text || isNewLifetime) {
        tx.put(APART, apartId(entity.path, name), { text }, lifetime);
      }
    } else {
      together[name] = text;
    }
  }
  for (const name of Object.keys(before?.rawJson ?? {})) {
    if (specs[name]?.apart === true && !apart.includes(name)) tx.delete(APART, apartId(entity.path, name));
  }
  const value: JsonObject = {
    id: entity.id,
    kind: entity.kind,
    mixins: entity.mixins,
    attributes: entity.attributes,
    // Stored under the name that release 1.0 gave it.
    verbatim: together,
    ...(apart.length === 0 ? {} : { apart }),
    owner: entity.owner,
    ...(entity.createdBy === undefined ? {} : { createdBy: entity.createdBy }),
    createdAt: entity.createdAt,
    updatedAt: entity.updatedAt,
    ...(entity.isLinked === undefined ? {} : { isLinked: entity.isLinked }),
    ...(entity.isLeaving === undefined ? {} : { isLeaving: entity.isLeaving }),
    ...(entity.internal === undefined ? {} : { internal: entity.internal }),
    ...lifetime,
  };
  tx.put(ENTITIES, entity.path, value, { index: indexOf(entity, registry), ...lifetime });
}

export function deleteEntity(tx: Transaction, entity: Entity, registry: CategoryRegistry): void {
  const specs = registry.specs(entity.kind, entity.mixins);
  for (const name of Object.keys(entity.rawJson)) {
    if (specs[name]?.apart === true) tx.delete(APART, apartId(entity.path, name));
  }
  tx.delete(ENTITIES, entity.path);
}

/** What {@link writeEntity} wrote; this module is the only writer of the collection. */
interface EntityDocument {
  readonly id: string;
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
  readonly attributes: Readonly<Record<string, Json>>;
  /** {@link Entity.rawJson}; the name is from release 1.0. */
  readonly verbatim: Readonly<Record<string, string>>;
  readonly apart?: readonly string[];
  readonly owner: string;
  readonly createdBy?: Principal;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly isLinked?: boolean;
  readonly isLeaving?: true;
  readonly expiresAt?: number;
  readonly internal?: JsonObject;
}

function entityOf(doc: Doc, apart: Readonly<Record<string, string>>): Entity {
  const value = doc.value as unknown as EntityDocument;
  return {
    path: doc.id,
    id: value.id,
    kind: value.kind,
    mixins: value.mixins,
    attributes: value.attributes,
    rawJson: value.apart === undefined ? value.verbatim : { ...value.verbatim, ...apart },
    owner: value.owner,
    ...(value.createdBy === undefined ? {} : { createdBy: value.createdBy }),
    createdAt: value.createdAt,
    updatedAt: value.updatedAt,
    ...(value.isLinked === undefined ? {} : { isLinked: value.isLinked }),
    ...(value.isLeaving === undefined ? {} : { isLeaving: value.isLeaving }),
    ...(value.expiresAt === undefined ? {} : { expiresAt: value.expiresAt }),
    ...(value.internal === undefined ? {} : { internal: value.internal }),
  };
}

/** Of documents without values apart: a store that gives the same document again gets the same entity again. */
const whole = new WeakMap<Doc, StoredEntity>();

function wholeOf(doc: Doc): StoredEntity {
  let stored = whole.get(doc);
  if (stored === undefined) {
    stored = Object.freeze({ entity: Object.freeze(entityOf(doc, {})), revision: doc.revision });
    whole.set(doc, stored);
  }
  return stored;
}

/** The entity without its raw JSON values, for callers that need only its existence and its attributes. */
export function outlineOf(doc: Doc): StoredEntity {
  return { entity: { ...entityOf(doc, {}), rawJson: {} }, revision: doc.revision };
}

/** Completes documents of {@link ENTITIES} with the values that lie apart. */
export async function entitiesOf(reader: Reader, docs: readonly Doc[]): Promise<readonly StoredEntity[]> {
  const wanted = docs.flatMap((doc) =>
    ((doc.value as unknown as EntityDocument).apart ?? []).map((name) => ({ path: doc.id, name })),
  );
  const texts = new Map<Path, Record<string, string>>();
  if (wanted.length > 0) {
    const found = await reader.getAll(
      APART,
      wanted.map(({ path, name }) => apartId(path, name)),
    );
    wanted.forEach(({ path, name }, at) => {
      const text = found[at]?.value.text;
      if (typeof text === 'string') texts.set(path, { ...texts.get(path), [name]: text });
    });
  }
  return docs.map((doc) => ({ entity: entityOf(doc, texts.get(doc.id) ?? {}), revision: doc.revision }));
}

export async function readEntity(reader: Reader, path: Path): Promise<StoredEntity | undefined> {
  const doc = await reader.get(ENTITIES, path);
  if (doc === undefined) return undefined;
  if ((doc.value as unknown as EntityDocument).apart === undefined) return wholeOf(doc);
  const [stored] = await entitiesOf(reader, [doc]);
  return stored;
}

export async function readEntities(
  reader: Reader,
  paths: readonly Path[],
): Promise<ReadonlyMap<Path, StoredEntity>> {
  const docs = await reader.getAll(ENTITIES, paths);
  const stored = await entitiesOf(
    reader,
    docs.filter((doc) => doc !== undefined),
  );
  return new Map(stored.map((one) => [one.entity.path, one]));
}

/** Names the state of an entity: the creation time keeps a path that is used again from repeating a name. */
export function stateOf({ entity, revision }: StoredEntity): string {
  return `${entity.createdAt.toString(36)}-${revision.toString(36)}`;
}

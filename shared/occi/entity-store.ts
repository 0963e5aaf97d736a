/** Entities in the store: one document for each entity, under the entity's path, and documents for large raw JSON. */
import type { Json, JsonObject } from '../json';
import { MAX_STEP_CHARS } from '../limits';
import type { Principal } from '../principal';
import type { Doc, Store, Transaction } from '../store';
import type { CategoryRegistry } from './category-registry';
import { CATEGORY_FIELD, indexOf } from './entity-index';
import { MAX_BATCH_ENTITIES } from './limits';
import type { CategoryId, Entity, Path } from './model';

export const ENTITIES = 'entities';
/** Long texts of raw JSON attributes, a document each, so that they do not burden each read of the entity. */
const APART = 'entity-values';
/** Characters of a text up to which it is in the document of its entity: two reads and a write cost more. */
const MAX_TOGETHER_CHARS = 4096;

/** Version of the index entries that {@link indexOf} makes; each entity is stored with the version of its entries. */
export const INDEX_VERSION = 1;

export type Reader = Pick<Store, 'get' | 'getAll'> | Pick<Transaction, 'get' | 'getAll'>;

export interface StoredEntity {
  readonly entity: Entity;
  readonly revision: number;
  /** An earlier release wrote the entity, so that newer index entries do not find it. */
  readonly hasOldIndex?: true;
}

const apartId = (path: Path, name: string): string => `${path}#${name}`;

/**
 * Writes an entity inside a transaction.
 * @param before the entity that the transaction read, whose removed raw JSON is deleted
 */
export function writeEntity(
  tx: Transaction,
  entity: Entity,
  before: Entity | undefined,
  registry: CategoryRegistry,
): void {
  const specs = registry.specs(entity.kind, entity.mixins);
  const lifetime = entity.expiresAt === undefined ? {} : { expiresAt: entity.expiresAt };
  const isNewLifetime = before?.expiresAt !== entity.expiresAt;
  const together: Record<string, string> = {};
  const apart: string[] = [];
  const apartBefore = before?.apart ?? [];
  for (const [name, text] of Object.entries(entity.rawJson)) {
    if (specs[name]?.apart === true && text.length > MAX_TOGETHER_CHARS) {
      apart.push(name);
      if (!apartBefore.includes(name) || before?.rawJson[name] !== text || isNewLifetime) {
        tx.put(APART, apartId(entity.path, name), { text }, lifetime);
      }
    } else {
      together[name] = text;
    }
  }
  for (const name of apartBefore) if (!apart.includes(name)) tx.delete(APART, apartId(entity.path, name));
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
    ...(entity.group === undefined ? {} : { group: entity.group }),
    ...lifetime,
    indexVersion: INDEX_VERSION,
  };
  tx.put(ENTITIES, entity.path, value, { index: indexOf(entity, registry), ...lifetime });
}

/** Deletes an entity and its raw JSON inside a transaction. */
export function deleteEntity(tx: Transaction, { path, apart = [] }: Entity): void {
  for (const name of apart) tx.delete(APART, apartId(path, name));
  tx.delete(ENTITIES, path);
}

/** The document of an entity. Only this module writes the collection. */
interface EntityDocument {
  readonly id: string;
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
  readonly attributes: Readonly<Record<string, Json>>;
  /** {@link Entity.rawJson} without the attributes in {@link apart}; the name is from release 1.0. */
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
  readonly group?: string;
  /** Absent in entities that release 1.0 wrote. */
  readonly indexVersion?: number;
}

/** What is stored with the entity of a document. */
const storedWith = ({ revision, value }: Doc): Omit<StoredEntity, 'entity'> =>
  Number(value.indexVersion ?? 0) >= INDEX_VERSION ? { revision } : { revision, hasOldIndex: true };

function entityOf(doc: Doc, apart: Readonly<Record<string, string>>): Entity {
  const value = doc.value as unknown as EntityDocument;
  return {
    path: doc.id,
    id: value.id,
    kind: value.kind,
    mixins: value.mixins,
    attributes: value.attributes,
    rawJson: value.apart === undefined ? value.verbatim : { ...value.verbatim, ...apart },
    ...(value.apart === undefined ? {} : { apart: value.apart }),
    owner: value.owner,
    ...(value.createdBy === undefined ? {} : { createdBy: value.createdBy }),
    createdAt: value.createdAt,
    updatedAt: value.updatedAt,
    ...(value.isLinked === undefined ? {} : { isLinked: value.isLinked }),
    ...(value.isLeaving === undefined ? {} : { isLeaving: value.isLeaving }),
    ...(value.expiresAt === undefined ? {} : { expiresAt: value.expiresAt }),
    ...(value.internal === undefined ? {} : { internal: value.internal }),
    ...(value.group === undefined ? {} : { group: value.group }),
  };
}

/** The entities of documents without values apart, so that the same document yields the same entity. */
const whole = new WeakMap<Doc, StoredEntity>();

function wholeOf(doc: Doc): StoredEntity {
  let stored = whole.get(doc);
  if (stored === undefined) {
    stored = Object.freeze({ entity: Object.freeze(entityOf(doc, {})), ...storedWith(doc) });
    whole.set(doc, stored);
  }
  return stored;
}

/** The entity without raw JSON, for callers that do not need it. */
export function outlineOf(doc: Doc): StoredEntity {
  return { entity: { ...entityOf(doc, {}), rawJson: {} }, ...storedWith(doc) };
}

/** The entities of documents, with the raw JSON that is stored apart. */
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
  return docs.map((doc) => ({ entity: entityOf(doc, texts.get(doc.id) ?? {}), ...storedWith(doc) }));
}

/** The entity at a path; undefined if there is none. */
export async function readEntity(reader: Reader, path: Path): Promise<StoredEntity | undefined> {
  const doc = await reader.get(ENTITIES, path);
  if (doc === undefined) return undefined;
  if ((doc.value as unknown as EntityDocument).apart === undefined) return wholeOf(doc);
  const [stored] = await entitiesOf(reader, [doc]);
  return stored;
}

/** The entities at the paths, by path; absent entities are left out. */
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

/** The query for the entities of a category. */
export const ofCategory = (
  category: CategoryId,
): {
  readonly collection: string;
  readonly where: readonly { readonly field: string; readonly value: string }[];
} => ({
  collection: ENTITIES,
  where: [{ field: CATEGORY_FIELD, value: category }],
});

/** Whether a category has entities. */
export async function isInUse(tx: Transaction, category: CategoryId): Promise<boolean> {
  const { docs } = await tx.query({ ...ofCategory(category), limit: 1 });
  return docs.length > 0;
}

/**
 * The next entities of a category, as many as one transaction may change.
 * @param after cursor of the step before
 * @returns `next`: cursor for the next step; undefined after the last one
 */
export async function nextOfCategory(
  tx: Transaction,
  category: CategoryId,
  after?: string,
): Promise<{ readonly entities: readonly Entity[]; readonly next: string | undefined }> {
  const limits = { limit: MAX_BATCH_ENTITIES, maxChars: MAX_STEP_CHARS };
  const page = await tx.query({ ...ofCategory(category), ...limits, ...(after === undefined ? {} : { after }) });
  const stored = await entitiesOf(tx, page.docs);
  return { entities: stored.map(({ entity }) => entity), next: page.next };
}

/** Names the state of an entity. The creation time distinguishes entities that had the same path one after another. */
export function stateOf({ entity, revision }: StoredEntity): string {
  return `${entity.createdAt.toString(36)}-${revision.toString(36)}`;
}

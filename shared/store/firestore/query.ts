/**
 * Queries: the part that Firestore answers with the indexes of the layout, the part that is completed in code, and pages.
 *
 * By id, Firestore answers the whole query: it merges the indexes of several equalities with a range of ids. By order it
 * answers the order with its bounds, and one term when the layout sorts its field. A prefix or further terms would need an
 * index for each combination with the order, so code completes them.
 */
import { backOff } from '../../back-off';
import { FIRESTORE_ATTEMPTS, FIRESTORE_RETRY_MAX_MS, FIRESTORE_RETRY_MS, FIRESTORE_SCAN_DOCS } from './limits';
import { charsOf, isExpired, timeText, toDoc, toStored, type Stored } from './documents';
import { isTransient } from './errors';
import { FIELD, layoutOf } from './layout';
import { type CollectionPlace, encodeId, fieldPath, idRange, indexKey, placeOf } from './names';
import { type FieldFilter, type Filter, type StructuredQuery, type UnaryFilter, type Value } from './protocol';
import { documentsOf, type ReadSnapshot } from './read-snapshot';
import { type Doc, type Page } from '../store';
import { cursorAt, type Position, type Selection } from '../store-query';

export const NAME = '__name__';
const NAME_ONLY = { fields: [{ fieldPath: NAME }] };

export interface Plan {
  readonly place: CollectionPlace;
  readonly byOrder: boolean;
  /** Path of the field to sort by: the order of the document, or of one of its index entries. */
  readonly orderField: string;
  /** The part that Firestore answers. */
  readonly filters: readonly FieldFilter[];
  /** Whether a document that Firestore found matches the rest of the query. */
  readonly completes: (stored: Stored) => boolean;
  /** Firestore answers the whole query. */
  readonly isComplete: boolean;
}

/** Throws when the layout has no index for the query, which is a mistake in the program. */
export function planOf({ collection, prefix, terms, byOrder, upTo, above }: Selection, database: string): Plan {
  const place = placeOf(collection);
  const keys = terms.map(({ field, value }) => indexKey(field, value));
  if (!byOrder) {
    const filters = [...keys.map(hasEntry), ...prefixFilters(place, prefix, database)];
    return { place, byOrder, orderField: FIELD.order, filters, completes: () => true, isComplete: true };
  }
  const { order, sortedFields } = layoutOf(place.group);
  const sortedAt = terms.findIndex(({ field }) => sortedFields.includes(field));
  const sortedKey = keys[sortedAt];
  if (order === 'none' && sortedKey === undefined) throw notReadByOrder(place);
  const orderField = sortedKey === undefined ? FIELD.order : fieldPath(FIELD.sorted, sortedKey);
  const otherKeys = keys.filter((_, at) => at !== sortedAt);
  return {
    place,
    byOrder,
    orderField,
    filters: [
      ...(above === undefined ? [] : [compare(orderField, 'GREATER_THAN', { stringValue: above })]),
      ...(upTo === undefined ? [] : [compare(orderField, 'LESS_THAN_OR_EQUAL', { stringValue: upTo })]),
    ],
    completes: ({ id, fields }) => {
      const entries = fields[FIELD.index]?.mapValue?.fields ?? {};
      return id.startsWith(prefix) && otherKeys.every((key) => Object.hasOwn(entries, key));
    },
    isComplete: prefix === '' && otherKeys.length === 0,
  };
}

/** Whether a document has the index entry with this key. */
export const hasEntry = (key: string): FieldFilter =>
  compare(fieldPath(FIELD.index, key), 'EQUAL', { booleanValue: true });

/** For a query that has no index in the layout, which is a mistake in the program. */
export function notReadByOrder({ group }: CollectionPlace): Error {
  return new Error(
    `The layout of Firestore has no index by order for ${group}; add it to store/firestore/layout.ts.`,
  );
}

/** Matches only the document with this id. */
export function isNamed(place: CollectionPlace, id: string, database: string): FieldFilter {
  return compare(NAME, 'EQUAL', nameIn(place, encodeId(id), database));
}

const nameIn = (place: CollectionPlace, encodedId: string, database: string): Value => ({
  referenceValue: `${documentsOf(database)}/${place.path}/${encodedId}`,
});

export function prefixFilters(place: CollectionPlace, prefix: string, database: string): readonly FieldFilter[] {
  if (prefix === '') return [];
  const { from, to } = idRange(prefix);
  return [
    compare(NAME, 'GREATER_THAN_OR_EQUAL', nameIn(place, from, database)),
    ...(to === undefined ? [] : [compare(NAME, 'LESS_THAN', nameIn(place, to, database))]),
  ];
}

export function compare(field: string, op: FieldFilter['fieldFilter']['op'], value: Value): FieldFilter {
  return { fieldFilter: { field: { fieldPath: field }, op, value } };
}

/** Empty without filters. */
export function where(filters: readonly (FieldFilter | UnaryFilter)[]): { readonly where?: Filter } {
  const [first, ...others] = filters;
  if (first === undefined) return {};
  return { where: others.length === 0 ? first : { compositeFilter: { op: 'AND', filters } } };
}

export function orderBy(...fields: readonly string[]): Pick<StructuredQuery, 'orderBy'> {
  return { orderBy: fields.map((field) => ({ field: { fieldPath: field }, direction: 'ASCENDING' as const })) };
}

function queryAfter(plan: Plan, after: Position | undefined, limit: number, database: string): StructuredQuery {
  const { place, byOrder, orderField, filters } = plan;
  return {
    from: [{ collectionId: place.group }],
    ...where(filters),
    ...(byOrder ? orderBy(orderField, NAME) : orderBy(NAME)),
    ...(after === undefined ? {} : { startAt: { values: positionValues(plan, after, database), before: false } }),
    limit: { value: limit },
  };
}

function positionValues({ place, byOrder }: Plan, { sort, id }: Position, database: string): readonly Value[] {
  const name = { referenceValue: `${documentsOf(database)}/${place.path}/${encodeId(id)}` };
  return byOrder ? [{ stringValue: sort }, name] : [name];
}

export interface Scan {
  readonly plan: Plan;
  readonly after: Position | undefined;
  /** Documents that the first call asks for; further calls ask for more. */
  readonly wanted: number;
  /** Default: all fields. */
  readonly fields?: readonly string[];
}

/** Yields the documents that Firestore finds, in order, including expired ones. Continues after a transient error. */
export async function* scan(
  snapshot: ReadSnapshot,
  { plan, after, wanted, fields }: Scan,
): AsyncGenerator<Stored, void, undefined> {
  const { context, deadline, database } = snapshot;
  const select = fields === undefined ? {} : { select: { fields: fields.map((field) => ({ fieldPath: field })) } };
  let position = after;
  let limit = Math.min(wanted, FIRESTORE_SCAN_DOCS);
  for (let attempt = 1; ;) {
    let found = 0;
    try {
      const query = { ...queryAfter(plan, position, limit, database), ...select };
      for await (const document of snapshot.query(plan.place.parent, query)) {
        const stored = toStored(document);
        position = positionOf(plan, stored);
        found += 1;
        attempt = 1;
        yield stored;
      }
      if (found < limit) return;
      limit = Math.min(limit * 4, FIRESTORE_SCAN_DOCS);
    } catch (error) {
      if (!isTransient(error) || attempt >= FIRESTORE_ATTEMPTS || deadline.isOver) throw error;
      await deadline.pause(backOff(attempt, FIRESTORE_RETRY_MS, FIRESTORE_RETRY_MAX_MS, context.random));
      attempt += 1;
    }
  }
}

function positionOf({ byOrder }: Plan, { id, fields }: Stored): Position {
  return { sort: byOrder ? (fields[FIELD.order]?.stringValue ?? '') : '', id };
}

/** The result of a query in a transaction, for checking it before the commit. */
export interface Seen {
  readonly plan: Plan;
  readonly after: Position | undefined;
  /** Of each document up to the end of the page, whether it matched or not. */
  readonly versions: readonly string[];
  /** No document follows the page. */
  readonly isWhole: boolean;
}

export interface ReadPage {
  readonly page: Page;
  readonly documents: readonly Stored[];
  readonly seen: Seen;
}

export async function readPage(snapshot: ReadSnapshot, selection: Selection): Promise<ReadPage> {
  const { after, byOrder, limit, maxChars = Infinity } = selection;
  const plan = planOf(selection, snapshot.database);
  const now = snapshot.context.clock.now();
  const documents: Stored[] = [];
  const docs: Doc[] = [];
  const versions: string[] = [];
  let chars = 0;
  let next: string | undefined;
  // One document more than the limit tells whether there is a next page.
  for await (const stored of scan(snapshot, { plan, after, wanted: limit + 1 })) {
    const matches = !isExpired(stored.expiresAt, now) && plan.completes(stored);
    const last = docs.length === limit || chars >= maxChars ? documents.at(-1) : undefined;
    if (matches && last !== undefined) {
      next = cursorAt(positionOf(plan, last), byOrder);
      break;
    }
    versions.push(versionOf(stored));
    if (!matches) continue;
    documents.push(stored);
    docs.push(toDoc(stored));
    chars += charsOf(stored);
  }
  const page = { docs, ...(next === undefined ? {} : { next }) };
  return { page, documents, seen: { plan, after, versions, isWhole: next === undefined } };
}

function versionOf({ id, updateTime }: Pick<Stored, 'id' | 'updateTime'>): string {
  return `${timeText(updateTime)} ${id}`;
}

/** The query that reads the result again, names only. */
export function recheckQuery({ plan, after, versions, isWhole }: Seen, database: string): StructuredQuery {
  return { ...queryAfter(plan, after, versions.length + (isWhole ? 1 : 0), database), select: NAME_ONLY };
}

/** Whether the documents that {@link recheckQuery} found are those seen before. */
export function isSame({ versions }: Seen, found: readonly Pick<Stored, 'id' | 'updateTime'>[]): boolean {
  return found.length === versions.length && found.every((one, at) => versionOf(one) === versions[at]);
}

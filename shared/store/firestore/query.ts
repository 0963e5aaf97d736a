/**
 * Queries: what of them Firestore answers with the indexes that the layout has, what is completed in code, and pages.
 *
 * By id, Firestore answers everything: it merges the indexes of any number of equalities with a range of ids. By order
 * it answers the order and its upper end, and one term where the layout sorts its field; a prefix or other terms would
 * need an index for each of them together with the order, so those are completed in code.
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
  /** Path of the field that has the order: the document's own, or that of one of its entries. */
  readonly orderField: string;
  /** Of what Firestore is asked. */
  readonly filters: readonly FieldFilter[];
  /** Whether a document that Firestore finds is one; always, when Firestore was asked everything. */
  readonly completes: (stored: Stored) => boolean;
  readonly isComplete: boolean;
}

/** Throws when the layout has no index for it: a mistake in the program. */
export function planOf({ collection, prefix, terms, byOrder, upTo }: Selection, database: string): Plan {
  const place = placeOf(collection);
  const keys = terms.map(({ field, value }) => indexKey(field, value));
  if (!byOrder) {
    const filters = [
      ...keys.map((key) => compare(fieldPath(FIELD.index, key), 'EQUAL', { booleanValue: true })),
      ...prefixFilters(place, prefix, database),
    ];
    return { place, byOrder, orderField: FIELD.order, filters, completes: () => true, isComplete: true };
  }
  const { order, sortedFields } = layoutOf(place.group);
  if (order === 'none') throw notReadByOrder(place);
  const sortedAt = terms.findIndex(({ field }) => sortedFields.includes(field));
  const sortedKey = keys[sortedAt];
  const orderField = sortedKey === undefined ? FIELD.order : fieldPath(FIELD.sorted, sortedKey);
  const otherKeys = keys.filter((_, at) => at !== sortedAt);
  return {
    place,
    byOrder,
    orderField,
    filters: upTo === undefined ? [] : [compare(orderField, 'LESS_THAN_OR_EQUAL', { stringValue: upTo })],
    completes: ({ id, fields }) => {
      const entries = fields[FIELD.index]?.mapValue?.fields ?? {};
      return id.startsWith(prefix) && otherKeys.every((key) => Object.hasOwn(entries, key));
    },
    isComplete: prefix === '' && otherKeys.length === 0,
  };
}

/** A mistake in the program. */
export function notReadByOrder({ group }: CollectionPlace): Error {
  return new Error(
    `The layout of Firestore has no index by order for ${group}; add it to store/firestore/layout.ts.`,
  );
}

/** The document of this id alone. */
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

/** Nothing when there is no filter. */
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
  /** Documents wanted, about: as many are asked for at first, and more at a time if those do not do. */
  readonly wanted: number;
  /** All of them by default. */
  readonly fields?: readonly string[];
}

/** What Firestore finds, in order, expired documents among it. Goes on after a call that broke. */
export async function* scan(
  snapshot: ReadSnapshot,
  { plan, after, wanted, fields }: Scan,
): AsyncGenerator<Stored, void, undefined> {
  const { context, bounds, database } = snapshot;
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
      if (!isTransient(error) || attempt >= FIRESTORE_ATTEMPTS || bounds.isOver) throw error;
      await bounds.pause(backOff(attempt, FIRESTORE_RETRY_MS, FIRESTORE_RETRY_MAX_MS, context.random));
      attempt += 1;
    }
  }
}

function positionOf({ byOrder }: Plan, { id, fields }: Stored): Position {
  return { sort: byOrder ? (fields[FIELD.order]?.stringValue ?? '') : '', id };
}

/** What a transaction saw of a query, so that it can look later whether it would see it again. */
export interface Seen {
  readonly plan: Plan;
  readonly after: Position | undefined;
  /** Each document up to the end of the page, matching or not. */
  readonly versions: readonly string[];
  /** Nothing came after them. */
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
  // One more than asked for tells whether there are more.
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

/** Asks for what {@link Seen} was, and no more than that needs. */
export function lookAgain({ plan, after, versions, isWhole }: Seen, database: string): StructuredQuery {
  return { ...queryAfter(plan, after, versions.length + (isWhole ? 1 : 0), database), select: NAME_ONLY };
}

/** Whether the documents that {@link lookAgain} found are those seen before. */
export function isSame({ versions }: Seen, found: readonly Pick<Stored, 'id' | 'updateTime'>[]): boolean {
  return found.length === versions.length && found.every((one, at) => versionOf(one) === versions[at]);
}

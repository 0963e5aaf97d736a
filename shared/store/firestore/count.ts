/**
 * Counts documents without the expired ones. Firestore counts a thousand index entries for the price of one document
 * read, but only by what its indexes contain. A few documents are read instead, in one call
 * (`test/cloud/store-firestore.test.ts`, "counts").
 */
import { FIRESTORE_SCAN_DOCS } from './limits';
import { isExpired, timestampAt } from './documents';
import { FIELD, layoutOf } from './layout';
import { compare, orderBy, type Plan, planOf, scan, where } from './query';
import { type FieldFilter, type StructuredQuery, type UnaryFilter } from './protocol';
import { type ReadSnapshot } from './read-snapshot';
import { type Size } from '../store';
import { type Selection } from '../store-query';

/** Up to so many documents are read, in one call; more are counted by Firestore, in two or three calls. */
const FIRESTORE_COUNTED_BY_READING = 100;

const NEVER_EXPIRES: UnaryFilter = { unaryFilter: { op: 'IS_NULL', field: { fieldPath: FIELD.expires } } };

/** Exact up to `atMost`. */
export async function countUpTo(snapshot: ReadSnapshot, selection: Selection, atMost: number): Promise<number> {
  if (atMost < 1) return 0;
  const plan = planOf(selection, snapshot.database);
  if (selection.above !== undefined && plan.isComplete) {
    return snapshot.count(plan.place.parent, countedQuery(plan), atMost);
  }
  const few = await countByReading(snapshot, plan, atMost, FIRESTORE_COUNTED_BY_READING);
  if (few.isAll || few.counted === atMost) return few.counted;
  const counted = await countByIndex(snapshot, plan, selection, atMost);
  return counted ?? (await countByReading(snapshot, plan, atMost, Infinity)).counted;
}

/** Counts up to `atMost`. The bytes of many documents are estimated from the first ones: each read is charged. */
export async function measureUpTo(snapshot: ReadSnapshot, selection: Selection, atMost: number): Promise<Size> {
  const plan = planOf(selection, snapshot.database);
  const now = snapshot.context.clock.now();
  const fields = [FIELD.expires, FIELD.order, FIELD.value];
  let count = 0;
  let bytes = 0;
  let looked = 0;
  for await (const stored of scan(snapshot, { plan, after: undefined, wanted: FIRESTORE_SCAN_DOCS, fields })) {
    looked += 1;
    if (!isExpired(stored.expiresAt, now)) {
      count += 1;
      bytes += Buffer.byteLength(stored.fields[FIELD.value]?.stringValue ?? '');
    }
    if (count === atMost) return { count, bytes };
    if (looked === FIRESTORE_SCAN_DOCS) break;
  }
  if (looked < FIRESTORE_SCAN_DOCS || count === 0) return { count, bytes };
  const all = await countUpTo(snapshot, selection, atMost);
  return { count: all, bytes: Math.ceil((bytes / count) * all) };
}

interface Counted {
  readonly counted: number;
  /** There are no more. */
  readonly isAll: boolean;
}

/** Counts up to `atMost`, and reads no more than `most` documents. */
async function countByReading(snapshot: ReadSnapshot, plan: Plan, atMost: number, most: number): Promise<Counted> {
  const now = snapshot.context.clock.now();
  const fields = [
    FIELD.expires,
    ...(plan.byOrder ? [FIELD.order] : []),
    ...(plan.isComplete ? [] : [FIELD.index]),
  ];
  const wanted = Math.min(atMost, most);
  let counted = 0;
  let looked = 0;
  for await (const stored of scan(snapshot, { plan, after: undefined, wanted, fields })) {
    if (!isExpired(stored.expiresAt, now) && plan.completes(stored)) counted += 1;
    looked += 1;
    if (counted === atMost || looked === most) return { counted, isAll: false };
  }
  return { counted, isAll: true };
}

/** Undefined when no index tells which documents have expired. */
async function countByIndex(
  snapshot: ReadSnapshot,
  plan: Plan,
  { upTo }: Selection,
  atMost: number,
): Promise<number | undefined> {
  const { expires, expiresByOrder } = layoutOf(plan.place.group);
  if (!plan.isComplete || upTo !== undefined || !(plan.byOrder ? expiresByOrder : expires)) return undefined;
  if (plan.orderField !== FIELD.order) return undefined;
  const count = (filters: readonly (FieldFilter | UnaryFilter)[], most: number, order?: Order): Promise<number> =>
    snapshot.count(plan.place.parent, countedQuery(plan, filters, order), most);
  const never = await count([NEVER_EXPIRES], atMost);
  if (never === atMost) return atMost;
  if (plan.filters.length === 0) {
    const now = timestampAt(snapshot.context.clock.now());
    const later = compare(FIELD.expires, 'GREATER_THAN', { timestampValue: now });
    const order = plan.byOrder ? orderBy(FIELD.expires, FIELD.order) : orderBy(FIELD.expires);
    return never + (await count([later], atMost - never, order));
  }
  // No index has the terms and the expiry together. Usually no document with these terms expires.
  const all = await count([], never + 1);
  return all === never ? never : undefined;
}

type Order = Pick<StructuredQuery, 'orderBy'>;

/** The query of a plan with further filters, for Firestore to count. */
function countedQuery(
  { place, byOrder, orderField, filters }: Plan,
  more: readonly (FieldFilter | UnaryFilter)[] = [],
  order: Order = byOrder ? orderBy(orderField) : {},
): StructuredQuery {
  return { from: [{ collectionId: place.group }], ...where([...filters, ...more]), ...order };
}

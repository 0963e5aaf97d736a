/**
 * The indexes of Firestore, in one table. By it the engine decides which parts of a query Firestore answers and which are
 * completed in code, and the deployment makes the indexes (`terraform/firestore.json`; `test/unit/firestore-layout.test.ts`
 * compares the two).
 *
 * By default Firestore indexes every field in both directions. Each index entry is one more write, and an indexed value
 * that grows with time is a hot spot. So here a field has an index only where a query needs it. A collection that is not
 * in the table works too, at a higher cost.
 */
import { ENTRIES } from './names';

export interface GroupLayout {
  /** Direction in which it is read by `order`; `both` for a watch of the newest document. */
  readonly order: 'none' | 'forwards' | 'both';
  /** The expiry is indexed, so that Firestore counts long lists; documents that never expire are in the index too. */
  readonly expires: boolean;
  /** Expiry and order are indexed together, to count the documents with an order that have not expired. */
  readonly expiresByOrder: boolean;
  /** Indexed fields of which one value is read by `order`. */
  readonly sortedFields: readonly string[];
}

const BY_ID: GroupLayout = { order: 'none', expires: false, expiresByOrder: false, sortedFields: [] };

/** By collection id. */
const GROUPS: Readonly<Record<string, GroupLayout>> = {
  'bus-subscriptions': BY_ID,
  'bus-topics': BY_ID,
  categories: BY_ID,
  'category-state': BY_ID,
  'desired-layers': { ...BY_ID, expires: true },
  entities: { ...BY_ID, expires: true },
  'entity-values': BY_ID,
  'executed-runs': BY_ID,
  forwarded: BY_ID,
  idempotency: BY_ID,
  'kv-accounts': BY_ID,
  'kv-entries': BY_ID,
  'kv-scopes': BY_ID,
  leases: BY_ID,
  'member-moves': BY_ID,
  'member-origins': BY_ID,
  meta: BY_ID,
  'module-tasks': BY_ID,
  ordering: BY_ID,
  ports: BY_ID,
  'provider-bindings': BY_ID,
  runs: BY_ID,
  'service-records': BY_ID,
  // The next due times are read in order. Each run writes one, so that the order is written at one place; hundreds of
  // runs a second are within what such an index takes.
  schedules: { ...BY_ID, order: 'forwards', expires: true },
  // The queue of one destination, and a part of a shard's messages, are read in order. The order of all messages has no
  // index: it would be one place where all writes go.
  sends: { order: 'none', expires: true, expiresByOrder: false, sortedFields: ['address', 'part'] },
  // Inboxes; receipts in them have no order.
  [ENTRIES]: { order: 'both', expires: false, expiresByOrder: true, sortedFields: [] },
};

/** Firestore's default. */
const AUTOMATIC: GroupLayout = { order: 'both', expires: true, expiresByOrder: false, sortedFields: [] };

export const GROUP_NAMES: readonly string[] = Object.keys(GROUPS);

export function isInLayout(group: string): boolean {
  return Object.hasOwn(GROUPS, group);
}

export function layoutOf(group: string): GroupLayout {
  return GROUPS[group] ?? AUTOMATIC;
}

/** Fields of every document (`documents.ts`). */
export const FIELD = {
  /** JSON text. */
  value: 'value',
  revision: 'revision',
  /** Id of the commit that wrote the document, to recognise a commit whose answer was lost. */
  commit: 'commit',
  order: 'order',
  /** Timestamp or null; the TTL policy uses it. */
  expires: 'expires',
  /** A map with a key for each index entry. An exemption of the map holds for all its keys. */
  index: 'index',
  /**
   * A map from each index entry of `sortedFields` to the order of the document, so that one value is read in order. A
   * composite index could not do this: it would have to name each key of the map.
   */
  sorted: 'sorted',
} as const;

/** For the deployment: the indexes of one collection id that differ from Firestore's default, in collection scope. */
export interface DeployedGroup {
  /** The field of its TTL policy. */
  readonly ttl: string;
  /** Fields without any index. */
  readonly exempt: readonly string[];
  /** Fields with an ascending single-field index. */
  readonly ascending: readonly string[];
  readonly descending: readonly string[];
  /** Fields of each composite index, all ascending. */
  readonly composite: readonly (readonly string[])[];
}

/** By collection id. */
export function deployedLayout(): Readonly<Record<string, DeployedGroup>> {
  return Object.fromEntries(Object.entries(GROUPS).map(([name, group]) => [name, deployedGroup(group)]));
}

function deployedGroup({ order, expires, expiresByOrder, sortedFields }: GroupLayout): DeployedGroup {
  const isSorted = sortedFields.length > 0;
  const ascending: readonly string[] = [
    ...(expires ? [FIELD.expires] : []),
    FIELD.index,
    ...(order === 'none' ? [] : [FIELD.order]),
    ...(isSorted ? [FIELD.sorted] : []),
  ];
  const fields = Object.values(FIELD).filter((field) => field !== FIELD.sorted || isSorted);
  return {
    ttl: FIELD.expires,
    exempt: fields.filter((field) => !ascending.includes(field)),
    ascending,
    descending: order === 'both' ? [FIELD.order] : [],
    composite: expiresByOrder ? [[FIELD.expires, FIELD.order]] : [],
  };
}

/**
 * What Firestore indexes, in one table: by it the engine decides which parts of a query Firestore answers and which are
 * completed in code, and the deployment makes the indexes from it (`terraform/firestore.json`, which a test holds equal).
 *
 * Firestore indexes every field by itself, both ways, unless told otherwise; each index entry is a write more, and an
 * indexed value that grows with time is a hot spot. So in the collections of this product each field has an index where
 * a query needs one and none elsewhere. A collection that is not in the table works like any other, only dearer.
 */
import { ENTRIES } from './names';

export interface GroupLayout {
  /** It is read by `order`: forwards, or also backwards, as who watches its newest document does. */
  readonly order: 'none' | 'forwards' | 'both';
  /** The expiry is indexed, so that Firestore itself counts long lists, those that never expire included. */
  readonly expires: boolean;
  /** Expiries are indexed together with the order, for counting what has an order and has not expired. */
  readonly expiresByOrder: boolean;
  /** Fields of whose entries one value is read by `order`. */
  readonly sortedFields: readonly string[];
}

const BY_ID: GroupLayout = { order: 'none', expires: false, expiresByOrder: false, sortedFields: [] };

/** By collection id. */
const GROUPS: Readonly<Record<string, GroupLayout>> = {
  'bus-subscriptions': BY_ID,
  'bus-topics': BY_ID,
  categories: BY_ID,
  'category-state': BY_ID,
  'desired-layers': BY_ID,
  entities: { ...BY_ID, expires: true },
  'entity-values': BY_ID,
  'executed-runs': BY_ID,
  forwarded: BY_ID,
  idempotency: BY_ID,
  leases: BY_ID,
  'member-origins': BY_ID,
  meta: BY_ID,
  ordering: BY_ID,
  ports: BY_ID,
  'provider-bindings': BY_ID,
  runs: BY_ID,
  // What waits for one destination is read in its order, however much waits for others.
  sends: { order: 'forwards', expires: true, expiresByOrder: false, sortedFields: ['address'] },
  // Inboxes, which hold receipts with and without an order.
  [ENTRIES]: { order: 'both', expires: false, expiresByOrder: true, sortedFields: [] },
};

/** What Firestore indexes by itself. */
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
  /** Identifies the commit that wrote the document, so that a commit whose answer was lost can be found again. */
  commit: 'commit',
  order: 'order',
  /** Timestamp, or null; the field of the TTL policy. */
  expires: 'expires',
  /** A map with a key for each index entry; an exemption of the map is one of all its keys. */
  index: 'index',
  /**
   * A map with the order of the document for each entry that is read by order. An index of it answers one value in its
   * order, which an index of several fields cannot: those name each key of a map. Only where the layout has such fields.
   */
  sorted: 'sorted',
} as const;

/** For the deployment: what differs from Firestore's own indexes, for one collection id. All of collection scope. */
export interface DeployedGroup {
  /** The field of its TTL policy. */
  readonly ttl: string;
  /** Fields without any index. */
  readonly exempt: readonly string[];
  /** Fields with a single-field index in this direction, and without others unless they are named there too. */
  readonly ascending: readonly string[];
  readonly descending: readonly string[];
  /** Fields that are indexed together, all ascending. */
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

/**
 * What the databases of a module or a caller take, and its bound.
 *
 * Every entry is charged in units of {@link UNIT_BYTES}. A database has {@link SLOTS} accounts, and the key of an entry
 * decides in which account it is charged. An account has an allowance, and the document of the scope has the sum of all
 * allowances of its databases, which is bounded. So
 * - a change that leaves the units of an entry as they are writes the entry alone;
 * - a new entry writes the entry and one of the accounts, of which Firestore sustains about one write in a second;
 * - the document of the scope changes when an allowance is used up, or is much larger than needed ({@link spareUnits}).
 * A scope can therefore be full when up to a third of its bound is set aside for accounts that do not need it now. Entries,
 * accounts and scope are written in one transaction, so the numbers are exact, and nothing is counted by listing.
 */
import { z } from 'zod';
import { CmbsError } from '../../errors';
import type { Doc, Transaction } from '../../store';
import { type KeyValueLimits, UNIT_BYTES } from './limits';
import { type Place, type Scope, slotId, slotOf, SLOTS, unitsOf } from './places';

/** Collections. */
const ACCOUNTS = 'kv-accounts';
export const SCOPES = 'kv-scopes';

const whole = z.number().int().min(0);
const accountRecord = z.strictObject({ units: whole, entries: whole, allowance: whole });
type Account = z.infer<typeof accountRecord>;

const scopeRecord = z.strictObject({
  scope: z.string(),
  /** Names of the databases, sorted. */
  databases: z.array(z.string()),
  /** Units: the sum of the allowances of all accounts. */
  allowed: whole,
});
export type ScopeRecord = z.infer<typeof scopeRecord>;

export const scopeIn = (doc: Doc): ScopeRecord => scopeRecord.parse(doc.value);

/** What an entry takes. */
export const unitsFor = (keyBytes: number, valueBytes: number): number =>
  Math.ceil((keyBytes + valueBytes) / UNIT_BYTES);

/** A change of what an entry takes: undefined where there is no entry. */
export interface Charge {
  readonly entryId: string;
  readonly before: number | undefined;
  readonly after: number | undefined;
}

/** Units that an account gets beyond those that it needs, at most: so many new entries write the scope once. */
const MAX_SPARE = 256;
/** What all small accounts of a scope may have beyond their needs, as a part of its bound. */
const SMALL_PART = 8;

/**
 * Units that an account with some units gets beyond those: a quarter more, but at least so many that a small account does
 * not write the scope often. It gives units back when it has twice as many as these.
 */
function spareUnits(units: number, most: number, { databases }: KeyValueLimits): number {
  const least = Math.max(1, Math.floor(most / (databases * SLOTS * SMALL_PART)));
  return Math.min(MAX_SPARE, Math.max(least, Math.floor(units / 4)));
}

interface AccountChange {
  readonly slot: number;
  readonly isNew: boolean;
  readonly units: number;
  readonly entries: number;
  /** Before the change. */
  readonly allowance: number;
  /** Units that it should have beyond those that it needs. */
  readonly spare: number;
}

const isShort = ({ units, allowance }: AccountChange): boolean => units > allowance;
const isAmple = ({ units, allowance, spare }: AccountChange): boolean => allowance - units > 2 * spare;

/**
 * Reads the accounts of changed entries, and the scope where it changes; returns the function that writes them.
 * @throws CmbsError `storage_full` beyond the bound, and for too many databases
 */
export async function account(
  tx: Transaction,
  place: Place,
  charges: readonly Charge[],
  limits: KeyValueLimits,
): Promise<() => void> {
  const { scope } = place;
  const most = unitsOf(scope, limits);
  const changes = await changesOf(tx, place, charges, (units) => spareUnits(units, most, limits));
  const write = (slot: number, to: Account): void => tx.put(ACCOUNTS, slotId(place, slot), { ...to });
  if (!changes.some((change) => change.isNew || isShort(change) || isAmple(change))) {
    return () => {
      for (const { slot, units, entries, allowance } of changes) write(slot, { units, entries, allowance });
    };
  }
  const record = withDatabases(await readScope(tx, scope), [place.database], limits);
  let left = most - record.allowed;
  for (const change of changes) {
    // An account that is not short of units gives back what it does not need, before others get it.
    if (isAmple(change)) left += change.allowance - change.units - change.spare;
    else if (isShort(change)) left -= change.units - change.allowance;
  }
  if (left < 0 && changes.some(isShort)) {
    throw new CmbsError(
      'storage_full',
      `The databases of ${scope.text} have ${most * UNIT_BYTES} bytes at most, and this would be more; delete some entries.`,
    );
  }
  const allowances = changes.map((change) => {
    const { units, allowance, spare } = change;
    if (isAmple(change)) return units + spare;
    if (!isShort(change)) return allowance;
    const more = Math.min(spare, left);
    left -= more;
    return units + more;
  });
  return () => {
    tx.put(SCOPES, scope.id, { ...record, allowed: most - left });
    changes.forEach(({ slot, units, entries }, at) =>
      write(slot, { units, entries, allowance: allowances[at] ?? 0 }),
    );
  };
}

async function changesOf(
  tx: Transaction,
  place: Place,
  charges: readonly Charge[],
  spareOf: (units: number) => number,
): Promise<readonly AccountChange[]> {
  const bySlot = new Map<number, { units: number; entries: number }>();
  for (const { entryId, before, after } of charges) {
    if (before === after) continue;
    const slot = slotOf(entryId);
    const sum = bySlot.get(slot) ?? { units: 0, entries: 0 };
    sum.units += (after ?? 0) - (before ?? 0);
    sum.entries += Number(after !== undefined) - Number(before !== undefined);
    bySlot.set(slot, sum);
  }
  const changed = [...bySlot].filter(([, { units, entries }]) => units !== 0 || entries !== 0);
  if (changed.length === 0) return [];
  const docs = await tx.getAll(
    ACCOUNTS,
    changed.map(([slot]) => slotId(place, slot)),
  );
  return changed.map(([slot, { units, entries }], at) => {
    const known = accountIn(docs[at]);
    const after = known.units + units;
    return {
      slot,
      isNew: docs[at] === undefined,
      units: after,
      entries: known.entries + entries,
      allowance: known.allowance,
      spare: spareOf(after),
    };
  });
}

const accountIn = (doc: Doc | undefined): Account =>
  doc === undefined ? { units: 0, entries: 0, allowance: 0 } : accountRecord.parse(doc.value);

async function readScope(tx: Transaction, { id, text }: Scope): Promise<ScopeRecord> {
  const doc = await tx.get(SCOPES, id);
  return doc === undefined ? { scope: text, databases: [], allowed: 0 } : scopeIn(doc);
}

/** @throws CmbsError `storage_full` for too many databases */
function withDatabases(record: ScopeRecord, names: readonly string[], limits: KeyValueLimits): ScopeRecord {
  const databases = [...new Set([...record.databases, ...names])].sort();
  if (databases.length === record.databases.length) return record;
  if (databases.length > limits.databases) {
    throw new CmbsError(
      'storage_full',
      `${record.scope} has ${limits.databases} databases at most; delete one of them.`,
    );
  }
  return { ...record, databases };
}

/** Notes databases that have no entries yet. @throws CmbsError `storage_full` for too many databases */
export async function addDatabases(
  tx: Transaction,
  scope: Scope,
  names: readonly string[],
  limits: KeyValueLimits,
): Promise<void> {
  const before = await readScope(tx, scope);
  const after = withDatabases(before, names, limits);
  if (after !== before) tx.put(SCOPES, scope.id, { ...after });
}

const slotIds = (place: Place): readonly string[] =>
  Array.from({ length: SLOTS }, (_, slot) => slotId(place, slot));

/** Reads what is to be removed with a database that has no entries; returns the function that removes it. */
export async function removeDatabase(tx: Transaction, place: Place): Promise<() => void> {
  const ids = slotIds(place);
  const accounts = await tx.getAll(ACCOUNTS, ids);
  const record = await readScope(tx, place.scope);
  const databases = record.databases.filter((name) => name !== place.database);
  const allowed = accounts.reduce((sum, doc) => sum - accountIn(doc).allowance, record.allowed);
  return () => {
    ids.forEach((id, slot) => {
      if (accounts[slot] !== undefined) tx.delete(ACCOUNTS, id);
    });
    if (databases.length === 0) tx.delete(SCOPES, place.scope.id);
    else tx.put(SCOPES, place.scope.id, { ...record, databases, allowed });
  };
}

/** Entries, and the bytes that they are charged for. */
export interface DatabaseSize {
  readonly entries: number;
  readonly bytes: number;
}

export async function sizeOf(
  store: { getAll(collection: string, ids: readonly string[]): Promise<readonly (Doc | undefined)[]> },
  place: Place,
): Promise<DatabaseSize> {
  const accounts = (await store.getAll(ACCOUNTS, slotIds(place))).map(accountIn);
  return {
    entries: accounts.reduce((sum, { entries }) => sum + entries, 0),
    bytes: accounts.reduce((sum, { units }) => sum + units * UNIT_BYTES, 0),
  };
}

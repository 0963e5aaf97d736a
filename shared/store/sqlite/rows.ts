/** Rows of documents: their types, their checksums and their index entries as text. */
import { CmbsError } from '../../errors';
import type { IndexEntry } from '../store-query';
import { checksum } from './checksum';

export type Column = string | number | null;

/** A document in its row; `value` is JSON. */
export interface Row {
  readonly id: string;
  readonly revision: number;
  readonly value: string;
  readonly sort: string | null;
  readonly expires: number | null;
}

/** An index entry of a document: the number of a field, and a value. */
export type Entry = readonly [number, string];

/** A document to be written. */
export interface NewRow {
  readonly id: string;
  readonly value: string;
  readonly sort: string | null;
  readonly expires: number | null;
  readonly entries: readonly Entry[];
}

export interface Existing {
  readonly doc: number;
  readonly revision: number;
  readonly sort: string | null;
  readonly expires: number | null;
  readonly entries: string | null;
}

/**
 * @throws CmbsError `internal` when the row does not match its checksum
 */
export function toRow(collection: number, columns: readonly Column[]): Row {
  const [id, revision, value, sort, expires, entries, sum] = columns as readonly [
    string,
    number,
    string,
    string | null,
    number | null,
    string | null,
    number | null,
  ];
  // Documents that a release without checksums wrote have none.
  if (sum !== null && sum !== checksum(collection, id, revision, value, sort, expires, entries)) {
    throw new CmbsError(
      'internal',
      'Stored data are damaged and therefore not shown; stop the program, restore a backup and start again.',
      { cause: new Error(`document ${id} of collection ${collection} does not match its checksum`) },
    );
  }
  return { id, revision, value, sort, expires };
}

export function entriesText({ entries }: NewRow): string | null {
  return entries.length === 0 ? null : JSON.stringify(entries);
}

export function parseEntries(text: string | null): readonly Entry[] {
  return text === null ? [] : (JSON.parse(text) as readonly Entry[]);
}

/** The `entries` that are not among `others`. */
export function missingFrom(others: readonly Entry[], entries: readonly Entry[]): readonly Entry[] {
  const key = ([field, value]: Entry): string => `${field} ${value}`;
  const known = new Set(others.map(key));
  return entries.filter((entry) => !known.has(key(entry)));
}

export function indexEntryOf(existing: Existing): IndexEntry {
  return { sort: existing.sort, entries: parseEntries(existing.entries) };
}

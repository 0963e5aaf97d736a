/** A checked {@link Query}, its cursor, and whether a change of a document concerns its result. */
import { badRequest } from '../errors';
import { MAX_PAGE_DOCS } from '../limits';
import { compareKeys, indexable, prefixEnd } from './keys';
import { type Query } from './store';

/** Terms of a `where`, at most: each costs one more look-up per document. */
export const MAX_WHERE_TERMS = 16;

/** A position in the result, after which the next page starts. `sort` is empty when sorting by id. */
export interface Position {
  readonly sort: string;
  readonly id: string;
}

export interface Selection {
  readonly collection: string;
  readonly prefix: string;
  readonly prefixEnd: string | undefined;
  readonly terms: readonly { readonly field: string; readonly value: string }[];
  readonly byOrder: boolean;
  readonly upTo: string | undefined;
  readonly above: string | undefined;
  readonly after: Position | undefined;
  readonly limit: number;
  readonly maxChars: number | undefined;
}

/** The part of a document by which queries find it. Entries are [number of the field, value]. */
export interface IndexEntry {
  readonly sort: string | null;
  readonly entries: readonly (readonly [number, string])[];
}

/** @throws CmbsError `bad_request` for a query that is not allowed */
export function toSelection(query: Query): Selection {
  const { collection, prefix = '', where = [], by = 'id', upTo, above, after, limit, maxChars } = query;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_DOCS) {
    throw badRequest(`The limit of a query is a whole number from 1 to ${MAX_PAGE_DOCS}.`);
  }
  if (where.length > MAX_WHERE_TERMS)
    throw badRequest(`A query has at most ${MAX_WHERE_TERMS} filters; remove some.`);
  const byOrder = by === 'order';
  if ((upTo !== undefined || above !== undefined) && !byOrder) {
    throw badRequest('`upTo` and `above` need the query to be sorted by `order`.');
  }
  return {
    collection,
    prefix,
    prefixEnd: prefixEnd(prefix),
    terms: where.map(({ field, value }) => ({ field, value: indexable(value) })),
    byOrder,
    upTo,
    above,
    after: after === undefined ? undefined : parseCursor(after, byOrder),
    limit,
    maxChars,
  };
}

export function cursorAt(position: Position, byOrder: boolean): string {
  const parts = byOrder ? ['o', position.sort, position.id] : ['i', position.id];
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** The cursor of a page, by id, that ends with the document of this id. */
export const cursorAfter = (id: string): string => cursorAt({ sort: '', id }, false);

/**
 * The id in a cursor of {@link cursorAfter}.
 * @throws CmbsError `bad_request`
 */
export const idInCursor = (cursor: string): string => parseCursor(cursor, false).id;

function parseCursor(cursor: string, byOrder: boolean): Position {
  const parts = decodeParts(cursor);
  if (parts?.every((part) => typeof part === 'string') === true) {
    const [kind, first, second] = parts;
    if (!byOrder && kind === 'i' && parts.length === 2 && first !== undefined) return { sort: '', id: first };
    if (byOrder && kind === 'o' && parts.length === 3 && first !== undefined && second !== undefined) {
      return { sort: first, id: second };
    }
  }
  throw badRequest('The cursor does not belong to this collection and order; start again without a cursor.');
}

function decodeParts(cursor: string): readonly unknown[] | undefined {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    return Array.isArray(parsed) ? parsed : undefined;
  } catch {
    return undefined; // Not JSON: the caller answers `bad_request` for every malformed cursor alike.
  }
}

export function comparePositions(a: Position, b: Position): number {
  const sorts = compareKeys(a.sort, b.sort);
  return sorts === 0 ? compareKeys(a.id, b.id) : sorts;
}

/**
 * Whether a document with this index entry is in the part of the result that was read, which ends at `last`
 * (undefined: at the end of the collection).
 */
export function covers(
  selection: Selection,
  last: Position | undefined,
  fieldNumber: (field: string) => number | undefined,
  id: string,
  entry: IndexEntry,
): boolean {
  const { prefix, terms, byOrder, after } = selection;
  if (!id.startsWith(prefix)) return false;
  if (byOrder && !isInRange(selection, entry.sort)) return false;
  const position = { sort: byOrder ? (entry.sort ?? '') : '', id };
  if (after !== undefined && comparePositions(position, after) <= 0) return false;
  if (last !== undefined && comparePositions(position, last) > 0) return false;
  return terms.every(({ field, value }) => {
    const n = fieldNumber(field);
    return n !== undefined && entry.entries.some(([f, v]) => f === n && v === value);
  });
}

function isInRange({ upTo, above }: Selection, sort: string | null): boolean {
  if (sort === null || (upTo !== undefined && compareKeys(sort, upTo) > 0)) return false;
  return above === undefined || compareKeys(sort, above) > 0;
}

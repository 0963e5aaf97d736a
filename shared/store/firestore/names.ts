/** The names of collections, documents and index entries in Firestore. */
import { createHash } from 'node:crypto';
import { badRequest } from '../../errors';
import { checkKey, prefixEnd } from '../keys';

/** Bytes of an encoded document id. */
const FIRESTORE_ID_BYTES = 1500;
/** Bytes of an index entry's key; a longer key is replaced by its digest. Firestore allows 1,500 for a field path. */
const FIRESTORE_INDEX_KEY_BYTES = 500;

/** Collection id of all collections with a colon in their name, because indexes are declared per collection id. */
export const ENTRIES = 'entries';

export interface CollectionPlace {
  /** Path of the parent document; empty for a root collection. */
  readonly parent: string;
  /** The collection id, for which indexes and TTL policies are declared. */
  readonly group: string;
  /** Path of the collection. */
  readonly path: string;
}

/**
 * `name` is a root collection; `a:b` is the collection `entries` under the document `a/b`.
 *
 * @throws CmbsError `bad_request` for a name that cannot be stored
 */
export function placeOf(collection: string): CollectionPlace {
  checkKey('collection', collection);
  const colon = collection.indexOf(':');
  if (colon <= 0 || colon === collection.length - 1) {
    const group = encodeId(collection);
    return { parent: '', group, path: group };
  }
  const parent = `${encodeId(collection.slice(0, colon))}/${encodeId(collection.slice(colon + 1))}`;
  return { parent, group: ENTRIES, path: `${parent}/${ENTRIES}` };
}

/** Collection id of a document's path. */
export function groupOf(path: string): string {
  return path.split('/').at(-2) ?? '';
}

/**
 * Path of a document.
 *
 * @throws CmbsError `bad_request` for names that cannot be stored
 */
export function pathOf(collection: string, id: string): string {
  return `${placeOf(collection).path}/${encodeId(id)}`;
}

/**
 * Encodes a document id for Firestore, which allows no `/`, `.`, `..` or `__…__`. Encoded ids have the order and the
 * common prefixes of the ids: `.` becomes `.0`, `/` (the next character in ASCII) `.1`, and a first `_` becomes `_0`.
 *
 * @throws CmbsError `bad_request` for an id that cannot be stored
 */
export function encodeId(id: string): string {
  checkKey('id', id);
  const encoded = escaped(id);
  if (Buffer.byteLength(encoded) <= FIRESTORE_ID_BYTES) return encoded;
  throw badRequest(
    `The id ${JSON.stringify(id.slice(0, 100))}… is longer than Firestore takes; use at most ${FIRESTORE_ID_BYTES} ` +
      'bytes, where each dot and each slash counts as two.',
  );
}

function escaped(id: string): string {
  const encoded = id.replace(/[./]/g, (character) => (character === '.' ? '.0' : '.1'));
  return encoded.startsWith('_') ? `_0${encoded.slice(1)}` : encoded;
}

/** The id of a document, from its full name. */
export function idOf(name: string): string {
  const encoded = name.slice(name.lastIndexOf('/') + 1);
  const rest = encoded.startsWith('_0') ? `_${encoded.slice(2)}` : encoded;
  return rest.replace(/\.([01])/g, (_, digit: string) => (digit === '0' ? '.' : '/'));
}

/** The range of encoded ids that start with `prefix`: from `from` to before `to` (undefined: to the end). */
export function idRange(prefix: string): { readonly from: string; readonly to: string | undefined } {
  const from = escaped(prefix);
  const to = prefixEnd(from);
  // A dot alone is not an encoded id; `.0` is the next one.
  return { from, to: to === '.' ? '.0' : to };
}

/** Control characters, lone surrogates, and keys that Firestore reserves. */
const NOT_A_KEY = /[\p{Cc}\p{Surrogate}]|^__/u;

/**
 * The key of an index entry in the map `index`. The first `=` separates field and value, and a digest contains none, so
 * two entries never have the same key.
 *
 * @param value as `indexable` returns it
 */
export function indexKey(field: string, value: string): string {
  const key = `${field.replace(/[%=]/g, encodeURIComponent)}=${value}`;
  if (!NOT_A_KEY.test(key) && Buffer.byteLength(key) <= FIRESTORE_INDEX_KEY_BYTES) return key;
  // As JSON, because a lone surrogate has no bytes in UTF-8.
  return `sha256:${createHash('sha256').update(JSON.stringify(key)).digest('hex')}`;
}

/** A field path for queries: each name in backticks. */
export function fieldPath(...names: readonly string[]): string {
  return names.map((name) => `\`${name.replace(/[\\`]/g, '\\$&')}\``).join('.');
}

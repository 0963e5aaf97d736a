/** Where things lie in Firestore: collections, documents and index entries by names that it allows. */
import { createHash } from 'node:crypto';
import { badRequest } from '../../errors';
import { checkKey, prefixEnd } from '../keys';

/** Bytes of a document id, as it is encoded. */
const FIRESTORE_ID_BYTES = 1500;
/** Bytes of an index entry's key; longer ones are stored by their digest. Firestore takes 1,500 for a whole path. */
const FIRESTORE_INDEX_KEY_BYTES = 500;

/** Collection id of every collection whose name has a colon: the layout must know it beforehand. */
export const ENTRIES = 'entries';

export interface CollectionPlace {
  /** Path of the document that it lies under; empty for a root collection. */
  readonly parent: string;
  /** Its id: what indexes and TTL policies go by, which hold for all collections of the same id. */
  readonly group: string;
  /** Path of the collection. */
  readonly path: string;
}

/**
 * A collection `name` is a root collection; `a:b` is the collection `entries` under the document `a/b`, of which there
 * may be any number. Throws `bad_request` for a name that cannot be stored.
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

/** Path of a document. Throws `bad_request` for names that cannot be stored. */
export function pathOf(collection: string, id: string): string {
  return `${placeOf(collection).path}/${encodeId(id)}`;
}

/**
 * A document id as Firestore takes it: without `/`, and neither `.` nor `..` nor `__…__`. The order of ids and the
 * beginnings that they share stay, since each character that is replaced goes on beginning what replaces it or, for
 * `/`, the one before it. Throws `bad_request` for an id that cannot be stored.
 */
export function encodeId(id: string): string {
  checkKey('id', id);
  const encoded = escaped(id);
  if (Buffer.byteLength(encoded) <= FIRESTORE_ID_BYTES) return encoded;
  throw badRequest(
    `The id ${JSON.stringify(id.slice(0, 100))}… is longer than Firestore takes; use at most ${FIRESTORE_ID_BYTES} ` +
      'bytes, of which each point and slash counts as two.',
  );
}

function escaped(id: string): string {
  const encoded = id.replace(/[./]/g, (character) => (character === '.' ? '.0' : '.1'));
  return encoded.startsWith('_') ? `_0${encoded.slice(1)}` : encoded;
}

/** The id in a document's full name. */
export function idOf(name: string): string {
  const encoded = name.slice(name.lastIndexOf('/') + 1);
  const rest = encoded.startsWith('_0') ? `_${encoded.slice(2)}` : encoded;
  return rest.replace(/\.([01])/g, (_, digit: string) => (digit === '0' ? '.' : '/'));
}

/** Encoded ids that start with `prefix`: from `from` to before `to` (undefined: to the end). */
export function idRange(prefix: string): { readonly from: string; readonly to: string | undefined } {
  const from = escaped(prefix);
  const to = prefixEnd(from);
  // A point alone is no id; the least id from there on is another.
  return { from, to: to === '.' ? '.0' : to };
}

/** Control characters, halves of surrogate pairs and what Firestore reserves for itself. */
const NOT_A_KEY = /[\p{Cc}\p{Surrogate}]|^__/u;

/**
 * The key of an index entry in the map `index`. `value` is what `indexable` makes of a value. The first `=` parts the
 * two, and a digest has none, so no two entries share a key.
 */
export function indexKey(field: string, value: string): string {
  const key = `${field.replace(/[%=]/g, encodeURIComponent)}=${value}`;
  if (!NOT_A_KEY.test(key) && Buffer.byteLength(key) <= FIRESTORE_INDEX_KEY_BYTES) return key;
  // As JSON, since half a surrogate pair has no bytes of its own.
  return `sha256:${createHash('sha256').update(JSON.stringify(key)).digest('hex')}`;
}

/** A path of field names as queries take it: each in backticks. */
export function fieldPath(...names: readonly string[]): string {
  return names.map((name) => `\`${name.replace(/[\\`]/g, '\\$&')}\``).join('.');
}

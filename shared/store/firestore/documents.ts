/** Converts documents of the store to Firestore's and back, and computes their size. */
import { CmbsError } from '../../errors';
import { type JsonObject } from '../../json';
import { FIELD, layoutOf } from './layout';
import { groupOf, idOf, indexKey } from './names';
import { type Document, type Fields, type Timestamp, type Value } from './protocol';
import { checkKey, indexable } from '../keys';
import { type Doc, type PutOptions } from '../store';

/** Bytes of a document, its name and fields included. */
const FIRESTORE_DOCUMENT_BYTES = 1024 * 1024;
/** Bytes of one field of a document. */
const FIRESTORE_VALUE_BYTES = 1_048_487;
/** Bytes of all that one transaction writes. */
const FIRESTORE_TRANSACTION_BYTES = 10 * 1024 * 1024;
/** Index entries of one document: Firestore takes 40,000, and 8 MiB of them. */
const FIRESTORE_INDEX_ENTRIES = 20_000;

/** A checked write of a document, without the fields that its commit adds. */
export interface PreparedPut {
  readonly fields: Fields;
  readonly bytes: number;
}

/** A document as Firestore returned it. */
export interface Stored {
  readonly id: string;
  /** Changes with every write. */
  readonly updateTime: Timestamp;
  readonly revision: number;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined;
  readonly fields: Fields;
}

const NULL: Value = { nullValue: 'NULL_VALUE' };
const TRUE: Value = { booleanValue: true };
/** As long as a commit's id. */
const ANY_COMMIT = '00000000-0000-0000-0000-000000000000';

/** @throws CmbsError `too_large` beyond Firestore's limits, `bad_request` for an order that cannot be stored */
export function preparePut(path: string, value: JsonObject, options: PutOptions = {}): PreparedPut {
  const { index = {}, order, expiresAt } = options;
  if (order !== undefined) checkKey('order', order);
  const keys = new Set(Object.entries(index).flatMap(([field, values]) => keysOf(field, values)));
  const { sortedFields } = layoutOf(groupOf(path));
  const sorted =
    order === undefined ? [] : sortedFields.flatMap((field) => [...new Set(keysOf(field, index[field] ?? []))]);
  const entries = keys.size + sorted.length;
  if (entries > FIRESTORE_INDEX_ENTRIES) {
    throw new CmbsError(
      'too_large',
      `A document has at most ${FIRESTORE_INDEX_ENTRIES} values by which it can be found, this one ${entries}; ` +
        'make it smaller.',
    );
  }
  // Text keeps numbers, the order of keys, nested arrays and lone surrogates as they are.
  const text = JSON.stringify(value);
  const fields = {
    [FIELD.value]: { stringValue: text },
    ...(order === undefined ? {} : { [FIELD.order]: { stringValue: order } }),
    [FIELD.expires]: expiresAt === undefined ? NULL : { timestampValue: timestampAt(Math.trunc(expiresAt)) },
    [FIELD.index]: { mapValue: { fields: Object.fromEntries([...keys].map((key) => [key, TRUE])) } },
    ...(order === undefined || sorted.length === 0
      ? {}
      : {
          [FIELD.sorted]: {
            mapValue: { fields: Object.fromEntries(sorted.map((key) => [key, { stringValue: order }])) },
          },
        }),
  };
  const bytes = documentBytes(path, withCommit(fields, 1, ANY_COMMIT));
  if (bytes > FIRESTORE_DOCUMENT_BYTES || Buffer.byteLength(text) > FIRESTORE_VALUE_BYTES) {
    throw new CmbsError(
      'too_large',
      `The document would have ${bytes} bytes; Firestore takes ${FIRESTORE_DOCUMENT_BYTES} in all and ` +
        `${FIRESTORE_VALUE_BYTES} of content. Make it smaller.`,
    );
  }
  return { fields, bytes };
}

const keysOf = (field: string, values: readonly string[]): readonly string[] =>
  values.map((value) => indexKey(field, indexable(value)));

/** The fields with the revision and the id of the commit. */
export function withCommit(fields: Fields, revision: number, commit: string): Fields {
  return {
    ...fields,
    [FIELD.revision]: { integerValue: String(revision) },
    [FIELD.commit]: { stringValue: commit },
  };
}

/** @throws CmbsError `too_large` when one transaction cannot write so many bytes */
export function checkTransactionBytes(bytes: number): void {
  if (bytes <= FIRESTORE_TRANSACTION_BYTES) return;
  throw new CmbsError(
    'too_large',
    `The request would write ${bytes} bytes at once; Firestore takes ${FIRESTORE_TRANSACTION_BYTES}. ` +
      'Make it smaller or split it.',
  );
}

export function toStored({ name, fields, updateTime }: Document): Stored {
  return {
    id: idOf(name),
    updateTime,
    revision: Number(fields[FIELD.revision]?.integerValue ?? '1'),
    expiresAt: expiryOf(fields),
    fields,
  };
}

/** Milliseconds since the epoch; undefined when the document does not expire. */
export function expiryOf(fields: Fields): number | undefined {
  const time = fields[FIELD.expires]?.timestampValue;
  return time === undefined ? undefined : Number(time.seconds) * 1000 + Math.trunc(time.nanos / 1e6);
}

export function isExpired(expiresAt: number | undefined, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}

/** Throws when the document was not written by this program. */
export function toDoc({ id, revision, expiresAt, fields }: Stored): Doc {
  const text = fields[FIELD.value]?.stringValue;
  if (text === undefined) throw new Error(`The document ${id} in Firestore is not one of this program.`);
  const order = fields[FIELD.order]?.stringValue;
  return {
    id,
    revision,
    value: JSON.parse(text) as JsonObject,
    ...(order === undefined ? {} : { order }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}

/** Characters of the value as JSON. */
export function charsOf({ fields }: Stored): number {
  return fields[FIELD.value]?.stringValue?.length ?? 0;
}

export function timestampAt(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000);
  return { seconds: String(seconds), nanos: (ms - seconds * 1000) * 1e6 };
}

/** The time as text that sorts by time. */
export function timeText({ seconds, nanos }: Timestamp): string {
  return `${seconds}.${String(nanos).padStart(9, '0')}`;
}

/** Size as Firestore counts it (https://cloud.google.com/firestore/docs/storage-size). */
export function documentBytes(path: string, fields: Fields): number {
  return nameBytes(path) + fieldsBytes(fields);
}

/** Bytes that a deletion adds to a transaction. */
export function nameBytes(path: string): number {
  return path.split('/').reduce((sum, part) => sum + textBytes(part), 16);
}

function fieldsBytes(fields: Fields): number {
  return Object.entries(fields).reduce((sum, [name, value]) => sum + textBytes(name) + valueBytes(value), 32);
}

function textBytes(text: string): number {
  return Buffer.byteLength(text) + 1;
}

function valueBytes({ stringValue, mapValue, integerValue, timestampValue }: Value): number {
  if (stringValue !== undefined) return textBytes(stringValue);
  if (mapValue !== undefined) return fieldsBytes(mapValue.fields);
  return integerValue !== undefined || timestampValue !== undefined ? 8 : 1;
}

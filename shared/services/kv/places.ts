/** Where the entries of key-value databases are: their owners, names and ids. */
import { createHash } from 'node:crypto';
import { badRequest } from '../../errors';
import type { Principal } from '../../principal';
import { MAX_KEY_BYTES, type KeyValueLimits } from './limits';

/** The owner of databases: a module or a caller. */
export interface Scope {
  /** `module:weather`, `user:alice`, `anonymous`; administrators name it so. */
  readonly text: string;
  /** Its id in the store. */
  readonly id: string;
  readonly isModule: boolean;
}

/**
 * Characters of a digest in an id: 144 bits of SHA-256. Names of callers may be long, and may have characters that count
 * more than once in an id of Firestore.
 */
const DIGEST_CHARS = 24;
const digestOf = (text: string): string =>
  createHash('sha256').update(text).digest('base64url').slice(0, DIGEST_CHARS);

const MODULE = 'module:';
/** Characters of the name of a scope: the longest name of a principal, and its kind. */
const MAX_SCOPE_CHARS = 1100;

/** The scope with a name that an administrator gave. @throws CmbsError `bad_request` */
export function scopeNamed(text: string): Scope {
  if (text === '' || text.length > MAX_SCOPE_CHARS) {
    throw badRequest(`The owner of a database has 1 to ${MAX_SCOPE_CHARS} characters, such as "user:alice".`);
  }
  return { text, id: digestOf(text), isModule: text.startsWith(MODULE) };
}

export const moduleScope = (module: string): Scope => scopeNamed(MODULE + module);

/**
 * The name of a caller as an owner of data. An access token counts as its user: it may do what its user may do, within its
 * own limits, and the user's programs share the data. All callers without credentials are one.
 */
export const callerName = ({ kind, name }: Principal): string => (kind === 'anonymous' ? kind : `${kind}:${name}`);

export const callerScope = (principal: Principal): Scope => scopeNamed(callerName(principal));

/** Units that all databases of a scope may have. */
export const unitsOf = ({ isModule }: Scope, limits: KeyValueLimits): number =>
  isModule ? limits.moduleUnits : limits.callerUnits;

/** A database. */
export interface Place {
  readonly scope: Scope;
  readonly database: string;
}

const DATABASE = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

/** @throws CmbsError `bad_request` for a name that a database cannot have */
export function placeOf(scope: Scope, database: string): Place {
  if (!DATABASE.test(database)) {
    throw badRequest(
      `${JSON.stringify(database.slice(0, 100))} cannot be the name of a database; use a letter, then at most 63 ` +
        'letters, digits, underscores and hyphens.',
    );
  }
  return { scope, database };
}

/** Prefix of the ids of all entries of a database. */
export const databasePrefix = ({ scope, database }: Place): string => `${scope.id}/${database}/`;

const SESSION = 'session:';

/** The owner of the data of a session. */
export const sessionOwner = (session: string): string => SESSION + session;

/** The owner of an entry, as administrators see it: the id of a session is a secret of its caller. */
export const shownOwner = (of: string): string => (of.startsWith(SESSION) ? 'a session' : of);

/** The part of entries that belong to nobody in particular; a digest has more characters. */
const COMMON = '-';

/**
 * Prefix of the ids of the entries of one part.
 * @param of the caller or session to whom the entries belong; those of the whole database when absent
 */
export const partPrefix = (place: Place, of: string | undefined): string =>
  `${databasePrefix(place)}${of === undefined ? COMMON : digestOf(of)}/`;

/** The key in the id of an entry, which is the rest after the part. */
export const keyIn = (place: Place, id: string): string => {
  const rest = id.slice(databasePrefix(place).length);
  return rest.slice(rest.indexOf('/') + 1);
};

/** As in `shared/store/keys.ts`, for a message without the id. */
const NOT_STORABLE = /[\0\p{Surrogate}]/u;

/** @throws CmbsError `bad_request` for a text that cannot be a key, or the beginning of one */
export function checkKey(key: string, what: 'key' | 'prefix' | 'cursor' = 'key'): void {
  if (Buffer.byteLength(key) <= MAX_KEY_BYTES && !NOT_STORABLE.test(key) && (key !== '' || what === 'prefix'))
    return;
  throw badRequest(
    `The ${what} ${JSON.stringify(key.slice(0, 100))} cannot be used; a key has 1 to ${MAX_KEY_BYTES} bytes in UTF-8, ` +
      'without NUL and lone surrogates.',
  );
}

/** A cursor over all parts: a part, and the key of an entry. @throws CmbsError `bad_request` */
export function checkPartCursor(cursor: string): void {
  const [part = ''] = cursor.split('/', 1);
  if (!/^[\w-]{1,24}$/.test(part))
    throw badRequest('The cursor does not belong to this list; start without a cursor.');
  checkKey(cursor.slice(part.length + 1), 'cursor');
}

/** Accounts of one database: inserts into one document would limit all of them to one in a second in Firestore. */
export const SLOTS = 16;

/** The account in which an entry is charged. */
export const slotOf = (entryId: string): number => (createHash('sha256').update(entryId).digest()[0] ?? 0) % SLOTS;

export const slotId = (place: Place, slot: number): string => databasePrefix(place) + String(slot);

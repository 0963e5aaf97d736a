/**
 * Commits a transaction if nothing that its body read has changed. `transaction.ts` says why this is not left to a
 * transaction of Firestore (`test/cloud/store-faults.test.ts`, "two stores").
 */
import { STATUS, statusOf } from '../../grpc-status';
import { Deadline } from './deadline';
import { commitWrites } from './commit';
import { repeated } from './context';
import {
  checkTransactionBytes,
  isExpired,
  nameBytes,
  type PreparedPut,
  timeText,
  toStored,
  withCommit,
} from './documents';
import { isLostTransaction } from './errors';
import { FIELD } from './layout';
import { type Consistency, type Precondition, type Timestamp, type Write } from './protocol';
import { isSame, recheckQuery, NAME, type Seen } from './query';
import { documentsOf, parentOf, ReadSnapshot } from './read-snapshot';

/** Milliseconds for rolling back a Firestore transaction. */
const FIRESTORE_ROLLBACK_MS = 5000;

/** The state of a document that a body read. */
export interface Version {
  /** Undefined when the document was absent. */
  readonly updateTime: Timestamp | undefined;
  /** 0 when the document was absent or had expired. */
  readonly revision: number;
}

export type PendingWrites = ReadonlyMap<string, PreparedPut | 'delete'>;
type Versions = ReadonlyMap<string, Version>;

/** What the body of a transaction read and wrote; documents by path. */
export interface TransactionEffects {
  readonly writes: PendingWrites;
  readonly read: Versions;
  /** Found by queries. */
  readonly found: Versions;
  readonly queries: readonly Seen[];
  /** When the first of these documents expires, in milliseconds since the epoch. */
  readonly expires: number;
}

/** False when something has changed; then nothing was written. Rejects like {@link commitWrites}. */
export async function commitIfUnchanged(snapshot: ReadSnapshot, effects: TransactionEffects): Promise<boolean> {
  const { context, database, deadline } = snapshot;
  const { read, found, queries, expires } = effects;
  const seen = new Map([...found, ...read]);
  // An absent document needs no deletion.
  const writes = new Map(
    [...effects.writes].filter(([path, write]) => write !== 'delete' || !isAbsent(seen, path)),
  );
  if (writes.size === 0) return true;
  checkTransactionBytes(bytesOf(writes));
  const versions = new Map([...(await versionsOfUnread(snapshot, writes, seen)), ...seen]);
  if (context.clock.now() >= expires) return false;

  const commit = context.newId();
  const request = {
    database,
    writes: [...writes].map(([path, write]) => toWrite(snapshot, path, write, versions.get(path), commit)),
  };
  const onlyRead = new Map([...read].filter(([path]) => !writes.has(path)));
  if (onlyRead.size === 0 && queries.length === 0) {
    return (await commitWrites(context, request, commit, deadline)) === 'applied';
  }
  const transaction = await lockUnchanged(snapshot, onlyRead, queries);
  if (transaction === undefined) return false;
  let isApplied = false;
  try {
    isApplied = (await commitWrites(context, { ...request, transaction }, commit, deadline)) === 'applied';
    return isApplied;
  } finally {
    if (!isApplied) rollBack(snapshot, transaction);
  }
}

function isAbsent(seen: Versions, path: string): boolean {
  const version = seen.get(path);
  return version !== undefined && version.updateTime === undefined;
}

function bytesOf(writes: PendingWrites): number {
  return [...writes].reduce((sum, [path, write]) => sum + (write === 'delete' ? nameBytes(path) : write.bytes), 0);
}

/** The versions of documents that are put without having been read: a new revision counts from the last one. */
async function versionsOfUnread(
  { context, database, deadline }: ReadSnapshot,
  writes: PendingWrites,
  seen: Versions,
): Promise<Versions> {
  const unread = [...writes]
    .filter(([path, write]) => write !== 'delete' && !seen.has(path))
    .map(([path]) => path);
  if (unread.length === 0) return new Map();
  const latest = await new ReadSnapshot(context, database, deadline).getAll(unread, [
    FIELD.revision,
    FIELD.expires,
  ]);
  const now = context.clock.now();
  return new Map(
    unread.map((path) => {
      const stored = latest.get(path);
      const isThere = stored !== undefined && !isExpired(stored.expiresAt, now);
      return [path, { updateTime: stored?.updateTime, revision: isThere ? stored.revision : 0 }];
    }),
  );
}

function toWrite(
  { database }: ReadSnapshot,
  path: string,
  write: PreparedPut | 'delete',
  version: Version | undefined,
  commit: string,
): Write {
  const name = `${documentsOf(database)}/${path}`;
  const condition = version === undefined ? {} : { currentDocument: expecting(version) };
  if (write === 'delete') return { delete: name, ...condition };
  return {
    update: { name, fields: withCommit(write.fields, (version?.revision ?? 0) + 1, commit) },
    ...condition,
  };
}

function expecting({ updateTime }: Version): Precondition {
  return updateTime === undefined ? { exists: false } : { updateTime };
}

/** Begins a Firestore transaction in which nothing has changed since it was read; undefined when something has. */
async function lockUnchanged(
  snapshot: ReadSnapshot,
  read: Versions,
  queries: readonly Seen[],
): Promise<Uint8Array | undefined> {
  try {
    return await repeated(snapshot.context, snapshot.deadline, async () => {
      const recheck = new Recheck(snapshot);
      let isUnchanged = false;
      try {
        isUnchanged = (await recheck.documents(read)) && (await recheck.queries(queries));
        return isUnchanged ? recheck.transaction : undefined;
      } finally {
        if (!isUnchanged && recheck.transaction !== undefined) rollBack(snapshot, recheck.transaction);
      }
    });
  } catch (error) {
    // Other transactions kept their locks for too long.
    if (statusOf(error) === STATUS.aborted || isLostTransaction(error)) return undefined;
    throw error;
  }
}

/** Reads in one Firestore transaction, which the first read begins. */
class Recheck {
  transaction: Uint8Array | undefined;
  readonly #snapshot: ReadSnapshot;

  constructor(snapshot: ReadSnapshot) {
    this.#snapshot = snapshot;
  }

  async documents(read: Versions): Promise<boolean> {
    if (read.size === 0) return true;
    const { context, database, deadline } = this.#snapshot;
    const root = documentsOf(database);
    const responses = context.connection.stream(
      'batchGetDocuments',
      {
        database,
        documents: [...read.keys()].map((path) => `${root}/${path}`),
        mask: { fieldPaths: [NAME] },
        ...this.#consistency,
      },
      deadline,
    );
    const now = new Map<string, Timestamp>();
    for await (const { found, transaction } of responses) {
      this.#note(transaction);
      if (found !== undefined) now.set(found.name.slice(root.length + 1), found.updateTime);
    }
    return [...read].every(([path, { updateTime }]) => isSameTime(updateTime, now.get(path)));
  }

  async queries(queries: readonly Seen[]): Promise<boolean> {
    const { context, database, deadline } = this.#snapshot;
    for (const seen of queries) {
      const request = {
        parent: parentOf(database, seen.plan.place.parent),
        structuredQuery: recheckQuery(seen, database),
        ...this.#consistency,
      };
      const found = [];
      for await (const { document, transaction } of context.connection.stream('runQuery', request, deadline)) {
        this.#note(transaction);
        if (document !== null) found.push(toStored(document));
      }
      if (!isSame(seen, found)) return false;
    }
    return true;
  }

  get #consistency(): Consistency {
    return this.transaction === undefined
      ? { newTransaction: { readWrite: {} } }
      : { transaction: this.transaction };
  }

  #note(transaction: Uint8Array): void {
    if (transaction.length > 0) this.transaction = transaction;
  }
}

function isSameTime(a: Timestamp | undefined, b: Timestamp | undefined): boolean {
  return a === undefined || b === undefined ? a === b : timeText(a) === timeText(b);
}

/** Rolls back in the background. When the call fails, Firestore itself ends the transaction after a minute. */
function rollBack({ context, database }: ReadSnapshot, transaction: Uint8Array): void {
  // With a deadline of its own: that of the operation may be over.
  const deadline = new Deadline(FIRESTORE_ROLLBACK_MS, undefined);
  context.connection.call('rollback', { database, transaction }, deadline).catch((error: unknown) => {
    context.log.debug('a transaction of Firestore could not be rolled back', { error });
  });
}

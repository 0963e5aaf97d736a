/**
 * Removes expired documents from the emulator, which has no TTL policies. Firestore itself removes them within a day by
 * the policy on the field `expires`, so no index is needed there to find them.
 */
import { timestampAt } from './documents';
import { FIELD, GROUP_NAMES } from './layout';
import { compare, NAME, where } from './query';
import { type Document } from './protocol';
import { parentOf, type ReadSnapshot } from './read-snapshot';

/** Expired documents deleted in one call. */
const FIRESTORE_SWEEP_BATCH = 250;

/** Root collections besides those of the layout. */
const MAX_COLLECTIONS = 1000;

/** Resolves with the number of removed documents, at most `limit`. */
export async function sweepEmulator(snapshot: ReadSnapshot, limit: number): Promise<number> {
  const { context, database, deadline } = snapshot;
  const root = await context.connection.call(
    'listCollectionIds',
    { parent: parentOf(database, ''), pageSize: MAX_COLLECTIONS },
    deadline,
  );
  let removed = 0;
  for (const group of new Set([...GROUP_NAMES, ...root.collectionIds])) {
    while (removed < limit && !deadline.isOver) {
      const wanted = Math.min(limit - removed, FIRESTORE_SWEEP_BATCH);
      const found = await expiredIn(snapshot, group, wanted);
      removed += await remove(snapshot, found);
      if (found.length < wanted) break;
    }
  }
  return removed;
}

async function expiredIn(
  { context, database, deadline }: ReadSnapshot,
  group: string,
  limit: number,
): Promise<Document[]> {
  const found: Document[] = [];
  const now = timestampAt(context.clock.now());
  const request = {
    parent: parentOf(database, ''),
    structuredQuery: {
      select: { fields: [{ fieldPath: NAME }] },
      from: [{ collectionId: group, allDescendants: true }],
      ...where([compare(FIELD.expires, 'LESS_THAN_OR_EQUAL', { timestampValue: now })]),
      limit: { value: limit },
    },
  };
  for await (const { document } of context.connection.stream('runQuery', request, deadline)) {
    if (document !== null) found.push(document);
  }
  return found;
}

/** Deletes the documents that were not written since they were read. */
async function remove(
  { context, database, deadline }: ReadSnapshot,
  documents: readonly Document[],
): Promise<number> {
  if (documents.length === 0) return 0;
  const { status } = await context.connection.call(
    'batchWrite',
    {
      database,
      writes: documents.map(({ name, updateTime }) => ({ delete: name, currentDocument: { updateTime } })),
    },
    deadline,
  );
  return status.filter(({ code }) => code === 0).length;
}

/** How many commits of SQLite the embedded store's writes take, counted in the write-ahead log. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@cmbs/shared';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Store } from '@cmbs/shared/store';
import { temporaryDirectory } from '../contract/temporary-store';

/** Bytes of the header of the log and of each frame (SQLite's file format). */
const LOG_HEADER = 32;
const FRAME_HEADER = 24;
/** Offset of the salts: a frame belongs to the current log when its salts equal those of the log's header. */
const SALTS = 8;

/** Commits in the log: frames whose header has the size of the database after the commit. */
function commitsIn(directory: string): number {
  const log = readFileSync(join(directory, 'cmbs.db-wal'));
  const salts = log.subarray(16, 16 + SALTS);
  const pageSize = log.readUInt32BE(8);
  let commits = 0;
  for (let at = LOG_HEADER; at + FRAME_HEADER + pageSize <= log.length; at += FRAME_HEADER + pageSize) {
    if (!log.subarray(at + 8, at + 8 + SALTS).equals(salts)) break;
    if (log.readUInt32BE(at + 4) > 0) commits += 1;
  }
  return commits;
}

const FIELDS = Array.from({ length: 13 }, (_, n) => `field${n}`);
const index = Object.fromEntries(FIELDS.map((field) => [field, ['yes']]));

let directory: string;
let store: Store;

const open = () => openSqliteStore({ directory, clock: systemClock });

beforeEach(async () => {
  directory = await temporaryDirectory();
  store = await open();
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

describe('new names of indexed fields', () => {
  it.each([
    ['a document that is created', () => store.create('things', 'a', {}, { index })],
    ['a transaction', () => store.transact(async (tx) => tx.put('things', 'a', {}, { index }))],
  ])('are stored by the one commit of %s', async (_what, write) => {
    const before = commitsIn(directory);
    expect(before).toBeGreaterThan(0);
    await write();
    expect(commitsIn(directory) - before).toBe(1);
    await store.close();
    store = await open();
    for (const field of FIELDS) {
      const { docs } = await store.query({ collection: 'things', where: [{ field, value: 'yes' }], limit: 2 });
      expect(docs.map(({ id }) => id)).toEqual(['a']);
    }
  });

  it('are stored by a later commit when the transaction that introduced them fails', async () => {
    const given = store.transact(async (tx) => {
      tx.put('things', 'a', {}, { index });
      throw new Error('given up');
    });
    await expect(given).rejects.toThrow('given up');
    await store.create('others', 'b', {}, { index: { field0: ['yes'] } });
    await store.create('things', 'c', {}, { index });
    await store.close();
    store = await open();
    const found = (collection: string) =>
      store.query({ collection, where: [{ field: 'field0', value: 'yes' }], limit: 2 });
    expect((await found('others')).docs.map(({ id }) => id)).toEqual(['b']);
    expect((await found('things')).docs.map(({ id }) => id)).toEqual(['c']);
  });
});

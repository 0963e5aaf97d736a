/** Loss of and damage to the files of the store, while the store is open or closed. */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { systemClock, type Log } from '@cmbs/shared';
import type { SqliteStore, SqliteStoreOptions } from '../../shared/store/sqlite/sqlite-store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { MIGRATIONS } from '../../shared/store/sqlite/schema';

let root: string;
let directory: string;
const stores = new Set<SqliteStore>();
const lines: string[] = [];
const noted = (message: string): void => void lines.push(message);
const log: Log = { debug: noted, info: noted, warn: noted, error: noted };

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cmbs-loss-'));
  directory = join(root, 'data');
  lines.length = 0;
});
afterEach(async () => {
  for (const store of stores) await store.close();
  stores.clear();
  rmSync(root, { recursive: true, force: true });
});

async function open(options: Partial<SqliteStoreOptions> = {}): Promise<SqliteStore> {
  const store = await openSqliteStore({ directory, clock: systemClock, log, ...options });
  stores.add(store);
  return store;
}

async function close(store: SqliteStore): Promise<void> {
  stores.delete(store);
  await store.close();
}

const file = (name = ''): string => join(directory, `cmbs.db${name}`);

/** Makes a data directory like that of a killed process, with this many documents, all in the log. */
async function killed(documents: number): Promise<void> {
  const store = await open();
  for (let n = 0; n < documents; n++) await store.create('a', String(n), { text: `document ${n}` });
  const copy = join(root, 'copy');
  cpSync(directory, copy, { recursive: true });
  await close(store);
  rmSync(directory, { recursive: true });
  renameSync(copy, directory);
}

const refused = (what: RegExp): unknown =>
  expect.objectContaining({ code: 'conflict', message: expect.stringMatching(what) as string });

describe('while the store is open', () => {
  it.each<[string, () => void]>([
    ['the directory is deleted', () => rmSync(directory, { recursive: true })],
    ['the directory is moved away', () => renameSync(directory, join(root, 'elsewhere'))],
    ['the database is deleted', () => rmSync(file())],
    ['the log is deleted', () => rmSync(file('-wal'))],
    [
      'the database is replaced by a copy',
      () => {
        copyFileSync(file(), file('-copy'));
        renameSync(file('-copy'), file());
      },
    ],
  ])('and %s, no write is acknowledged any more, and the reason is logged once', async (_, happens) => {
    const store = await open();
    expect(await store.create('a', 'before', {})).toBe(true);
    store.assertInPlace();
    happens();
    const stopped = expect.objectContaining({
      code: 'unavailable',
      message: expect.stringContaining('was deleted, moved or replaced') as string,
    }) as Error;
    // The write comes first, before any check of the files.
    await expect(store.create('a', 'after', {})).rejects.toEqual(stopped);
    expect(() => store.assertInPlace()).toThrow('was deleted, moved or replaced');
    await expect(store.get('a', 'before')).rejects.toEqual(stopped);
    await expect(store.create('a', 'later', {})).rejects.toEqual(stopped);
    expect(lines.filter((line) => line.includes('was deleted'))).toHaveLength(1);
  });

  it('a periodic check finds the loss without a write', async () => {
    let look = (): void => undefined;
    const clock = {
      ...systemClock,
      after: (_ms: number, task: () => void): (() => void) => {
        look = task;
        return () => undefined;
      },
    };
    const store = await open({ clock });
    look();
    await store.create('a', 'before', {});
    look();
    rmSync(directory, { recursive: true });
    look();
    await expect(store.get('a', 'before')).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('before the store is opened', () => {
  it('a kill alone loses nothing', async () => {
    await killed(20);
    expect(statSync(file('-wal')).size).toBeGreaterThan(20 * 4096);
    const store = await open();
    expect(await store.count({ collection: 'a' }, 100)).toBe(20);
    expect(lines).toEqual([]);
  });

  it.each<[string, () => void]>([
    ['the log is removed', () => rmSync(file('-wal'))],
    ['the log is emptied', () => truncateSync(file('-wal'), 0)],
    ['the log is cut by one byte', () => truncateSync(file('-wal'), statSync(file('-wal')).size - 1)],
    [
      'one bit of the last commit in the log is changed',
      () => flip(file('-wal'), statSync(file('-wal')).size - 9),
    ],
    ['one bit in the middle of the log is changed', () => flip(file('-wal'), statSync(file('-wal')).size >> 1)],
  ])('and %s, the start is refused and changes nothing', async (_, happens) => {
    await killed(20);
    happens();
    const before = existsSync(file('-wal')) ? readFileSync(file('-wal')) : Buffer.alloc(0);
    await expect(open()).rejects.toEqual(
      refused(
        /^The (?:last \d+ of 20 commits that were acknowledged are missing|database that was in .* is gone)/,
      ),
    );
    const after = existsSync(file('-wal')) ? readFileSync(file('-wal')) : Buffer.alloc(0);
    expect(after.equals(before)).toBe(true);
    await expect(open()).rejects.toMatchObject({ code: 'conflict' });
  });

  it('a lost end of the log is accepted with acceptDataLoss, and the next start needs no option', async () => {
    await killed(20);
    truncateSync(file('-wal'), statSync(file('-wal')).size - 1);
    const store = await open({ acceptDataLoss: true });
    expect(await store.count({ collection: 'a' }, 100)).toBe(19);
    expect(lines).toEqual([
      expect.stringMatching(/^The last 1 of \d+ commits.*because of CMBS_ACCEPT_DATA_LOSS$/),
    ]);
    await close(store);
    expect(await (await open()).count({ collection: 'a' }, 100)).toBe(19);
  });

  it('an older copy of the database, or another database, is refused', async () => {
    const store = await open();
    await store.create('a', 'first', {});
    await close(store);
    const copy = readFileSync(file());
    const again = await open();
    await again.create('a', 'second', {});
    await close(again);
    for (const name of ['-wal', '-shm']) rmSync(file(name), { force: true });
    writeFileSync(file(), copy);
    await expect(open()).rejects.toEqual(refused(/^The last 1 of 2 commits that were acknowledged are missing/));

    const other = join(root, 'other');
    const stranger = await openSqliteStore({ directory: other, clock: systemClock });
    await stranger.close();
    copyFileSync(join(other, 'cmbs.db'), file());
    await expect(open()).rejects.toEqual(refused(/is not the one that was used here; nothing was changed/));
  });

  it.each([1, 2])(
    'damage to one of the two copies of the record is harmless, and damage to both is refused (%i damaged)',
    async (copies) => {
      await killed(3);
      for (let copy = 0; copy < copies; copy++) flip(file('-acknowledged'), copy * 512 + 50);
      if (copies === 1) expect(await (await open()).count({ collection: 'a' }, 10)).toBe(3);
      else await expect(open()).rejects.toEqual(refused(/-acknowledged is damaged/));
    },
  );

  it('a missing record is created, as in a backup', async () => {
    await killed(3);
    rmSync(file('-acknowledged'));
    expect(await (await open()).count({ collection: 'a' }, 10)).toBe(3);
  });

  it('a changed byte of a document refuses the start; with acceptDataLoss the document is removed', async () => {
    const store = await open();
    await store.create('a', 'whole', { text: 'as it was' }, { index: { kind: ['x'] } });
    await store.create('a', 'hurt', { text: 'find me here' }, { index: { kind: ['x'] } });
    await close(store);
    const bytes = readFileSync(file());
    const at = bytes.indexOf('find me here');
    expect(at).toBeGreaterThan(0);
    flip(file(), at);
    await expect(open()).rejects.toEqual(refused(/^1 documents in .* are damaged, hurt among them; nothing was/));

    const going = await open({ acceptDataLoss: true });
    expect(await going.get('a', 'hurt')).toBeUndefined();
    const found = await going.query({ collection: 'a', where: [{ field: 'kind', value: 'x' }], limit: 10 });
    expect(found.docs.map(({ id }) => id)).toEqual(['whole']);
    expect(lines).toEqual(['damaged documents were removed']);
    await close(going);
    await close(await open());
  });
});

it('a document whose bytes change while the store is open causes an error and never wrong data', async () => {
  const store = await open();
  await store.create('a', 'hurt', { text: 'find me here' });
  await store.create('a', 'whole', { text: 'as it was' });
  // Like a bad disk: another connection changes the row but not its checksum.
  const db = new DatabaseSync(file());
  db.exec(`UPDATE document SET value = replace(value, 'find me', 'find ME') WHERE id = 'hurt'`);
  db.close();
  await expect(store.get('a', 'hurt')).rejects.toMatchObject({
    status: 500,
    message: expect.stringContaining('damaged') as string,
  });
  await expect(store.query({ collection: 'a', limit: 10 })).rejects.toMatchObject({ status: 500 });
  expect((await store.get('a', 'whole'))?.value).toEqual({ text: 'as it was' });
});

it('data of the previous release can be opened, and documents get checksums when they change', async () => {
  cpSync(join(__dirname, '../fixtures/data-v1'), directory, { recursive: true });
  const store = await open();
  expect(lines).toEqual(['migrating the database']);
  expect(await store.count({ collection: 'a' }, 100)).toBe(20);
  expect((await store.get('a', '7'))?.value).toEqual({ text: 'document 7' });
  await store.transact(async (tx) => tx.put('a', '7', { text: 'changed' }));
  await close(store);
  const db = new DatabaseSync(file(), { readOnly: true });
  const checked: unknown = db.prepare('SELECT count(*) AS n FROM document WHERE sum IS NOT NULL').get();
  const version: unknown = db.prepare('PRAGMA user_version').get();
  db.close();
  expect([checked, version]).toEqual([{ n: 1 }, { user_version: MIGRATIONS.length }]);
  expect((await (await open()).get('a', '7'))?.value).toEqual({ text: 'changed' });
});

/** Changes one bit of a file. */
function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(path, bytes);
}

import fs, { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock } from '@cmbs/shared';
import { EXCLUSIVE_MS } from '../../shared/store/sqlite/limits';
import { MAX_OPTIMISTIC_RUNS } from '../../shared/store/sqlite/open-store';
import { MAX_QUEUED_COMMITS } from '../../shared/store/sqlite/commit-queue';
import { MAX_WAL_PAGES } from '../../shared/store/sqlite/checkpointer';
import type { SqliteStoreOptions } from '../../shared/store/sqlite/sqlite-store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Store } from '@cmbs/shared/store';
import { itOnSmallDisk, mountDisk, unmountDisk } from '../small-disk';

let directory: string;
const stores = new Set<Store>();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cmbs-test-'));
});
afterEach(async () => {
  jest.restoreAllMocks();
  jest.useRealTimers();
  for (const store of stores) await store.close();
  stores.clear();
  rmSync(directory, { recursive: true, force: true });
});

async function open(options: Partial<SqliteStoreOptions> = {}): Promise<Store> {
  const store = await openSqliteStore({ directory, clock: systemClock, ...options });
  stores.add(store);
  return store;
}

type SyncCallback = (error: NodeJS.ErrnoException | null) => void;

/** Holds back every sync of the log until the test releases it. */
function holdSyncs(): { held: SyncCallback[]; arrived: () => Promise<void> } {
  const held: SyncCallback[] = [];
  let notice = (): void => undefined;
  jest.spyOn(fs, 'fdatasync').mockImplementation((_descriptor: number, callback: SyncCallback) => {
    held.push(callback);
    notice();
  });
  const arrived = (): Promise<void> =>
    new Promise((resolve) => {
      notice = resolve;
      if (held.length > 0) resolve();
    });
  return { held, arrived };
}

/** Whether the promise is settled after all tasks that can run now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const done = (): void => {
    settled = true;
  };
  promise.then(done, done);
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

describe('a write', () => {
  it('is acknowledged, readable and reported only after it is on the disk', async () => {
    const store = await open();
    const { held, arrived } = holdSyncs();
    const reported: string[] = [];
    store.watch({ collection: 'a' }, (changes) => reported.push(...changes.map(({ id }) => id)));

    const write = store.create('a', 'b', {});
    await arrived();
    const read = store.get('a', 'b');
    const list = store.query({ collection: 'a', limit: 1 });
    const conclusion = store.transact(async (tx) => (await tx.get('a', 'b')) !== undefined);
    const refusal = store.create('a', 'b', {});
    for (const each of [write, read, list, conclusion, refusal]) expect(await isSettled(each)).toBe(false);
    expect(reported).toEqual([]);
    // Reads of other documents do not wait.
    expect(await store.get('other', 'b')).toBeUndefined();

    jest.restoreAllMocks();
    held[0]?.(null);
    expect(await write).toBe(true);
    expect((await read)?.id).toBe('b');
    expect((await list).docs).toHaveLength(1);
    expect(await conclusion).toBe(true);
    expect(await refusal).toBe(false);
    expect(reported).toEqual(['b']);
  });

  it('waits for the next sync when it arrives during a sync', async () => {
    const store = await open();
    const { held, arrived } = holdSyncs();
    const first = store.create('a', '1', {});
    await arrived();
    const second = store.create('a', '2', {});
    expect(await isSettled(second)).toBe(false);
    held.shift()?.(null);
    expect(await first).toBe(true);
    expect(await isSettled(second)).toBe(false);
    await arrived();
    held.shift()?.(null);
    expect(await second).toBe(true);
  });

  it('stops the store with an error when it cannot be made durable', async () => {
    const store = await open();
    await store.create('a', 'before', {});
    const { held, arrived } = holdSyncs();
    const write = store.create('a', 'b', {});
    await arrived();
    jest.restoreAllMocks();
    held[0]?.(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' }));
    const stopped = { code: 'unavailable', message: expect.stringContaining('durable') as string };
    await expect(write).rejects.toMatchObject(stopped);
    await expect(store.create('a', 'c', {})).rejects.toMatchObject(stopped);
    await expect(store.get('a', 'before')).rejects.toMatchObject(stopped);
    await expect(store.transact(async (tx) => tx.put('a', 'd', {}))).rejects.toMatchObject(stopped);
    stores.delete(store);
    await store.close();
    expect(await (await open()).get('a', 'before')).toBeDefined();
  });

  it('is refused at once beyond the limit of waiting writes', async () => {
    const store = await open();
    const writes = Array.from({ length: MAX_QUEUED_COMMITS + 1 }, (_, i) => store.create('a', String(i), {}));
    await expect(writes.pop()).rejects.toMatchObject({ code: 'queue_full' });
    expect(new Set(await Promise.all(writes))).toEqual(new Set([true]));
  });

  it('is not applied when it is aborted while it waits', async () => {
    const store = await open();
    const controller = new AbortController();
    const write = store.create('a', 'b', {}, { signal: controller.signal });
    controller.abort();
    await expect(write).rejects.toMatchObject({ code: 'deadline_exceeded' });
    await store.create('a', 'after', {});
    expect(await store.get('a', 'b')).toBeUndefined();
  });

  it('is applied even when it is aborted during its commit', async () => {
    const store = await open();
    const { held, arrived } = holdSyncs();
    const controller = new AbortController();
    const write = store.create('a', 'b', {}, { signal: controller.signal });
    await arrived();
    controller.abort();
    await expect(write).rejects.toMatchObject({ code: 'deadline_exceeded' });
    jest.restoreAllMocks();
    held[0]?.(null);
    expect(await store.get('a', 'b')).toBeDefined();
  });
});

describe('a full disk', () => {
  const fill = async (store: Store): Promise<number> => {
    const padding = 'x'.repeat(3000);
    for (let n = 0; ; n++) {
      try {
        await store.create('filling', String(n).padStart(6, '0'), { padding });
      } catch (error) {
        expect(error).toMatchObject({ code: 'storage_full', status: 507 });
        return n;
      }
    }
  };

  it('refuses writes, loses nothing, and accepts writes again after a deletion', async () => {
    const store = await open({ maxPages: 100 });
    const written = await fill(store);
    expect(written).toBeGreaterThan(20);
    expect(await store.count({ collection: 'filling' }, 1000)).toBe(written);
    const large = { padding: 'x'.repeat(30_000) };
    await expect(store.transact(async (tx) => tx.put('a', 'b', large))).rejects.toMatchObject({
      code: 'storage_full',
    });

    await store.transact(async (tx) => {
      for (let i = 0; i < 20; i++) tx.delete('filling', String(i).padStart(6, '0'));
    });
    await store.transact(async (tx) => tx.put('a', 'b', large));
    stores.delete(store);
    await store.close();
    const again = await open();
    expect(await again.count({ collection: 'filling' }, 1000)).toBe(written - 20);
    expect((await again.get('a', 'b'))?.value).toEqual(large);
  });

  it('refuses a transaction with reads as storage_full each time, and applies it when there is room', async () => {
    const store = await open({ maxPages: 100 });
    await fill(store);
    const change = (id: string, chars: number): Promise<void> =>
      store.transact(async (tx) => {
        await tx.get('a', id);
        await tx.get('filling', '000000');
        tx.put('filling', '000000', { id });
        tx.put('a', id, { padding: 'x'.repeat(chars) });
      });
    for (const id of ['b', 'b', 'c']) {
      await expect(change(id, 30_000)).rejects.toMatchObject({ code: 'storage_full' });
      const both = await Promise.allSettled([change(id, 30_000), change(`${id}2`, 30_000)]);
      const refused = { status: 'rejected', reason: expect.objectContaining({ code: 'storage_full' }) as unknown };
      expect(both).toEqual([refused, refused]);
    }
    await store.transact(async (tx) => {
      for (let i = 1; i < 20; i++) tx.delete('filling', String(i).padStart(6, '0'));
    });
    await change('b', 30_000);
    expect((await store.get('filling', '000000'))?.value).toEqual({ id: 'b' });
  });

  it('fails only the write that does not fit, not a smaller one in the same commit', async () => {
    const store = await open({ maxPages: 100 });
    await store.create('small', 'first', {});
    const large = store.create('large', 'l', { padding: 'x'.repeat(1_000_000) });
    const small = store.create('small', 'second', {});
    const removal = store.transact(async (tx) => tx.delete('small', 'first'));
    await expect(large).rejects.toMatchObject({ code: 'storage_full' });
    expect(await small).toBe(true);
    await removal;
    expect(await store.get('small', 'first')).toBeUndefined();
  });

  itOnSmallDisk('of the operating system is the same', async () => {
    const mounted = mkdtempSync(join(tmpdir(), 'cmbs-disk-'));
    mountDisk(mounted, 8);
    try {
      const ballast = join(mounted, 'ballast');
      writeFileSync(ballast, Buffer.alloc(2 * 1024 * 1024));
      const store = await openSqliteStore({ directory: join(mounted, 'data'), clock: systemClock });
      const written = await fill(store);
      expect(written).toBeGreaterThan(20);
      expect(await store.count({ collection: 'filling' }, 100_000)).toBe(written);
      // A new field takes extra room; when its write is refused, the field must not count as known.
      const put = (id: string, field: string): Promise<void> =>
        store.transact(async (tx) => tx.put('new', id, { field }, { index: { [field]: ['same'] } }));
      const fields = ['one', 'two', 'three'];
      for (const field of fields) {
        await expect(put('first', field)).rejects.toMatchObject({ code: 'storage_full' });
      }
      rmSync(ballast);
      expect(await store.create('filling', 'more', {})).toBe(true);
      for (const field of fields) await put(`with-${field}`, field);
      await store.transact(async (tx) => {
        const index = Object.fromEntries(fields.map((field) => [field, ['same']]));
        tx.put('new', 'with-all', {}, { index });
      });
      for (const field of fields) {
        const { docs } = await store.query({ collection: 'new', where: [{ field, value: 'same' }], limit: 10 });
        expect(docs.map(({ id }) => id)).toEqual(['with-all', `with-${field}`]);
      }
      await store.close();
      const again = await openSqliteStore({ directory: join(mounted, 'data'), clock: systemClock });
      expect(await again.count({ collection: 'filling' }, 100_000)).toBe(written + 1);
      await again.close();
    } finally {
      unmountDisk(mounted);
      rmSync(mounted, { recursive: true, force: true });
    }
  });
});

describe('the write-ahead log', () => {
  it('restarts in the same file during writes instead of growing', async () => {
    const store = await open();
    const wal = join(directory, 'cmbs.db-wal');
    await store.create('a', 'first', {});
    const { ino } = statSync(wal);
    const padding = 'x'.repeat(60_000);
    const documents = 2500;
    let n = 0;
    let longest = 0;
    const writer = async (): Promise<void> => {
      while (n < documents) {
        await store.create('a', String(n++), { padding });
        longest = Math.max(longest, statSync(wal).size);
      }
    };
    await Promise.all(Array.from({ length: 16 }, writer));
    expect(documents * padding.length).toBeGreaterThan(4 * MAX_WAL_PAGES * 4096);
    expect(longest).toBeLessThan(2 * MAX_WAL_PAGES * 4096);
    expect(statSync(wal).ino).toBe(ino);
    expect(await store.count({ collection: 'a' }, 10_000)).toBe(documents + 1);
  });
});

describe('a transaction that conflicts too often', () => {
  it('gets exclusive use of the store, and loses it when it takes too long', async () => {
    const store = await open({ log: silentLog });
    await store.create('a', 'b', { n: 0 });
    let runs = 0;
    let hang = (): void => undefined;
    const hanging = new Promise<void>((resolve) => {
      hang = resolve;
    });
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask', 'performance', 'Date'] });
    const slow = store.transact(async (tx) => {
      await tx.get('a', 'b');
      if (++runs <= MAX_OPTIMISTIC_RUNS) {
        await store.transact(async (other) => other.put('a', 'b', { n: runs }));
        tx.put('a', 'b', { lost: true });
        return;
      }
      hang();
      await new Promise<void>(() => undefined);
    });
    await hanging;
    const waiting = store.create('a', 'c', {});
    expect(await isSettled(waiting)).toBe(false);
    const refused = expect(slow).rejects.toMatchObject({ code: 'unavailable' });
    jest.advanceTimersByTime(EXCLUSIVE_MS);
    await refused;
    expect(await waiting).toBe(true);
    expect((await store.get('a', 'b'))?.value).toEqual({ n: MAX_OPTIMISTIC_RUNS });
  });
});

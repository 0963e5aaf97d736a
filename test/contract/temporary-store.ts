/** The embedded store in a temporary directory, with a clock that the test moves. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '@cmbs/shared';
import type { SqliteStoreOptions } from '../../shared/store/sqlite/sqlite-store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { type OpenedStore } from './store-contract';

export async function temporaryDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'cmbs-test-'));
}

export interface TemporaryStore extends OpenedStore {
  readonly directory: string;
  readonly clock: Clock;
}

export async function openTemporaryStore(
  options: Partial<Omit<SqliteStoreOptions, 'clock' | 'directory'>> = {},
): Promise<TemporaryStore> {
  const directory = await temporaryDirectory();
  let ahead = 0;
  const clock: Clock = { ...systemClock, now: () => Date.now() + ahead };
  // A fixed time, so that only `advance` reaches an expiry.
  const start = Date.now();
  const still: Clock = { ...clock, now: () => start + ahead };
  const open = () => openSqliteStore({ directory, clock: still, ...options });
  let store = await open();
  return {
    directory,
    clock: still,
    store,
    advance: (ms) => {
      ahead += ms;
    },
    now: () => still.now(),
    reopen: async () => {
      await store.close();
      store = await open();
      return store;
    },
    close: async () => {
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/**
 * A process that changes key-value databases, for tests with several processes and tests that kill them. It prints a line
 * for each acknowledged change.
 *
 * Arguments: `sqlite`, a data directory and the number of this run, for changes without end; or `firestore`, the host of
 * the emulator, a project and a number of increments, every second of them by a transaction.
 */
import { newId, systemClock } from '@cmbs/shared';
import { KeyValues } from '@cmbs/shared/services';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Commit, Database } from '../../shared/services/kv/database';
import { moduleScope } from '../../shared/services/kv/places';
import { transact } from '../../shared/services/modules/transact';

const SCOPE = moduleScope('child');
const WRITERS = 8;

async function changeForever(directory: string, run: string): Promise<void> {
  const store = await openSqliteStore({ directory, clock: systemClock });
  const keyValues = new KeyValues({ store, newId, clock: systemClock });
  await keyValues.use(SCOPE, 'data', async (database) => {
    const writer = async (writer: number): Promise<never> => {
      for (let n = 0; ; n++) {
        const key = `${run}-${writer}-${n}`;
        await database.put(key, { key, padding: 'x'.repeat(2000) });
        process.stdout.write(`put ${key}\n`);
        process.stdout.write(`incremented ${Number(await database.increment('counter', 1n))}\n`);
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, at) => writer(at)));
  });
}

async function increment(emulatorHost: string, projectId: string, times: number): Promise<void> {
  const store = openFirestoreStore({ emulatorHost, projectId, clock: systemClock });
  const keyValues = new KeyValues({ store, newId, clock: systemClock });
  const on = <T>(work: (database: Database) => Promise<T>): Promise<T> => keyValues.use(SCOPE, 'data', work);
  // As in the thread of a module.
  const kv = {
    get: (_database: string, key: string) => on(async (database) => (await database.get(key)) ?? null),
    commit: (_database: string, change: Commit) => on(async (database) => (await database.commit(change)) ?? null),
  };
  // The pause before a transaction runs again keeps no process alive.
  const alive = setInterval(() => undefined, 60_000);
  const parts = { kv, clock: systemClock, signal: new AbortController().signal };
  for (let n = 0; n < times; n++) {
    const sum =
      n % 2 === 0
        ? Number(await on((database) => database.increment('counter', 1n)))
        : await transact(parts, 'data', async (tx) => {
            const next = Number((await tx.get('counter'))?.value ?? 0) + 1;
            tx.put('counter', next);
            return next;
          });
    process.stdout.write(`incremented ${sum}\n`);
  }
  clearInterval(alive);
  await store.close();
}

async function main(): Promise<void> {
  const [, , engine, where = '', what = '', times] = process.argv;
  if (engine === 'sqlite') await changeForever(where, what);
  else await increment(where, what, Number(times));
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});

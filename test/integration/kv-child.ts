/**
 * A process that changes key-value databases, for tests with several processes and tests that kill them. It prints a line
 * for each acknowledged change.
 *
 * Arguments: `sqlite`, a data directory and the number of this run, for changes without end; or `firestore`, the host of
 * the emulator, a project and a number of increments.
 */
import { newId, systemClock } from '@cmbs/shared';
import { KeyValues } from '@cmbs/shared/services';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { moduleScope } from '../../shared/services/kv/places';

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
  for (let n = 0; n < times; n++) {
    const sum = await keyValues.use(SCOPE, 'data', (database) => database.increment('counter', 1n));
    process.stdout.write(`incremented ${Number(sum)}\n`);
  }
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

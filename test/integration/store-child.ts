/**
 * A program that opens the embedded store and writes as fast as it can, for tests that kill the program. It prints one
 * line per acknowledged write, after the acknowledgement.
 *
 * Arguments: the data directory, and the number of this run. Each create is `<run>-<n>`; each transaction writes two
 * documents, `left` and `right`, and adds one to a counter.
 */
import { systemClock } from '@cmbs/shared';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';

const WRITERS = 32;

async function main(): Promise<void> {
  const [, , directory = '', run = ''] = process.argv;
  const store = await openSqliteStore({ directory, clock: systemClock });
  process.stdout.write('open\n');
  const padding = 'x'.repeat(500);
  let n = 0;
  const create = async (): Promise<never> => {
    for (;;) {
      const id = `${run}-${n++}`;
      await store.create('created', id, { id, padding }, { order: id, index: { run: [run] } });
      process.stdout.write(`created ${id}\n`);
    }
  };
  const pair = async (): Promise<never> => {
    for (;;) {
      const count = await store.transact(async (tx) => {
        const next = Number((await tx.get('pairs', 'counter'))?.value.n ?? 0) + 1;
        tx.put('pairs', 'counter', { n: next });
        tx.put('pairs', `left-${next}`, { next, padding });
        tx.put('pairs', `right-${next}`, { next, padding });
        return next;
      });
      process.stdout.write(`paired ${count}\n`);
    }
  };
  await Promise.all([...Array.from({ length: WRITERS }, create), pair(), pair(), pair()]);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});

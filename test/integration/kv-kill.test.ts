/** Key-value databases of a process that is killed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { newId, systemClock } from '@cmbs/shared';
import { KeyValues } from '@cmbs/shared/services';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { moduleScope } from '../../shared/services/kv/places';
import { extent } from '../extent';
import { randomFrom, SEED } from '../seed';
import { bundleProgram, type BundledProgram } from './bundled-program';

const ROUNDS = extent(2, 20);
/** Maximum of the random number of acknowledgements before a kill. */
const MAX_ACKNOWLEDGED = 400;

let program: BundledProgram;
let directory: string;

beforeAll(() => {
  program = bundleProgram('test/integration/kv-child.ts');
  directory = mkdtempSync(join(tmpdir(), 'cmbs-test-'));
});
afterAll(() => {
  program.remove();
  rmSync(directory, { recursive: true, force: true });
});

/** The lines of a program that is killed after so many of them. */
async function killAfter(acknowledgements: number, run: number): Promise<readonly string[]> {
  const child = spawn(process.execPath, [program.path, 'sqlite', directory, String(run)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (lines.length === acknowledgements) child.kill('SIGKILL');
  }
  expect((await exited)[1]).toBe('SIGKILL');
  return lines;
}

it('nothing is lost that was acknowledged, and the sizes are right', async () => {
  const random = randomFrom(SEED);
  let counted = 0;
  const keys = new Set<string>();
  for (let run = 0; run < ROUNDS; run++) {
    const lines = await killAfter(1 + Math.floor(random() * MAX_ACKNOWLEDGED), run);
    for (const line of lines) {
      const [what, which = ''] = line.split(' ');
      if (what === 'put') keys.add(which);
      else counted = Math.max(counted, Number(which));
    }
    const store = await openSqliteStore({ directory, clock: systemClock });
    const keyValues = new KeyValues({ store, newId, clock: systemClock });
    await keyValues.use(moduleScope('child'), 'data', async (database) => {
      let entries = 0;
      let after: string | undefined;
      const there = new Set<string>();
      do {
        const page = await database.list(after === undefined ? {} : { after });
        for (const { key } of page.entries) there.add(key);
        entries += page.entries.length;
        after = page.next;
      } while (after !== undefined);
      expect([...keys].filter((key) => !there.has(key))).toEqual([]);
      // Each entry has between one and two units, but for the counter.
      const { value = 0 } = (await database.get('counter')) ?? {};
      expect(value).toBeGreaterThanOrEqual(counted);
      const units = there.has('counter') ? 1 + 2 * (entries - 1) : 2 * entries;
      expect(await database.size()).toEqual({ entries, bytes: units * 1024 });
    });
    await store.close();
  }
  expect(keys.size).toBeGreaterThan(0);
});

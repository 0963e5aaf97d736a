import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '@cmbs/shared';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Store } from '@cmbs/shared/store';
import { type BundledProgram, bundleProgram } from './bundled-program';
import { extent } from '../extent';
import { randomFrom, SEED } from '../seed';

const ROUNDS = extent(4, 50);
jest.setTimeout(60_000 * ROUNDS);
/** Maximum of the random number of acknowledgements before a kill, so that every part of the work is interrupted. */
const MAX_ACKNOWLEDGED = 3000;

let program: BundledProgram;
let directory: string;
const running = new Set<ChildProcess>();

beforeAll(() => {
  program = bundleProgram('test/integration/store-child.ts');
});
afterAll(() => program.remove());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cmbs-test-'));
});
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

/** Runs the writer until it has acknowledged this many writes, kills it, and returns all acknowledged writes. */
async function killAfter(acknowledgements: number, run: number): Promise<string[]> {
  const child = spawn(process.execPath, [program.path, directory, String(run)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.add(child);
  const exited = once(child, 'exit');
  const lines: string[] = [];
  // Lines still in the pipe after the kill were acknowledged as well; an incomplete last line was not.
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (lines.length === acknowledgements) child.kill('SIGKILL');
  }
  const [, signal] = (await exited) as [number | null, string | null];
  running.delete(child);
  expect(signal).toBe('SIGKILL');
  return lines;
}

async function expectAllThere(store: Store, lines: readonly string[]): Promise<void> {
  const created = lines.filter((line) => line.startsWith('created ')).map((line) => line.slice('created '.length));
  const docs = await store.getAll('created', created);
  const missing = created.filter((id, i) => docs[i]?.value.id !== id);
  expect(missing).toEqual([]);

  const counter = Number((await store.get('pairs', 'counter'))?.value.n ?? 0);
  for (const line of lines) {
    if (line.startsWith('paired ')) expect(counter).toBeGreaterThanOrEqual(Number(line.slice('paired '.length)));
  }
  // Transactions are atomic: exactly the pairs up to the counter exist, with both halves.
  expect(await store.count({ collection: 'pairs', prefix: 'left-' }, 1_000_000)).toBe(counter);
  expect(await store.count({ collection: 'pairs', prefix: 'right-' }, 1_000_000)).toBe(counter);
}

it(`the store has every acknowledged write after each of ${ROUNDS} kills under load (seed ${SEED})`, async () => {
  const acknowledged: string[] = [];
  const random = randomFrom();
  for (let round = 1; round <= ROUNDS; round++) {
    const lines = await killAfter(1 + Math.floor(random() * MAX_ACKNOWLEDGED), round);
    acknowledged.push(...lines);
    const store = await openSqliteStore({ directory, clock: systemClock });
    try {
      await expectAllThere(store, acknowledged);
      // The indexes and the table have the same documents.
      const byIndex = { collection: 'created', where: [{ field: 'run', value: String(round) }] };
      const inRound = await store.count({ collection: 'created', prefix: `${round}-` }, 1_000_000);
      expect(await store.count(byIndex, 1_000_000)).toBe(inRound);
      expect(await store.count({ ...byIndex, by: 'order' }, 1_000_000)).toBe(inRound);
    } finally {
      await store.close();
    }
  }
  for (const work of ['created', 'paired']) {
    expect(acknowledged.filter((line) => line.startsWith(`${work} `)).length).toBeGreaterThan(0);
  }
});

/** A data directory that is removed under a running `npm start`, or found damaged at the next start. */
import { cpSync, existsSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { ask, Bench, messageBody, must } from './durability-support';

const bench = new Bench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

const create = (url: string, id: string): ReturnType<typeof ask> =>
  ask('PUT', `${url}/cmbs/message/${id}`, { body: messageBody('l1', {}) });

it('writes and readiness answer 503 with what to do, until the directory is back and the stack is restarted', async () => {
  const root = bench.directory();
  const directory = join(root, 'data');
  const stack = await bench.start({ directory });
  expect((await create(stack.url, 'before')).status).toBe(201);
  renameSync(directory, join(root, 'moved'));
  const refused = await create(stack.url, 'after');
  expect([refused.status, refused.text]).toEqual([503, expect.stringContaining('Stop the program, put the')]);
  const ready = await ask('GET', `${stack.url}/readyz`);
  expect([ready.status, ready.text]).toEqual([503, expect.stringContaining('was deleted, moved or replaced')]);
  expect((await ask('GET', `${stack.url}/healthz`)).status).toBe(200);
  expect(await stack.interrupt()).toEqual({ code: 0, signal: null });
  expect(existsSync(directory)).toBe(false);

  renameSync(join(root, 'moved'), directory);
  const again = await bench.start({ directory });
  await must('GET', `${again.url}/cmbs/message/before`);
  expect((await ask('GET', `${again.url}/cmbs/message/after`)).status).toBe(404);
});

it('a start with a truncated log ends with 1 and says what to do, and continues when told to', async () => {
  const directory = join(bench.directory(), 'data');
  const stack = await bench.start({ directory });
  for (const id of ['first', 'second', 'third']) expect((await create(stack.url, id)).status).toBe(201);
  await stack.kill();
  cpSync(directory, `${directory}-whole`, { recursive: true });
  const log = join(directory, 'cmbs.db-wal');
  truncateSync(log, statSync(log).size - 100);

  const refused = bench.launch({ directory });
  expect(await refused.exited).toEqual({ code: 1, signal: null });
  expect(refused.lines).toEqual([
    expect.stringMatching(/^The last \d+ of \d+ commits.* set CMBS_ACCEPT_DATA_LOSS=true/),
  ]);
  const going = await bench.start({ directory, settings: { CMBS_ACCEPT_DATA_LOSS: 'true' } });
  await must('GET', `${going.url}/cmbs/message/first`);
  await going.interrupt();

  rmSync(directory, { recursive: true });
  renameSync(`${directory}-whole`, directory);
  const restored = await bench.start({ directory });
  for (const id of ['first', 'second', 'third']) await must('GET', `${restored.url}/cmbs/message/${id}`);
});

/** `npm run backup` of a running stack, under load. */
import { execFile } from 'node:child_process';
import { cleanEnvironment } from '@cmbs/emulator/child-stack';
import { Ledger } from './durability-ledger';
import { Bench, freeAddresses, inboxOf, memberBody, must } from './durability-support';
import { notEmpty } from '../not-empty';

const bench = new Bench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

function backup(
  directory: string,
  target: string,
): Promise<{ readonly code: number | null; readonly out: string }> {
  const env = { ...cleanEnvironment(), CMBS_DATA_DIR: directory };
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [bench.program('emulator/backup.ts'), target],
      { env },
      (_error, out, err) => resolve({ code: child.exitCode, out: out + err }),
    );
  });
}

it('a backup holds everything that was acknowledged before it began', async () => {
  const root = bench.directory();
  const directory = `${root}/near`;
  const program = bench.program('test/e2e/durability-program.ts');
  bench.program('emulator/backup.ts');
  const stack = await bench.start({ program, directory });
  const [l1 = '', absent = '', l32 = ''] = await freeAddresses(3);
  await must('PUT', `${stack.url}/cmbs/member/near`, { body: memberBody({ l1_socket: l1 }) });
  await must('PUT', `${stack.url}/cmbs/member/listener`, {
    body: memberBody({ l32_socket: l32, topics: ['load.>'] }),
  });
  await must('POST', `${stack.url}/cmbs/member/near?action=start_l1`);
  await must('POST', `${stack.url}/cmbs/member/listener?action=start_l32`);

  const ledger = new Ledger();
  const stop = new AbortController();
  const loading = ledger.load(stack.url, { near: l1, far: absent }, stop.signal);
  await ledger.more(60);
  const before = ledger.snapshot();
  const copied = await backup(directory, `${root}/copy`);
  expect(copied.out).toBe(`Backed up ${directory} to ${root}/copy\n`);
  expect(copied.code).toBe(0);
  // The stack is not affected.
  await ledger.more(20);
  stop.abort();
  await loading;
  expect(ledger.refused).toEqual([]);
  expect(await ledger.differences(stack.url)).toEqual([]);
  await stack.interrupt();

  const restored = await bench.start({ program, directory: `${root}/copy` });
  // The copy may have later writes or not; earlier acknowledged writes are in it, and whole.
  expect(await ledger.asAcknowledgedIn(before).differences(restored.url)).toEqual([]);
  const queued = [...before.sends].filter(([, { to, acknowledged }]) => to === 'far' && acknowledged);
  expect(queued.length).toBeGreaterThan(0);
  for (const [id] of queued) {
    const { json } = await must('GET', `${restored.url}/cmbs/message/${id}`);
    expect(JSON.stringify(json)).toContain('"state":"queued"');
  }
  const received = (await inboxOf(restored.url, 'near')).map(({ messageId }) => messageId);
  const delivered = [...before.sends].filter(([, { to, acknowledged }]) => to === 'near' && acknowledged);
  for (const [id] of notEmpty(delivered)) expect(received).toContain(id);
  process.stdout.write(`backed up under load with ${before.acknowledged} writes acknowledged before\n`);
});

it('a backup refuses an existing target and an empty source, in one sentence', async () => {
  const root = bench.directory();
  expect(await backup(root, `${root}/copy`)).toEqual({
    code: 1,
    out: `Backup failed: There is no database in ${root}; set CMBS_DATA_DIR to the data directory.\n`,
  });
  const stack = await bench.start({ directory: `${root}/data` });
  expect(await backup(`${root}/data`, root)).toEqual({
    code: 1,
    out: `Backup failed: ${root} exists already; name a directory that does not.\n`,
  });
  await must('GET', `${stack.url}/readyz`);
});

/** `kill -9` at random moments under load: acknowledged writes are kept, queued messages arrive, and none twice. */
import type { ChildStack } from '@cmbs/emulator/child-stack';
import { callLines, Ledger } from './durability-ledger';
import { Bench, freeAddresses, memberBody, memberField, must, until } from './durability-support';
import { extent } from '../extent';
import { randomFrom, SEED } from '../seed';

const ROUNDS = extent(4, 50);
jest.setTimeout(60_000 * ROUNDS);
/**
 * Acknowledgements before the kill of a round: a random number between the two, so that all kinds of work are hit.
 */
const KILL_FROM = 10;
const KILL_TO = 160;
/**
 * Milliseconds until every queued message has arrived. Both stacks run, so this is the longest back-off and some
 * work.
 */
const DRAIN_MS = 30_000;
const bench = new Bench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

/** Layers of a member that are open, as the member shows them. */
async function openLayers(url: string, member: string): Promise<readonly string[]> {
  const { json } = await must('GET', `${url}/cmbs/member/${member}`);
  const layers = memberField(json, 'layers') as Readonly<Record<string, { readonly state: string }>> | undefined;
  return Object.entries(layers ?? {}).flatMap(([layer, { state }]) => (state === 'started' ? [layer] : []));
}

it(`every acknowledged write is there once after each of ${ROUNDS} kills (seed ${SEED})`, async () => {
  const random = randomFrom();
  const root = bench.directory();
  const directories = { near: `${root}/near`, far: `${root}/far` };
  const program = bench.program('test/e2e/durability-program.ts');
  const start = (which: 'near' | 'far'): Promise<ChildStack> =>
    bench.start({ program, directory: directories[which] });
  let near = await start('near');
  let far = await start('far');

  const [l1Near = '', l1Far = '', l32 = ''] = await freeAddresses(3);
  await must('PUT', `${near.url}/cmbs/member/near`, { body: memberBody({ l1_socket: l1Near }) });
  await must('PUT', `${near.url}/cmbs/member/listener`, {
    body: memberBody({ l32_socket: l32, topics: ['load.>'] }),
  });
  await must('PUT', `${far.url}/cmbs/member/far`, { body: memberBody({ l1_socket: l1Far }) });
  await must('POST', `${near.url}/cmbs/member/near?action=start_l1`);
  await must('POST', `${near.url}/cmbs/member/listener?action=start_l32`);
  await must('POST', `${far.url}/cmbs/member/far?action=start_l1`);

  const ledger = new Ledger();
  const addresses = { near: l1Near, far: l1Far };
  for (let round = 1; round <= ROUNDS; round++) {
    const stop = new AbortController();
    const loading = ledger.load(near.url, addresses, stop.signal);
    const who = (['near', 'far', 'both'] as const)[Math.floor(random() * 3)] ?? 'both';
    const moment = KILL_FROM + Math.floor(random() * (KILL_TO - KILL_FROM));
    await ledger.more(moment);
    await Promise.all([...(who === 'far' ? [] : [near.kill()]), ...(who === 'near' ? [] : [far.kill()])]);
    // The surviving stack goes on accepting messages for the killed stack.
    if (who === 'far') await ledger.more(moment);
    stop.abort();
    await loading;
    expect(ledger.refused).toEqual([]);

    if (who !== 'far') near = await start('near');
    if (who !== 'near') far = await start('far');
    expect(await openLayers(near.url, 'near')).toEqual(['l1']);
    expect(await openLayers(near.url, 'listener')).toEqual(['l32']);
    expect(await openLayers(far.url, 'far')).toEqual(['l1']);
    expect(await ledger.differences(near.url, 'last round')).toEqual([]);
    expect(Ledger.ranTwice(Object.values(directories))).toEqual([]);
  }

  expect(
    await until(
      () => ledger.underWay(near.url),
      (open) => open.length === 0,
      DRAIN_MS,
    ),
  ).toEqual([]);
  expect(await ledger.differences(near.url)).toEqual([]);
  expect(await ledger.receipts(near.url, far.url)).toEqual([]);
  expect(Ledger.ranTwice(Object.values(directories))).toEqual([]);
  const calls = Object.values(directories).flatMap(callLines).length;
  expect(calls).toBeGreaterThan(ROUNDS);
  process.stdout.write(
    `seed ${SEED}: ${ROUNDS} kills, ${ledger.acknowledged} acknowledged writes, ${ledger.entities.size} entities, ` +
      `${ledger.batches.size} batches, ${ledger.sends.size} sends (${ledger.queued} queued), ${calls} calls\n`,
  );
});

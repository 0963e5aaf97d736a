/** An exchange that a program adds from outside: its members exchange messages without a socket. */
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack } from '@cmbs/emulator/stack';
import { readConfig } from '@cmbs/shared/config';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from './engine';
import { contentOf, Fleet, type Deployment, type Member } from './harness';
import { memoryExchange } from '../../examples/extending/memory-exchange';

const fleet = new Fleet();
const directories: string[] = [];
afterAll(async () => {
  await fleet.close();
  for (const directory of directories) await rm(directory, { recursive: true });
});

const exchange = memoryExchange();

async function engineOnMemory(): Promise<Engine> {
  const directory = await mkdtemp(join(tmpdir(), 'cmbs-memory-'));
  directories.push(directory);
  return ({ env, log }) => {
    const config = readConfig({ PORT: '0', CMBS_DATA_DIR: directory, CMBS_LOG: 'silent', ...ANY_PORT, ...env });
    return startStack({ config, log, exchanges: [exchange] });
  };
}

let here: Deployment;
let there: Deployment;
let alice: Member;
let bob: Member;
beforeAll(async () => {
  here = await fleet.start({ engine: await engineOnMemory() });
  there = await fleet.start({ engine: await engineOnMemory() });
  alice = await here.member({ sockets: { l1: 'mem://alice-1', l2: 'mem://alice-2' }, start: ['l1', 'l2'] });
  bob = await there.member({ sockets: { l1: 'mem://bob-1', l2: 'mem://bob-2' }, start: ['l1', 'l2'] });
  await here.introduce(bob);
});

test('a request reaches the member that listens in memory, and its reply comes back', async () => {
  const sent = await here.send('l1', { from: alice.id, to: 'mem://bob-1', content: { id: 'in memory' } });
  expect(sent.status).toBe(200);
  expect(sent.delivery.state).toBe('delivered');
  const [entry, ...others] = await there.receives(bob, 1);
  expect(others).toEqual([]);
  expect(entry === undefined ? undefined : contentOf(entry)).toEqual({ id: 'in memory' });
});

test('a broadcast reaches the member too', async () => {
  const sent = await here.send('l2', { from: alice.id, content: 'to all' });
  expect(sent.result).toEqual({ [bob.path]: 'sent' });
  expect((await there.receives(bob, 2)).map(contentOf)).toContainEqual('to all');
});

test('a message waits while the member is away, and arrives when the member is back', async () => {
  await there.must(200, there.act(bob.path, 'stop_l1'));
  const sent = await here.send('l1', {
    from: alice.id,
    to: 'mem://bob-1',
    content: { id: 'later' },
    prefer: 'wait=1',
  });
  expect(sent.delivery.state).toBe('queued');
  await there.must(200, there.act(bob.path, 'start_l1'));
  await here.reaches(sent.path, 'delivered');
  expect((await there.receives(bob, 3)).map(contentOf)).toContainEqual({ id: 'later' });
});

test('the exchange checks addresses of its scheme, and a program without the exchange refuses them', async () => {
  const kind = 'http://houssem.org/cmbs#member';
  const put = (deployment: Deployment, l1: string) =>
    deployment.request('PUT', '/cmbs/member/carol', { kind, attributes: { 'cmbs.member.l1_socket': l1 } });
  const wrong = await put(here, 'mem://No Name');
  expect([wrong.status, wrong.error]).toEqual([400, expect.stringContaining('space')]);
  expect((await put(here, 'mem://UPPER')).error).toContain('letters, digits and hyphens');
  const plain = await fleet.start();
  expect((await put(plain, 'mem://carol')).error).toContain('must start with one of tcp://, ipc://');
});

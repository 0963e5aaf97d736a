/** Each companion holds the members of its shard in memory, and finds all others when it needs them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MEMBER, MEMBER_KIND } from '@cmbs/shared/broker';
import { ENTITIES } from '@cmbs/shared/occi';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { silentLog, systemClock, type JsonObject } from '@cmbs/shared';
import { ask as askAt, frameOf, ScriptedPeer } from '../e2e/broker-peers';
import { contentOf, Deployment, eventually, unique, type LayerName, type Member } from '../e2e/harness';
import { freePort } from './free-port';
import { HOSTS, NAMES, type ShardName, twoShards, type TwoShardsOptions } from './two-shards';

const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];

let directory: string;
let seen: Record<ShardName, Set<string>>;
let here: Deployment;
const closing: (() => unknown)[] = [];

const start = async (more: Partial<TwoShardsOptions> = {}): Promise<Deployment> => {
  for (const shard of NAMES) seen[shard].clear();
  return (here = await Deployment.start({ engine: twoShards({ directory, seen, ...more }) }));
};
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-shards-'));
  seen = { main: new Set(), eu: new Set() };
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await here.close();
  await rm(directory, { recursive: true });
});

async function socketsAt(host: string): Promise<Record<LayerName, string>> {
  const entries: [LayerName, string][] = [];
  for (const layer of LAYERS) entries.push([layer, `tcp://${host}:${await freePort()}`]);
  return Object.fromEntries(entries) as Record<LayerName, string>;
}

async function memberIn(shard: ShardName, started: readonly LayerName[] = ['l1']): Promise<Member> {
  return here.member({ id: unique(shard), sockets: await socketsAt(HOSTS[shard]), start: started });
}

/** A member of another deployment, at addresses without a listener. */
const remote = async (topics: readonly string[] = []): Promise<Member> =>
  here.member({ id: unique('remote'), local: false, topics, sockets: await socketsAt(HOSTS.main) });

const membersSeen = (shard: ShardName): readonly string[] =>
  [...seen[shard]].filter((path) => path.startsWith('/cmbs/member/')).sort();

const ask = ({ sockets }: Pick<Member, 'sockets'>, layer: LayerName, frame: string): Promise<JsonObject> =>
  askAt(sockets[layer], frame);

test('a companion reads and is told of the members of its shard, and of no others', async () => {
  await start();
  const own: Record<ShardName, string[]> = { main: [], eu: [] };
  for (const shard of NAMES) for (let n = 0; n < 3; n += 1) own[shard].push((await memberIn(shard)).path);
  const others = [await remote(), await remote()];
  await here.close();

  await start();
  for (const shard of NAMES) expect(membersSeen(shard)).toEqual([...own[shard]].sort());

  for (const shard of NAMES) seen[shard].clear();
  for (const path of [...own.main, ...own.eu, ...others.map((one) => one.path)]) {
    await here.change(path, { 'cmbs.member.topics': ['changed'] });
  }
  // The last change of each shard: the companion has been told of everything before it by then.
  const last: Record<ShardName, string> = { main: '', eu: '' };
  for (const shard of NAMES) last[shard] = (await memberIn(shard, [])).path;
  await eventually(
    () => NAMES.filter((shard) => !membersSeen(shard).includes(last[shard])),
    (missing) => missing.length === 0,
    'each companion is told of its last member',
  );
  for (const shard of NAMES) expect(membersSeen(shard)).toEqual([...own[shard], last[shard]].sort());
});

test('a reply lists the sockets of members that the companion does not hold', async () => {
  await start();
  const [near, far, foreign] = [await memberIn('main'), await memberIn('eu'), await remote()];
  const reply = await ask(near, 'l1', frameOf(unique('m'), {}));
  expect(reply.sockets_l1).toEqual(
    expect.arrayContaining([near, far, foreign].map(({ sockets }) => sockets.l1)) as unknown,
  );
});

test('each of two members gets the messages of the other, in another shard', async () => {
  await start();
  const [near, far] = [await memberIn('main', ['l31']), await memberIn('eu', ['l31'])];
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    const sent = await here.must(200, here.send('l31', { from: from.id, providers: [to.id], content: to.id }));
    expect(sent.delivery.state).toBe('delivered');
    expect((await here.inbox(to)).map(contentOf)).toEqual([to.id]);
  }
});

test('a topic message is passed on to remote members that no companion holds', async () => {
  await start();
  const near = await memberIn('main', ['l32']);
  const socket = `tcp://127.0.0.1:${await freePort()}`;
  const peer = await ScriptedPeer.bind(socket, () => '{}');
  closing.push(() => peer.close());
  await here.member({ id: unique('remote'), local: false, topics: ['t.*'], sockets: { l32: socket } });
  await ask(near, 'l32', frameOf(unique('m'), { topics: ['t.x'], message_content: 'onward' }, 'l32'));
  await eventually(
    () => peer.bodies.length,
    (count) => count === 1,
    'the message is passed on',
  );
});

test('messages for a remote member follow it, and fail when it is deleted', async () => {
  await start();
  const near = await memberIn('main');
  const foreign = await remote();
  const [first, second] = [
    await here.send('l31', { from: near.id, providers: [foreign.id], content: 'first', prefer: 'wait=1' }),
    await here.send('l31', { from: near.id, providers: [foreign.id], content: 'second', prefer: 'wait=1' }),
  ];
  expect([first.status, second.status]).toEqual([202, 202]);
  const socket = `tcp://127.0.0.1:${await freePort()}`;
  let isTaking = false;
  const peer = await ScriptedPeer.bind(socket, () =>
    isTaking ? '{}' : '{"error":{"code":"unavailable","message":"Later."}}',
  );
  closing.push(() => peer.close());
  await here.change(foreign.path, { 'cmbs.member.l31_socket': socket });
  await eventually(
    () => peer.bodies.length,
    (count) => count > 0,
    'the first message comes to the new address',
  );
  isTaking = true;
  for (const { path } of [first, second]) await here.reaches(path, 'delivered');

  const gone = await remote();
  const third = await here.send('l31', {
    from: near.id,
    providers: [gone.id],
    content: 'third',
    prefer: 'wait=1',
  });
  await here.must(200, here.request('DELETE', gone.path));
  await eventually(
    () => here.delivery(third.path),
    ({ state, reason }) => state === 'failed' && reason?.includes('deleted') === true,
    'the message fails',
  );
});

test('a member that moves to the other shard takes its layers and its messages along', async () => {
  await start();
  const moving = await memberIn('eu');
  const late = await remote();
  const sent = await here.send('l31', {
    from: moving.id,
    providers: [late.id],
    content: 'moved',
    prefer: 'wait=1',
  });
  expect(sent.status).toBe(202);
  const sockets = await socketsAt(HOSTS.main);
  await here.change(
    moving.path,
    Object.fromEntries(LAYERS.map((layer) => [`cmbs.member.${layer}_socket`, sockets[layer]])),
  );
  const answered = await eventually(
    () => ask({ ...moving, sockets }, 'l1', frameOf(unique('m'), {})),
    (reply) => reply.member_description !== undefined,
    'the member answers at its new address',
  );
  expect(answered.error).toBeUndefined();
  const peer = await ScriptedPeer.bind(late.sockets.l31, () => '{}');
  closing.push(() => peer.close());
  await here.reaches(sent.path, 'delivered');
});

test('members have another shard when the deployment has other shards', async () => {
  await start();
  const [near, far] = [await memberIn('main'), await memberIn('eu')];
  await here.close();

  await start({ shards: ['main=*'], running: ['main'] });
  for (const member of [near, far]) {
    expect(await ask(member, 'l1', frameOf(unique('m'), {}))).toHaveProperty('member_description');
  }
  await here.close();

  await start();
  for (const member of [near, far]) {
    const reply = await eventually(
      () => ask(member, 'l1', frameOf(unique('m'), {})),
      (answer) => answer.member_description !== undefined,
      'the member answers',
    );
    expect(reply.sockets_l1).toEqual(expect.arrayContaining([near.sockets.l1, far.sockets.l1]) as unknown);
  }
});

test('a member that was stored before its shard existed goes to the companion of that shard', async () => {
  await start({ shards: ['main=*'], running: ['main'] });
  const far = await memberIn('eu');
  await here.close();

  await start();
  await eventually(
    () => ask(far, 'l1', frameOf(unique('m'), {})),
    (answer) => answer.member_description !== undefined,
    'the member answers',
  );
  await eventually(
    () => membersSeen('eu'),
    (paths) => paths.includes(far.path),
    'the companion of its shard has it',
  );
  await here.close();

  await start();
  expect([membersSeen('main'), membersSeen('eu')]).toEqual([[], [far.path]]);
});

test('a member that release 1.0 stored is served by the companion of its shard', async () => {
  await start();
  await here.close();
  const store = await openSqliteStore({ directory, clock: systemClock, log: silentLog, acceptDataLoss: false });
  const id = unique('old');
  const path = `/cmbs/member/${id}`;
  const sockets = await socketsAt(HOSTS.eu);
  await store.transact((tx) => {
    const attributes: JsonObject = {
      [MEMBER.local]: 'true',
      ...Object.fromEntries(LAYERS.map((layer) => [MEMBER.socket(layer), sockets[layer]])),
    };
    const value = { id, kind: MEMBER_KIND, mixins: [], attributes, verbatim: {}, owner: 'nobody' };
    tx.put(
      ENTITIES,
      path,
      { ...value, createdAt: 1, updatedAt: 1 },
      { index: { category: [MEMBER_KIND], [`a.${MEMBER.local}`]: ['true'] } },
    );
    tx.put('desired-layers', path, { l1: 'started', changedAt: 1 });
    return Promise.resolve();
  });
  await store.close();

  await start();
  const old = { id, path, uri: here.url + path, sockets };
  expect(await ask(old, 'l1', frameOf(unique('m'), {}))).toHaveProperty('member_description');
  await here.close();

  // By now the store finds it by its shard.
  await start();
  expect(membersSeen('eu')).toEqual([path]);
  expect(membersSeen('main')).toEqual([]);
  expect(await ask(old, 'l1', frameOf(unique('m'), {}))).toHaveProperty('member_description');
});

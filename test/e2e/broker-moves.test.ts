/** Waiting messages follow their member to another address. */
import { silentLog, systemClock, type JsonObject } from '@cmbs/shared';
import { CMBS_EXTENSION } from '@cmbs/shared/broker';
import { Categories, readEntity, writeEntity } from '@cmbs/shared/occi';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { localTest } from './engine';
import { contentOf, eventually, Fleet, freeSocket, type Deployment, type LayerName, type Member } from './harness';
import { PATIENCE_MS } from '../patience';

const fleet = new Fleet();
let here: Deployment;
let there: Deployment;
let sender: Member;
beforeAll(async () => {
  [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  sender = await here.member();
});
afterAll(() => fleet.close());

/** A member of another deployment that is known here at addresses without a listener. */
async function elsewhere(topics: readonly string[] = []): Promise<Member> {
  const member = await there.member({ topics });
  const sockets = Object.fromEntries(
    await Promise.all(Object.keys(member.sockets).map(async (layer) => [layer, await freeSocket()] as const)),
  ) as Member['sockets'];
  await here.introduce({ ...member, sockets }, { topics });
  return member;
}

const queue = async (
  layer: LayerName,
  member: Member,
  contents: readonly string[],
): Promise<readonly string[]> => {
  const paths: string[] = [];
  for (const content of contents) {
    const to =
      layer === 'l2'
        ? {}
        : layer === 'l32'
          ? { topics: [member.id], orderingKey: 'own' }
          : { providers: [member.id] };
    const sent = await here.send(layer, { ...to, from: sender.id, content, prefer: 'wait=1' });
    expect(sent.status).toBe(202);
    paths.push(sent.path);
  }
  return paths;
};

const LAYERS = ['l31', 'l4', 'l32', 'l2'] as const;

test.each(LAYERS)('messages on %s follow their member in order and arrive once', async (layer) => {
  const member = await elsewhere(['unused']);
  if (layer === 'l32') await here.change(member.path, { 'cmbs.member.topics': [member.id] });
  await there.must(200, there.act(member.path, `start_${layer}`));
  if (layer === 'l32') await there.change(member.path, { 'cmbs.member.topics': [member.id] });
  const contents = ['one', 'two', 'three'];
  const paths = await queue(layer, member, contents);
  await here.change(member.path, { [`cmbs.member.${layer}_socket`]: member.sockets[layer] });
  for (const path of paths) {
    await eventually(
      () => here.delivery(path),
      ({ receivers }) =>
        receivers.every(({ name, state }) => name !== member.path || state === 'delivered' || state === 'sent') &&
        receivers.every(({ name, state }) => name !== member.id || state === 'delivered'),
      `${path} is there`,
      3 * PATIENCE_MS,
    );
  }
  expect((await there.receives(member, 3)).map(contentOf)).toEqual(contents);
  await here.must(200, here.request('DELETE', member.path));
});

localTest('also if it moved while no companion was running', async () => {
  let directory = '';
  const alone = await fleet.start({ prepare: (path) => void (directory = path) });
  const from = await alone.member();
  const member = await there.member({ start: ['l31'] });
  await alone.introduce({ ...member, sockets: { ...member.sockets, l31: await freeSocket() } });
  const paths: string[] = [];
  for (const content of ['one', 'two']) {
    const sent = await alone.send('l31', { providers: [member.id], from: from.id, content, prefer: 'wait=1' });
    expect(sent.status).toBe(202);
    paths.push(sent.path);
  }
  await alone.down();
  await changeOnDisk(directory, member.path, { 'cmbs.member.l31_socket': member.sockets.l31 });
  await alone.up();
  for (const path of paths) await alone.reaches(path, 'delivered', 3 * PATIENCE_MS);
  expect((await there.receives(member, 2)).map(contentOf)).toEqual(['one', 'two']);
});

/** Changes attributes of an entity while no companion runs. */
async function changeOnDisk(directory: string, path: string, attributes: JsonObject): Promise<void> {
  const store = await openSqliteStore({ directory, clock: systemClock, log: silentLog });
  const categories = new Categories(store, [CMBS_EXTENSION]);
  const { registry } = await categories.current();
  await store.transact(async (tx) => {
    const before = (await readEntity(tx, path))?.entity;
    if (before === undefined) throw new Error(`nothing at ${path}`);
    const next = { ...before, attributes: { ...before.attributes, ...attributes } };
    writeEntity(tx, next, before, registry);
  });
  categories.close();
  await store.close();
}

test.each(['l31', 'l2'] as const)('waiting messages on %s fail when their member is deleted', async (layer) => {
  const member = await elsewhere();
  const [path = ''] = await queue(layer, member, ['in vain']);
  await here.must(200, here.request('DELETE', member.path));
  const delivery = await eventually(
    () => here.delivery(path),
    ({ receivers }) => receivers.some(({ state }) => state === 'failed'),
    'it fails',
    PATIENCE_MS,
  );
  expect(delivery.receivers.find(({ state }) => state === 'failed')?.reason).toBe('the member was deleted');
});

test('members that swap addresses while messages are in flight get all of their messages', async () => {
  const pair = [await there.member({ start: ['l31'] }), await there.member({ start: ['l31'] })] as const;
  const [one, two] = pair;
  await here.introduce(one);
  await here.introduce(two);
  const field = 'cmbs.member.l31_socket';
  const paths: string[] = [];
  const sending = (async () => {
    for (let n = 0; n < 60; n += 1) {
      const providers = [(n % 2 === 0 ? one : two).id];
      const sent = await here.send('l31', { providers, from: sender.id, content: n, prefer: 'respond-async' });
      paths.push(sent.path);
    }
  })();
  for (let turn = 1; turn <= 4; turn += 1) {
    const [first, second] = turn % 2 === 0 ? [one, two] : [two, one];
    // The members move first, as real members do; their new addresses are known here a moment later.
    for (const member of pair) await there.must(200, there.act(member.path, 'stop_l31'));
    for (const deployment of [there, here]) {
      await deployment.change(one.path, { [field]: first.sockets.l31 });
      await deployment.change(two.path, { [field]: second.sockets.l31 });
      if (deployment === there) for (const member of pair) await there.act(member.path, 'start_l31');
    }
  }
  await sending;
  for (const path of paths) await here.reaches(path, 'delivered', 3 * PATIENCE_MS);
  expect(await there.inbox(one)).toHaveLength(30);
  expect(await there.inbox(two)).toHaveLength(30);
});

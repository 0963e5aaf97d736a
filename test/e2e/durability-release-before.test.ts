/** This release opens the data of the release before, with the same meaning (test/fixtures/data-v1-broker). */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { DatabaseSync } from '@photostructure/sqlite';
import type { JsonObject } from '@cmbs/shared';
import {
  ABSENT,
  ADDRESSES,
  descriptionOf,
  frameTo,
  KIND,
  LOCAL,
  MIXIN,
  NEWS,
  ORDERS,
  REMOTE,
  SERIES,
  type InboxName,
  type Sockets,
} from '../fixtures/data-v1-broker/contents';
import { ask, frameOf, ScriptedPeer } from './broker-peers';
import {
  contentOf,
  eventually,
  Fleet,
  freeSocket,
  skewedClock,
  unique,
  type Deployment,
  type Entry,
  type LayerName,
} from './harness';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const FIXTURE = join(__dirname, '../fixtures/data-v1-broker');
const { at, expires } = JSON.parse(readFileSync(join(FIXTURE, 'written.json'), 'utf8')) as {
  readonly at: number;
  readonly expires: number;
};

const fleet = new Fleet();
/** Free addresses by the addresses in the data. */
let addresses: ReadonlyMap<string, string>;
let clock: ReturnType<typeof skewedClock>;
let directory: string;
beforeAll(async () => {
  const free: [string, string][] = [];
  for (const address of ADDRESSES) free.push([address, await freeSocket()]);
  addresses = new Map(free);
});
afterEach(() => fleet.close());

const here = (address: string): string => addresses.get(address) ?? address;
const socketsOf = (sockets: Sockets): Sockets =>
  Object.fromEntries(Object.entries(sockets).map(([layer, one]) => [layer, here(one)])) as unknown as Sockets;

function unpack(into: string): void {
  directory = into;
  const file = join(into, 'cmbs.db');
  writeFileSync(file, gunzipSync(readFileSync(join(FIXTURE, 'cmbs.db.gz'))));
  const db = new DatabaseSync(file);
  db.exec('BEGIN');
  for (const [column, table] of [
    ['value', 'document'],
    ['entries', 'document'],
    ['value', 'entry'],
    ['value', 'sorted_entry'],
  ]) {
    const update = db.prepare(`UPDATE ${table} SET ${column} = replace(${column}, ?, ?)`);
    for (const [from, to] of addresses) update.run(from, to);
  }
  db.exec('COMMIT');
  db.close();
}

/** Opens the data with today's program, at a time after they were written. */
async function openAfter(ms: number): Promise<Deployment> {
  clock = skewedClock();
  clock.forward(at + ms - Date.now());
  return fleet.start({ clock, prepare: unpack });
}

const names = (entries: readonly Entry[]): readonly string[] => entries.map(({ message_id }) => message_id);
const attributesOf = async (broker: Deployment, path: string): Promise<JsonObject> =>
  (await broker.must(200, broker.get(path))).attributes;

test('members, categories, entities, links and messages are kept, with the state of each delivery', async () => {
  const broker = await openAfter(MINUTE_MS);
  expect(existsSync(join(directory, 'cmbs.db.v1.bak'))).toBe(true);
  for (const [id, sockets] of Object.entries({ ...LOCAL, ...REMOTE })) {
    const { json, attributes } = await broker.must(200, broker.get(`/cmbs/member/${id}`));
    expect(attributes).toMatchObject({
      'cmbs.member.local': String(id in LOCAL),
      ...Object.fromEntries(
        Object.entries(socketsOf(sockets)).map(([layer, one]) => [`cmbs.member.${layer}_socket`, one]),
      ),
    });
    if (id !== 'described') expect(json.title).toBe(`the title of ${id}`);
  }
  const member = (id: string): Promise<JsonObject> => attributesOf(broker, `/cmbs/member/${id}`);
  expect(await member('reader')).toMatchObject({
    'cmbs.member.state': 'suspended',
    'cmbs.member.topics': ['news.*'],
  });
  expect((await member('written'))['cmbs.member.topics']).toEqual(['orders.>']);
  expect((await member('found'))['cmbs.member.topics']).toEqual([ORDERS]);
  for (const [id, layers] of [
    ['alice', ['l1', 'l32', 'l4']],
    ['bob', ['l1']],
    ['reader', ['l32']],
  ] as const) {
    const states = await eventually(
      async () => (await member(id))['cmbs.member.layers'] as Readonly<Record<string, { readonly state: string }>>,
      (all) => layers.every((layer) => all[layer]?.state === 'started'),
      `the layers of ${id} are started again`,
    );
    const started = Object.entries(states).filter(([, { state }]) => state === 'started');
    expect(started.map(([layer]) => layer)).toEqual(layers);
  }

  expect((await broker.get(`/-/?category=${encodeURIComponent(MIXIN)}`)).text).toContain('fixture.label');
  expect((await broker.must(200, broker.get('/site/one'))).json).toMatchObject({
    kind: KIND,
    mixins: [MIXIN],
    attributes: { 'fixture.country': 'jp', 'fixture.label': 'first' },
  });
  const labelled = (await broker.must(200, broker.get('/labelled/'))).json.resources;
  expect((labelled as readonly JsonObject[]).map(({ id }) => id).sort()).toEqual(['bob', 'one']);
  const wrong = broker.request('PUT', '/site/two', { kind: KIND, attributes: {} });
  expect((await wrong).status).toBe(400);
  const neighbors = (await broker.must(200, broker.get('/cmbs/neighbor/'))).json.links as readonly JsonObject[];
  const ends = neighbors.map(({ source, target }) =>
    [source, target].map((end) => (end as { readonly location: string }).location.slice(broker.url.length)),
  );
  expect(ends.sort()).toEqual([
    ['/cmbs/member/alice', '/cmbs/member/found'],
    ['/cmbs/member/alice', '/cmbs/member/written'],
  ]);

  const state = async (id: string): Promise<string> => (await broker.delivery(`/cmbs/message/${id}`)).state;
  for (const layer of ['l1', 'l2', 'l31', 'l32', 'l4'] as const) {
    for (const one of SERIES) {
      expect(await attributesOf(broker, `/cmbs/message/out-${layer}-${one}`)).toMatchObject({
        'cmbs.message.message_content': `out-${layer}-${one}`,
        'cmbs.message.delivery': { state: layer === 'l32' || layer === 'l4' ? 'partial' : 'queued' },
      });
    }
  }
  expect([await state('out-delivered'), await state('out-failed'), await state('out-expired')]).toEqual([
    'delivered',
    'failed',
    'expired',
  ]);
  expect(await broker.metric('cmbs_messages_queued')).toBe(5 * SERIES.length);
  const dead = (await broker.must(200, broker.get('/cmbs/message/dead_letter/'))).json.resources;
  expect((dead as readonly JsonObject[]).map(({ id }) => id).sort()).toEqual(['out-expired', 'out-failed']);
  // A key whose request the earlier release has answered.
  for (const layer of ['l1', 'l2', 'l31', 'l32', 'l4'] as const) {
    const path = `/cmbs/message/out-${layer}-1`;
    const before = (await broker.delivery(path)).send_id;
    const headers = { 'Idempotency-Key': `key-${layer}`, Prefer: 'respond-async' };
    const again = await broker.act(path, `send_${layer}`, { from: 'alice' }, headers);
    expect([again.status, again.delivery.send_id]).toEqual([202, before]);
  }
  expect(await broker.metric('cmbs_messages_queued')).toBe(5 * SERIES.length);
});

/** Ids of what a member received on a layer, in order. */
const received = async (where: Deployment, id: string, layer: LayerName): Promise<readonly string[]> =>
  names(await where.inbox({ path: `/cmbs/member/${id}` })).filter((name) => name.startsWith(`out-${layer}-`));

test('queued messages go out in order and once to peers that connect now, without expired messages', async () => {
  const broker = await openAfter(2 * HOUR_MS);
  for (const layer of ['l1', 'l2', 'l31'] as const)
    await broker.reaches(`/cmbs/message/out-${layer}-brief`, 'expired');
  const layers = ['l1', 'l2', 'l31', 'l32', 'l4'] as const;
  const topics = ['orders.*'];
  const [first, second] = [await fleet.start({ clock }), await fleet.start({ clock })];
  await first.member({ id: 'absent', sockets: { l1: here(ABSENT) }, start: ['l1', 'l2'] });
  await first.member({ id: 'written', sockets: socketsOf(REMOTE.written), topics, start: layers });
  await second.member({ id: 'found', sockets: socketsOf(REMOTE.found), topics, start: layers });
  await second.member({ id: 'described', sockets: socketsOf(REMOTE.described), start: ['l2'] });
  await broker.change('/cmbs/member/reader', { 'cmbs.member.state': 'active' });
  for (const id of ['bob', 'reader']) await broker.must(200, broker.act(`/cmbs/member/${id}`, 'start_l2'));

  const whole = SERIES.filter((one) => one !== 'brief');
  for (const layer of layers) {
    for (const one of whole) await broker.reaches(`/cmbs/message/out-${layer}-${one}`, 'delivered');
  }
  // After another restart, a last message for each shows that no other message arrived in between.
  await broker.down();
  await broker.up();
  const mark = { from: 'alice', content: 'mark' };
  await broker.must(200, broker.send('l1', { ...mark, id: 'out-l1-mark', to: here(ABSENT) }));
  await broker.send('l2', { ...mark, id: 'out-l2-mark' });
  await broker.must(200, broker.send('l31', { ...mark, id: 'out-l31-mark', providers: ['written'] }));
  await broker.must(200, broker.send('l32', { ...mark, id: 'out-l32-mark', topics: [ORDERS] }));
  await broker.must(
    200,
    broker.send('l4', { ...mark, id: 'out-l4-mark', topics: [ORDERS], providers: ['written'] }),
  );
  const all: readonly (readonly [Deployment, string, readonly LayerName[]])[] = [
    [first, 'absent', ['l1']],
    [first, 'written', ['l2', 'l31', 'l32', 'l4']],
    [second, 'found', ['l2', 'l32']],
    [second, 'described', ['l2']],
    [broker, 'bob', ['l2']],
    [broker, 'reader', ['l2']],
  ];
  for (const [where, id, its] of all) {
    for (const layer of its) {
      await eventually(
        () => received(where, id, layer),
        (ids) => ids.includes(`out-${layer}-mark`),
        `${id} has all of ${layer}`,
      );
      expect(await received(where, id, layer)).toEqual([...whole, 'mark'].map((one) => `out-${layer}-${one}`));
    }
  }
  for (const layer of ['l1', 'l2', 'l31'] as const) {
    expect((await broker.delivery(`/cmbs/message/out-${layer}-brief`)).state).toBe('expired');
  }
  for (const layer of ['l32', 'l4'] as const) {
    const { state, receivers } = await broker.delivery(`/cmbs/message/out-${layer}-brief`);
    expect(state).toBe('partial');
    expect(new Set(receivers.map((receiver) => receiver.state))).toEqual(new Set(['delivered', 'expired']));
  }
  for (const layer of layers) await broker.reaches(`/cmbs/message/out-${layer}-mark`, 'delivered');
  expect(await broker.metric('cmbs_messages_queued')).toBe(0);
}, 60_000);

describe('an inbox', () => {
  const bob = { path: '/cmbs/member/bob' };

  test('has the entries that were not acknowledged, and leased entries once their lease ends', async () => {
    const broker = await openAfter(MINUTE_MS);
    const entries = await broker.inbox(bob);
    expect(names(entries)).toEqual(['in-unread', 'in-executed', 'in-brief', 'out-delivered']);
    expect(entries[0]).toMatchObject({ state: 'received', sender: 'http://127.0.0.1:9190/cmbs/member/peer' });
    expect(entries[1]).toMatchObject({ state: 'executed', answer: { id: 1, result: ['executed'] } });
    expect(entries.map(contentOf).filter((content) => typeof content === 'string')).toEqual([
      'unread',
      'brief',
      'out-delivered',
    ]);
    await broker.must(200, broker.request('DELETE', entries[0]!.href));
    expect(names(await broker.inbox(bob))).toEqual(['in-executed', 'in-brief', 'out-delivered']);
    clock.forward(12 * HOUR_MS);
    const later = await broker.inbox(bob, 'lease=30&number=100');
    expect(names(later)).toEqual(['in-leased', 'in-executed', 'out-delivered']);
    const rest = { entries: later.map(({ id }) => id) };
    await broker.must(200, broker.request('DELETE', `${bob.path}/inbox/`, rest));
    clock.forward(HOUR_MS);
    expect(await broker.inbox(bob)).toEqual([]);
  });

  test('does not offer a message that has expired', async () => {
    const broker = await openAfter(2 * HOUR_MS);
    for (const query of ['lease=0', 'lease=30&number=2', 'lease=30']) {
      expect(names(await broker.inbox(bob, query))).not.toContain('in-brief');
    }
  });

  test('does not accept a message again that it has or had', async () => {
    const broker = await openAfter(2 * HOUR_MS);
    await eventually(
      () => broker.layer({ ...bob, id: 'bob', uri: '', sockets: LOCAL.bob }, 'l1'),
      (layer) => layer?.state === 'started',
      'bob listens',
    );
    const before = names(await broker.inbox(bob));
    const again = (name: InboxName): Promise<JsonObject> =>
      ask(here(LOCAL.bob.l1), frameTo(name, name === 'brief' ? new Date(expires) : undefined));
    for (const name of ['acknowledged', 'leased', 'unread'] as const) {
      expect(await again(name)).toHaveProperty('member_description');
    }
    expect(await again('answered')).toMatchObject({ result: { id: 1, result: ['answered'] } });
    expect(await again('executed')).toMatchObject({ result: { id: 1, result: ['executed'] } });
    expect(await again('brief')).toHaveProperty('error.code', 'conflict');
    expect(names(await broker.inbox(bob))).toEqual(before);
  });
});

test('topic messages that wait for a suspended member arrive in order once it is active again', async () => {
  const broker = await openAfter(2 * HOUR_MS);
  const reader = { path: '/cmbs/member/reader' };
  expect(names(await broker.inbox(reader))).toEqual(['news-received']);
  await broker.change(reader.path, { 'cmbs.member.state': 'active' });
  await broker.must(
    200,
    broker.send('l32', { id: 'news-mark', topics: [NEWS], from: 'alice', orderingKey: 'key' }),
  );
  const entries = await eventually(
    () => broker.inbox(reader),
    (all) => names(all).includes('news-mark'),
    'the reader has all',
  );
  expect(names(entries)).toEqual(['news-received', 'news-1', 'news-2', 'news-3', 'news-mark']);
});

describe('a member of another deployment', () => {
  const tell = (id: string, sockets: Partial<Sockets>): Promise<JsonObject> =>
    ask(
      here(LOCAL.alice.l1),
      frameOf(unique('told'), { message_content: descriptionOf(id, sockets, ['stolen']) as JsonObject }),
    );
  const impostor = async (id: string): Promise<string> => {
    const l1 = await freeSocket();
    const reply = { member_description: descriptionOf(id, { l1 }, ['stolen']), sockets_l1: [] };
    fleet.using(await ScriptedPeer.bind(l1, () => JSON.stringify(reply)), (peer) => peer.close());
    return l1;
  };
  let broker: Deployment;
  beforeEach(async () => {
    broker = await openAfter(2 * HOUR_MS);
    await eventually(
      () => broker.layer({ path: '/cmbs/member/alice', id: 'alice', uri: '', sockets: LOCAL.alice }, 'l1'),
      (layer) => layer?.state === 'started',
      'alice listens',
    );
  });
  const check = async (...neighbors: readonly string[]): Promise<void> => {
    await broker.change('/cmbs/member/alice', { 'cmbs.member.neighbors_socket': neighbors });
    await broker.must(200, broker.act('/cmbs/member/alice', 'check_neighbors'));
  };

  test('is changed only by clients if a client described it', async () => {
    const claims = (): Promise<number> => broker.metric('cmbs_member_claims', { outcome: 'conflict' });
    const l1 = await impostor('written');
    const peers = await fleet.start({ clock });
    await peers.member({ id: 'written', sockets: socketsOf(REMOTE.written), topics: ['theirs'], start: ['l1'] });
    const before = await attributesOf(broker, '/cmbs/member/written');
    await tell('written', { l1 });
    await check(l1, here(REMOTE.written.l1));
    expect(await attributesOf(broker, '/cmbs/member/written')).toEqual(before);
    expect(await claims()).toBe(2);
    await broker.change('/cmbs/member/written', { 'cmbs.member.topics': ['ours'] });
    expect((await attributesOf(broker, '/cmbs/member/written'))['cmbs.member.topics']).toEqual(['ours']);
  });

  test.each(['found', 'described'] as const)(
    'follows the description at its address if it was registered (%s)',
    async (id) => {
      const l1 = await impostor(id);
      const peers = await fleet.start({ clock });
      const { sockets } = await peers.member({
        id,
        sockets: socketsOf(REMOTE[id]),
        topics: ['theirs'],
        start: ['l1'],
      });
      await tell(id, { l1 });
      const topics = async (): Promise<unknown> =>
        (await attributesOf(broker, `/cmbs/member/${id}`))['cmbs.member.topics'];
      // The frame makes the deployment ask at the known address.
      await eventually(topics, (all) => JSON.stringify(all) === '["theirs"]', 'the true topics are known');
      await check(l1);
      expect(await topics()).toEqual(['theirs']);
      expect((await attributesOf(broker, `/cmbs/member/${id}`))['cmbs.member.l1_socket']).toBe(sockets.l1);
    },
  );
});

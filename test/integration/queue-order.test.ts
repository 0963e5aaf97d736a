/** The order and the shards of outbound messages in the store. */
import { newId, silentLog, systemClock } from '@cmbs/shared';
import {
  CMBS_EXTENSION,
  layersOf,
  MEMBER_KIND,
  OUTBOUND_MESSAGES,
  outboundMessageOf,
  putOutbound,
  type OutboundMessage,
} from '@cmbs/shared/broker';
import { Categories, writeEntity } from '@cmbs/shared/occi';
import { MessageShards } from '../../companion/delivery/message-shards';
import { inQueueOrder } from '../../companion/delivery/queue-order';
import { Members } from '../../companion/members';
import { shardLease, wholeDeployment, type ShardLease } from '../../companion/shard-lease';
import { Shards } from '../../shared/broker/shards';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { randomFrom } from '../seed';

const SHARDS = new Shards(['main=127.0.0.1', 'eu=127.0.0.2'], layersOf());
const forever = { epoch: 1, isCurrent: () => true };

let temporary: TemporaryStore;
let categories: Categories;
let members: Members;
beforeEach(async () => {
  temporary = await openTemporaryStore();
  const { store } = temporary;
  categories = new Categories(store, [CMBS_EXTENSION]);
  const { registry } = await categories.current();
  await store.transact(async (tx) => {
    for (const [id, host] of [
      ['here', '127.0.0.1'],
      ['there', '127.0.0.2'],
    ] as const) {
      const member = {
        path: `/cmbs/member/${id}`,
        id,
        kind: MEMBER_KIND,
        mixins: [],
        attributes: { 'cmbs.member.local': 'true', 'cmbs.member.l1_socket': `tcp://${host}:1` },
        rawJson: {},
        owner: 'nobody',
        createdAt: 1,
        updatedAt: 1,
      };
      writeEntity(tx, member, undefined, registry);
    }
  });
  members = await Members.load({
    store,
    categories,
    clock: systemClock,
    newId,
    log: silentLog,
    layers: layersOf(),
    shard: wholeDeployment(newId),
  });
});
afterEach(async () => {
  members.close();
  categories.close();
  await temporary.close();
});

async function queue(...messages: readonly Partial<OutboundMessage>[]): Promise<void> {
  await temporary.store.transact(async (tx) => {
    for (const [at, message] of messages.entries()) {
      putOutbound(tx, {
        id: `m${at}`,
        wireId: `m${at}`,
        message: `/cmbs/message/m${at}`,
        layer: 'l1',
        from: '/cmbs/member/here',
        createdAt: at,
        sequence: 1,
        expiresAt: Number.MAX_SAFE_INTEGER,
        receivers: [{ name: 'peer', via: 'request', address: 'tcp://127.0.0.1:9', state: 'queued', attempts: 0 }],
        bytes: 1,
        ...message,
      });
    }
  });
}

async function inOrder(shard: string, page: number): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const { id } of inQueueOrder(temporary.store, shard, page)) ids.push(id);
  return ids;
}

async function shardsById(): Promise<Readonly<Record<string, string | undefined>>> {
  const { docs } = await temporary.store.query({ collection: OUTBOUND_MESSAGES, limit: 100 });
  return Object.fromEntries(docs.map((doc) => [doc.id, outboundMessageOf(doc).shard]));
}

const shardsOf = (shard: ShardLease): MessageShards =>
  new MessageShards({ store: temporary.store, members, shard });

it.each([1, 2, 7, 100])(
  'the messages of a shard are read in the order in which they were queued, by %d',
  async (page) => {
    const random = randomFrom();
    const times = Array.from({ length: 60 }, () => Math.floor(random() * 1e6));
    await queue(...times.map((createdAt, at) => ({ createdAt, shard: at % 3 === 0 ? 'eu' : 'main' })));
    for (const shard of ['main', 'eu']) {
      const expected = times
        .map((createdAt, at) => ({ createdAt, id: `m${at}`, isHere: (at % 3 === 0) === (shard === 'eu') }))
        .filter(({ isHere }) => isHere)
        .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
      expect(await inOrder(shard, page)).toEqual(expected.map(({ id }) => id));
    }
    expect(await inOrder('other', page)).toEqual([]);
  },
);

it('messages without a shard, or with that of a member that has moved, get the shard of their member', async () => {
  const there = '/cmbs/member/there';
  await queue(
    {},
    { shard: 'main' },
    { shard: 'eu' },
    { from: there },
    { from: there, shard: 'main' },
    { from: '/cmbs/member/deleted', shard: 'eu' },
  );
  await shardsOf(shardLease('eu', forever, SHARDS)).correct(() => false);
  expect(await shardsById()).toEqual({ m0: 'main', m1: 'main', m2: 'main', m3: 'eu', m4: 'eu', m5: 'main' });
  expect(await inOrder('eu', 10)).toEqual(['m3', 'm4']);
});

it('the only companion finds messages of release 1.0, and messages of a shard that is no more', async () => {
  await queue({ shard: 'main' }, {}, { shard: 'eu' });
  await shardsOf(wholeDeployment(() => 'holder')).correct(() => false);
  expect(await shardsById()).toEqual({ m0: 'main', m1: 'main', m2: 'main' });
  expect(await inOrder('main', 10)).toEqual(['m0', 'm1', 'm2']);
});

it('a message whose member moved while it was queued is corrected by the companion that finds the message', async () => {
  await queue({ from: '/cmbs/member/there', shard: 'main' }, { from: '/cmbs/member/deleted', shard: 'eu' });
  for (const id of ['m0', 'm1', 'gone']) await shardsOf(shardLease('main', forever, SHARDS)).correctOne(id);
  expect(await shardsById()).toEqual({ m0: 'eu', m1: 'main' });
});

it('messages that are queued later without a shard are found', async () => {
  const shards = shardsOf(shardLease('eu', forever, SHARDS));
  await queue({ shard: 'main' });
  await shards.correct(() => false);
  await queue({ shard: 'main' }, {}, { from: '/cmbs/member/there' });
  await shards.correct(() => false);
  expect(await shardsById()).toEqual({ m0: 'main', m1: 'main', m2: 'eu' });
});

it('companions with different settings of the shards do not give a message back and forth without end', async () => {
  const swapped = new Shards(['main=127.0.0.2', 'eu=127.0.0.1'], layersOf());
  const main = shardsOf(shardLease('main', forever, swapped));
  const eu = shardsOf(shardLease('eu', forever, SHARDS));
  await queue({ shard: 'main' });
  const shardAfter = async (work: Promise<void>): Promise<string | undefined> => {
    await work;
    return (await shardsById()).m0;
  };
  expect(await shardAfter(main.give('m0'))).toBe('eu');
  expect(await shardAfter(eu.give('m0'))).toBe('main');
  expect(await shardAfter(main.give('m0'))).toBe('main');
  // After the next scan, when the settings may be the same again.
  await main.correct(() => true);
  expect(await shardAfter(main.give('m0'))).toBe('eu');
});

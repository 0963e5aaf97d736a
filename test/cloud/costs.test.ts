/** Counts what operations cost on Firestore and Pub/Sub, and compares the counts with the table of docs/costs.md. */
import type { JsonObject } from '@cmbs/shared';
import { ask, frameOf } from '../e2e/broker-peers';
import { CMBS, eventually, Fleet, MEMBER, MESSAGE, unique, type Deployment, type Member } from '../e2e/harness';
import { readDocument, section } from '../documents/markdown';
import { rowsOf } from '../documents/table';
import { cloudEngine } from './deployment';
import { decoded } from './firestore-messages';
import { GrpcProxy } from './grpc-proxy';
import { describeOnEmulators } from './support';

interface Counts {
  read: number;
  written: number;
  deleted: number;
  watched: number;
  pubsub: number;
}

/** True for the lease of a shard: the table has a separate row for its renewals. */
const isLease = (name: string): boolean => name.includes('/documents/leases/');

/** How often each operation is done, so that unrelated work is averaged out. */
const TIMES = 20;

class Meter {
  /** Entries written to inboxes. */
  entries = 0;
  counts: Counts = { read: 0, written: 0, deleted: 0, watched: 0, pubsub: 0 };
  /** Versions of documents that a watch has sent. */
  readonly #sent = new WeakMap<object, Map<string, string>>();

  constructor(firestore: GrpcProxy, pubsub: GrpcProxy) {
    firestore.observe('Commit', (message) => {
      const { writes = [] } = decoded('CommitRequest', message) as {
        writes?: readonly { update?: { name: string }; delete?: string }[];
      };
      for (const { update, delete: deleted } of writes) {
        if (update !== undefined && !isLease(update.name)) {
          this.counts.written += 1;
          if (update.name.includes('inbox')) this.entries += 1;
        }
        if (deleted !== undefined && deleted !== '') this.counts.deleted += 1;
      }
    });
    firestore.observe('BatchGetDocuments', (message) => {
      const { documents = [] } = decoded('BatchGetDocumentsRequest', message) as { documents?: readonly string[] };
      this.counts.read += documents.filter((name) => !isLease(name)).length;
    });
    firestore.observeAnswers('RunQuery', (message) => {
      const { document } = decoded('RunQueryResponse', message) as { document?: { name: string } };
      // A query that finds nothing costs one read.
      if (document === undefined || !isLease(document.name)) this.counts.read += 1;
    });
    // A thousand entries of an index are counted for the price of one read.
    firestore.observe('RunAggregationQuery', () => {
      this.counts.read += 1;
    });
    firestore.observeAnswers('Listen', (message, call) => {
      const { documentChange: change } = decoded('ListenResponse', message) as {
        documentChange?: { document?: { name: string; updateTime: unknown } };
      };
      const { name, updateTime } = change?.document ?? {};
      if (name === undefined || isLease(name)) return;
      const sent = this.#sent.get(call) ?? new Map<string, string>();
      this.#sent.set(call, sent);
      const version = JSON.stringify(updateTime);
      // The emulator resets a target with a range of ids after unrelated writes, and sends every document again.
      if (sent.get(name) !== version) this.counts.watched += 1;
      sent.set(name, version);
    });
    for (const method of ['Publish', 'Acknowledge']) {
      pubsub.observe(method, () => {
        this.counts.pubsub += 1;
      });
    }
  }
}

/** Entries that readers have leased. */
const LEASED = 150;
/** Members that no operation concerns, and how many a request creates. */
const CROWD = 2000;
const CROWD_STEP = 100;
/** One of so many is a local member; a search for each of its ports makes it slow to create. */
const LOCAL_EACH = 20;
/** Looks in a row without a read after which nothing goes on in the background. */
const QUIET_LOOKS = 20;
/** Ports of the members' addresses, which are not opened. */
const FIRST_PORT = 40_000;
const LAYERS = ['l1', 'l2', 'l31', 'l32', 'l4'];
const addressesFrom = (port: number): JsonObject =>
  Object.fromEntries(LAYERS.map((layer, nth) => [`cmbs.member.${layer}_socket`, `tcp://127.0.0.1:${port + nth}`]));

/** Allowed difference of each count: reads depend on how many messages are delivered together. */
const TOLERANCE: Counts = { read: 2, written: 0.5, deleted: 0.5, watched: 2, pubsub: 0.5 };

/** Dollars per million, as stated in docs/costs.md. */
const PRICES: Counts = { read: 0.6, written: 1.8, deleted: 0.2, watched: 0.6, pubsub: 0.04 };

const COLUMNS = ['read', 'written', 'deleted', 'watched', 'pubsub'] as const;

describeOnEmulators('the costs of an operation', (hosts) => {
  const fleet = new Fleet();
  const stated = new Map(
    rowsOf(section(readDocument('docs/costs.md'), 'costs')).map((cells) => [cells[0] ?? '', cells]),
  );
  let meter: Meter;
  let proxies: readonly GrpcProxy[];
  let here: Deployment;
  let alice: Member;
  let bob: Member;

  beforeAll(async () => {
    const [firestore, pubsub] = await Promise.all([
      GrpcProxy.listen(hosts.firestore),
      GrpcProxy.listen(hosts.pubsub),
    ]);
    proxies = [firestore, pubsub];
    meter = new Meter(firestore, pubsub);
    here = await fleet.start({ engine: cloudEngine({ firestore: firestore.host, pubsub: pubsub.host }).engine });
    alice = await here.member({ title: 'alice', start: ['l1'] });
    bob = await here.member({ title: 'bob', topics: ['costs'], start: ['l1', 'l32'] });
    await here.must(200, here.send('l32', { from: alice.id, topics: ['costs'], content: 'makes the topic' }));
    await here.receives(bob, 1);
  });

  afterAll(async () => {
    await fleet.close();
    for (const proxy of proxies) await proxy.close();
  });

  async function perOperation(
    operation: (at: number) => Promise<unknown>,
    settled: () => Promise<unknown>,
  ): Promise<Counts> {
    meter.entries = 0;
    meter.counts = { read: 0, written: 0, deleted: 0, watched: 0, pubsub: 0 };
    for (let at = 0; at < TIMES; at += 1) await operation(at);
    await settled();
    const { counts } = meter;
    return Object.fromEntries(
      COLUMNS.map((name) => [name, Math.round(counts[name] / TIMES)]),
    ) as unknown as Counts;
  }

  const nothing = async (): Promise<void> => undefined;
  /** Waits on counts that the test takes anyway, so that waiting causes no calls. */
  const allReceived = (): Promise<unknown> =>
    eventually(
      () => meter.entries,
      (entries) => entries >= TIMES,
      'all arrive',
    );
  const send = (mixin: string, attributes: JsonObject): Promise<unknown> =>
    here.must(
      200,
      here.request('POST', `/cmbs/message/?send&from=${alice.id}`, {
        kind: MESSAGE,
        mixins: [CMBS + mixin],
        attributes: { ...attributes, 'cmbs.message.message_content': 'Hello' },
      }),
    );
  const path = (at: number): string => `/cmbs/message/costs-${at}`;

  const operations: Readonly<Record<string, () => Promise<Counts>>> = {
    'create a message': () =>
      perOperation((at) => here.must(201, here.request('PUT', path(at), { kind: MESSAGE })), nothing),
    'read a message': () => perOperation((at) => here.must(200, here.get(path(at))), nothing),
    'list 20 messages': () =>
      perOperation(() => here.must(200, here.get('/cmbs/message/?page=1&number=20')), nothing),
    'delete a message': () => perOperation((at) => here.must(200, here.request('DELETE', path(at))), nothing),
    'create and send on L1, to a member here': () =>
      perOperation(() => send('l1', { 'cmbs.message.l1_socket_receiver_member': bob.sockets.l1 }), allReceived),
    'create and send on L3.2, to a member here': () =>
      perOperation(() => send('l32', { 'cmbs.message.topics': ['costs'] }), allReceived),
    'read and acknowledge an inbox entry': () =>
      perOperation(async () => {
        const [entry] = await here.inbox(bob, 'number=1');
        await here.must(200, here.request('DELETE', entry?.href ?? ''));
      }, nothing),
  };

  it('are stated for each operation', () => {
    expect([...stated.keys()]).toEqual(Object.keys(operations));
  });

  it('follow, in dollars, from the counts', () => {
    for (const [name, cells] of stated) {
      const dollars = COLUMNS.reduce((sum, column, at) => sum + Number(cells[at + 1]) * PRICES[column], 0);
      expect([name, cells[COLUMNS.length + 1]]).toEqual([name, dollars.toFixed(1)]);
    }
  });

  const matches = async (name: string): Promise<void> => {
    const counted = await (operations[name] as () => Promise<Counts>)();
    const cells = stated.get(name) ?? [];
    const stands = Object.fromEntries(COLUMNS.map((column, at) => [column, Number(cells[at + 1])]));
    const isNear = COLUMNS.every(
      (column) => Math.abs(counted[column] - (stands[column] ?? NaN)) <= TOLERANCE[column],
    );
    // The whole row, so that a failure shows what to write in the document.
    expect(isNear ? stands : counted).toEqual(stands);
  };

  it.each(Object.keys(operations))('match docs/costs.md: %s', matches);

  it('are none for a reader while it waits', async () => {
    meter.counts = { read: 0, written: 0, deleted: 0, watched: 0, pubsub: 0 };
    expect(await here.inbox(alice, 'wait=8')).toEqual([]);
    // The member, twice, for the request and its watch, and the empty inbox before and after the wait.
    expect(meter.counts.read).toBeLessThanOrEqual(5);
  });

  it('are few for a reader behind many leased entries', async () => {
    const carol = await here.member({ title: 'carol', start: ['l1'] });
    for (let at = 0; at < LEASED; at += 1) await ask(carol.sockets.l1, frameOf(unique('leased'), {}));
    expect(await here.inbox(carol, 'number=1000&lease=3600')).toHaveLength(LEASED);
    await ask(carol.sockets.l1, frameOf('behind', {}));
    meter.counts = { read: 0, written: 0, deleted: 0, watched: 0, pubsub: 0 };
    const { json } = await here.must(200, here.get(`${carol.path}/inbox/?number=1`));
    expect(json).toMatchObject({ entries: [{ message_id: 'behind' }], leased: LEASED });
    // The member four times, the entry for its lease, two entries in each part of the inbox, and a count.
    expect(meter.counts.read).toBeLessThanOrEqual(10);
    expect(meter.counts.written).toBe(1);
  });

  describe('are the same among 2,000 members', () => {
    beforeAll(async () => {
      const { watched } = meter.counts;
      for (let from = 0; from < CROWD; from += CROWD_STEP) {
        const resources = Array.from({ length: CROWD_STEP }, (_, at) => ({
          kind: MEMBER,
          title: `crowd ${from + at}`,
          attributes: {
            'cmbs.member.local': at % LOCAL_EACH === 0 ? 'true' : 'false',
            'cmbs.member.topics': [`crowd.${from + at}.>`],
            ...(at % LOCAL_EACH === 0 ? addressesFrom(FIRST_PORT + (from + at) * LAYERS.length) : {}),
          },
        }));
        await here.must(201, here.request('POST', '/cmbs/member/', JSON.stringify({ resources })));
      }
      await eventually(
        () => meter.counts.watched - watched,
        (seen) => seen >= CROWD / LOCAL_EACH,
        'the companion has been told of the local members',
      );
      let [before, quiet] = [NaN, 0];
      await eventually(
        () => {
          const { read } = meter.counts;
          quiet = read === before ? quiet + 1 : 0;
          before = read;
          return quiet;
        },
        (times) => times >= QUIET_LOOKS,
        'the companion has looked after its new members',
      );
    });

    // By now there are other messages on a page.
    const alike = Object.keys(operations).filter((name) => !name.startsWith('list'));
    it.each(alike)('%s', matches);
  });
});

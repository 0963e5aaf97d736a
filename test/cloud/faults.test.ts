/** A whole deployment when Firestore, Pub/Sub or a part of its own does not do what it should. */
import { restartableEmulator, type RestartableEmulator } from '@cmbs/emulator/emulators';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { silentLog } from '@cmbs/shared';
import { FIRESTORE_WRITE_MS, LEASE_TTL_MS, PUBSUB_ACK_DEADLINE_S, PUBSUB_DEADLINE_MS } from '@cmbs/shared/limits';
import {
  contentOf,
  eventually,
  Fleet,
  MEMBER,
  MESSAGE,
  unique,
  type Answer,
  type Deployment,
  type Member,
} from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { cloudEngine, cloudEnvironment, configOf, type CloudEngine, type Environment } from './deployment';
import { GrpcProxy } from './grpc-proxy';
import { Outside } from './outside';
import { CompanionProgram, Program } from './processes';
import { describeOnEmulators, itRestartsEmulators, uniqueProject } from './support';

/** Milliseconds that an answer may take beyond the deadline of what it waited for. */
const MARGIN_MS = 3000;

/** Sends that may wait for the bus on one layer. */
const QUEUE_LIMIT = 20;

/** Milliseconds that "at once" is, with a few attempts, on a busy machine. */
const AT_ONCE_MS = 5000;

/** Milliseconds until the emulator offers again what a reader took that is gone: twice the lease, and some. */
const OFFERED_AGAIN_MS = (2 * PUBSUB_ACK_DEADLINE_S + 15) * 1000;

const ABORTED = 10;
const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const UNAVAILABLE = 14;

async function timed<T>(work: Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const began = performance.now();
  const value = await work;
  return { value, ms: performance.now() - began };
}

describeOnEmulators('a deployment goes on', (hosts) => {
  const fleet = new Fleet();
  const projectId = uniqueProject();
  let firestore: GrpcProxy;
  let pubsub: GrpcProxy;
  let cloud: CloudEngine;
  let here: Deployment;
  let alice: Member;
  let bob: Member;

  beforeAll(async () => {
    firestore = await GrpcProxy.listen(hosts.firestore);
    pubsub = await GrpcProxy.listen(hosts.pubsub);
    cloud = cloudEngine(
      { firestore: firestore.host, pubsub: pubsub.host },
      {
        GOOGLE_CLOUD_PROJECT: projectId,
        CMBS_QUEUE_LIMIT: String(QUEUE_LIMIT),
      },
    );
    here = await fleet.start({ engine: cloud.engine });
    alice = await here.member({ title: 'alice' });
    bob = await here.member({ title: 'bob', topics: ['fault.*'], start: ['l1', 'l32'] });
    await here.must(200, here.send('l32', { from: alice.id, topics: ['fault.first'], content: 'first' }));
    await here.receives(bob, 1);
  });
  afterEach(() => {
    firestore.heal();
    pubsub.heal();
    // What an outage is, is told; what it does is what these tests are about.
    here.faults.splice(0);
  });
  afterAll(async () => {
    await fleet.close();
    await Promise.all([firestore.close(), pubsub.close()]);
  });

  const publish = (content: string, more = {}): Promise<Answer & { readonly path: string }> =>
    here.send('l32', { from: alice.id, topics: ['fault.first'], content, ...more });
  const arrives = (content: string, ms?: number): Promise<unknown> =>
    eventually(
      async () => (await here.inbox(bob)).map(contentOf),
      (contents) => contents.includes(content),
      `bob receives ${content}`,
      ms,
    );
  const count = async (content: string): Promise<number> =>
    (await here.inbox(bob)).filter((entry) => contentOf(entry) === content).length;

  test.each([
    ['ABORTED', 'Commit', ABORTED],
    ['UNAVAILABLE', 'Commit', UNAVAILABLE],
    ['UNAVAILABLE', 'BatchGetDocuments', UNAVAILABLE],
    ['UNAVAILABLE', 'RunQuery', UNAVAILABLE],
  ])('when Firestore answers %s to %s', async (_, method, status) => {
    firestore.inject(method, { kind: 'answer', status }, 3);
    const content = unique('content');
    const sent = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content });
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    expect(await count(content)).toBe(1);
    expect((await here.get('/cmbs/message/?number=3')).status).toBe(200);
  });

  test('when Firestore is slow', async () => {
    for (const method of ['Commit', 'BatchGetDocuments', 'RunQuery']) {
      firestore.inject(method, { kind: 'delay', ms: 300 }, 100);
    }
    const content = unique('content');
    const sent = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content });
    expect(sent.status).toBe(200);
    firestore.heal();
    await here.reaches(sent.path, 'delivered');
    expect(await count(content)).toBe(1);
  });

  test('when the answer to a commit is lost, which then is not made twice', async () => {
    for (const by of ['error', 'connection'] as const) {
      const path = `/cmbs/message/${unique('lost')}`;
      firestore.inject('Commit', { kind: 'lose', by });
      const created = await here.request('PUT', path, {
        kind: MESSAGE,
        attributes: { 'cmbs.message.message_content': 'once' },
      });
      expect(created.status).toBe(201);
      expect((await here.get(path)).status).toBe(200);
    }
  });

  test('when nobody answers for Firestore, and says so in time', async () => {
    await firestore.refuse();
    const asked = await timed(
      Promise.all([
        here.get(bob.path),
        here.request('PUT', `/cmbs/message/${unique('no')}`, { kind: MESSAGE }),
        here.get('/readyz'),
        here.get('/healthz'),
      ]),
    );
    await firestore.accept();
    expect(asked.value.map(({ status }) => status)).toEqual([503, 503, 503, 200]);
    expect(asked.value[0].error).toMatch(/Firestore/);
    expect(asked.ms).toBeLessThan(AT_ONCE_MS);
    await eventually(
      async () => (await here.get('/readyz')).status,
      (status) => status === 200,
      'ready again',
      LEASE_TTL_MS * 2,
    );
    const content = unique('content');
    const sent = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content });
    await here.reaches(sent.path, 'delivered', 20_000);
  }, 90_000);

  test('and calls a write that Firestore does not confirm an unknown outcome', async () => {
    firestore.inject('Commit', { kind: 'silence' }, 1000);
    const { value, ms } = await timed(here.request('PUT', `/cmbs/message/${unique('silent')}`, { kind: MESSAGE }));
    firestore.heal();
    expect([value.status, value.error]).toEqual([504, expect.stringMatching(/outcome unknown/)]);
    expect(ms).toBeLessThan(FIRESTORE_WRITE_MS + MARGIN_MS);
    // The companion could not renew its lease meanwhile, and has to take its shard again.
    await eventually(
      async () => (await here.get('/readyz')).status,
      (status) => status === 200,
      'ready again',
      LEASE_TTL_MS * 3,
    );
  }, 120_000);

  test.each([
    ['the database does not exist', NOT_FOUND, 'The database (default) does not exist for project'],
    ['nobody may use it', PERMISSION_DENIED, 'Missing or insufficient permissions.'],
  ])('and says what is wrong when %s', async (_, status, message) => {
    for (const method of ['Commit', 'BatchGetDocuments', 'RunQuery', 'BeginTransaction']) {
      firestore.inject(method, { kind: 'answer', status, message }, 1000);
    }
    const { value, ms } = await timed(here.get(bob.path));
    firestore.heal();
    expect(value.status).toBeGreaterThanOrEqual(500);
    expect(value.error).toMatch(/Firestore/);
    expect(ms).toBeLessThan(AT_ONCE_MS);
  });

  test('when Pub/Sub answers UNAVAILABLE to a publication', async () => {
    pubsub.inject('Publish', { kind: 'answer', status: UNAVAILABLE }, 2);
    const content = unique('content');
    const sent = await publish(content);
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    await arrives(content);
  });

  test('when Pub/Sub is away: what is sent waits, and goes out when it is back', async () => {
    await pubsub.refuse();
    const content = unique('content');
    const { value, ms } = await timed(publish(content));
    await pubsub.accept();
    expect(value.status).toBe(202);
    expect(ms).toBeLessThan(PUBSUB_DEADLINE_MS + MARGIN_MS);
    await here.reaches(value.path, 'delivered', 40_000);
    await arrives(content, OFFERED_AGAIN_MS);
    expect(await count(content)).toBe(1);
  }, 120_000);

  test('when Pub/Sub is away for long: what waits has a bound', async () => {
    await pubsub.refuse();
    const paths: string[] = [];
    for (let number = 0; number < QUEUE_LIMIT; number += 1) {
      const sent = await publish(unique('waits'), { prefer: 'respond-async' });
      expect(sent.status).toBe(202);
      paths.push(sent.path);
    }
    const refused = await publish(unique('refused'));
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '5']);
    await pubsub.accept();
    for (const path of paths) await here.reaches(path, 'delivered', 60_000);
    expect((await here.act(refused.path, 'send_l32', { from: alice.id })).status).toBe(200);
  }, 240_000);

  test.each([
    ['the project does not exist', NOT_FOUND, /does the project exist/],
    ['nobody may publish', PERMISSION_DENIED, /lacks a permission/],
  ])('when %s in Pub/Sub: what is sent waits, and says why', async (_, status, why) => {
    pubsub.inject('Publish', { kind: 'answer', status, message: 'secret detail' }, Infinity);
    const sent = await publish(unique('content'));
    expect([sent.status, sent.headers.get('x-occi-reason')]).toEqual([202, expect.stringMatching(why)]);
    const delivery = await eventually(
      () => here.delivery(sent.path),
      ({ reason }) => reason !== undefined,
      'the message says why',
      30_000,
    );
    expect(delivery).toMatchObject({ state: 'queued', reason: expect.stringMatching(why) as string });
    expect(JSON.stringify(delivery)).not.toContain('secret');
    pubsub.heal();
    await here.reaches(sent.path, 'delivered', 60_000);
  });

  test('when Pub/Sub fails the first of an ordering key: the others do not overtake it', async () => {
    const orderingKey = unique('key');
    const contents = Array.from({ length: 6 }, (_, number) => `${orderingKey}: ${number}`);
    const [first = '', second = '', ...others] = contents;
    await pubsub.refuse();
    expect((await publish(first, { orderingKey })).status).toBe(202);
    await pubsub.accept();
    // At once, while the first one waits for the end of its back-off.
    await here.must(200, publish(second, { orderingKey, prefer: 'wait=40' }));
    await here.must(200, publish('of another key', { orderingKey: unique('key') }));
    await pubsub.refuse();
    for (const content of others) {
      expect((await publish(content, { orderingKey, prefer: 'respond-async' })).status).toBe(202);
    }
    await cloud.parts().stopCompanion();
    await pubsub.accept();
    await cloud.parts().startCompanion();
    await arrives(contents.at(-1) ?? '', OFFERED_AGAIN_MS);
    const received = (await here.inbox(bob))
      .map(contentOf)
      .filter((content) => (contents as unknown[]).includes(content));
    expect(received).toEqual(contents);
  }, 240_000);

  test('when Pub/Sub is away while a member starts on a topic: it is started when it is back', async () => {
    const member = await here.member({ topics: [unique('fault.later')] });
    await pubsub.refuse();
    const asked = await here.act(member.path, 'start_l32');
    expect([asked.status, asked.headers.get('x-occi-reason')]).toEqual([202, expect.stringContaining('Pub/Sub')]);
    await pubsub.accept();
    await eventually(
      () => here.layer(member, 'l32'),
      (layer) => layer?.state === 'started',
      'the layer is started',
      60_000,
    );
  }, 120_000);

  test('when Pub/Sub does not confirm a publication that it has', async () => {
    pubsub.inject('Publish', { kind: 'lose', by: 'silence' });
    const content = unique('content');
    const { value, ms } = await timed(publish(content));
    expect(value.status).toBe(202);
    expect(ms).toBeLessThan(PUBSUB_DEADLINE_MS + MARGIN_MS);
    await here.reaches(value.path, 'delivered', 40_000);
    await arrives(content, OFFERED_AGAIN_MS);
    // It is published twice, and received once.
    const mark = unique('mark');
    await publish(mark);
    await arrives(mark, OFFERED_AGAIN_MS);
    expect(await count(content)).toBe(1);
  }, 240_000);

  test('when streams from Pub/Sub break off', async () => {
    pubsub.cut();
    const content = unique('content');
    const sent = await publish(content);
    await here.reaches(sent.path, 'delivered', 20_000);
    // The emulator may hand it to a stream that is gone, and waits for its lease.
    await arrives(content, OFFERED_AGAIN_MS);
  }, 150_000);

  test('when acknowledgements are lost, and Pub/Sub brings it again, after what came later', async () => {
    const [content, later] = [unique('content'), unique('later')];
    const taken = (): Promise<number> => here.metric('cmbs_received', { layer: 'l32', outcome: 'accepted' });
    const before = await taken();
    pubsub.inject('Acknowledge', { kind: 'answer', status: UNAVAILABLE }, Infinity);
    const outside = new Outside(hosts, projectId);
    try {
      for (const each of [content, later]) {
        await outside.publish('cmbs.l32.fault.first', each);
        await arrives(each, OFFERED_AGAIN_MS);
      }
      await eventually(
        async () => (await taken()) - before,
        (deliveries) => deliveries >= 4,
        'both have come again',
        2 * OFFERED_AGAIN_MS,
      );
      pubsub.heal();
      expect([await count(content), await count(later)]).toEqual([1, 1]);
    } finally {
      await outside.close();
    }
  }, 300_000);

  test('after a restart of the companion, which makes nothing anew', async () => {
    const made = (): number[] =>
      ['CreateTopic', 'CreateSubscription', 'GetSubscription', 'UpdateSubscription'].map((method) =>
        pubsub.callsOf(method),
      );
    const before = made();
    await cloud.parts().stopCompanion();
    await cloud.parts().startCompanion();
    const content = unique('content');
    await publish(content);
    await arrives(content, OFFERED_AGAIN_MS);
    expect(made()).toEqual(before);
  }, 120_000);

  test('when two functions change one entity at once: nothing is lost, and one of two wins', async () => {
    const settings = await cloudEnvironment(hosts, { GOOGLE_CLOUD_PROJECT: projectId });
    const other = await startCloudFunctions({ config: configOf(settings), log: silentLog });
    try {
      const urls = [here.url, other.url];
      const path = `/cmbs/member/${unique('both')}`;
      await here.must(201, here.request('PUT', path, { kind: MEMBER }));
      const names = Array.from({ length: 12 }, (_, i) => `http://example.org/tags#tag${i}`);
      await here.must(
        200,
        here.request('POST', '/-/', {
          mixins: names.map((id) => {
            const [scheme = '', term = ''] = id.split(/(?<=#)/);
            return { scheme, term, location: `/tags/${term}/` };
          }),
        }),
      );
      for (const url of urls) {
        await eventually(
          async () => (await here.get(`${url}/-/`)).text,
          (text) => names.every((id) => text.includes(`/tags/${id.slice(id.indexOf('#') + 1)}/`)),
          'both functions know the mixins',
        );
      }
      const tagged = await Promise.all(
        names.map((id, i) => here.request('POST', `${urls[i % 2]}${path}`, { kind: MEMBER, mixins: [id] })),
      );
      // Nobody said what he had seen before, so nobody is refused.
      expect(tagged.map(({ status }) => status)).toEqual(names.map(() => 200));
      const { json } = await here.get(path);
      expect(json.mixins).toEqual(expect.arrayContaining(names));
      const etag = (await here.get(path)).headers.get('etag') ?? '';
      const racing = await Promise.all(
        urls.map((url, i) =>
          here.request('PUT', url + path, { kind: MEMBER, title: `from ${i}` }, { 'If-Match': etag }),
        ),
      );
      expect(racing.map(({ status }) => status).sort()).toEqual([200, 412]);
    } finally {
      await other.close();
    }
  });
});

describeOnEmulators('a function that is killed', (hosts) => {
  test('between storing a message and publishing it: the companion publishes it', async () => {
    const fleet = new Fleet();
    const pubsub = await GrpcProxy.listen(hosts.pubsub);
    let functions: Program | undefined;
    try {
      const cloud = cloudEngine(hosts);
      let settings: Environment = {};
      const here = await fleet.start({
        engine: async (options) => {
          const running = await cloud.engine(options);
          settings = { ...options.env };
          return running;
        },
        env: await cloudEnvironment(hosts),
      });
      const alice = await here.member({ title: 'alice' });
      const bob = await here.member({ title: 'bob', topics: ['killed'], start: ['l32'] });
      await here.must(200, here.send('l32', { from: alice.id, topics: ['killed'], content: 'first' }));
      const port = await freePort();
      functions = new Program('local/cloud.js', ['--only', 'functions'], {
        ...settings,
        PORT: String(port),
        CMBS_PUBLIC_URL: here.url,
        PUBSUB_EMULATOR_HOST: pubsub.host,
      });
      const url = `http://127.0.0.1:${port}`;
      await functions.answers(`${url}/healthz`, 200);

      pubsub.inject('Publish', { kind: 'silence' }, 100);
      const path = await here.message('l32', { topics: ['killed'], content: 'interrupted' });
      const asked = here.act(url + path, 'send_l32', { from: alice.id }).catch((error: unknown) => error);
      await eventually(
        () => pubsub.callsOf('Publish'),
        (calls) => calls > 0,
        'the function publishes',
      );
      await functions.kill();
      expect(await asked).toMatchObject({ message: 'fetch failed' });

      const entries = await here.receives(bob, 2, 20_000);
      expect(entries.map(contentOf)).toEqual(['first', 'interrupted']);
      await here.reaches(path, 'delivered');
    } finally {
      await functions?.kill();
      await fleet.close();
      await pubsub.close();
    }
  }, 90_000);
});

describeOnEmulators('a companion that is told to stop', (hosts) => {
  test('while neither Firestore nor Pub/Sub answers ends in time', async () => {
    const firestore = await GrpcProxy.listen(hosts.firestore);
    const pubsub = await GrpcProxy.listen(hosts.pubsub);
    const fleet = new Fleet();
    let companion: CompanionProgram | undefined;
    try {
      const settings = await cloudEnvironment({ firestore: firestore.host, pubsub: pubsub.host });
      const here = await fleet.start({
        engine: () => startCloudFunctions({ config: configOf(settings), log: silentLog }),
      });
      companion = await CompanionProgram.start(settings);
      await companion.holding();
      const member = await here.member({ topics: ['last'], start: ['l1', 'l32'] });
      await here.must(200, here.send('l32', { topics: ['last'], content: 'first' }));
      await here.receives(member, 1);
      for (const method of ['Commit', 'BatchGetDocuments', 'RunQuery', 'Rollback']) {
        firestore.inject(method, { kind: 'silence' }, 10_000);
      }
      for (const method of ['Acknowledge', 'ModifyAckDeadline', 'Publish']) {
        pubsub.inject(method, { kind: 'silence' }, 10_000);
      }
      const outside = fleet.using(new Outside(hosts, settings.GOOGLE_CLOUD_PROJECT ?? ''), (one) => one.close());
      await outside.publish('cmbs.l32.last', 'cannot be taken');
      expect(await companion.stop()).toBeLessThan(10_000);
      expect(await companion.ended).toEqual({ code: 0, signal: null });
    } finally {
      firestore.heal();
      pubsub.heal();
      await companion?.kill();
      await fleet.close();
      await Promise.all([firestore.close(), pubsub.close()]);
    }
  }, 90_000);
});

describeOnEmulators('emulators that are restarted empty', () => {
  let firestore: RestartableEmulator;
  let pubsub: RestartableEmulator;
  afterEach(() => Promise.all([firestore.stop(), pubsub.stop()]));

  itRestartsEmulators(
    'under the running system: clear errors, and all is well when the data are back',
    async () => {
      firestore = await restartableEmulator('firestore');
      pubsub = await restartableEmulator('pubsub');
      await Promise.all([firestore.start(), pubsub.start()]);
      const fleet = new Fleet();
      try {
        const engine = cloudEngine({ firestore: firestore.host, pubsub: pubsub.host }).engine;
        const here = await fleet.start({ engine });
        const fill = async (): Promise<readonly [Member, Member]> => [
          await here.member({ title: 'alice' }),
          await here.member({ title: 'bob', topics: ['again'], start: ['l1', 'l32'] }),
        ];
        const exchange = async ([alice, bob]: readonly [Member, Member]): Promise<void> => {
          const direct = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content: 'direct' });
          await here.reaches(direct.path, 'delivered', 20_000);
          const published = await here.send('l32', { topics: ['again'], from: alice.id, content: 'published' });
          await here.reaches(published.path, 'delivered', 20_000);
          expect((await here.receives(bob, 2, 20_000)).map(contentOf).sort()).toEqual(['direct', 'published']);
        };
        const before = await fill();
        await exchange(before);

        await Promise.all([firestore.restart(), pubsub.restart()]);
        const gone = await eventually(
          () => here.get(before[1].path),
          ({ status }) => status !== 503,
          'Firestore answers again',
        );
        expect(gone.status).toBe(404);
        expect((await here.get('/-/')).status).toBe(200);
        await eventually(
          async () => (await here.get('/readyz')).status,
          (status) => status === 200,
          'a companion holds the shard again',
          LEASE_TTL_MS * 3,
        );
        await exchange(await fill());
        here.faults.splice(0);
      } finally {
        await fleet.close();
      }
    },
  );
});

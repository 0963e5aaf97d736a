/** Topic messages that Pub/Sub pushes: they need no companion, and only Pub/Sub may push. */
import type { JsonObject } from '@cmbs/shared';
import { contentOf, eventually, Fleet, unique, type Answer, type Deployment, type Member } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { cloudEngine, type CloudEngine } from './deployment';
import { Outside } from './outside';
import { describeOnEmulators, uniqueProject } from './support';
import { Tokens } from './tokens';
import { itNightly } from '../skipping';

const PUSHER = 'pubsub@cmbs.local';
const AUDIENCE = 'https://push.example.org';

describeOnEmulators('push delivery', (hosts) => {
  const fleet = new Fleet();
  const projectId = uniqueProject();
  let cloud: CloudEngine;
  let here: Deployment;
  let alice: Member;
  let outside: Outside;

  beforeAll(async () => {
    const port = String(await freePort());
    const url = `http://127.0.0.1:${port}`;
    cloud = cloudEngine(hosts, {
      GOOGLE_CLOUD_PROJECT: projectId,
      PORT: port,
      CMBS_PUBLIC_URL: url,
      CMBS_TOPIC_DELIVERY: 'push',
      CMBS_PUSH_URL: url,
    });
    here = await fleet.start({ engine: cloud.engine });
    outside = fleet.using(new Outside(hosts, projectId), (one) => one.close());
    alice = await here.member({ title: 'alice', start: ['l1'] });
  });
  afterAll(() => fleet.close());

  const sent = (layer: 'l32' | 'l4', topic: string, content: string): Promise<Answer> =>
    here.must(200, here.send(layer, { from: alice.id, topics: [topic], content }));

  test('reaches members while no companion runs', async () => {
    const member = await here.member({ topics: ['push.*'], start: ['l32', 'l4'] });
    await cloud.parts().stopCompanion();
    try {
      await sent('l32', 'push.one', 'on l32');
      await sent('l4', 'push.one', 'on l4');
      const entries = await here.receives(member, 2);
      expect(entries.map(contentOf).sort()).toEqual(['on l32', 'on l4']);
      await outside.publish('cmbs.l32.push.one', 'from outside');
      expect((await here.receives(member, 3)).map(contentOf)).toContain('from outside');
    } finally {
      await cloud.parts().startCompanion();
    }
  });

  test('leaves opening a socket to a companion that starts later', async () => {
    const member = await here.member();
    await cloud.parts().stopCompanion();
    try {
      const asked = await here.act(member.path, 'start_l1');
      expect([asked.status, asked.headers.get('x-occi-reason')]).toEqual([
        202,
        expect.stringMatching(/^(?:The companion cannot be reached|The connection to the companion broke)/),
      ]);
    } finally {
      await cloud.parts().startCompanion();
    }
    await eventually(
      () => here.layer(member, 'l1'),
      (layer) => layer?.state === 'started',
      'the layer is started',
    );
  });

  test('executes calls in messages', async () => {
    const member = await here.member({ topics: ['run.*'], start: ['l32'] });
    await here.must(
      200,
      here.send('l32', {
        from: alice.id,
        topics: ['run.it'],
        executable: true,
        content: { method: 'echo.echo', params: ['pushed'] },
      }),
    );
    const [entry] = await eventually(
      () => here.inbox(member),
      (entries) => entries.some(({ state }) => state === 'executed'),
      'the message is executed',
    );
    expect(entry?.answer).toMatchObject({ result: ['pushed'] });
  });

  test('executes a call that sends another message', async () => {
    const member = await here.member({ topics: ['pass.*'], start: ['l32'] });
    const message = { layer: 'l1', content: 'passed on', from: member.id, receiver: alice.sockets.l1 };
    await here.must(
      200,
      here.send('l32', {
        from: alice.id,
        topics: ['pass.it'],
        executable: true,
        content: { method: 'message.send', params: [message] },
      }),
    );
    const entries = await here.receives(alice, 1);
    expect(entries.map(contentOf)).toEqual(['passed on']);
    const [entry] = await eventually(
      () => here.inbox(member),
      (found) => found.some(({ state }) => state === 'executed'),
      'the message is executed',
    );
    expect(entry?.answer).toMatchObject({ result: { delivery: { from: member.path } } });
  });

  test('waits while a member is suspended', async () => {
    const member = await here.member({ topics: ['sleep.*'], start: ['l32'] });
    await sent('l32', 'sleep.one', 'awake');
    await here.receives(member, 1);
    await here.change(member.path, { 'cmbs.member.state': 'suspended' });
    const isPushed = async (): Promise<boolean> => {
      const [{ pushConfig }] = await outside.client
        .subscription(`cmbs.member.${member.id}.l32.sleep.one`)
        .getMetadata();
      return (pushConfig?.pushEndpoint ?? '') !== '';
    };
    await eventually(isPushed, (pushed) => !pushed, 'the subscription is not pushed any more');
    await sent('l32', 'sleep.one', 'asleep');
    await here.change(member.path, { 'cmbs.member.state': 'active' });
    expect((await here.receives(member, 2)).map(contentOf).sort()).toEqual(['asleep', 'awake']);
  });

  itNightly(
    'is repeated after a failure, and ends with a dead letter when the message can never be handled',
    async () => {
      const member = await here.member({ topics: ['poison'], start: ['l32'] });
      await sent('l32', 'poison', 'makes the topic');
      await here.receives(member, 1);
      // The minimum number of attempts in Pub/Sub; the deployment's own number takes half an hour.
      const subscription = outside.client.subscription(`cmbs.member.${member.id}.l32.poison`);
      const [{ deadLetterPolicy }] = await subscription.getMetadata();
      expect(deadLetterPolicy).toMatchObject({
        deadLetterTopic: `projects/${projectId}/topics/cmbs.dead-letter`,
        maxDeliveryAttempts: 100,
      });
      await subscription.setMetadata({ deadLetterPolicy: { ...deadLetterPolicy, maxDeliveryAttempts: 5 } });
      const kept = outside.read('cmbs.dead-letter.keep');
      await outside.publish('cmbs.l32.poison', Buffer.from([0xff, 0xfe]), { mark: 'poison' });
      const dead = await eventually(
        () => kept.seen.filter(({ attributes }) => attributes.mark === 'poison'),
        ({ length }) => length > 0,
        'the unreadable message is in the dead-letter topic',
      );
      expect(dead).toHaveLength(1);
      await sent('l32', 'poison', 'goes on');
      expect((await here.receives(member, 2)).map(contentOf)).toContain('goes on');
    },
  );

  test('resumes after its subscription is deleted from outside', async () => {
    const member = await here.member({ topics: ['gone'], start: ['l32'] });
    await sent('l32', 'gone', 'before');
    await here.receives(member, 1);
    await outside.client.subscription(`cmbs.member.${member.id}.l32.gone`).delete();
    // A companion checks the subscriptions every five minutes, and when it starts.
    await cloud.parts().stopCompanion();
    await cloud.parts().startCompanion();
    await eventually(
      () => outside.names('subscriptions'),
      (names) => names.includes(`cmbs.member.${member.id}.l32.gone`),
      'the subscription is back',
    );
    await sent('l32', 'gone', 'after');
    expect((await here.receives(member, 2)).map(contentOf)).toContain('after');
    expect(here.faults.splice(0)).toEqual([expect.stringContaining('deleted from outside')]);
  });

  test('removes the subscription of a deleted member', async () => {
    const member = await here.member({ topics: ['leaving'], start: ['l32'] });
    await sent('l32', 'leaving', 'x');
    await here.receives(member, 1);
    await here.must(200, here.request('DELETE', member.path));
    expect((await outside.names('subscriptions')).filter((name) => name.includes(member.id))).toEqual([]);
  });
});

describeOnEmulators('signed pushes', (hosts) => {
  const fleet = new Fleet();
  const tokens = new Tokens(PUSHER, AUDIENCE);
  let here: Deployment;
  let member: Member;

  beforeAll(async () => {
    here = await fleet.start({
      engine: cloudEngine(hosts, {
        CMBS_TOPIC_DELIVERY: 'push',
        CMBS_PUSH_URL: 'http://127.0.0.1:9',
        CMBS_PUSH_SERVICE_ACCOUNT: PUSHER,
        CMBS_PUSH_AUDIENCE: AUDIENCE,
      }).engine,
    });
    member = await here.member({ topics: ['signed'], start: ['l32'] });
  });
  afterAll(() => fleet.close());

  const pushOf = (content: string, more: JsonObject = {}): JsonObject => ({
    subscription: `projects/x/subscriptions/cmbs.member.${member.id}.l32.signed`,
    message: { messageId: unique('id'), data: Buffer.from(content).toString('base64'), attributes: {} },
    ...more,
  });
  const push = (
    body: string | JsonObject,
    headers: Readonly<Record<string, string>> = {},
    target = `/push/member.${member.id}.l32?topic=signed`,
  ): Promise<Answer> => here.request('POST', target, body, headers);

  test('are accepted with a token of the account for the audience', async () => {
    const answer = await push(pushOf('signed'), tokens.good());
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect((await here.receives(member, 1)).map(contentOf)).toEqual(['signed']);
  });

  test('are stored once when repeated', async () => {
    const body = pushOf('thrice');
    for (let copy = 0; copy < 3; copy += 1) {
      expect((await push(body, tokens.good())).status).toBe(204);
    }
    expect((await here.inbox(member)).map(contentOf).filter((content) => content === 'thrice')).toHaveLength(1);
  });

  test('are stored once each when they arrive and are repeated in any order', async () => {
    const bodies = new Map(['one', 'two', 'three'].map((content) => [content, pushOf(content)]));
    const order = ['three', 'one', 'three', 'two', 'one'];
    for (const content of order) {
      expect((await push(bodies.get(content) ?? {}, tokens.good())).status).toBe(204);
    }
    const received = (await here.inbox(member)).map(contentOf);
    expect(received.filter((content) => bodies.has(content as string))).toEqual(['three', 'one', 'two']);
  });

  test.each(tokens.forgeries())('are refused with %s', async (_, status, headers) => {
    const answer = await push(pushOf('forged'), headers());
    expect(answer.status).toBe(status);
    expect((await here.inbox(member)).map(contentOf)).not.toContain('forged');
  });

  test.each<[string, number, string | (() => JsonObject), string | undefined]>([
    ['a body that is not JSON', 400, 'text', undefined],
    ['a body of another form', 400, '{"message":{}}', undefined],
    ['data that are not base64', 400, () => pushOf('', { message: { messageId: '1', data: '?' } }), undefined],
    ['no topic', 400, () => pushOf('x'), '/push/member.x.l32'],
    ['an invalid topic', 400, () => pushOf('x'), '/push/member.x.l32?topic='],
    ['an unknown subscription', 404, () => pushOf('x'), '/push/else?topic=signed'],
  ])('with %s are answered with %i', async (_, status, body, target) => {
    const given = typeof body === 'string' ? body : body();
    const answer = await push(given, tokens.good(), target);
    expect(answer.status).toBe(status);
  });

  test('are logged when they contain a dead letter, whatever its content', async () => {
    const unreadable = { messageId: unique('id'), data: Buffer.from([0xff, 0xfe]).toString('base64') };
    const dead = { ...pushOf(''), message: { ...unreadable, attributes: { topic: 'signed' } } };
    expect((await push(dead, tokens.good(), '/push/dead-letter')).status).toBe(204);
    expect(here.faults.splice(0)).toEqual([expect.stringContaining('"event":"dead_letter"')]);
  });

  test('are acknowledged and dropped when the member was deleted', async () => {
    const target = '/push/member.nobody.l32?topic=signed';
    expect((await push(pushOf('x'), tokens.good(), target)).status).toBe(204);
  });

  test('are refused with a method other than POST', async () => {
    const { status, headers } = await here.get('/push/member.x.l32?topic=signed');
    expect([status, headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
  });
});

describeOnEmulators('without push delivery', (hosts) => {
  test('a push is refused with 404', async () => {
    const fleet = new Fleet();
    try {
      const here = await fleet.start({ engine: cloudEngine(hosts).engine });
      expect((await here.request('POST', '/push/member.x.l32?topic=t', '{}')).status).toBe(404);
    } finally {
      await fleet.close();
    }
  });
});

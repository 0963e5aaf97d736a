/** Topics on Pub/Sub: messages from and to outside programs, and the subscriptions of members. */
import type { Json, JsonObject } from '@cmbs/shared';
import { CloudEvent } from 'cloudevents';
import { contentOf, eventually, Fleet, unique, type Deployment, type Member } from '../e2e/harness';
import { cloudEngine, type CloudEngine } from './deployment';
import { Outside } from './outside';
import { describeOnEmulators, uniqueProject } from './support';

/** The content of the message entity that an outside subscriber received. */
function contentIn(data: string): Json {
  const entity = JSON.parse(data) as { attributes: { cmbs: { message: { message_content: Json } } } };
  return entity.attributes.cmbs.message.message_content;
}

describeOnEmulators('topics on Pub/Sub', (hosts) => {
  const fleet = new Fleet();
  const projectId = uniqueProject();
  let here: Deployment;
  let cloud: CloudEngine;
  let outside: Outside;
  let alice: Member;

  beforeAll(async () => {
    cloud = cloudEngine(hosts, { GOOGLE_CLOUD_PROJECT: projectId });
    here = await fleet.start({ engine: cloud.engine });
    outside = fleet.using(new Outside(hosts, projectId), (one) => one.close());
    alice = await here.member({ title: 'alice', topics: ['inside.>'], start: ['l32', 'l4'] });
  });
  afterAll(() => fleet.close());

  const sent = (layer: 'l32' | 'l4', topic: string, content: string): Promise<unknown> =>
    here.must(200, here.send(layer, { from: alice.id, topics: [topic], content }));

  describe('an outside subscriber', () => {
    it('attaches to the topic by name and receives a CloudEvent with the message entity', async () => {
      await sent('l32', 'weather.tokyo', 'the first makes the topic');
      const subscriber = await outside.subscribe('cmbs.l32.weather.tokyo', 'somebody.else');
      const content = unique('content');
      await sent('l32', 'weather.tokyo', content);
      const [event] = await subscriber.until(1);
      const { attributes = {}, data = '' } = event ?? {};
      expect(contentIn(data)).toBe(content);
      expect(attributes).toMatchObject({
        id: (JSON.parse(data) as JsonObject).id,
        layer: 'l32',
        topic: 'weather.tokyo',
        sender: alice.uri,
        content_type: 'application/occi+json',
      });
      const context = Object.entries(attributes)
        .filter(([name]) => name.startsWith('ce-'))
        .map(([name, value]) => [name.slice(3), value]);
      expect(new CloudEvent(Object.fromEntries(context) as { type: string; source: string }).validate()).toBe(
        true,
      );
    });

    it.each([
      ['wétter.東京.😀', 'cmbs.l32.w%C3%A9tter.%E6%9D%B1%E4%BA%AC.%F0%9F%98%80'],
      ['50% off/now + ~then', 'cmbs.l32.50%25%20off%2Fnow%20%2B%20%7Ethen'],
    ])('finds the topic %s as %s', async (topic, name) => {
      await sent('l32', topic, 'x');
      expect(await outside.names('topics')).toContain(name);
      const subscriber = await outside.subscribe(name, unique('subscriber'));
      await sent('l32', topic, 'y');
      expect((await subscriber.until(1))[0]?.attributes.topic).toBe(topic);
    });

    it('finds the longest topic even if all its characters need escapes', async () => {
      const topic = '東'.repeat(255);
      const member = await here.member({ topics: [topic], start: ['l32'] });
      await sent('l32', topic, 'long');
      expect(contentOf((await here.receives(member, 1))[0]!)).toBe('long');
      const long = (await outside.names('topics')).find((name) =>
        /^cmbs\.l32\.(?:%[0-9A-F]{2})+.*~[0-9a-f]{32}$/.test(name),
      );
      const subscriber = await outside.subscribe(long ?? 'none', 'long.reader');
      await sent('l32', topic, 'longer');
      expect((await subscriber.until(1))[0]?.attributes.topic).toBe(topic);
    });

    it('does not receive L4 messages on an L3.2 topic', async () => {
      await sent('l32', 'both', '1');
      await sent('l4', 'both', '2');
      expect(await outside.names('topics')).toEqual(expect.arrayContaining(['cmbs.l32.both', 'cmbs.l4.both']));
      const subscriber = await outside.subscribe('cmbs.l32.both', 'both.reader');
      await sent('l4', 'both', 'on l4');
      await sent('l32', 'both', 'on l32');
      const seen = await subscriber.until(1);
      expect(seen).toHaveLength(1);
      expect(seen[0]?.attributes.layer).toBe('l32');
    });

    it('receives messages with one ordering key in order', async () => {
      await sent('l32', 'ordered', 'first');
      const subscriber = await outside.subscribe('cmbs.l32.ordered', 'ordered.reader');
      const contents = Array.from({ length: 10 }, (_, at) => String(at));
      for (const content of contents) {
        await here.must(200, here.send('l32', { from: alice.id, topics: ['ordered'], content, orderingKey: 'k' }));
      }
      const seen = await subscriber.until(contents.length);
      expect(seen.map(({ data, orderingKey }) => [orderingKey, contentIn(data)])).toEqual(
        contents.map((content) => ['k', content]),
      );
    });
  });

  describe('a message published by an outside program', () => {
    let member: Member;
    beforeAll(async () => {
      member = await here.member({ topics: ['outside.*'], start: ['l32'] });
      // The first message from the deployment creates the topics.
      await sent('l32', 'outside.open', 'first');
      await here.receives(member, 1);
    });

    it.each([
      ['text', 'just text', 'just text'],
      ['JSON', '{"t": 21.5, "list": [[1]]}', { t: 21.5, list: [[1]] }],
    ])('reaches the members as message content when it is %s', async (_, data, content) => {
      const before = (await here.inbox(member)).length;
      await outside.publish('cmbs.l32.outside.open', data, { sender: 'urn:sensor:1' });
      const entry = (await here.receives(member, before + 1)).at(-1);
      expect(contentOf(entry!)).toEqual(content);
      expect(entry).toMatchObject({ sender: 'urn:sensor:1', state: 'received' });
      expect((await here.must(200, here.get(`/cmbs/message/${entry?.message_id}`))).delivery.state).toBe(
        'delivered',
      );
    });

    it('reaches members with a matching pattern, even as the first on its topic', async () => {
      const topic = unique('outside.first');
      const named = await here.member({ topics: [topic], start: ['l32'] });
      await outside.publish(`cmbs.l32.${topic}`, topic);
      expect((await here.receives(named, 1)).map(contentOf)).toEqual([topic]);
      await eventually(
        async () => (await here.inbox(member)).map(contentOf),
        (contents) => contents.includes(topic),
        'the member with the pattern receives the message too',
      );
    });

    it('keeps its identity when it is a message entity', async () => {
      const id = unique('entity');
      await outside.publish(
        'cmbs.l32.outside.open',
        JSON.stringify({
          kind: 'http://houssem.org/cmbs#message',
          mixins: ['http://houssem.org/cmbs#l32'],
          id,
          attributes: { cmbs: { message: { cmbs_layer: 'l32', executable: 'false', message_content: 'whole' } } },
        }),
      );
      await eventually(
        () => here.inbox(member),
        (entries) => entries.some((entry) => entry.message_id === id && contentOf(entry) === 'whole'),
        'the entity arrives',
      );
    });

    it('goes to the dead-letter topic with the reason when it is unreadable, and delays no other message', async () => {
      const kept = outside.read('cmbs.dead-letter.keep');
      await outside.publish('cmbs.l32.outside.open', JSON.stringify({ kind: 'http://houssem.org/cmbs#message' }));
      await outside.publish('cmbs.l32.outside.open', Buffer.from([0xff, 0xfe, 0x00]));
      const after = unique('after');
      await outside.publish('cmbs.l32.outside.open', after);
      await eventually(
        () => here.inbox(member),
        (entries) => entries.some((entry) => contentOf(entry) === after),
        'the next message arrives',
      );
      const dead = await kept.until(2);
      expect(dead.map(({ attributes }) => attributes.dead_letter_reason)).toEqual(
        expect.arrayContaining([expect.stringMatching(/not a message entity/), 'the data are not UTF-8']),
      );
      expect(dead[0]?.attributes).toMatchObject({
        topic: 'outside.open',
        dead_letter_subscription: `member.${member.id}.l32`,
      });
      expect(await here.metric('cmbs_dead_letters')).toBeGreaterThanOrEqual(2);
      // Each dead letter is logged for the operator.
      expect(here.faults.splice(0)).toEqual([
        expect.stringContaining('topic message given up'),
        expect.stringContaining('topic message given up'),
      ]);
    });

    it('is delivered once, however often Pub/Sub delivers it', async () => {
      const id = unique('twice');
      const entity = JSON.stringify({
        kind: 'http://houssem.org/cmbs#message',
        mixins: ['http://houssem.org/cmbs#l32'],
        id,
        attributes: {
          cmbs: { message: { cmbs_layer: 'l32', message_content: 'x', transfer: { v: 1, send_id: 'same' } } },
        },
      });
      const accepted = (): Promise<number> => here.metric('cmbs_received', { layer: 'l32', outcome: 'accepted' });
      const before = await accepted();
      const copies = 5;
      for (let copy = 0; copy < copies; copy += 1) await outside.publish('cmbs.l32.outside.open', entity);
      await eventually(
        async () => (await accepted()) - before,
        (count) => count === copies,
        'each copy is acknowledged',
      );
      expect((await here.inbox(member)).filter((entry) => entry.message_id === id)).toHaveLength(1);
    });
  });

  describe('the subscriptions of members in Pub/Sub', () => {
    const of = async (member: Member): Promise<readonly string[]> =>
      (await outside.names('subscriptions')).filter((name) => name.startsWith(`cmbs.member.${member.id}.`));

    it('include new topics that match the patterns of the member', async () => {
      const member = await here.member({ topics: ['grow.*'], start: ['l32'] });
      expect(await of(member)).toEqual([]);
      await sent('l32', 'grow.one', '1');
      await sent('l32', 'grow.two', '2');
      await sent('l4', 'grow.three', 'not on this layer');
      // The first message of a new topic is not missed.
      expect((await here.receives(member, 2)).map(contentOf).sort()).toEqual(['1', '2']);
      expect(await of(member)).toEqual([
        `cmbs.member.${member.id}.l32.grow.one`,
        `cmbs.member.${member.id}.l32.grow.two`,
      ]);
    });

    it('have a dead-letter topic, a retry policy, ordering, and do not expire', async () => {
      const member = await here.member({ topics: ['policy'], start: ['l32'] });
      await sent('l32', 'policy', 'x');
      const [name = ''] = await of(member);
      const [metadata] = await outside.client.subscription(name).getMetadata();
      expect(metadata).toMatchObject({
        enableMessageOrdering: true,
        deadLetterPolicy: { deadLetterTopic: `projects/${projectId}/topics/cmbs.dead-letter` },
        retryPolicy: { minimumBackoff: { seconds: '1' }, maximumBackoff: { seconds: '15' } },
        expirationPolicy: { ttl: null },
        messageRetentionDuration: { seconds: String(7 * 24 * 3600) },
      });
    });

    it('are removed when the layer stops or the member is deleted', async () => {
      const member = await here.member({ topics: ['leave.*'], start: ['l32', 'l4'] });
      for (const topic of ['leave.one', 'leave.two']) await sent('l32', topic, topic);
      await sent('l4', 'leave.one', 'x');
      expect(await of(member)).toHaveLength(3);
      await here.must(200, here.act(member.path, 'stop_l32'));
      expect(await of(member)).toEqual([`cmbs.member.${member.id}.l4.leave.one`]);
      await here.must(200, here.request('DELETE', member.path));
      expect(await of(member)).toEqual([]);
    });

    it('are created again after a deletion from outside, and deliver later messages', async () => {
      const member = await here.member({ topics: ['gone'], start: ['l32'] });
      await sent('l32', 'gone', 'before');
      await here.receives(member, 1);
      const [name = ''] = await of(member);
      await outside.client.subscription(name).delete();
      await eventually(
        () => of(member),
        (names) => names.length === 1,
        'the subscription is back',
      );
      await sent('l32', 'gone', 'after');
      expect((await here.receives(member, 2)).map(contentOf)).toEqual(['before', 'after']);
    });

    it('survive the deletion of the dead-letter topic', async () => {
      await outside.client.topic('cmbs.dead-letter').delete();
      const topic = unique('new');
      const member = await here.member({ topics: [topic], start: ['l32'] });
      await sent('l32', topic, 'still');
      expect((await here.receives(member, 1)).map(contentOf)).toEqual(['still']);
      expect(await outside.names('topics')).toContain('cmbs.dead-letter');
      here.faults.splice(0);
    });

    it('survive the deletion of their topic, which is created again', async () => {
      const member = await here.member({ topics: ['topic.gone'], start: ['l32'] });
      await sent('l32', 'topic.gone', 'before');
      await here.receives(member, 1);
      await outside.client.topic('cmbs.l32.topic.gone').delete();
      await sent('l32', 'topic.gone', 'after');
      expect((await here.receives(member, 2)).map(contentOf)).toEqual(['before', 'after']);
    });
  });
});

/** A deployment when messages from Pub/Sub arrive late, twice or out of order. */
import { PUBSUB_BUS_LIMITS } from '../../shared/bus/pubsub/limits';
import { contentOf, eventually, unique } from '../e2e/harness';
import { describeFaults, MARGIN_MS, OFFERED_AGAIN_MS, timed, UNAVAILABLE } from './faulty-deployment';
import { Outside } from './outside';

describeFaults('a deployment', (deployment, hosts) => {
  test('keeps the order of an ordering key when Pub/Sub refuses its first message', async () => {
    const { pubsub, cloud, here, bob } = deployment.parts;
    const orderingKey = unique('key');
    const contents = Array.from({ length: 6 }, (_, number) => `${orderingKey}: ${number}`);
    const [first = '', second = '', ...others] = contents;
    await pubsub.refuse();
    expect((await deployment.publish(first, { orderingKey })).status).toBe(202);
    await pubsub.accept();
    // Sent at once, while the first message waits for the end of its back-off.
    await here.must(200, deployment.publish(second, { orderingKey, prefer: 'wait=40' }));
    await here.must(200, deployment.publish('of another key', { orderingKey: unique('key') }));
    await pubsub.refuse();
    for (const content of others) {
      expect((await deployment.publish(content, { orderingKey, prefer: 'respond-async' })).status).toBe(202);
    }
    await cloud.parts().stopCompanion();
    await pubsub.accept();
    await cloud.parts().startCompanion();
    await deployment.arrives(contents.at(-1) ?? '', OFFERED_AGAIN_MS);
    const received = (await here.inbox(bob))
      .map(contentOf)
      .filter((content) => (contents as unknown[]).includes(content));
    expect(received).toEqual(contents);
  }, 240_000);

  test('delivers a message once when Pub/Sub stores the publication but does not confirm it', async () => {
    const { pubsub, here } = deployment.parts;
    pubsub.inject('Publish', { kind: 'lose', by: 'silence' });
    const content = unique('content');
    const { value, ms } = await timed(deployment.publish(content));
    expect(value.status).toBe(202);
    expect(ms).toBeLessThan(PUBSUB_BUS_LIMITS.callMs + MARGIN_MS);
    await here.reaches(value.path, 'delivered');
    await deployment.arrives(content, OFFERED_AGAIN_MS);
    // The message is published twice and received once.
    const mark = unique('mark');
    await deployment.publish(mark);
    await deployment.arrives(mark, OFFERED_AGAIN_MS);
    expect(await deployment.count(content)).toBe(1);
  }, 240_000);

  test('delivers messages after streams from Pub/Sub break off', async () => {
    const { pubsub, here } = deployment.parts;
    pubsub.cut();
    const content = unique('content');
    const sent = await deployment.publish(content);
    await here.reaches(sent.path, 'delivered');
    // The emulator may give the message to a closed stream, and then waits for the lease.
    await deployment.arrives(content, OFFERED_AGAIN_MS);
  });

  test('delivers a message once when acknowledgements are lost and Pub/Sub repeats the message after later ones', async () => {
    const { pubsub, here } = deployment.parts;
    const [content, later] = [unique('content'), unique('later')];
    const accepted = (): Promise<number> => here.metric('cmbs_received', { layer: 'l32', outcome: 'accepted' });
    const before = await accepted();
    pubsub.inject('Acknowledge', { kind: 'answer', status: UNAVAILABLE }, Infinity);
    const outside = new Outside(hosts, deployment.projectId);
    try {
      for (const each of [content, later]) {
        await outside.publish('cmbs.l32.fault.first', each);
        await deployment.arrives(each, OFFERED_AGAIN_MS);
      }
      await eventually(
        async () => (await accepted()) - before,
        (deliveries) => deliveries >= 4,
        'both messages are delivered again',
        2 * OFFERED_AGAIN_MS,
      );
      pubsub.heal();
      expect([await deployment.count(content), await deployment.count(later)]).toEqual([1, 1]);
    } finally {
      await outside.close();
    }
  }, 300_000);

  test('creates no topic or subscription again after a restart of the companion', async () => {
    const { pubsub, cloud } = deployment.parts;
    const made = (): number[] =>
      ['CreateTopic', 'CreateSubscription', 'GetSubscription', 'UpdateSubscription'].map((method) =>
        pubsub.callsOf(method),
      );
    const before = made();
    await cloud.parts().stopCompanion();
    await cloud.parts().startCompanion();
    const content = unique('content');
    await deployment.publish(content);
    await deployment.arrives(content, OFFERED_AGAIN_MS);
    expect(made()).toEqual(before);
  });
});

/** A deployment while Pub/Sub accepts no publications. */
import { PUBSUB_BUS_LIMITS } from '../../shared/bus/pubsub/limits';
import { eventually, unique } from '../e2e/harness';
import {
  describeFaults,
  MARGIN_MS,
  NOT_FOUND,
  OFFERED_AGAIN_MS,
  PERMISSION_DENIED,
  QUEUE_LIMIT,
  timed,
  UNAVAILABLE,
} from './faulty-deployment';

describeFaults('a deployment', (deployment) => {
  test('publishes again when Pub/Sub answers UNAVAILABLE', async () => {
    const { pubsub } = deployment.parts;
    pubsub.inject('Publish', { kind: 'answer', status: UNAVAILABLE }, 2);
    const content = unique('content');
    const sent = await deployment.publish(content);
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    await deployment.arrives(content);
  });

  test('keeps messages while Pub/Sub is unavailable, and publishes them later', async () => {
    const { pubsub, here } = deployment.parts;
    await pubsub.refuse();
    const content = unique('content');
    const { value, ms } = await timed(deployment.publish(content));
    await pubsub.accept();
    expect(value.status).toBe(202);
    expect(ms).toBeLessThan(PUBSUB_BUS_LIMITS.callMs + MARGIN_MS);
    await here.reaches(value.path, 'delivered');
    await deployment.arrives(content, OFFERED_AGAIN_MS);
    expect(await deployment.count(content)).toBe(1);
  });

  test('limits the number of waiting messages while Pub/Sub stays unavailable', async () => {
    const { pubsub, here, alice } = deployment.parts;
    await pubsub.refuse();
    const paths: string[] = [];
    for (let number = 0; number < QUEUE_LIMIT; number += 1) {
      const sent = await deployment.publish(unique('waits'), { prefer: 'respond-async' });
      expect(sent.status).toBe(202);
      paths.push(sent.path);
    }
    const refused = await deployment.publish(unique('refused'));
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '5']);
    await pubsub.accept();
    for (const path of paths) await here.reaches(path, 'delivered');
    expect((await here.act(refused.path, 'send_l32', { from: alice.id })).status).toBe(200);
  }, 240_000);

  test.each([
    ['the project does not exist', NOT_FOUND, /does the project exist/],
    ['nobody may publish', PERMISSION_DENIED, /lacks a permission/],
  ])('keeps messages with the reason when %s in Pub/Sub', async (_, status, why) => {
    const { pubsub, here } = deployment.parts;
    pubsub.inject('Publish', { kind: 'answer', status, message: 'secret detail' }, Infinity);
    const sent = await deployment.publish(unique('content'));
    expect([sent.status, sent.headers.get('x-occi-reason')]).toEqual([202, expect.stringMatching(why)]);
    const delivery = await eventually(
      () => here.delivery(sent.path),
      ({ reason }) => reason !== undefined,
      'the message has the reason',
    );
    expect(delivery).toMatchObject({ state: 'queued', reason: expect.stringMatching(why) as string });
    expect(JSON.stringify(delivery)).not.toContain('secret');
    pubsub.heal();
    await here.reaches(sent.path, 'delivered');
  });

  test('starts a topic layer later when Pub/Sub is unavailable at its start', async () => {
    const { pubsub, here } = deployment.parts;
    const member = await here.member({ topics: [unique('fault.later')] });
    await pubsub.refuse();
    const asked = await here.act(member.path, 'start_l32');
    expect([asked.status, asked.headers.get('x-occi-reason')]).toEqual([202, expect.stringContaining('Pub/Sub')]);
    await pubsub.accept();
    await eventually(
      () => here.layer(member, 'l32'),
      (layer) => layer?.state === 'started',
      'the layer is started',
    );
  });
});

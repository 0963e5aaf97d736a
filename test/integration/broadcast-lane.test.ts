/** One peer's broadcasts while what they need fails for a moment. */
import { Subscriber } from 'zeromq';
import { BroadcastLane } from '@cmbs/companion/broadcast-lane';
import { wholeDeployment } from '@cmbs/companion/held-shard';
import { HeldSend, type Item, type LaneOwner, type Tried } from '@cmbs/companion/held-send';
import { CmbsError, newId, systemClock, type Clock } from '@cmbs/shared';
import { becomes, freePort, recordedEnvironment } from './sockets-support';

/** Milliseconds by which the lane's own retry is told from other timers. */
const RETRY_MS = 12_345;

test('a retry that finds nothing left to do does not stop the lane', async () => {
  const sockets = recordedEnvironment();
  const retries: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    after: (ms, task) => {
      if (ms !== RETRY_MS) return systemClock.after(ms, task);
      retries.push(task);
      return () => undefined; // one that was about to run when it was cancelled
    },
  };
  const address = `tcp://127.0.0.1:${await freePort()}`;
  const subscriber = new Subscriber({ linger: 0 });
  subscriber.subscribe();
  await subscriber.bind(address);
  let isAway = true;
  const settled: string[] = [];
  const owner: LaneOwner = {
    prepare: ({ name }) =>
      isAway ? Promise.reject(new CmbsError('unavailable', 'The store is away.')) : Promise.resolve(name),
    replied: () => Promise.resolve('settled'),
    settle: ({ name }: Tried) => void settled.push(name),
    park: () => undefined,
    resumed: () => undefined,
  };
  const lane = new BroadcastLane(
    address,
    owner,
    { ...sockets, clock, shard: wholeDeployment(newId), backOff: () => RETRY_MS },
    () => undefined,
  );
  const broadcast = (name: string): void => {
    const held = new HeldSend({
      id: name,
      wireId: name,
      message: `/cmbs/message/${name}`,
      layer: 'l2',
      from: '/cmbs/member/alice',
      createdAt: 0,
      sequence: 0,
      expiresAt: Infinity,
      receivers: [],
    });
    lane.add({ held, name, address, sequence: name, tries: 0 } satisfies Item);
  };
  const received: string[] = [];
  const receiving = (async () => {
    for await (const [frame] of subscriber) received.push(String(frame));
  })();
  try {
    broadcast('first');
    await becomes(() => retries.length > 0, 'the store was away');
    isAway = false;
    lane.hurry();
    await becomes(() => received.includes('first'), 'the first is received');
    for (const retry of retries) retry();
    broadcast('second');
    await becomes(() => received.includes('second'), 'the second is received');
    expect(settled).toEqual(['first', 'second']);
  } finally {
    await lane.close();
    subscriber.close();
    await receiving;
    sockets.context.close();
  }
});

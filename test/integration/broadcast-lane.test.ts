/** One peer's broadcasts while what they need fails for a moment, and while the companion stops. */
import { Subscriber } from 'zeromq';
import { BroadcastLane } from '@cmbs/companion/broadcast-lane';
import { wholeDeployment } from '@cmbs/companion/held-shard';
import { HeldSend, type Item, type LaneOwner } from '@cmbs/companion/held-send';
import { CmbsError, newId, systemClock, type Clock } from '@cmbs/shared';
import { becomes, freePort, recordedEnvironment, type RecordedEnvironment } from './sockets-support';

/** Milliseconds by which the lane's own retry is told from other timers. */
const RETRY_MS = 12_345;

let sockets: RecordedEnvironment;
let address: string;
let subscriber: Subscriber;
let receiving: Promise<void>;
let received: string[];
let lane: BroadcastLane;
/** Retries that the lane has asked for, to be run by hand: as they do that were about to run when they were cancelled. */
let retries: (() => void)[];
/** What gives the frame of a broadcast. */
let prepare: (name: string) => Promise<string>;

beforeEach(async () => {
  sockets = recordedEnvironment();
  address = `tcp://127.0.0.1:${await freePort()}`;
  subscriber = new Subscriber({ linger: 0 });
  subscriber.subscribe();
  await subscriber.bind(address);
  received = [];
  receiving = (async () => {
    for await (const [frame] of subscriber) received.push(String(frame));
  })();
  retries = [];
  const clock: Clock = {
    ...systemClock,
    after: (ms, task) => {
      if (ms !== RETRY_MS) return systemClock.after(ms, task);
      retries.push(task);
      return () => undefined;
    },
  };
  const owner: LaneOwner = {
    prepare: ({ name }) => prepare(name),
    replied: () => Promise.resolve('settled'),
    settle: () => undefined,
    park: () => undefined,
    resumed: () => undefined,
  };
  const environment = { ...sockets, clock, shard: wholeDeployment(newId), backOff: () => RETRY_MS };
  lane = new BroadcastLane(address, owner, environment, () => undefined);
});
afterEach(async () => {
  await lane.close();
  subscriber.close();
  await receiving;
  sockets.context.close();
});

function broadcast(name: string): void {
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
}

const arrives = (name: string): Promise<void> => becomes(() => received.includes(name), `${name} is received`);

test('a retry that finds nothing left to do does not stop the lane', async () => {
  prepare = () => Promise.reject(new CmbsError('unavailable', 'The store is away.'));
  broadcast('first');
  await becomes(() => retries.length > 0, 'the store was away');
  prepare = (name) => Promise.resolve(name);
  lane.hurry();
  await arrives('first');
  for (const retry of retries) retry();
  broadcast('second');
  await arrives('second');
  expect(received).toEqual(['first', 'second']);
});

test('drained, it finishes the broadcast that is under way and begins no other', async () => {
  let give: () => void = () => undefined;
  let isAsked = false;
  const given = new Promise<void>((resolve) => (give = resolve));
  prepare = async (name) => {
    isAsked = true;
    await given;
    return name;
  };
  broadcast('under way');
  broadcast('behind it');
  await becomes(() => isAsked, 'the first is under way');
  const drained = lane.drain();
  give();
  await drained;
  await arrives('under way');
  // A peer that comes, or somebody who asks, changes nothing.
  lane.hurry();
  broadcast('later');
  await lane.drain();
  expect(received).toEqual(['under way']);
});

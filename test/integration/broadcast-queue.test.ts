/** Broadcasts to one peer during transient failures of their dependencies, and while the companion stops. */
import { Subscriber } from 'zeromq';
import { BroadcastQueue } from '../../companion/delivery/broadcast-queue';
import { ConnectionSlots } from '../../companion/delivery/connection-slots';
import { CmbsError, systemClock, type Clock } from '@cmbs/shared';
import { queueEnvironment, queueItem, queueOwner } from './queue-support';
import { becomes, freePort, recordedEnvironment, type RecordedEnvironment } from './sockets-support';

/** Milliseconds that distinguish the retry of the queue from other timers. */
const RETRY_MS = 12_345;

let sockets: RecordedEnvironment;
let address: string;
let subscriber: Subscriber;
let receiving: Promise<void>;
let received: string[];
let environment: ReturnType<typeof queueEnvironment>;
let slots: ConnectionSlots;
let queue: BroadcastQueue;
let sequence = 0;
/** Scheduled retries, which the test runs itself, like a retry that was already due when it was cancelled. */
let retries: (() => void)[];
/** Makes the frame of a broadcast. */
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
  const owner = queueOwner({ prepare: async ({ key }) => Buffer.from(await prepare(key)) });
  environment = queueEnvironment(sockets, clock, RETRY_MS);
  slots = new ConnectionSlots(systemClock);
  queue = new BroadcastQueue({
    address,
    outbox: owner,
    environment,
    slots,
    isBehind: false,
    onIdle: () => undefined,
  });
});
afterEach(async () => {
  await queue.close();
  slots.close();
  subscriber.close();
  await receiving;
  environment.exchanges.close();
});

function broadcast(name: string): void {
  sequence += 1;
  queue.offer(queueItem(name, address, 'l2', String(sequence)));
}

const arrives = (name: string): Promise<void> => becomes(() => received.includes(name), `${name} is received`);

test('a retry without a waiting broadcast does not stop the queue', async () => {
  prepare = () => Promise.reject(new CmbsError('unavailable', 'The store is away.'));
  broadcast('first');
  await becomes(() => retries.length > 0, 'the store was away');
  prepare = (name) => Promise.resolve(name);
  queue.notify();
  await arrives('first');
  for (const retry of retries) retry();
  broadcast('second');
  await arrives('second');
  expect(received).toEqual(['first', 'second']);
});

test('a draining queue finishes the broadcast in flight and starts no other', async () => {
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
  const drained = queue.drain();
  give();
  await drained;
  await arrives('under way');
  // A new peer or a notification changes nothing.
  queue.notify();
  broadcast('later');
  await queue.drain();
  expect(received).toEqual(['under way']);
});

test('a closing queue waits for its reads, since the store closes after the queue', async () => {
  let answer: (frame: string) => void = () => undefined;
  const asked = new Promise<void>((resolve) => {
    prepare = () => {
      resolve();
      return new Promise((give) => (answer = give));
    };
  });
  broadcast('last');
  await asked;
  let isClosed = false;
  const closed = queue.close().then(() => (isClosed = true));
  // Far more turns than a close needs if it does not wait.
  for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
  expect(isClosed).toBe(false);
  answer('last');
  await closed;
  expect(sockets.log.errors).toEqual([]);
});

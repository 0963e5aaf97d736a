/** Requests to one peer while earlier messages are still in the store: these go first. */
import { systemClock } from '@cmbs/shared';
import { Reply } from 'zeromq';
import { ConnectionSlots } from '../../companion/delivery/connection-slots';
import type { QueueItem } from '../../companion/delivery/in-flight-message';
import { RequestQueue } from '../../companion/delivery/request-queue';
import { queueEnvironment, queueItem, queueOwner } from './queue-support';
import { becomes, freePort, recordedEnvironment } from './sockets-support';

const BACK_OFF_MS = 50;

let address: string;
let peer: Reply;
let serving: Promise<void>;
/** Frames that the peer received, in order. */
let received: string[];
let environment: ReturnType<typeof queueEnvironment>;
let slots: ConnectionSlots;
let queue: RequestQueue;
/** Earlier messages for the peer, as the store has them until a queue reads them. */
let stored: QueueItem[];
/** Reads of the store that have begun; each ends once `answer` was called. */
let reads: number;
let answer: () => void;
let answered: Promise<void>;

/** @param isBehind whether the store may have earlier messages that are not known yet */
function open(isBehind: boolean): void {
  const outbox = queueOwner({
    prepare: ({ key }) => Promise.resolve(Buffer.from(key)),
    readWaiting: async () => {
      reads += 1;
      await answered;
      return { items: stored.splice(0), upTo: '' };
    },
  });
  queue = new RequestQueue({ address, outbox, environment, slots, isBehind, onIdle: () => undefined });
}

beforeEach(async () => {
  address = `tcp://127.0.0.1:${await freePort()}`;
  peer = new Reply({ linger: 0 });
  await peer.bind(address);
  received = [];
  stored = [];
  reads = 0;
  answered = new Promise((resolve) => (answer = resolve));
  serving = (async () => {
    for await (const [frame] of peer) {
      received.push(String(frame));
      await peer.send('{}');
    }
  })();
  environment = queueEnvironment(recordedEnvironment(), systemClock, BACK_OFF_MS);
  slots = new ConnectionSlots(systemClock);
});
afterEach(async () => {
  await queue.close();
  slots.close();
  peer.close();
  await serving;
  environment.exchanges.close();
});

const item = (name: string, sequence: string): QueueItem => queueItem(name, address, 'l1', sequence);
/** Queues a message; one that the queue does not take stays in the store. */
function offer(message: QueueItem): void {
  if (!queue.offer(message)) stored.push(message);
}

const arrive = (...names: readonly string[]): Promise<void> =>
  becomes(() => received.length >= names.length, `${names.join(', ')} arrive`);

test('messages go at once when nothing earlier can be in the store', async () => {
  open(false);
  offer(item('first', '1'));
  offer(item('second', '2'));
  await arrive('first', 'second');
  expect(received).toEqual(['first', 'second']);
});

test('new messages wait while earlier ones are being read, and go after these', async () => {
  open(true);
  stored.push(item('earlier', '1'));
  offer(item('new', '9'));
  queue.resume();
  await becomes(() => reads > 0, 'the store is read');
  // The peer is connected, and the queue holds a message that it could send.
  await becomes(() => slots.size === 1 && queue.use === 'busy', 'the queue is connected');
  queue.notify();
  answer();
  await arrive('earlier', 'new');
  expect(received).toEqual(['earlier', 'new']);
});

test('messages that move to the address go before newer messages', async () => {
  open(false);
  offer(item('before', '5'));
  await arrive('before');
  queue.holdBack();
  stored.push(item('moved', '1'));
  offer(item('newer', '9'));
  queue.notify();
  queue.letGo();
  await becomes(() => reads > 0, 'the store is read');
  answer();
  await arrive('before', 'moved', 'newer');
  expect(received).toEqual(['before', 'moved', 'newer']);
});

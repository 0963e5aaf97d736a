import { QUEUE_COUNT_CONCURRENCY } from '../../shared/broker/queue-room';
import type { Store } from '@cmbs/shared/store';
import {
  applyOutcomes,
  assertQueueRoom,
  type Delivery,
  type OutboundMessage,
  type Outcome,
  withPublished,
} from '@cmbs/shared/broker';

const receiver = (name: string, state: Delivery['state'], via: Delivery['via'] = 'bus'): Delivery => ({
  name,
  via,
  state,
  attempts: 0,
});

const outboundMessage = (...receivers: Delivery[]): OutboundMessage => ({
  id: 'one',
  wireId: 'one',
  message: '/cmbs/message/one',
  layer: 'l32',
  from: '/cmbs/member/alice',
  createdAt: 0,
  sequence: 0,
  expiresAt: 1,
  receivers,
});

const states = ({ receivers }: OutboundMessage): readonly string[] =>
  receivers.map(({ name, state }) => `${name} ${state}`);

describe('an outbound message in flight that another process published', () => {
  it('takes over the outcomes of topics from the store, and no other outcomes', () => {
    const inFlight = outboundMessage(receiver('news', 'queued'), receiver('bob', 'delivered', 'request'));
    const stored = outboundMessage(receiver('news', 'delivered'), receiver('bob', 'queued', 'request'));
    expect(states(withPublished(inFlight, stored))).toEqual(['news delivered', 'bob delivered']);
  });

  it('keeps the outcome of a topic when an older copy is read later', () => {
    const inFlight = outboundMessage(receiver('news', 'delivered'));
    expect(states(withPublished(inFlight, outboundMessage(receiver('news', 'queued'))))).toEqual([
      'news delivered',
    ]);
  });

  it('keeps a topic that is not in the stored copy', () => {
    expect(states(withPublished(outboundMessage(receiver('news', 'queued')), outboundMessage()))).toEqual([
      'news queued',
    ]);
  });
});

describe('outcomes that were collected while the store was busy', () => {
  const outcome = (name: string, change: Partial<Outcome['change']>): Outcome => ({
    sendId: 'one',
    key: `request ${name}`,
    change: { state: 'waiting', attempts: 1, ...change },
  });

  it('are applied in their order', () => {
    const applied = applyOutcomes(
      outboundMessage(receiver('bob', 'queued', 'request'), receiver('carol', 'queued', 'request')),
      [
        outcome('bob', { reason: 'nobody listens there' }),
        outcome('carol', { state: 'delivered' }),
        outcome('bob', { state: 'delivered', reply: '"yes"', attempts: 2 }),
      ],
      7,
    );
    expect(applied.receivers).toEqual([
      { name: 'bob', via: 'request', state: 'delivered', reply: '"yes"', attempts: 3, at: 7 },
      { name: 'carol', via: 'request', state: 'delivered', attempts: 1, at: 7 },
    ]);
  });

  it('do not change a delivery that already has its outcome', () => {
    const first = applyOutcomes(
      outboundMessage(receiver('bob', 'queued', 'request')),
      [outcome('bob', { state: 'delivered' }), outcome('bob', { state: 'failed', reason: 'late' })],
      7,
    );
    expect(states(first)).toEqual(['bob delivered']);
  });
});

describe('the queues of a message', () => {
  const addresses = Array.from({ length: 200 }, (_, number) => `tcp://peer:${number}`);

  /** A store in which each address has `queued` waiting messages. */
  function counting(queued: (address: string) => number): {
    readonly count: Store['count'];
    readonly most: () => number;
  } {
    let asking = 0;
    let most = 0;
    return {
      most: () => most,
      count: async ({ where = [] }, limit) => {
        asking += 1;
        most = Math.max(most, asking);
        await new Promise(setImmediate);
        asking -= 1;
        return Math.min(queued(where[0]?.value ?? ''), limit);
      },
    };
  }

  it('are counted concurrently, up to a limit', async () => {
    const store = counting(() => 2);
    await assertQueueRoom(store, addresses, 3);
    expect(store.most()).toBe(QUEUE_COUNT_CONCURRENCY);
  });

  it('refuse the message when one of them is full', async () => {
    const store = counting((address) => (address === 'tcp://peer:150' ? 3 : 0));
    await expect(assertQueueRoom(store, addresses, 3)).rejects.toMatchObject({
      code: 'queue_full',
      message: expect.stringContaining('tcp://peer:150') as string,
    });
  });
});

/** The contract of `Bus`, for every engine. It runs in real time, because a remote bus does. */
import { CmbsError } from '@cmbs/shared';
import type { Consumer } from '../../shared/bus/bus';
import type { Bus, BusDelivery, BusMessage } from '@cmbs/shared/bus';
import { PATIENCE_MS } from '../patience';

export interface OpenedBus {
  readonly bus: Bus;
  /** Closes the bus and its store, and opens both again with the same data. */
  reopen(): Promise<Bus>;
  close(): Promise<void>;
}

const message = (data: string, more: Partial<BusMessage> = {}): BusMessage => ({ data, attributes: {}, ...more });

/** Records deliveries, and waits for a number of them. */
class Inbox {
  readonly deliveries: BusDelivery[] = [];
  #check = (): void => undefined;

  readonly take = async (delivery: BusDelivery): Promise<void> => {
    this.deliveries.push(delivery);
    this.#check();
  };

  get data(): string[] {
    return this.deliveries.map(({ message: { data } }) => data);
  }

  until(n: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new Error(`${this.deliveries.length} of ${n} deliveries came: ${this.data.join(', ').slice(0, 200)}`),
        );
      }, PATIENCE_MS);
      this.#check = () => {
        if (this.deliveries.length < n) return;
        clearTimeout(timer);
        resolve();
      };
      this.#check();
    });
  }
}

/** A promise that a test resolves. */
class Gate {
  open: () => void = () => undefined;
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

export function busContract(name: string, open: () => Promise<OpenedBus>): void {
  describe(`the bus contract, ${name}`, () => {
    let opened: OpenedBus;
    let bus: Bus;

    beforeEach(async () => {
      opened = await open();
      bus = opened.bus;
    });
    afterEach(() => opened.close());

    const subscribe = (patterns: string[], subscription = 'reader', layer: 'l32' | 'l4' = 'l32'): Promise<void> =>
      bus.setSubscription({ name: subscription, layer, patterns });
    const follow = (inbox: Inbox, subscription = 'reader', maxInFlight = 10): Consumer =>
      bus.consume(subscription, inbox.take, { maxInFlight });

    it('delivers a message exactly as it was published', async () => {
      await subscribe(['weather.tokyo']);
      const inbox = new Inbox();
      follow(inbox);
      const sent = message('{"grüße":"\\u0000 \ud83d\ude00"}', {
        attributes: { sender: 'urn:x', ö: '1' },
        orderingKey: 'k',
      });
      const id = await bus.publish('l32', 'weather.tokyo', sent);
      await inbox.until(1);
      expect(inbox.deliveries).toEqual([{ id, topic: 'weather.tokyo', message: sent, attempt: 1 }]);
    });

    it('gives each publication a unique identifier', async () => {
      const ids = await Promise.all(
        Array.from({ length: 50 }, (_, i) => bus.publish('l32', 'a', message(String(i)))),
      );
      expect(new Set(ids).size).toBe(50);
    });

    it('delivers once to every matching subscription, and to no other', async () => {
      const inboxes = new Map<string, Inbox>();
      const subscriptions: [string, string[], 'l32' | 'l4'][] = [
        ['exact', ['a.b'], 'l32'],
        ['twice', ['a.*', 'a.>', 'a.b'], 'l32'],
        ['rest', ['>'], 'l32'],
        ['other', ['a.c', 'a'], 'l32'],
        ['other-layer', ['a.b'], 'l4'],
      ];
      for (const [subscription, patterns, layer] of subscriptions) {
        await subscribe(patterns, subscription, layer);
        const inbox = new Inbox();
        inboxes.set(subscription, inbox);
        follow(inbox, subscription);
      }
      await bus.publish('l32', 'a.b', message('1'));
      await bus.publish('l32', 'end', message('2'));
      await bus.publish('l4', 'a.b', message('3'));
      await inboxes.get('rest')!.until(2);
      await Promise.all(['exact', 'twice', 'other-layer'].map((each) => inboxes.get(each)!.until(1)));
      const seen = Object.fromEntries([...inboxes].map(([each, inbox]) => [each, [...inbox.data].sort()]));
      expect(seen).toEqual({ exact: ['1'], twice: ['1'], rest: ['1', '2'], other: [], 'other-layer': ['3'] });
    });

    it('keeps messages from the subscription on until a consumer starts', async () => {
      await bus.publish('l32', 'a', message('too early'));
      await subscribe(['a']);
      await bus.publish('l32', 'a', message('kept'));
      const inbox = new Inbox();
      follow(inbox);
      await inbox.until(1);
      await bus.publish('l32', 'a', message('last'));
      await inbox.until(2);
      expect(inbox.data).toEqual(['kept', 'last']);
    });

    it('changes the patterns of a subscription and keeps its waiting messages', async () => {
      await subscribe(['a']);
      await bus.publish('l32', 'a', message('1'));
      await subscribe(['b']);
      await subscribe(['b']);
      await bus.publish('l32', 'a', message('2'));
      await bus.publish('l32', 'b', message('3'));
      const inbox = new Inbox();
      follow(inbox);
      await inbox.until(2);
      expect([...inbox.data].sort()).toEqual(['1', '3']);
    });

    it('deletes the messages of a removed subscription, even if the subscription is created again', async () => {
      await subscribe(['a']);
      await bus.publish('l32', 'a', message('gone'));
      await bus.removeSubscription('reader');
      await bus.removeSubscription('reader');
      await bus.publish('l32', 'a', message('nobody'));
      await subscribe(['a']);
      await bus.publish('l32', 'a', message('new'));
      const inbox = new Inbox();
      follow(inbox);
      await inbox.until(1);
      expect(inbox.data).toEqual(['new']);
    });

    it('delivers a message again, with the same id, until its handler succeeds', async () => {
      await subscribe(['a']);
      const seen: BusDelivery[] = [];
      const done = new Gate();
      bus.consume(
        'reader',
        async (delivery) => {
          seen.push(delivery);
          if (seen.length < 3) throw new Error('not yet');
          done.open();
        },
        { maxInFlight: 1 },
      );
      const id = await bus.publish('l32', 'a', message('1'));
      await done.opened;
      expect(seen.map((delivery) => [delivery.id, delivery.attempt])).toEqual([
        [id, 1],
        [id, 2],
        [id, 3],
      ]);
    });

    it.each(['unavailable', 'deadline_exceeded'] as const)(
      'does not count an outage as an attempt (%s)',
      async (code) => {
        await subscribe(['a']);
        const seen: BusDelivery[] = [];
        const done = new Gate();
        bus.consume(
          'reader',
          async (delivery) => {
            seen.push(delivery);
            if (seen.length < 4) throw new CmbsError(code, 'The store is away.');
            done.open();
          },
          { maxInFlight: 1 },
        );
        await bus.publish('l32', 'a', message('1', { orderingKey: 'k' }));
        await done.opened;
        expect(seen.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1]);
      },
    );

    it('makes a dead letter at once after a permanent error', async () => {
      await subscribe(['a']);
      const inbox = new Inbox();
      const deadLetters: { delivery: BusDelivery; reason: string }[] = [];
      const isDead = new Gate();
      bus.consume(
        'reader',
        async (delivery) => {
          if (delivery.message.data === 'poison') throw new CmbsError('bad_request', 'This is no message.');
          await inbox.take(delivery);
        },
        {
          maxInFlight: 1,
          onDeadLetter: async (delivery, reason) => {
            deadLetters.push({ delivery, reason });
            isDead.open();
          },
        },
      );
      await bus.publish('l32', 'a', message('poison', { orderingKey: 'k' }));
      await bus.publish('l32', 'a', message('good', { orderingKey: 'k' }));
      await isDead.opened;
      await inbox.until(1);
      expect(inbox.data).toEqual(['good']);
      expect(deadLetters).toEqual([
        {
          delivery: expect.objectContaining({ topic: 'a', attempt: 1 }) as BusDelivery,
          reason: 'This is no message.',
        },
      ]);
    });

    it('delivers messages without the ordering key of a message that keeps failing', async () => {
      await subscribe(['a']);
      const inbox = new Inbox();
      bus.consume(
        'reader',
        async (delivery) => {
          if (delivery.message.data === 'bad') throw new Error('never');
          await inbox.take(delivery);
        },
        { maxInFlight: 1 },
      );
      await bus.publish('l32', 'a', message('bad', { orderingKey: 'k' }));
      await bus.publish('l32', 'a', message('good'));
      await bus.publish('l32', 'a', message('other key', { orderingKey: 'j' }));
      await inbox.until(2);
      expect([...inbox.data].sort()).toEqual(['good', 'other key']);
    });

    it('keeps the order of an ordering key despite a failure', async () => {
      await subscribe(['a']);
      const inbox = new Inbox();
      let failures = 2;
      bus.consume(
        'reader',
        async (delivery) => {
          if (delivery.message.data === '3' && failures-- > 0) throw new Error('not yet');
          await inbox.take(delivery);
        },
        { maxInFlight: 10 },
      );
      const sent = Array.from({ length: 20 }, (_, i) => String(i));
      await Promise.all(sent.map((data) => bus.publish('l32', 'a', message(data, { orderingKey: 'k' }))));
      await inbox.until(20);
      expect(inbox.data).toEqual(sent);
    });

    it('runs no more handlers at once than the consumer allows', async () => {
      await subscribe(['a']);
      await Promise.all(Array.from({ length: 50 }, (_, i) => bus.publish('l32', 'a', message(String(i)))));
      let running = 0;
      let most = 0;
      const isFull = new Gate();
      const inbox = new Inbox();
      bus.consume(
        'reader',
        async (delivery) => {
          most = Math.max(most, ++running);
          // The first handlers wait until as many run as the consumer allows.
          if (running === 3) isFull.open();
          await isFull.opened;
          await new Promise((resolve) => setImmediate(resolve));
          running--;
          await inbox.take(delivery);
        },
        { maxInFlight: 3 },
      );
      await inbox.until(50);
      expect(most).toBe(3);
    });

    it('waits for running handlers when the consumer closes, and starts no others', async () => {
      await subscribe(['a']);
      const started = new Gate();
      const finish = new Gate();
      const finished: string[] = [];
      const consumer = bus.consume(
        'reader',
        async ({ message: { data } }) => {
          started.open();
          await finish.opened;
          finished.push(data);
        },
        { maxInFlight: 1 },
      );
      await bus.publish('l32', 'a', message('1'));
      await bus.publish('l32', 'a', message('2'));
      await started.opened;
      const closed = consumer.close();
      finish.open();
      await closed;
      expect(finished).toHaveLength(1);
      const inbox = new Inbox();
      follow(inbox);
      await inbox.until(1);
      // Without an ordering key either message may arrive first.
      expect([...finished, ...inbox.data].sort()).toEqual(['1', '2']);
    });

    it('delivers the messages that a closed consumer left to the next consumer', async () => {
      await subscribe(['a']);
      const large = 'x'.repeat(100_000);
      const sent = Array.from({ length: 100 }, (_, at) => `${at} ${large}`);
      await Promise.all(sent.map((data) => bus.publish('l32', 'a', message(data))));
      const started = new Gate();
      const finish = new Gate();
      const finished: string[] = [];
      const consumer = bus.consume(
        'reader',
        async ({ message: { data } }) => {
          started.open();
          await finish.opened;
          finished.push(data);
        },
        { maxInFlight: 1 },
      );
      await started.opened;
      const closed = consumer.close();
      finish.open();
      await closed;
      const inbox = new Inbox();
      follow(inbox);
      await inbox.until(sent.length - finished.length);
      expect([...finished, ...inbox.data].sort()).toEqual([...sent].sort());
    });

    it('redelivers only unacknowledged messages after a restart', async () => {
      await subscribe(['a']);
      const taken = new Gate();
      const consumer = bus.consume(
        'reader',
        async ({ message: { data } }) => {
          if (data === '2') {
            taken.open();
            throw new Error('not yet');
          }
        },
        { maxInFlight: 1 },
      );
      // One ordering key, so that the first message is acknowledged when the second one arrives.
      await bus.publish('l32', 'a', message('1', { orderingKey: 'k' }));
      await bus.publish('l32', 'a', message('2', { orderingKey: 'k' }));
      await taken.opened;
      await consumer.close();
      await bus.publish('l32', 'a', message('3'));
      bus = await opened.reopen();
      const inbox = new Inbox();
      follow(inbox);
      await inbox.until(2);
      expect([...inbox.data].sort()).toEqual(['2', '3']);
      expect(inbox.deliveries.map(({ topic }) => topic)).toEqual(['a', 'a']);
    });

    it('delivers a large message to several subscriptions', async () => {
      const data = 'x'.repeat(500_000);
      const inboxes = await Promise.all(
        ['one', 'two', 'three'].map(async (subscription) => {
          await subscribe(['a'], subscription);
          const inbox = new Inbox();
          follow(inbox, subscription);
          return inbox;
        }),
      );
      await bus.publish('l32', 'a', message(data));
      await Promise.all(inboxes.map((inbox) => inbox.until(1)));
      for (const inbox of inboxes) expect(inbox.data[0] === data).toBe(true);
    });

    it.each(['', 'a..b', 'a.*', '>', 'a\u0000', 'x'.repeat(1000)])('refuses to publish on %j', async (topic) => {
      await expect(bus.publish('l32', topic, message('1'))).rejects.toMatchObject({ code: 'bad_attribute' });
    });

    it('refuses a subscription with a bad pattern', async () => {
      await expect(subscribe(['a', '>.a'])).rejects.toMatchObject({ code: 'bad_attribute' });
    });

    it('is unavailable after it is closed', async () => {
      await bus.close();
      await expect(bus.publish('l32', 'a', message('1'))).rejects.toMatchObject({ code: 'unavailable' });
    });
  });
}

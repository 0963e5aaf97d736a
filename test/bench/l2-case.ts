/** L2 broadcasts to many peers through the companion's sockets, against one PUB. */
import { silentCounters, silentLog } from '@cmbs/shared';
import { Broadcaster } from '../../companion/exchanges/zeromq/broadcaster';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { XPublisher } from 'zeromq';
import { frames } from './messages';
import { Bare } from './programs';
import { compared, inTurn, type Row } from './rounds';

const ROUNDS = 5;
/** Messages that all peers together receive in a round. */
const DELIVERIES = 20_000;
const PEERS = [1, 10, 100] as const;

/** Resolves when all of `broadcasters` have a subscription. */
async function subscribed(broadcaster: Broadcaster): Promise<void> {
  if (broadcaster.subscribed) return;
  await new Promise<void>((resolve) => {
    const stop = broadcaster.onSubscription((up) => {
      if (!up) return;
      stop();
      resolve();
    });
  });
}

/** Sends one peer's messages in order: each once the previous was accepted, like the companion's queues. */
async function sendInOrder(broadcaster: Broadcaster, bodies: readonly string[]): Promise<void> {
  for (const body of bodies) {
    while (!(await broadcaster.send(body))) {
      await new Promise<void>((resolve) => {
        const stop = broadcaster.onWritable(() => {
          stop();
          resolve();
        });
      });
    }
  }
}

export async function l2Case(): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const peers of PEERS) {
    const context = new SocketContext();
    const publisher = new XPublisher({ linger: 0, sendHighWaterMark: 0 });
    await publisher.bind('tcp://127.0.0.1:*');
    const ours = await Bare.start('subscribers', { n: peers, total: DELIVERIES });
    const theirs = await Bare.start('subscribers', {
      n: peers,
      total: DELIVERIES,
      publisher: publisher.lastEndpoint ?? '',
    });
    const broadcasters = ours.ready.ports.map(
      (port) => new Broadcaster(`tcp://127.0.0.1:${port}`, { context, log: silentLog, counters: silentCounters }),
    );
    try {
      await Promise.all(broadcasters.map(subscribed));
      // PUB cannot report its subscribers; XPUB on the same pattern can, with one greeting per connection.
      await publisher.receive();
      const frame = frames('tcp://127.0.0.1:1', 'false');
      const bodies = Array.from({ length: DELIVERIES / peers }, frame);
      const measure = async (receivers: Bare, send: () => Promise<void>): Promise<number> => {
        const all = receivers.message();
        const started = performance.now();
        await send();
        await all;
        return (DELIVERIES * 1000) / (performance.now() - started);
      };
      const figures = await inTurn(
        [
          {
            name: 'cmbs',
            run: () =>
              measure(ours, async () => {
                await Promise.all(broadcasters.map((one) => sendInOrder(one, bodies)));
              }),
          },
          {
            name: 'PUB',
            run: () =>
              measure(theirs, async () => {
                for (const body of bodies) await publisher.send(body);
              }),
          },
        ],
        ROUNDS,
      );
      rows.push(
        compared(figures, {
          what: `L2 to ${peers} ${peers === 1 ? 'peer' : 'peers'}`,
          unit: 'deliveries/s',
          ours: 'cmbs',
          against: 'PUB',
          limit:
            'One socket and one hand-over per peer, where PUB has one for all; it is what tells whose subscription is up.',
        }),
      );
    } finally {
      await Promise.all(broadcasters.map((one) => one.close()));
      publisher.close();
      context.close();
      await ours.close();
      await theirs.close();
    }
  }
  return rows;
}

/**
 * A message on a topic, from the frame of a member of another deployment to the durable receipt of one member, against
 * other brokers with one publisher and one consumer.
 */
import { asksNats, asksRabbitMq, JetStreamTransport, RabbitMqTransport } from './broker-load';
import { startNats, startRabbitMq, type Broker } from './brokers';
import { topicFrames } from './messages';
import { Product } from './programs';
import { atLeast, compared, inTurn, type Contestant, type Row, type Unmeasured } from './rounds';
import { throughput, type Transport } from './throughput';
import { TopicTransport, WINDOW } from './topic-transport';

const ROUNDS = 7;
const ROUND_MS = 700;

const WHAT = `L3.2, frame to durable receipt, ${WINDOW} in flight`;
const LIMIT =
  'Five commits of a message, three of them in a row: the frame is queued, published and recorded, and then received and settled; see the profile.';

interface Peer {
  readonly name: string;
  readonly note: string;
  /** Undefined when it is not installed. */
  readonly start: () => Promise<Broker | undefined>;
  readonly open: (port: number, window: number, frame: () => string) => Promise<Transport>;
}

const PEERS: readonly Peer[] = [
  {
    name: 'RabbitMQ',
    note: 'RabbitMQ confirms a message after a sync that it shares with many others, or earlier, without a sync, when the consumer has acknowledged the message by then. CMBS replies after the sync of the message, and counts a receipt after its sync.',
    start: () => startRabbitMq(asksRabbitMq),
    open: (...args) => RabbitMqTransport.open(...args),
  },
  {
    name: 'JetStream',
    note: 'JetStream acknowledges a message that it has written to its file, and syncs the file every two minutes. CMBS replies after the sync of the message, and counts a receipt after its sync.',
    start: () => startNats(asksNats),
    open: (...args) => JetStreamTransport.open(...args),
  },
];

export async function brokersCase(): Promise<readonly (Row | Unmeasured)[]> {
  const closing: (() => Promise<void>)[] = [];
  try {
    const product = await Product.start();
    closing.push(() => product.close());
    const ours = await TopicTransport.open(product);
    closing.push(() => ours.close());
    const frame = topicFrames();
    const run = throughput(WINDOW, ROUND_MS);
    const contestants: Contestant[] = [{ name: 'cmbs', run: () => run(ours) }];
    for (const { name, start, open } of PEERS) {
      const broker = await start();
      if (broker === undefined) continue;
      closing.push(() => broker.close());
      const transport = await open(broker.port, WINDOW, frame);
      closing.push(() => transport.close());
      contestants.push({ name, run: () => run(transport) });
    }
    // Without a counterpart, there is nothing to compare.
    const figures = contestants.length === 1 ? new Map<string, number[]>() : await inTurn(contestants, ROUNDS);
    return PEERS.map(({ name, note }) =>
      figures.has(name)
        ? compared(figures, {
            what: WHAT,
            unit: '/s',
            ours: 'cmbs',
            against: name,
            aim: atLeast(0.5),
            limit: LIMIT,
            note,
          })
        : { what: WHAT, against: name, why: 'not installed' },
    );
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/**
 * One publisher and one consumer at another broker, with the same bytes as a frame: a message is published and
 * confirmed, consumed and acknowledged.
 */
import { connect as connectAmqp, type ChannelModel, type ConfirmChannel } from 'amqplib';
import { AckPolicy, jetstream, jetstreamManager, StorageType, type ConsumerMessages } from '@nats-io/jetstream';
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node';
import { within } from './programs';
import type { Transport } from './throughput';

/** Milliseconds in which the messages of a round are consumed after the last one was published. */
const DRAIN_MS = 30_000;

/** Counts the messages that were consumed and acknowledged. */
class Arrivals {
  #count = 0;
  #wanted = Infinity;
  #reached = (): void => undefined;

  add(): void {
    this.#count += 1;
    if (this.#count >= this.#wanted) this.#reached();
  }

  /** Resolves when so many have arrived since the start. */
  async until(count: number): Promise<void> {
    if (this.#count >= count) return;
    this.#wanted = count;
    const reached = new Promise<void>((resolve) => (this.#reached = resolve));
    await within(reached, `${count} messages`, DRAIN_MS);
  }
}

const QUEUE = 'bench';

/** Connects and ends the connection again. */
export async function asksRabbitMq(port: number): Promise<void> {
  const connection = await connectAmqp(`amqp://127.0.0.1:${port}`);
  await connection.close();
}

/** A durable queue, persistent messages, publisher confirms, and acknowledgements by the consumer. */
export class RabbitMqTransport implements Transport {
  readonly #connections: readonly ChannelModel[];
  readonly #channel: ConfirmChannel;
  readonly #frame: () => string;
  readonly #arrivals: Arrivals;

  private constructor(
    connections: readonly ChannelModel[],
    channel: ConfirmChannel,
    frame: () => string,
    arrivals: Arrivals,
  ) {
    this.#connections = connections;
    this.#channel = channel;
    this.#frame = frame;
    this.#arrivals = arrivals;
  }

  static async open(port: number, window: number, frame: () => string): Promise<RabbitMqTransport> {
    const url = `amqp://127.0.0.1:${port}`;
    const [publisher, consumer] = await Promise.all([connectAmqp(url), connectAmqp(url)]);
    const arrivals = new Arrivals();
    const channel = await publisher.createConfirmChannel();
    await channel.assertQueue(QUEUE, { durable: true });
    const consuming = await consumer.createChannel();
    await consuming.prefetch(window);
    await consuming.consume(QUEUE, (message) => {
      if (message === null) return;
      consuming.ack(message);
      arrivals.add();
    });
    return new RabbitMqTransport([publisher, consumer], channel, frame, arrivals);
  }

  publish(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#channel.sendToQueue(QUEUE, Buffer.from(this.#frame()), { persistent: true }, (error: unknown) => {
        if (error instanceof Error) reject(error);
        else resolve();
      });
    });
  }

  drained(published: number): Promise<void> {
    return this.#arrivals.until(published);
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) await connection.close();
  }
}

const server = (port: number) => ({ servers: `127.0.0.1:${port}` });

export async function asksNats(port: number): Promise<void> {
  const connection = await connectNats({ ...server(port), reconnect: false });
  await connection.close();
}

/** A stream in files, confirmed publications, and a durable consumer with explicit acknowledgements. */
export class JetStreamTransport implements Transport {
  readonly #connections: readonly NatsConnection[];
  readonly #publish: (payload: string) => Promise<unknown>;
  readonly #frame: () => string;
  readonly #arrivals: Arrivals;
  readonly #messages: ConsumerMessages;

  private constructor(
    connections: readonly [publisher: NatsConnection, consumer: NatsConnection],
    frame: () => string,
    arrivals: Arrivals,
    messages: ConsumerMessages,
  ) {
    this.#connections = connections;
    const stream = jetstream(connections[0]);
    this.#publish = (payload) => stream.publish(QUEUE, payload);
    this.#frame = frame;
    this.#arrivals = arrivals;
    this.#messages = messages;
  }

  static async open(port: number, window: number, frame: () => string): Promise<JetStreamTransport> {
    const connections = [await connectNats(server(port)), await connectNats(server(port))] as const;
    const [publisher, consumer] = connections;
    const manager = await jetstreamManager(publisher);
    await manager.streams.add({ name: QUEUE, subjects: [QUEUE], storage: StorageType.File });
    await manager.consumers.add(QUEUE, {
      durable_name: QUEUE,
      ack_policy: AckPolicy.Explicit,
      max_ack_pending: window,
    });
    const arrivals = new Arrivals();
    const durable = await jetstream(consumer).consumers.get(QUEUE, QUEUE);
    const messages = await durable.consume({
      max_messages: window,
      callback: (message) => {
        message.ack();
        arrivals.add();
      },
    });
    return new JetStreamTransport(connections, frame, arrivals, messages);
  }

  publish(): Promise<unknown> {
    return this.#publish(this.#frame());
  }

  drained(published: number): Promise<void> {
    return this.#arrivals.until(published);
  }

  async close(): Promise<void> {
    await this.#messages.close();
    for (const connection of this.#connections) await connection.close();
  }
}

/** Pub/Sub as outside programs use it: with Google's client and the names of docs/wire.md. */
import { PubSub, type Message } from '@google-cloud/pubsub';
import { eventually } from '../e2e/harness';
import type { EmulatorHosts } from './support';

export interface Seen {
  readonly data: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly orderingKey: string | undefined;
}

export class Outside {
  readonly client: PubSub;
  readonly #subscribers: Subscriber[] = [];

  constructor(hosts: EmulatorHosts, projectId: string) {
    process.env.PUBSUB_EMULATOR_HOST = hosts.pubsub;
    this.client = new PubSub({ projectId });
  }

  async publish(topic: string, data: string | Buffer, attributes: Record<string, string> = {}): Promise<string> {
    return this.client.topic(topic, { batching: { maxMessages: 1 } }).publishMessage({
      data: Buffer.from(data),
      attributes,
    });
  }

  /** Creates a subscription to an existing topic and reads it. */
  async subscribe(topic: string, name: string): Promise<Subscriber> {
    await this.client.topic(topic).createSubscription(name);
    return this.read(name);
  }

  /** Reads an existing subscription. */
  read(name: string): Subscriber {
    const subscriber = new Subscriber(this.client, name);
    this.#subscribers.push(subscriber);
    return subscriber;
  }

  /** Names of topics or subscriptions, without the project. */
  async names(of: 'topics' | 'subscriptions'): Promise<readonly string[]> {
    const [all] = of === 'topics' ? await this.client.getTopics() : await this.client.getSubscriptions();
    return all.map(({ name }) => name.slice(name.lastIndexOf('/') + 1)).sort();
  }

  async close(): Promise<void> {
    await Promise.all(this.#subscribers.splice(0).map((one) => one.close()));
    await this.client.close();
  }
}

export class Subscriber {
  readonly seen: Seen[] = [];
  readonly #subscription;

  constructor(client: PubSub, name: string) {
    this.#subscription = client.subscription(name);
    this.#subscription.on('message', (message: Message) => {
      const { data, attributes, orderingKey } = message;
      this.seen.push({ data: data.toString('utf8'), attributes, orderingKey });
      message.ack();
    });
    // A test notices read errors by missing messages.
    this.#subscription.on('error', () => undefined);
  }

  async until(count: number): Promise<readonly Seen[]> {
    return eventually(
      () => this.seen,
      (seen) => seen.length >= count,
      `the outside subscriber sees ${count}`,
    );
  }

  async close(): Promise<void> {
    await this.#subscription.close();
  }
}

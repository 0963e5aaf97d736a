/** The topic bus on Google Pub/Sub, with its registry in the store (docs/design.md). */
import { PubSub, type Topic as PubsubTopic } from '@google-cloud/pubsub';
import { concurrently } from '../../concurrently';
import { CmbsError } from '../../errors';
import { STATUS, statusOf } from '../../grpc-status';
import { silentCounters } from '../../log';
import type { Bus, BusDelivery, BusMessage, ConsumeOptions, Consumer, Subscription, TopicLayer } from '../bus';
import { MAX_QUEUED_PUBLICATIONS } from '../limits';
import type { BusOptions } from '../options';
import type { PushTarget } from '../push';
import { checkSubscriptionName, parsePatterns } from '../subscription-checks';
import { isTopic, parseTopic, type Topic } from '../topics';
import { PubsubCalls } from './calls';
import { PUBSUB_ADMIN_CONCURRENCY, PUBSUB_BUS_LIMITS, type PubsubBusLimits } from './limits';
import { checkPublication, deadLetterAttributes, publicationBytes, type ReceivedMessage } from './message';
import { PubsubNames } from './names';
import { PubsubAdmin } from './pubsub-admin';
import { PullReconciler } from './pull-reconciler';
import { PushReconciler } from './push-reconciler';
import { PubsubStreams } from './streams';
import { SubscriptionRegistry } from './subscription-registry';

/** Bytes of publications that wait for Pub/Sub; beyond, `queue_full`. */
const MAX_QUEUED_PUBLICATION_BYTES = 128 * 1024 * 1024;

export interface PubsubBusOptions extends BusOptions {
  readonly projectId: string;
  /** First part of the name of each topic and subscription (`CMBS_TOPIC_PREFIX`). */
  readonly prefix: string;
  /** Pub/Sub pushes deliveries to this URL. Absent: consumers pull them. */
  readonly push?: PushTarget;
  /**
   * For Google's emulator: pushes are not ordered, because it stops pushing to an ordered subscription when one of its
   * messages becomes a dead letter (0.8.20).
   */
  readonly isEmulated?: boolean;
  readonly limits?: Partial<PubsubBusLimits>;
}

/** Connects to the emulator at `PUBSUB_EMULATOR_HOST` when that variable is set, else to Google Cloud. */
export function pubsubBus(options: PubsubBusOptions): Bus {
  return new PubsubBus(options);
}

class PubsubBus implements Bus {
  readonly #options: PubsubBusOptions;
  readonly #limits: PubsubBusLimits;
  readonly #client: PubSub;
  readonly #calls: PubsubCalls;
  readonly #names: PubsubNames;
  readonly #registry: SubscriptionRegistry;
  readonly #admin: PubsubAdmin;
  readonly #publishing = new Set<Promise<unknown>>();
  #publishingBytes = 0;
  #streams: PubsubStreams | undefined;
  #pullReconciler: PullReconciler | undefined;
  #pushReconciler: PushReconciler | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: PubsubBusOptions) {
    const { projectId, prefix, store, clock, push, isEmulated = false } = options;
    this.#options = options;
    this.#limits = { ...PUBSUB_BUS_LIMITS, ...options.limits };
    this.#client = new PubSub({ projectId });
    this.#calls = new PubsubCalls(clock, this.#limits.callMs);
    this.#names = new PubsubNames(prefix);
    this.#registry = new SubscriptionRegistry(store);
    this.#admin = new PubsubAdmin({
      client: this.#client,
      calls: this.#calls,
      names: this.#names,
      registry: this.#registry,
      ackDeadlineS: this.#limits.ackDeadlineS,
      ...(push === undefined ? {} : { push }),
      isEmulated,
    });
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) {
      throw new CmbsError('unavailable', 'The bus is closed; repeat the request when the program runs again.');
    }
  }

  // --- Publishing ---

  async publish(layer: TopicLayer, topic: string, message: BusMessage): Promise<string> {
    const parsed = parseTopic(topic);
    this.#assertOpen();
    checkPublication(message);
    const bytes = publicationBytes(message);
    const isFull = this.#publishingBytes + bytes > MAX_QUEUED_PUBLICATION_BYTES && this.#publishing.size > 0;
    if (isFull || this.#publishing.size >= MAX_QUEUED_PUBLICATIONS) {
      throw new CmbsError(
        'queue_full',
        'Too many publications are waiting for Pub/Sub; slow down and repeat the publication.',
        { headers: { 'Retry-After': '1' } },
      );
    }
    const publishing = this.#publishTo(layer, parsed, message);
    this.#publishing.add(publishing);
    this.#publishingBytes += bytes;
    try {
      return await publishing;
    } finally {
      this.#publishing.delete(publishing);
      this.#publishingBytes -= bytes;
    }
  }

  async #publishTo(layer: TopicLayer, topic: Topic, message: BusMessage): Promise<string> {
    const known = await this.#admin.topicFor(layer, topic);
    try {
      return await this.#publishOn(known, topic, message);
    } catch (error) {
      if (!(error instanceof CmbsError) || statusOf(error.cause) !== STATUS.notFound) throw error;
      this.#options.log.warn('a topic was deleted from outside and is created again', { topic, layer });
      const remade = await this.#admin.topicFor(layer, topic, { isMissing: true });
      return this.#publishOn(remade, topic, message);
    }
  }

  #publishOn(topic: PubsubTopic, name: Topic, { data, attributes, orderingKey }: BusMessage): Promise<string> {
    const isOrdered = orderingKey !== undefined && orderingKey !== '';
    return this.#calls.run(`publish on ${name}`, async () => {
      try {
        return await topic.publishMessage({
          data: Buffer.from(data),
          attributes,
          ...(isOrdered ? { orderingKey } : {}),
        });
      } catch (error) {
        // After a failure the client refuses further messages with the key until it is told to go on.
        if (isOrdered) topic.resumePublishing(orderingKey);
        throw error;
      }
    });
  }

  async #publishDeadLetter(
    message: ReceivedMessage,
    delivery: BusDelivery,
    subscription: string,
    reason: string,
  ): Promise<void> {
    const topic = await this.#admin.deadLetterTopic();
    const attributes = deadLetterAttributes(message.attributes, delivery, subscription, reason);
    await this.#calls.run('publish a dead letter', () => topic.publishMessage({ data: message.data, attributes }));
  }

  // --- Subscriptions ---

  async setSubscription(subscription: Subscription): Promise<void> {
    this.#assertOpen();
    const { name, layer, patterns } = subscription;
    checkSubscriptionName(name);
    const parsed = parsePatterns(patterns);
    const { target } = this.#admin;
    // A subscription whose counterparts were made once costs one read; consumers make missing ones again.
    if (!(await this.#registry.setSubscription(subscription, target, this.#options.clock.now()))) return;
    // A topic without wildcards is made now: an outside program may be the first to publish on it.
    await concurrently(parsed.filter(isTopic), PUBSUB_ADMIN_CONCURRENCY, async (topic) => {
      await this.#admin.topicFor(layer, topic);
    });
    const known = await this.#registry.subscription(name);
    if (known === undefined) return; // removed in the meantime
    const topics = await this.#registry.topicsOf(known);
    await concurrently(topics, PUBSUB_ADMIN_CONCURRENCY, async ({ topic }) => {
      await this.#admin.attach(known, topic);
    });
    await this.#registry.subscriptionAttached(known, target);
  }

  async removeSubscription(name: string): Promise<void> {
    this.#assertOpen();
    checkSubscriptionName(name);
    const removed = await this.#registry.removeSubscription(name);
    if (removed === undefined) return;
    const wanted = await this.#registry.topicsOf(removed);
    const topics = new Set([...wanted, ...removed.retired].map(({ topic }) => topic));
    await concurrently(topics, PUBSUB_ADMIN_CONCURRENCY, (topic) => this.#admin.detach(name, topic));
    await this.#registry.forgetSubscription(name);
  }

  // --- Consuming ---

  /** With `push`, only repairs the subscription: the handler is not called. */
  consume(name: string, handler: (delivery: BusDelivery) => Promise<void>, options: ConsumeOptions): Consumer {
    this.#assertOpen();
    checkSubscriptionName(name);
    const { projectId, clock, log, counters = silentCounters, random = Math.random, push } = this.#options;
    const shared = {
      admin: this.#admin,
      names: this.#names,
      registry: this.#registry,
      clock,
      log,
      counters,
    };
    if (push !== undefined) {
      this.#pushReconciler ??= new PushReconciler(shared);
      return this.#pushReconciler.add(name);
    }
    this.#streams ??= new PubsubStreams(projectId, clock, this.#limits);
    this.#pullReconciler ??= new PullReconciler({
      ...shared,
      streams: this.#streams,
      random,
      callMs: this.#limits.callMs,
      deadLetter: (message, delivery, subscription, reason) =>
        this.#publishDeadLetter(message, delivery, subscription, reason),
    });
    return this.#pullReconciler.consume(name, handler, options);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([this.#pullReconciler?.close(), this.#pushReconciler?.close()]);
    await Promise.allSettled([...this.#publishing]);
    await this.#streams?.close();
    await this.#client.close();
  }
}

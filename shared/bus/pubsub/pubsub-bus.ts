/**
 * The topic bus on Google Pub/Sub (DESIGN decision 11): one Pub/Sub topic per CMBS topic and layer, so that fan-out is
 * Pub/Sub's own and any program can subscribe; one Pub/Sub subscription per CMBS subscription and topic that it
 * matches. Topics come into being when they are first used, with the subscriptions of everybody who waits for such a
 * one; {@link SubscriptionRegistry} knows both.
 */
import { PubSub, type protos, type Topic as PubsubTopic } from '@google-cloud/pubsub';
import type { CallOptions } from 'google-gax';
import type { Random } from '../../back-off';
import { isTopic, parsePattern, parseTopic, type Topic } from '../topics';
import type { Clock } from '../../clock';
import { concurrently } from '../../concurrently';
import { CmbsError } from '../../errors';
import {
  BUS_RETENTION_MS,
  MAX_QUEUED_PUBLICATIONS,
  MAX_REMEMBERED_TOPICS,
  MAX_SUBSCRIPTION_PATTERNS,
} from '../limits';
import { PUBSUB_ACK_DEADLINE_S, PUBSUB_DEADLINE_MS } from '../../limits';
import { PUBSUB_ADMIN_CONCURRENCY } from './limits';
import { silentCounters, type Counters, type Log } from '../../log';
import type { Store } from '../../store';
import { inTime } from '../../waiting';
import { STATUS, statusOf } from '../../grpc-status';
import type { Bus, BusMessage, Consumer, ConsumeOptions, BusDelivery, Subscription, TopicLayer } from '../bus';
import { lateError, toBusError, unless } from './errors';
import { PullReconciler } from './pull-reconciler';
import { PushReconciler } from './push-reconciler';
import { checkPublication, deadLetterAttributes, publicationBytes } from './message';
import { PubsubNames } from './names';
import { isWanted, SubscriptionRegistry, type KnownSubscription } from './subscription-registry';
import { PubsubStreams, type Received } from './streams';
import { pushPath, type PushTarget } from '../push';
import { checkSubscriptionName } from '../subscription-name';

/** Bytes of publications that wait for Pub/Sub; beyond, `queue_full`. */
const MAX_QUEUED_PUBLICATION_BYTES = 128 * 1024 * 1024;
/** Milliseconds that a publication waits for others to share a request. */
const PUBLISH_GATHER_MS = 1;
/** Seconds before a message that was handed back is offered again, at first and at most. */
const PUBSUB_RETRY_FIRST_S = 1;
const PUBSUB_RETRY_MAX_S = 15;
/**
 * Deliveries after which Pub/Sub itself gives a message up. The consumer gives up first ({@link BUS_MAX_ATTEMPTS});
 * this is for one whose process dies of it each time, and for pushes: 25 minutes with the pauses above.
 */
const PUBSUB_MAX_DELIVERIES = 100;

export interface PubsubBusOptions {
  readonly projectId: string;
  /** What every topic's and subscription's name starts with. */
  readonly prefix: string;
  /** Holds the registry; stays the caller's. */
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters?: Counters;
  readonly random?: Random;
  readonly push?: PushTarget;
  /**
   * Google's emulator is behind it: it gives up pushing to an ordered subscription when a message of it becomes a dead
   * letter (0.8.20), so pushes are not ordered there.
   */
  readonly isEmulated?: boolean;
  /** Milliseconds that a call has; for tests. */
  readonly deadlineMs?: number;
}

export function pubsubBus(options: PubsubBusOptions): Bus {
  return new PubsubBus(options);
}

type PushConfig = protos.google.pubsub.v1.IPushConfig;

/** What Pub/Sub calls the topic of a subscription whose topic was deleted. */
const TOPIC_DELETED = '_deleted-topic_';
const seconds = (ms: number): { seconds: number } => ({ seconds: Math.floor(ms / 1000) });

class PubsubBus implements Bus {
  readonly #options: PubsubBusOptions;
  readonly #deadlineMs: number;
  readonly #client: PubSub;
  readonly #names: PubsubNames;
  readonly #registry: SubscriptionRegistry;
  /** Topics that this process has made sure of, the longest unused first. */
  readonly #topics = new Map<string, Promise<PubsubTopic>>();
  readonly #publishing = new Set<Promise<unknown>>();
  #publishingBytes = 0;
  #deadLetters: Promise<PubsubTopic> | undefined;
  #streams: PubsubStreams | undefined;
  #follower: PullReconciler | undefined;
  #keeper: PushReconciler | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: PubsubBusOptions) {
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? PUBSUB_DEADLINE_MS;
    this.#client = new PubSub({ projectId: options.projectId });
    this.#names = new PubsubNames(options.prefix);
    this.#registry = new SubscriptionRegistry(options.store);
  }

  // --- Publishing ---

  async publish(layer: TopicLayer, topic: string, message: BusMessage): Promise<string> {
    const parsed = parseTopic(topic);
    this.#assertOpen();
    checkPublication(message);
    const bytes = publicationBytes(message);
    const isFull = this.#publishingBytes + bytes > MAX_QUEUED_PUBLICATION_BYTES && this.#publishing.size > 0;
    if (isFull || this.#publishing.size >= MAX_QUEUED_PUBLICATIONS) {
      throw new CmbsError('queue_full', 'Too many publications wait for Pub/Sub; slow down and repeat this one.', {
        headers: { 'Retry-After': '1' },
      });
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
    const known = await this.#topicFor(layer, topic);
    try {
      return await this.#send(known, topic, message);
    } catch (error) {
      if (!(error instanceof CmbsError) || statusOf(error.cause) !== STATUS.notFound) throw error;
      this.#options.log.warn('a topic was deleted from outside and is made again', { topic, layer });
      this.#topics.delete(this.#names.topic(layer, topic));
      return this.#send(await this.#topicFor(layer, topic, { again: true }), topic, message);
    }
  }

  #send(topic: PubsubTopic, name: Topic, { data, attributes, orderingKey }: BusMessage): Promise<string> {
    const isOrdered = orderingKey !== undefined && orderingKey !== '';
    return this.#call(`publish on ${name}`, async () => {
      try {
        return await topic.publishMessage({
          data: Buffer.from(data),
          attributes,
          ...(isOrdered ? { orderingKey } : {}),
        });
      } catch (error) {
        // The client refuses what follows with the key until it is told that the failure is known.
        if (isOrdered) topic.resumePublishing(orderingKey);
        throw error;
      }
    });
  }

  // --- Topics ---

  /** @param again the topic is gone although the registry has it */
  #topicFor(layer: TopicLayer, topic: Topic, { again = false } = {}): Promise<PubsubTopic> {
    const name = this.#names.topic(layer, topic);
    const known = this.#topics.get(name);
    this.#topics.delete(name);
    const current = known ?? this.#makeTopic(layer, topic, name, again);
    this.#topics.set(name, current);
    current.catch(() => {
      if (this.#topics.get(name) === current) this.#topics.delete(name);
    });
    if (this.#topics.size > MAX_REMEMBERED_TOPICS) {
      const [oldest = name] = this.#topics.keys();
      this.#topics.delete(oldest);
    }
    return current;
  }

  async #makeTopic(layer: TopicLayer, topic: Topic, name: string, again: boolean): Promise<PubsubTopic> {
    const handle = this.#client.topic(name, {
      messageOrdering: true,
      batching: { maxMilliseconds: PUBLISH_GATHER_MS },
      gaxOpts: this.#gax,
    });
    const known = await this.#registry.topic(layer, topic);
    if (known?.ready === true && !again) return handle;
    if (known === undefined) await this.#registry.addTopic(layer, topic);
    await this.#createTopic(name);
    const wanting = (await this.#registry.subscriptions()).filter((one) => isWanted(one, layer, topic));
    await concurrently(wanting, PUBSUB_ADMIN_CONCURRENCY, async (one) => {
      await this.#attach(one, topic);
    });
    await this.#registry.topicReady(layer, topic);
    return handle;
  }

  async #createTopic(name: string): Promise<void> {
    await this.#call(`make the topic ${name}`, () =>
      unless(STATUS.alreadyExists, this.#client.createTopic(name, this.#gax)),
    );
  }

  // --- Subscriptions ---

  async setSubscription(subscription: Subscription): Promise<void> {
    this.#assertOpen();
    const { name, layer, patterns } = subscription;
    checkSubscriptionName(name);
    if (patterns.length > MAX_SUBSCRIPTION_PATTERNS) {
      throw new CmbsError('bad_attribute', `A subscription has at most ${MAX_SUBSCRIPTION_PATTERNS} patterns.`);
    }
    const parsed = patterns.map(parsePattern);
    const { clock } = this.#options;
    // What was made once is made again by whoever misses it: a restart with a thousand members asks for nothing.
    if (await this.#registry.isSet(subscription, this.#target)) return;
    const before = await this.#registry.topics();
    if (!(await this.#registry.setSubscription(subscription, this.#target, before, clock.now()))) return;
    // An outside program may be the first to publish on what a member waits for by name.
    await concurrently(parsed.filter(isTopic), PUBSUB_ADMIN_CONCURRENCY, async (topic) => {
      await this.#topicFor(layer, topic);
    });
    const known = await this.#registry.subscription(name);
    if (known === undefined) return; // removed meanwhile
    const topics = (await this.#registry.topics()).filter((one) => isWanted(known, one.layer, one.topic));
    await concurrently(topics, PUBSUB_ADMIN_CONCURRENCY, async ({ topic }) => {
      // Whoever added the topic may not have come to making it.
      await this.#createTopic(this.#names.topic(layer, topic));
      await this.#attach(known, topic);
    });
    await this.#registry.subscriptionAttached(known, this.#target);
  }

  /** What the counterparts of subscriptions are made for. */
  get #target(): string {
    const { push } = this.#options;
    return push === undefined ? 'pull' : JSON.stringify([push.url, push.signed ?? null]);
  }

  /** Makes the counterpart in Pub/Sub (then true), or makes what is there what it should be. */
  async #attach(known: KnownSubscription, topic: Topic): Promise<boolean> {
    try {
      return await this.#attachOnce(known, topic);
    } catch (error) {
      if (!(error instanceof CmbsError) || statusOf(error.cause) !== STATUS.notFound) throw error;
      // The topic, or the one for dead letters, was deleted from outside after this process had made sure of it.
      this.#deadLetters = undefined;
      await this.#createTopic(this.#names.topic(known.layer, topic));
      return this.#attachOnce(known, topic);
    }
  }

  async #attachOnce(known: KnownSubscription, topic: Topic): Promise<boolean> {
    const { name, layer, paused } = known;
    const { push, isEmulated = false } = this.#options;
    const deadLetters = await this.#deadLetterTopic();
    const inPubsub = this.#names.subscription(name, topic);
    const topicName = this.#names.topic(layer, topic);
    const pushConfig = this.#pushConfig(name, topic, paused);
    const create = (): Promise<unknown> =>
      this.#client.createSubscription(topicName, inPubsub, {
        ackDeadlineSeconds: PUBSUB_ACK_DEADLINE_S,
        enableMessageOrdering: push === undefined || !isEmulated,
        expirationPolicy: {},
        messageRetentionDuration: seconds(BUS_RETENTION_MS),
        retryPolicy: {
          minimumBackoff: { seconds: PUBSUB_RETRY_FIRST_S },
          maximumBackoff: { seconds: PUBSUB_RETRY_MAX_S },
        },
        deadLetterPolicy: {
          deadLetterTopic: deadLetters.name,
          maxDeliveryAttempts: PUBSUB_MAX_DELIVERIES,
        },
        pushConfig,
        gaxOpts: this.#gax,
      });
    const isMade = await this.#call(`subscribe ${name} to ${topic}`, async () => {
      if ((await unless(STATUS.alreadyExists, create())) !== undefined) return true;
      const there = this.#client.subscription(inPubsub);
      const [{ topic: attached }] = await there.getMetadata(this.#gax);
      if (attached === TOPIC_DELETED) {
        // Its topic was deleted and made again: what has the same name is another one to Pub/Sub.
        await unless(STATUS.notFound, there.delete(this.#gax));
        await unless(STATUS.alreadyExists, create());
      } else {
        await there.modifyPushConfig(pushConfig, this.#gax);
      }
      return attached === TOPIC_DELETED;
    });
    // Removed while this was under way, it would fill up with nobody to read it.
    if ((await this.#registry.subscription(name)) === undefined) await this.#detach(name, topic);
    return isMade;
  }

  #pushConfig(name: string, topic: Topic, paused: boolean): PushConfig {
    const { push } = this.#options;
    if (push === undefined || paused) return { pushEndpoint: '' };
    const pushEndpoint = push.url + pushPath(name, topic);
    if (push.signed === undefined) return { pushEndpoint };
    const { serviceAccount, audience } = push.signed;
    return { pushEndpoint, oidcToken: { serviceAccountEmail: serviceAccount, audience } };
  }

  async #detach(name: string, topic: Topic): Promise<void> {
    const there = this.#client.subscription(this.#names.subscription(name, topic));
    await this.#call(`unsubscribe ${name} from ${topic}`, () => unless(STATUS.notFound, there.delete(this.#gax)));
  }

  async removeSubscription(name: string): Promise<void> {
    this.#assertOpen();
    checkSubscriptionName(name);
    const removed = await this.#registry.removeSubscription(name);
    if (removed === undefined) return;
    const wanted = (await this.#registry.topics()).filter((one) => isWanted(removed, one.layer, one.topic));
    const topics = new Set([...wanted, ...removed.retired].map(({ topic }) => topic));
    await concurrently(topics, PUBSUB_ADMIN_CONCURRENCY, (topic) => this.#detach(name, topic));
    await this.#registry.forgetSubscription(name);
  }

  // --- Dead letters ---

  /** With the subscriptions that keep what comes there; a deployment has made them already. */
  #deadLetterTopic(): Promise<PubsubTopic> {
    this.#deadLetters ??= this.#makeDeadLetterTopic();
    this.#deadLetters.catch(() => (this.#deadLetters = undefined));
    return this.#deadLetters;
  }

  async #makeDeadLetterTopic(): Promise<PubsubTopic> {
    const { deadLetters, keptDeadLetters, watchedDeadLetters } = this.#names;
    await this.#createTopic(deadLetters);
    for (const name of [keptDeadLetters, watchedDeadLetters]) {
      await this.#call(`make the subscription ${name}`, () =>
        unless(
          STATUS.alreadyExists,
          this.#client.createSubscription(deadLetters, name, {
            expirationPolicy: {},
            // A deployment's own keep them for a month; the emulator takes no more than a week.
            messageRetentionDuration: seconds(BUS_RETENTION_MS),
            gaxOpts: this.#gax,
          }),
        ),
      );
    }
    return this.#client.topic(deadLetters, {
      batching: { maxMilliseconds: PUBLISH_GATHER_MS },
      gaxOpts: this.#gax,
    });
  }

  async #bury(message: Received, delivery: BusDelivery, subscription: string, reason: string): Promise<void> {
    const topic = await this.#deadLetterTopic();
    const attributes = deadLetterAttributes(message.attributes, delivery, subscription, reason);
    await this.#call('publish a dead letter', () => topic.publishMessage({ data: message.data, attributes }));
  }

  // --- Consuming ---

  consume(name: string, handler: (delivery: BusDelivery) => Promise<void>, options: ConsumeOptions): Consumer {
    this.#assertOpen();
    checkSubscriptionName(name);
    const { clock, log, counters = silentCounters } = this.#options;
    const shared = {
      names: this.#names,
      registry: this.#registry,
      clock,
      log,
      counters,
      attach: async (known: KnownSubscription, topic: Topic): Promise<boolean> => {
        await this.#createTopic(this.#names.topic(known.layer, topic));
        return this.#attach(known, topic);
      },
      detach: async (subscription: string, topic: Topic): Promise<void> => {
        await this.#detach(subscription, topic);
        await this.#registry.forgetRetired(subscription, topic);
      },
    };
    if (this.#options.push !== undefined) {
      // What is pushed needs nobody here who takes it.
      this.#keeper ??= new PushReconciler({ ...shared, list: () => this.#list() });
      return this.#keeper.add(name);
    }
    this.#streams ??= new PubsubStreams(this.#options.projectId, clock);
    this.#follower ??= new PullReconciler({
      ...shared,
      streams: this.#streams,
      random: this.#options.random ?? Math.random,
      deadLetter: (...what) => this.#bury(...what),
    });
    return this.#follower.consume(name, handler, options);
  }

  async #list(): Promise<ReadonlySet<string>> {
    const [all] = await this.#call('list subscriptions', () =>
      this.#client.getSubscriptions({ pageSize: 1000, gaxOpts: this.#gax }),
    );
    return new Set(all.map(({ name }) => name.slice(name.lastIndexOf('/') + 1)));
  }

  // --- The rest ---

  #assertOpen(): void {
    if (this.#closing !== undefined) {
      throw new CmbsError('unavailable', 'The bus is closed; repeat the request when the program runs again.');
    }
  }

  /** Retries within our deadline; the client's own settings are for ten minutes. */
  get #gax(): CallOptions {
    return {
      timeout: this.#deadlineMs,
      retry: {
        retryCodes: [STATUS.unavailable, STATUS.aborted],
        backoffSettings: {
          initialRetryDelayMillis: 100,
          retryDelayMultiplier: 2,
          maxRetryDelayMillis: 2000,
          initialRpcTimeoutMillis: this.#deadlineMs,
          rpcTimeoutMultiplier: 1,
          maxRpcTimeoutMillis: this.#deadlineMs,
          totalTimeoutMillis: this.#deadlineMs,
        },
      },
    };
  }

  async #call<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await inTime(this.#options.clock, this.#deadlineMs, work, () => lateError(doing));
    } catch (error) {
      throw toBusError(error, doing);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([this.#follower?.close(), this.#keeper?.close()]);
    await Promise.allSettled([...this.#publishing]);
    await this.#streams?.close();
    await this.#client.close();
  }
}

/**
 * Topics and subscriptions in Pub/Sub: one topic per CMBS topic and layer, so that fan-out is Pub/Sub's own and any
 * program can subscribe; one subscription per CMBS subscription and matching topic. A topic is made when it is first
 * used, with the subscriptions whose patterns match it. {@link SubscriptionRegistry} knows topics and patterns.
 */
import type { PubSub, protos, Topic as PubsubTopic } from '@google-cloud/pubsub';
import { concurrently } from '../../concurrently';
import { CmbsError } from '../../errors';
import { STATUS, statusOf } from '../../grpc-status';
import type { TopicLayer } from '../bus';
import { BUS_RETENTION_MS, MAX_REMEMBERED_TOPICS } from '../limits';
import { pushPath, type PushTarget } from '../push';
import type { Topic } from '../topics';
import type { PubsubCalls } from './calls';
import { unless } from './errors';
import { PUBSUB_ADMIN_CONCURRENCY } from './limits';
import type { PubsubNames } from './names';
import type { KnownSubscription, SubscriptionRegistry } from './subscription-registry';

/** Milliseconds for which a publication waits for others, to share a request. */
const PUBLISH_GATHER_MS = 1;
/** Seconds after which Pub/Sub offers a message again that was handed back: at first, and at most. */
const PUBSUB_RETRY_FIRST_S = 1;
const PUBSUB_RETRY_MAX_S = 15;
/**
 * Deliveries after which Pub/Sub itself makes a dead letter. A consumer does so earlier (`BUS_MAX_ATTEMPTS`); this limit
 * is for a consumer whose process dies of the message, and for pushes: 25 minutes with the pauses above.
 */
const PUBSUB_MAX_DELIVERIES = 100;
/** Pub/Sub's name for the topic of a subscription whose topic was deleted. */
const TOPIC_DELETED = '_deleted-topic_';

const seconds = (ms: number): { readonly seconds: number } => ({ seconds: Math.floor(ms / 1000) });

export interface PubsubAdminOptions {
  readonly client: PubSub;
  readonly calls: PubsubCalls;
  readonly names: PubsubNames;
  readonly registry: SubscriptionRegistry;
  readonly ackDeadlineS: number;
  /** Absent: deliveries are pulled. */
  readonly push?: PushTarget;
  readonly isEmulated: boolean;
}

export class PubsubAdmin {
  readonly #options: PubsubAdminOptions;
  /** Topics that are known to exist, the longest unused first. */
  readonly #topics = new Map<string, Promise<PubsubTopic>>();
  #deadLetters: Promise<PubsubTopic> | undefined;

  constructor(options: PubsubAdminOptions) {
    this.#options = options;
  }

  /** The delivery that subscriptions in Pub/Sub are made for, as the registry stores it. */
  get target(): string {
    const { push } = this.#options;
    return push === undefined ? 'pull' : JSON.stringify([push.url, push.signed ?? null]);
  }

  // --- Topics ---

  /**
   * The topic, made with its subscriptions when it is used for the first time.
   *
   * @param isMissing Pub/Sub does not have the topic although the registry has it
   */
  topicFor(layer: TopicLayer, topic: Topic, { isMissing = false } = {}): Promise<PubsubTopic> {
    const name = this.#options.names.topic(layer, topic);
    const known = isMissing ? undefined : this.#topics.get(name);
    this.#topics.delete(name);
    const current = known ?? this.#makeTopic(layer, topic, name, isMissing);
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

  async #makeTopic(layer: TopicLayer, topic: Topic, name: string, isMissing: boolean): Promise<PubsubTopic> {
    const { client, calls, registry } = this.#options;
    const handle = client.topic(name, {
      messageOrdering: true,
      batching: { maxMilliseconds: PUBLISH_GATHER_MS },
      gaxOpts: calls.options,
    });
    const known = await registry.topic(layer, topic);
    if (known?.ready === true && !isMissing) return handle;
    if (known === undefined) await registry.addTopic(layer, topic);
    await this.#createTopic(name);
    const wanting = await registry.subscriptionsTo(layer, topic);
    await concurrently(wanting, PUBSUB_ADMIN_CONCURRENCY, async (one) => {
      await this.#attach(one, topic);
    });
    await registry.topicReady(layer, topic);
    return handle;
  }

  async #createTopic(name: string): Promise<void> {
    const { client, calls } = this.#options;
    await calls.run(`make the topic ${name}`, () =>
      unless(STATUS.alreadyExists, client.createTopic(name, calls.options)),
    );
  }

  // --- Subscriptions ---

  /** Makes the subscription to one topic, and the topic, or configures an existing one; true when it was missing. */
  async attach(known: KnownSubscription, topic: Topic): Promise<boolean> {
    await this.#createTopic(this.#options.names.topic(known.layer, topic));
    return this.#attach(known, topic);
  }

  async #attach(known: KnownSubscription, topic: Topic): Promise<boolean> {
    try {
      return await this.#attachOnce(known, topic);
    } catch (error) {
      if (!(error instanceof CmbsError) || statusOf(error.cause) !== STATUS.notFound) throw error;
      // The topic, or the dead-letter topic, was deleted from outside after this process had made it.
      this.#deadLetters = undefined;
      await this.#createTopic(this.#options.names.topic(known.layer, topic));
      return this.#attachOnce(known, topic);
    }
  }

  async #attachOnce({ name, layer, paused }: KnownSubscription, topic: Topic): Promise<boolean> {
    const { client, calls, names, registry, push, isEmulated, ackDeadlineS } = this.#options;
    const deadLetters = await this.deadLetterTopic();
    const inPubsub = names.subscription(name, topic);
    const pushConfig = this.#pushConfig(name, topic, paused);
    const create = (): Promise<unknown> =>
      client.createSubscription(names.topic(layer, topic), inPubsub, {
        ackDeadlineSeconds: ackDeadlineS,
        enableMessageOrdering: push === undefined || !isEmulated,
        expirationPolicy: {},
        messageRetentionDuration: seconds(BUS_RETENTION_MS),
        retryPolicy: {
          minimumBackoff: { seconds: PUBSUB_RETRY_FIRST_S },
          maximumBackoff: { seconds: PUBSUB_RETRY_MAX_S },
        },
        deadLetterPolicy: { deadLetterTopic: deadLetters.name, maxDeliveryAttempts: PUBSUB_MAX_DELIVERIES },
        pushConfig,
        gaxOpts: calls.options,
      });
    const wasMissing = await calls.run(`subscribe ${name} to ${topic}`, async () => {
      if ((await unless(STATUS.alreadyExists, create())) !== undefined) return true;
      const existing = client.subscription(inPubsub);
      const [{ topic: attached }] = await existing.getMetadata(calls.options);
      if (attached !== TOPIC_DELETED) {
        await existing.modifyPushConfig(pushConfig, calls.options);
        return false;
      }
      // Its topic was deleted and made again. For Pub/Sub that is another topic, which needs another subscription.
      await unless(STATUS.notFound, existing.delete(calls.options));
      await unless(STATUS.alreadyExists, create());
      return true;
    });
    // If the CMBS subscription was removed in the meantime, no consumer would read this one.
    if ((await registry.subscription(name)) === undefined) await this.detach(name, topic);
    return wasMissing;
  }

  #pushConfig(name: string, topic: Topic, isPaused: boolean): protos.google.pubsub.v1.IPushConfig {
    const { push } = this.#options;
    if (push === undefined || isPaused) return { pushEndpoint: '' };
    const pushEndpoint = push.url + pushPath(name, topic);
    if (push.signed === undefined) return { pushEndpoint };
    const { serviceAccount, audience } = push.signed;
    return { pushEndpoint, oidcToken: { serviceAccountEmail: serviceAccount, audience } };
  }

  /** Deletes the subscription to one topic. */
  async detach(name: string, topic: Topic): Promise<void> {
    const { client, calls, names } = this.#options;
    const existing = client.subscription(names.subscription(name, topic));
    await calls.run(`unsubscribe ${name} from ${topic}`, () =>
      unless(STATUS.notFound, existing.delete(calls.options)),
    );
  }

  /** Deletes the subscription to a retired topic that was read to its end. */
  async dropRetired(name: string, topic: Topic): Promise<void> {
    await this.detach(name, topic);
    await this.#options.registry.forgetRetired(name, topic);
  }

  /** Names in Pub/Sub of the subscriptions that exist. */
  async list(): Promise<ReadonlySet<string>> {
    const { client, calls } = this.#options;
    const [all] = await calls.run('list subscriptions', () =>
      client.getSubscriptions({ pageSize: 1000, gaxOpts: calls.options }),
    );
    return new Set(all.map(({ name }) => name.slice(name.lastIndexOf('/') + 1)));
  }

  // --- Dead letters ---

  /** The dead-letter topic, with the subscriptions that keep its messages. In production the deployment made them. */
  deadLetterTopic(): Promise<PubsubTopic> {
    this.#deadLetters ??= this.#makeDeadLetterTopic();
    this.#deadLetters.catch(() => (this.#deadLetters = undefined));
    return this.#deadLetters;
  }

  async #makeDeadLetterTopic(): Promise<PubsubTopic> {
    const { client, calls, names } = this.#options;
    const { deadLetters, keptDeadLetters, watchedDeadLetters } = names;
    await this.#createTopic(deadLetters);
    for (const name of [keptDeadLetters, watchedDeadLetters]) {
      await calls.run(`make the subscription ${name}`, () =>
        unless(
          STATUS.alreadyExists,
          client.createSubscription(deadLetters, name, {
            expirationPolicy: {},
            // A deployment keeps dead letters for a month; the emulator takes a week at most.
            messageRetentionDuration: seconds(BUS_RETENTION_MS),
            gaxOpts: calls.options,
          }),
        ),
      );
    }
    return client.topic(deadLetters, {
      batching: { maxMilliseconds: PUBLISH_GATHER_MS },
      gaxOpts: calls.options,
    });
  }
}

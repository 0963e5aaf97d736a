/**
 * Keeps the consumers of this process in step with the registry: a topic that is used for the first time is taken up
 * by whoever has a pattern for it, without anybody acting. And hears of what Pub/Sub itself gives up.
 */
import type { Topic } from '../broker/topics';
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import { BUS_BACKOFF_MAX_MS, DELIVERIES_BYTES, WATCH_FALLBACK_MS } from '../limits';
import type { Counters, Log } from '../log';
import type { Watch } from '../store/store';
import type { Consumer, ConsumeOptions, Delivery } from './bus';
import { DeliveryBudget } from './delivery-budget';
import { PubsubConsumer } from './pubsub-consumer';
import { DEAD_LETTER_SOURCE, deliveryOf } from './pubsub-message';
import type { PubsubNames } from './pubsub-names';
import type { PubsubStream, PubsubStreams, Received } from './pubsub-streams';
import { isWanted, type KnownSubscription, type KnownTopic, type PubsubRegistry } from './pubsub-registry';

export interface PubsubFollowerOptions {
  readonly streams: PubsubStreams;
  readonly names: PubsubNames;
  readonly registry: PubsubRegistry;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Makes the counterpart of a subscription for one topic, and the topic; tells whether it had to. */
  readonly attach: (subscription: KnownSubscription, topic: Topic) => Promise<boolean>;
  /** Removes it. */
  readonly detach: (subscription: string, topic: Topic) => Promise<void>;
  readonly bury: (message: Received, delivery: Delivery, subscription: string, reason: string) => Promise<void>;
}

interface Followed {
  readonly consumer: PubsubConsumer;
  readonly options: ConsumeOptions;
}

export class PubsubFollower {
  readonly #options: PubsubFollowerOptions;
  readonly #budget = new DeliveryBudget(DELIVERIES_BYTES);
  readonly #followed = new Map<string, Followed>();
  readonly #watches: readonly Watch[];
  /** Reads of the registry, one after the other; all consumers share one. */
  #reading: Promise<void> | undefined;
  #isStale = true;
  #cancelNext: () => void = () => undefined;
  #cancelReopening: () => void = () => undefined;
  #deadLetters: PubsubStream | undefined;
  #isClosed = false;

  constructor(options: PubsubFollowerOptions) {
    this.#options = options;
    const look = (): void => this.#look();
    this.#watches = options.registry.watch(look, look);
    for (const { ready } of this.#watches) {
      ready.then(look, (error: unknown) => {
        options.log.warn('topics are looked for from time to time only', { cause: String(error) });
      });
    }
    this.#watchDeadLetters();
  }

  consume(name: string, handler: (delivery: Delivery) => Promise<void>, options: ConsumeOptions): Consumer {
    if (this.#followed.has(name)) {
      throw new CmbsError('conflict', `The subscription ${name} has a consumer already; close it first.`);
    }
    const { streams, names, clock, log, counters, attach, detach, bury, registry } = this.#options;
    const consumer = new PubsubConsumer({
      ...options,
      name,
      streams,
      budget: this.#budget,
      nameOf: (topic) => names.subscription(name, topic),
      handler,
      clock,
      log,
      counters,
      remake: async (topic) => {
        const known = await registry.subscription(name);
        return known !== undefined && attach(known, topic);
      },
      bury: (message, delivery, reason) => bury(message, delivery, name, reason),
      onDrained: (topic) => {
        detach(name, topic).then(
          () => this.#look(),
          (error: unknown) =>
            log.warn('a subscription that is read to its end stays', { topic, cause: String(error) }),
        );
      },
      onClosed: () => {
        if (this.#followed.get(name)?.consumer === consumer) this.#followed.delete(name);
      },
    });
    this.#followed.set(name, { consumer, options });
    this.#look();
    return consumer;
  }

  /** Reads the registry again, soon. */
  #look(): void {
    this.#isStale = true;
    if (this.#isClosed) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
  }

  async #read(): Promise<void> {
    const { registry, log, clock } = this.#options;
    this.#cancelNext();
    let nextMs = WATCH_FALLBACK_MS;
    try {
      while (this.#isStale && !this.#isClosed) {
        this.#isStale = false;
        const [topics, subscriptions] = await Promise.all([registry.topics(), registry.subscriptions()]);
        for (const known of subscriptions)
          this.#followed.get(known.name)?.consumer.follow(wantedOf(known, topics));
        const names = new Set(subscriptions.map(({ name }) => name));
        for (const [name, { consumer }] of this.#followed) if (!names.has(name)) consumer.follow(new Map());
      }
    } catch (error) {
      log.error('the topics could not be read; trying again', { cause: String(error) });
      nextMs = BUS_BACKOFF_MAX_MS;
    }
    if (!this.#isClosed) this.#cancelNext = clock.after(nextMs, () => this.#look());
  }

  // --- Dead letters ---

  #watchDeadLetters(): void {
    const { streams, names, log, clock } = this.#options;
    const stream = streams.open(names.watchedDeadLetters, {
      received: (message) => void this.#deadLetter(stream, message),
      ended: (error) => {
        if (this.#isClosed) return;
        // Made with the first subscription; until then there is nothing to hear.
        log.debug('dead letters are not told now', { cause: String(error) });
        this.#cancelReopening = clock.after(BUS_BACKOFF_MAX_MS, () => this.#watchDeadLetters());
      },
    });
    this.#deadLetters = stream;
  }

  /** What was given up here was told already. Never rejects. */
  async #deadLetter(stream: PubsubStream, message: Received): Promise<void> {
    const { names, log, registry, counters } = this.#options;
    const { [DEAD_LETTER_SOURCE]: source, topic = '' } = message.attributes;
    try {
      if (source !== undefined) {
        const reason = 'its reader fell silent each time';
        const known = (await registry.subscriptions()).find(({ name }) => names.isSubscription(source, name));
        const followed = known === undefined ? undefined : this.#followed.get(known.name);
        if (followed?.options.onDeadLetter !== undefined) {
          await followed.options.onDeadLetter(deliveryOf(message, topic, 0), reason);
        } else {
          // Of another shard's member, or of one that is gone; whoever hears of it tells.
          const what = { subscription: source, topic, publication: message.id, reason };
          counters.add('cmbs_dead_letters', { layer: known?.layer ?? 'l32' });
          log.error('topic message given up', { event: 'dead_letter', ...what });
        }
      }
      await stream.acknowledge(message.ackId);
    } catch (error) {
      // Its lease runs out, and it comes again.
      log.warn('a dead letter is looked at later', { cause: String(error) });
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelNext();
    for (const watch of this.#watches) watch.end();
    await this.#reading;
    await Promise.all([...this.#followed.values()].map(({ consumer }) => consumer.close()));
    this.#cancelReopening();
    this.#deadLetters?.close();
  }
}

/** The topics of a subscription, and since when those are not wanted that it is only to read to their end. */
function wantedOf(
  known: KnownSubscription,
  topics: readonly KnownTopic[],
): ReadonlyMap<Topic, number | undefined> {
  const wanted = new Map<Topic, number | undefined>(known.retired.map(({ topic, at }) => [topic, at]));
  for (const { layer, topic, ready } of topics) {
    // One that is not ready is being made by whoever is about to publish on it.
    if (ready && isWanted(known, layer, topic)) wanted.set(topic, undefined);
  }
  return wanted;
}

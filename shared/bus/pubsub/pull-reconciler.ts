/**
 * Keeps the consumers of this process in step with the registry: when a topic is used for the first time, each consumer
 * with a matching pattern begins to read it. Also reports dead letters that Pub/Sub itself makes.
 */
import type { Random } from '../../back-off';
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { COMPANION_LOOK_MS, WATCH_FALLBACK_MS } from '../../limits';
import type { Counters, Log } from '../../log';
import type { Watch } from '../../store';
import type { BusDelivery, ConsumeOptions, Consumer } from '../bus';
import { BUS_BACKOFF_MAX_MS } from '../limits';
import { DEAD_LETTER } from '../push';
import type { Topic } from '../topics';
import { PubsubConsumer } from './consumer';
import { FlowControl } from './flow-control';
import { deliveryOf, type ReceivedMessage } from './message';
import type { PubsubNames } from './names';
import type { PubsubAdmin } from './pubsub-admin';
import { RegistryView } from './registry-view';
import type { PubsubStream, PubsubStreams } from './streams';
import type { SubscriptionRegistry } from './subscription-registry';

/**
 * Bytes of deliveries in memory, over all consumers of a process. In the 2 GB of an `e2-small` the same bytes may occur
 * twice more, as unread messages ({@link STREAMS_BYTES}) and as text in the handlers, beside sockets and caches.
 */
const DELIVERIES_BYTES = 64 * 1024 * 1024;

export interface PullReconcilerOptions {
  readonly admin: PubsubAdmin;
  readonly streams: PubsubStreams;
  readonly names: PubsubNames;
  readonly registry: SubscriptionRegistry;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly random: Random;
  /** Milliseconds for one call to Pub/Sub. */
  readonly callMs: number;
  /** Publishes a dead letter of a subscription. */
  readonly deadLetter: (
    message: ReceivedMessage,
    delivery: BusDelivery,
    subscription: string,
    reason: string,
  ) => Promise<void>;
}

interface Entry {
  readonly consumer: PubsubConsumer;
  readonly options: ConsumeOptions;
}

export class PullReconciler {
  readonly #options: PullReconcilerOptions;
  readonly #flowControl = new FlowControl(DELIVERIES_BYTES);
  readonly #consumers = new Map<string, Entry>();
  readonly #view: RegistryView;
  readonly #watches: readonly Watch[];
  /** The watches report every change. */
  #isWatched = false;
  /** The read of the registry that is under way; all consumers share it. */
  #reading: Promise<void> | undefined;
  /** The next read is one of the whole registry. */
  #isStale = true;
  #cancelNext: () => void = () => undefined;
  #cancelReopening: () => void = () => undefined;
  #deadLetters: PubsubStream | undefined;
  #isClosed = false;

  constructor(options: PullReconcilerOptions) {
    this.#options = options;
    this.#view = new RegistryView(options.registry);
    this.#watches = options.registry.watch(
      (ids) => {
        this.#view.topicsChanged(ids);
        this.#readSoon();
      },
      (names) => {
        this.#view.subscriptionsChanged(names);
        this.#readSoon();
      },
    );
    Promise.all(this.#watches.map(({ ready }) => ready)).then(
      () => {
        this.#isWatched = true;
        this.#readAllSoon();
      },
      (error: unknown) => {
        options.log.warn('changes of topics are not reported; reading them at intervals', { cause: error });
      },
    );
    this.#watchDeadLetters();
  }

  consume(name: string, handler: (delivery: BusDelivery) => Promise<void>, options: ConsumeOptions): Consumer {
    if (this.#consumers.has(name)) {
      throw new CmbsError('conflict', `The subscription ${name} has a consumer already; close it first.`);
    }
    const { admin, streams, names, registry, clock, log, counters, random, callMs, deadLetter } = this.#options;
    const consumer = new PubsubConsumer({
      ...options,
      name,
      streams,
      flowControl: this.#flowControl,
      nameOf: (topic) => names.subscription(name, topic),
      handler,
      clock,
      log,
      counters,
      random,
      callMs,
      remake: async (topic) => {
        const known = await registry.subscription(name);
        return known !== undefined && admin.attach(known, topic);
      },
      deadLetter: (message, delivery, reason) => deadLetter(message, delivery, name, reason),
      onDrained: (topic) => void this.#dropRetired(name, topic),
      onClosed: () => {
        if (this.#consumers.get(name)?.consumer === consumer) this.#consumers.delete(name);
      },
    });
    this.#consumers.set(name, { consumer, options });
    this.#readOneSoon(name);
    return consumer;
  }

  /** Never rejects. */
  async #dropRetired(name: string, topic: Topic): Promise<void> {
    const { admin, log } = this.#options;
    try {
      await admin.dropRetired(name, topic);
      this.#readOneSoon(name);
    } catch (error) {
      log.warn('the subscription to a retired topic could not be deleted; retrying', { topic, cause: error });
    }
  }

  // --- Reading the registry ---

  /** Reads one subscription; without watches, everything, since other changes were not reported. */
  #readOneSoon(name: string): void {
    if (!this.#isWatched) {
      this.#readAllSoon();
      return;
    }
    this.#view.subscriptionsChanged([name]);
    this.#readSoon();
  }

  #readAllSoon(): void {
    this.#isStale = true;
    this.#readSoon();
  }

  #readSoon(): void {
    if (this.#isClosed) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
      if (this.#isStale || this.#view.isStale) this.#readSoon();
    });
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    try {
      if (this.#isStale) {
        this.#isStale = false;
        await this.#view.readAll();
        this.#follow(this.#consumers.keys());
        this.#readAllAfter(this.#isWatched ? COMPANION_LOOK_MS : WATCH_FALLBACK_MS);
      } else {
        this.#follow(await this.#view.readChanged());
      }
    } catch (error) {
      this.#options.log.error('the topics could not be read; retrying', { cause: error });
      this.#readAllAfter(BUS_BACKOFF_MAX_MS);
    }
  }

  #readAllAfter(ms: number): void {
    this.#cancelNext();
    if (!this.#isClosed) this.#cancelNext = this.#options.clock.after(ms, () => this.#readAllSoon());
  }

  #follow(names: Iterable<string>): void {
    if (this.#isClosed) return;
    for (const name of names) this.#consumers.get(name)?.consumer.follow(this.#view.topicsOf(name));
  }

  // --- Dead letters ---

  #watchDeadLetters(): void {
    const { streams, names, log, clock } = this.#options;
    const stream = streams.open(names.watchedDeadLetters, {
      received: (message) => void this.#deadLetter(stream, message),
      ended: (error) => {
        if (this.#isClosed) return;
        // The dead-letter topic is made together with the first subscription.
        log.debug('dead letters of Pub/Sub are not reported now; retrying', { cause: error });
        this.#cancelReopening = clock.after(BUS_BACKOFF_MAX_MS, () => this.#watchDeadLetters());
      },
    });
    this.#deadLetters = stream;
  }

  /** Reports a dead letter, unless a consumer made it, which reported it already. Never rejects. */
  async #deadLetter(stream: PubsubStream, message: ReceivedMessage): Promise<void> {
    const { names, log, counters } = this.#options;
    const { [DEAD_LETTER.source]: source, topic = '' } = message.attributes;
    try {
      if (source !== undefined) {
        const reason = 'its consumer did not answer at any attempt';
        await this.#reading;
        const known = [...this.#view.subscriptions].find(({ name }) => names.isSubscription(source, name));
        const onDeadLetter =
          known === undefined ? undefined : this.#consumers.get(known.name)?.options.onDeadLetter;
        if (onDeadLetter !== undefined) {
          await onDeadLetter(deliveryOf(message, topic, 0), reason);
        } else {
          // For a member of another shard, or a removed one. Each dead letter reaches one companion only.
          const fields = { subscription: source, topic, publication: message.id, reason };
          counters.add('cmbs_dead_letters', { layer: known?.layer ?? 'l32' });
          log.error('topic message given up', { event: 'dead_letter', ...fields });
        }
      }
      await stream.acknowledge(message.ackId);
    } catch (error) {
      // The lease runs out, and Pub/Sub sends the dead letter again.
      log.warn('a dead letter could not be reported; retrying', { cause: error });
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelNext();
    for (const watch of this.#watches) watch.end();
    await this.#reading;
    await Promise.all([...this.#consumers.values()].map(({ consumer }) => consumer.close()));
    this.#cancelReopening();
    this.#deadLetters?.close();
  }
}

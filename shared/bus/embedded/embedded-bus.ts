/** The topic bus on one machine, with the store as its only dependency (docs/design.md). */
import type { NewId } from '../../clock';
import { CmbsError } from '../../errors';
import { silentCounters } from '../../log';
import type { Watch } from '../../store';
import type { Bus, BusDelivery, BusMessage, ConsumeOptions, Consumer, Subscription, TopicLayer } from '../bus';
import type { BusOptions } from '../options';
import { checkSubscriptionName, parsePatterns } from '../subscription-checks';
import { parseTopic } from '../topics';
import { EmbeddedConsumer } from './consumer';
import { EMBEDDED_BUS_LIMITS, type EmbeddedBusLimits } from './limits';
import { Publisher } from './publisher';
import {
  DELIVERIES,
  deliveryKey,
  readSubscription,
  REMOVED_STREAMS,
  STATE,
  streamOf,
  SUBSCRIPTIONS,
} from './records';

/** Deliveries of a removed subscription that one transaction deletes. */
const PURGE_BATCH = 256;
/** Removed subscriptions whose deletion goes on at a start. */
const MAX_RESUMED_PURGES = 1000;

export interface EmbeddedBusOptions extends BusOptions {
  readonly newId: NewId;
  readonly limits?: Partial<EmbeddedBusLimits>;
}

/** One bus per store at a time: the order of publications is kept in its memory. */
export function embeddedBus(options: EmbeddedBusOptions): Bus {
  return new EmbeddedBus(options);
}

class EmbeddedBus implements Bus {
  readonly #options: EmbeddedBusOptions;
  readonly #limits: EmbeddedBusLimits;
  readonly #publisher: Publisher;
  readonly #starting: Promise<unknown>;
  readonly #consumers = new Map<string, EmbeddedConsumer>();
  readonly #watches: readonly Watch[];
  readonly #purges = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  constructor(options: EmbeddedBusOptions) {
    const { store, clock, log } = options;
    this.#options = options;
    this.#limits = { ...EMBEDDED_BUS_LIMITS, ...options.limits };
    this.#publisher = new Publisher({ store, clock, limits: this.#limits });
    this.#watches = [
      store.watch({ collection: DELIVERIES }, (changes) => {
        for (const { id, deleted } of changes) {
          if (deleted) continue;
          const stream = streamOf(id);
          for (const consumer of this.#consumers.values()) consumer.deliveryWritten(stream, id);
        }
      }),
      store.watch({ collection: SUBSCRIPTIONS }, (changes) => {
        for (const { id } of changes) this.#consumers.get(id)?.subscriptionChanged();
      }),
    ];
    this.#starting = Promise.all([
      this.#publisher.start().catch((error: unknown) => {
        log.error('the bus could not read its state; publications are refused', { cause: error });
      }),
      this.#resumePurges().catch((error: unknown) => {
        log.warn('deliveries of removed subscriptions stay until the next start', { cause: error });
      }),
    ]);
  }

  async #resumePurges(): Promise<void> {
    const removed = await this.#options.store.query({ collection: REMOVED_STREAMS, limit: MAX_RESUMED_PURGES });
    for (const { id } of removed.docs) this.#purge(id);
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) {
      throw new CmbsError('unavailable', 'The bus is closed; repeat the request when the program runs again.');
    }
  }

  async publish(layer: TopicLayer, topic: string, message: BusMessage): Promise<string> {
    const parsed = parseTopic(topic);
    this.#assertOpen();
    return this.#publisher.publish(layer, parsed, message);
  }

  // --- Subscriptions ---

  async setSubscription({ name, layer, patterns }: Subscription): Promise<void> {
    this.#assertOpen();
    checkSubscriptionName(name);
    const parsed = parsePatterns(patterns);
    const newStream = this.#options.newId();
    await this.#options.store.transact(async (tx) => {
      const doc = await tx.get(SUBSCRIPTIONS, name);
      const known = doc === undefined ? undefined : readSubscription(doc);
      if (known !== undefined && known.layer !== layer) {
        throw new CmbsError('conflict', `The subscription ${name} is on layer ${known.layer}; remove it first.`);
      }
      const isSame =
        known?.patterns.length === parsed.length && parsed.every((each, i) => each === known.patterns[i]);
      if (isSame) return;
      tx.put(SUBSCRIPTIONS, name, { layer, patterns: parsed, stream: known?.stream ?? newStream });
      tx.put(STATE, 'subscriptions', {});
    });
  }

  async removeSubscription(name: string): Promise<void> {
    this.#assertOpen();
    const stream = await this.#options.store.transact(async (tx) => {
      const doc = await tx.get(SUBSCRIPTIONS, name);
      if (doc === undefined) return undefined;
      const { stream: removed } = readSubscription(doc);
      tx.delete(SUBSCRIPTIONS, name);
      tx.put(REMOVED_STREAMS, removed, {});
      tx.put(STATE, 'subscriptions', {});
      return removed;
    });
    if (stream !== undefined) this.#purge(stream);
  }

  /** Deletes the deliveries of a removed stream in the background; nothing refers to them any more. */
  #purge(stream: string): void {
    const purge = this.#purgeAll(stream).catch((error: unknown) => {
      this.#options.log.warn('deliveries of a removed subscription stay until the next start', { cause: error });
    });
    this.#purges.add(purge);
    void purge.finally(() => this.#purges.delete(purge));
  }

  /** A shared message whose last delivery is deleted here stays until it expires. */
  async #purgeAll(stream: string): Promise<void> {
    const { store } = this.#options;
    while (this.#closing === undefined) {
      const page = await store.query({
        collection: DELIVERIES,
        prefix: deliveryKey(stream, ''),
        limit: PURGE_BATCH,
      });
      await store.transact(async (tx) => {
        for (const { id } of page.docs) tx.delete(DELIVERIES, id);
        if (page.next === undefined) tx.delete(REMOVED_STREAMS, stream);
      });
      if (page.next === undefined) return;
    }
  }

  // --- Consuming ---

  consume(name: string, handler: (delivery: BusDelivery) => Promise<void>, options: ConsumeOptions): Consumer {
    this.#assertOpen();
    checkSubscriptionName(name);
    if (this.#consumers.has(name)) {
      throw new CmbsError('conflict', `The subscription ${name} has a consumer already; close it first.`);
    }
    const { store, clock, log, counters = silentCounters, random = Math.random } = this.#options;
    const consumer = new EmbeddedConsumer({
      ...options,
      name,
      handler,
      store,
      clock,
      log,
      counters,
      random,
      limits: this.#limits,
      onSettled: (stream) => this.#publisher.settled(stream),
      onClosed: () => this.#consumers.delete(name),
    });
    this.#consumers.set(name, consumer);
    consumer.subscriptionChanged();
    return consumer;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#starting;
    await Promise.all([...this.#consumers.values()].map((consumer) => consumer.close()));
    await this.#publisher.finish();
    await Promise.all(this.#purges);
    for (const watch of this.#watches) watch.end();
  }
}

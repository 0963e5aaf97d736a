/**
 * The topic bus on one machine, in the store and nothing else (DESIGN decision 10). A publication writes one delivery
 * per subscription that matches, in the same transaction; it is told only then. What waits together is published
 * together, in the order of the calls, which is what keeps ordering keys in order.
 */
import { type Random } from '../../back-off';
import { type Clock, type NewId, orderKey } from '../../clock';
import { CmbsError } from '../../errors';
import {
  BUS_RETENTION_MS,
  MAX_QUEUED_PUBLICATIONS,
  MAX_REMEMBERED_TOPICS,
  MAX_SUBSCRIPTION_PATTERNS,
} from '../limits';
import { MAX_INLINE_MESSAGE_CHARS } from './limits';
import { MAX_SUBSCRIPTION_BACKLOG } from '../../limits';
import { type Counters, type Log, silentCounters } from '../../log';
import { parsePattern, parseTopic, type Topic, topicMatches, type TopicPattern } from '../topics';
import type { Store, Transaction, Watch } from '../../store';
import {
  type Bus,
  type BusMessage,
  type Consumer,
  type ConsumeOptions,
  type BusDelivery,
  type Subscription,
  type TopicLayer,
} from '../bus';
import { EmbeddedConsumer } from './consumer';
import {
  DELIVERIES,
  deliveryKey,
  BUS_MESSAGES,
  readSubscription,
  readTime,
  REMOVED_STREAMS,
  SHARED_MESSAGE,
  STATE,
  streamOf,
  SUBSCRIPTIONS,
} from './records';
import { checkSubscriptionName } from '../subscription-name';

/** Milliseconds between two counts of a backlog that was found full: a count reads up to 100,000 rows. */
const BACKLOG_RECOUNT_MS = 60_000;
/** Publications that share one transaction, and characters of them. */
const MAX_PUBLISH_BATCH = 64;
const MAX_PUBLISH_BATCH_CHARS = 1024 * 1024;
/** Documents removed at a time when a subscription goes. */
const PURGE_CHUNK = 256;
/** Milliseconds that publication time is reserved ahead on disk, so that it never runs backwards after a restart. */
const PUBLISH_TIME_RESERVE_MS = 60_000;

export interface EmbeddedBusOptions {
  /** Stays the caller's: closing the bus does not close it. */
  readonly store: Store;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly counters?: Counters;
  readonly random?: Random;
}

export function embeddedBus(options: EmbeddedBusOptions): Bus {
  return new EmbeddedBus(options);
}

interface Subscriber {
  readonly layer: TopicLayer;
  readonly patterns: readonly TopicPattern[];
  readonly stream: string;
}

/** Who is subscribed, as of one revision of the state document. */
interface Subscribers {
  readonly revision: number;
  readonly all: readonly Subscriber[];
  readonly byTopic: Map<string, readonly Subscriber[]>;
}

interface PendingPublication {
  readonly layer: TopicLayer;
  readonly topic: Topic;
  readonly message: BusMessage;
  readonly resolve: (id: string) => void;
  readonly reject: (error: unknown) => void;
}

/** What is known of the number of deliveries in a stream; never too low. */
interface Backlog {
  size: number;
  countedAt: number;
}

const PAGE = 1000;

class EmbeddedBus implements Bus {
  readonly #options: EmbeddedBusOptions;
  readonly #counters: Counters;
  readonly #ready: Promise<void>;
  #subscribers: Subscribers = { revision: -1, all: [], byTopic: new Map() };
  readonly #backlogs = new Map<string, Backlog>();
  readonly #consumers = new Map<string, EmbeddedConsumer>();
  readonly #watches: readonly Watch[];

  #publications: PendingPublication[] = [];
  #publishing: Promise<void> | undefined;
  readonly #purges = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  #lastTime = 0;
  #sequence = 0;
  #reservedUntil = 0;

  constructor(options: EmbeddedBusOptions) {
    this.#options = options;
    this.#counters = options.counters ?? silentCounters;
    this.#watches = [
      options.store.watch({ collection: DELIVERIES }, (changes) => {
        for (const { id, deleted } of changes) {
          if (deleted) continue;
          const stream = streamOf(id);
          for (const consumer of this.#consumers.values()) consumer.noticed(stream, id);
        }
      }),
      options.store.watch({ collection: SUBSCRIPTIONS }, (changes) => {
        for (const { id } of changes) this.#consumers.get(id)?.subscriptionChanged();
      }),
    ];
    this.#ready = this.#start();
    this.#ready.catch((error: unknown) => {
      options.log.error('the bus could not read its state; publications are refused', { cause: error });
    });
  }

  async #start(): Promise<void> {
    const { store } = this.#options;
    const time = await store.get(STATE, 'time');
    // Ids never run backwards, even when the clock was set back while the program was away.
    this.#lastTime = this.#reservedUntil = time === undefined ? 0 : readTime(time).reservedUntil;
    const removed = await store.query({ collection: REMOVED_STREAMS, limit: PAGE });
    for (const { id } of removed.docs) this.#purge(id);
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
    if (this.#publications.length >= MAX_QUEUED_PUBLICATIONS) {
      throw new CmbsError(
        'queue_full',
        'Too many publications wait for the store; slow down and repeat this one.',
      );
    }
    return new Promise((resolve, reject) => {
      this.#publications.push({ layer, topic: parsed, message, resolve, reject });
      this.#publishing ??= this.#publishAll();
    });
  }

  async #publishAll(): Promise<void> {
    for (;;) {
      // Yields at least once, so that calls of one turn share a transaction.
      const ready = await this.#ready.then(
        () => true,
        () => false,
      );
      const batch = this.#takeBatch();
      if (batch.length === 0) break;
      try {
        if (!ready) throw new CmbsError('unavailable', 'The bus could not start; the cause is in the log.');
        await this.#publishBatch(batch);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#publishing = undefined;
  }

  #takeBatch(): readonly PendingPublication[] {
    let chars = 0;
    const end = this.#publications.findIndex(({ message }, i) => {
      chars += message.data.length;
      return i >= MAX_PUBLISH_BATCH || (i > 0 && chars > MAX_PUBLISH_BATCH_CHARS);
    });
    return this.#publications.splice(0, end < 0 ? this.#publications.length : end);
  }

  async #publishBatch(batch: readonly PendingPublication[]): Promise<void> {
    const { store, clock } = this.#options;
    await this.#countBacklogs(batch);
    const ids = batch.map(() => this.#nextMessageId());
    const reserve = this.#lastTime >= this.#reservedUntil ? this.#lastTime + PUBLISH_TIME_RESERVE_MS : undefined;
    const expiresAt = clock.now() + BUS_RETENTION_MS;

    const { streams, refused } = await store.transact(async (tx) => {
      const subscribers = await this.#currentSubscribers(tx);
      if (reserve !== undefined) tx.put(STATE, 'time', { reservedUntil: reserve });
      const added = new Map<string, number>();
      const full = new Set<PendingPublication>();
      batch.forEach((publication, i) => {
        const matching = matchingSubscribers(subscribers, publication.layer, publication.topic);
        if (matching.some(({ stream }) => this.#isFull(stream, added.get(stream) ?? 0))) {
          full.add(publication);
          return;
        }
        for (const { stream } of matching) added.set(stream, (added.get(stream) ?? 0) + 1);
        writeDeliveries(tx, matching, ids[i] ?? '', publication, expiresAt);
      });
      return { streams: added, refused: full };
    });

    if (reserve !== undefined) this.#reservedUntil = reserve;
    for (const [stream, n] of streams) {
      const backlog = this.#backlogs.get(stream);
      if (backlog !== undefined) backlog.size += n;
    }
    batch.forEach((publication, i) => {
      if (!refused.has(publication)) publication.resolve(ids[i] ?? '');
      else {
        const message =
          'A subscription to this topic has too many messages waiting; publish again when its reader has caught up.';
        publication.reject(new CmbsError('queue_full', message));
      }
    });
  }

  #nextMessageId(): string {
    const now = this.#options.clock.now();
    if (now > this.#lastTime) {
      this.#lastTime = now;
      this.#sequence = 0;
    } else if (this.#sequence >= 999_999) {
      this.#lastTime++;
      this.#sequence = 0;
    }
    return orderKey(this.#lastTime, String(this.#sequence++).padStart(6, '0'));
  }

  /** Reads them again only when one changed; in the transaction, so that no publication misses a subscription. */
  async #currentSubscribers(tx: Transaction): Promise<Subscribers> {
    const revision = (await tx.get(STATE, 'subscriptions'))?.revision ?? 0;
    if (revision === this.#subscribers.revision) return this.#subscribers;
    const all: Subscriber[] = [];
    let after: string | undefined;
    do {
      const page = await tx.query({
        collection: SUBSCRIPTIONS,
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      for (const doc of page.docs) {
        const { layer, patterns, stream } = readSubscription(doc);
        all.push({ layer, patterns: patterns.map(parsePattern), stream });
      }
      after = page.next;
    } while (after !== undefined);
    this.#subscribers = { revision, all, byTopic: new Map() };
    const streams = new Set(all.map(({ stream }) => stream));
    for (const stream of this.#backlogs.keys()) if (!streams.has(stream)) this.#backlogs.delete(stream);
    return this.#subscribers;
  }

  // --- Backlogs ---

  /**
   * Publications add to the number kept, acknowledgements subtract; expiry does not show here, so a backlog that
   * seems full is counted again now and then.
   */
  async #countBacklogs(batch: readonly PendingPublication[]): Promise<void> {
    const subscribers = await this.#options.store.transact((tx) => this.#currentSubscribers(tx));
    const now = this.#options.clock.now();
    for (const { layer, topic } of batch) {
      for (const { stream } of matchingSubscribers(subscribers, layer, topic)) {
        const known = this.#backlogs.get(stream);
        const recount =
          known === undefined ||
          (known.size + batch.length > MAX_SUBSCRIPTION_BACKLOG && now - known.countedAt >= BACKLOG_RECOUNT_MS);
        if (!recount) continue;
        // Entered first: what is acknowledged during the count may be counted in or not, and the bound stays a bound.
        const prefix = deliveryKey(stream, '');
        const size = await this.#options.store.count({ collection: DELIVERIES, prefix }, MAX_SUBSCRIPTION_BACKLOG);
        this.#backlogs.set(stream, { size, countedAt: now });
      }
    }
  }

  #isFull(stream: string, added: number): boolean {
    return (this.#backlogs.get(stream)?.size ?? 0) + added >= MAX_SUBSCRIPTION_BACKLOG;
  }

  #settled(stream: string): void {
    const backlog = this.#backlogs.get(stream);
    if (backlog !== undefined && backlog.size > 0) backlog.size--;
  }

  // --- Subscriptions ---

  async setSubscription({ name, layer, patterns }: Subscription): Promise<void> {
    this.#assertOpen();
    checkSubscriptionName(name);
    if (patterns.length > MAX_SUBSCRIPTION_PATTERNS) {
      throw new CmbsError('bad_attribute', `A subscription has at most ${MAX_SUBSCRIPTION_PATTERNS} patterns.`);
    }
    const parsed = patterns.map(parsePattern);
    const freshStream = this.#options.newId();
    await this.#options.store.transact(async (tx) => {
      const doc = await tx.get(SUBSCRIPTIONS, name);
      const known = doc === undefined ? undefined : readSubscription(doc);
      if (known !== undefined && known.layer !== layer) {
        throw new CmbsError('conflict', `The subscription ${name} is on layer ${known.layer}; remove it first.`);
      }
      const same =
        known?.patterns.length === parsed.length && parsed.every((each, i) => each === known.patterns[i]);
      if (same) return;
      tx.put(SUBSCRIPTIONS, name, { layer, patterns: parsed, stream: known?.stream ?? freshStream });
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

  /** Nothing leads to a removed stream any more, so its deliveries may go in the background, also after a restart. */
  #purge(stream: string): void {
    const purge = this.#purgeAll(stream).catch((error: unknown) => {
      this.#options.log.warn('deliveries of a removed subscription stay until the next start', { cause: error });
    });
    this.#purges.add(purge);
    void purge.finally(() => this.#purges.delete(purge));
  }

  /** A shared message whose last delivery goes this way stays until it expires. */
  async #purgeAll(stream: string): Promise<void> {
    const { store } = this.#options;
    while (this.#closing === undefined) {
      const page = await store.query({
        collection: DELIVERIES,
        prefix: deliveryKey(stream, ''),
        limit: PURGE_CHUNK,
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
    const { store, clock, log, random = Math.random } = this.#options;
    const consumer = new EmbeddedConsumer({
      ...options,
      name,
      handler,
      store,
      clock,
      log,
      counters: this.#counters,
      random,
      onSettled: (stream) => this.#settled(stream),
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
    await Promise.all([...this.#consumers.values()].map((consumer) => consumer.close()));
    await this.#publishing;
    await Promise.all(this.#purges);
    for (const watch of this.#watches) watch.end();
  }
}

function matchingSubscribers(subscribers: Subscribers, layer: TopicLayer, topic: Topic): readonly Subscriber[] {
  const key = `${layer} ${topic}`;
  const known = subscribers.byTopic.get(key);
  if (known !== undefined) return known;
  const matching = subscribers.all.filter(
    (each) => each.layer === layer && each.patterns.some((pattern) => topicMatches(pattern, topic)),
  );
  if (subscribers.byTopic.size >= MAX_REMEMBERED_TOPICS) subscribers.byTopic.clear();
  subscribers.byTopic.set(key, matching);
  return matching;
}

function writeDeliveries(
  tx: Transaction,
  subscribers: readonly Subscriber[],
  messageId: string,
  { topic, message }: PendingPublication,
  expiresAt: number,
): void {
  const { data, attributes, orderingKey } = message;
  const shared = subscribers.length > 1 && data.length > MAX_INLINE_MESSAGE_CHARS;
  if (shared) tx.put(BUS_MESSAGES, messageId, { data }, { expiresAt });
  for (const { stream } of subscribers) {
    tx.put(
      DELIVERIES,
      deliveryKey(stream, messageId),
      {
        topic,
        attributes,
        ...(orderingKey === undefined ? {} : { orderingKey }),
        ...(shared ? {} : { data }),
        attempts: 0,
      },
      { expiresAt, ...(shared ? { index: { [SHARED_MESSAGE]: [messageId] } } : {}) },
    );
  }
}

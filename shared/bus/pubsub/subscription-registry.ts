/**
 * The registry of the bus, in the store: the topics that exist and the patterns of each subscription, which Pub/Sub does
 * not know. With it a function that uses a topic for the first time finds the matching subscriptions, and a companion
 * that makes a subscription finds the topics.
 *
 * A new topic is written before the subscriptions are read, and a new subscription before the topics are read. When both
 * are added at the same time, at least one of the two sees the other.
 */
import { z } from 'zod';
import {
  parsePattern,
  parseTopic,
  patternKey,
  topicKeys,
  topicMatches,
  type Topic,
  type TopicPattern,
} from '../topics';
import { concurrently } from '../../concurrently';
import { CmbsError } from '../../errors';
import { MAX_PAGE_DOCS } from '../../limits';
import type { Doc, Query, Store, Transaction, Watch } from '../../store';
import type { Subscription, TopicLayer } from '../bus';
import { PUBSUB_ADMIN_CONCURRENCY } from './limits';

const TOPICS = 'bus-topics';
const SUBSCRIPTIONS = 'bus-subscriptions';
/** Index field of subscriptions: the layer and a key of a pattern ({@link patternKey}). */
const PATTERN_FIELD = 'pattern';
/** Exists once no subscription is stored without its keys, as release 1.0 stored them. */
const KEYS_COMPLETE = { collection: 'meta', id: 'subscription-keys' } as const;
/**
 * Ends `attached` where the record has its keys: a companion of release 1.0 would refuse a field of its own. Such a companion
 * writes its subscriptions again, without.
 */
const WITH_KEYS = ' with keys';

const layer = z.string();

const topicRecord = z.strictObject({
  layer,
  topic: z.string(),
  /** The topic is in Pub/Sub, with a subscription for each CMBS subscription that matches. */
  ready: z.boolean(),
});

const subscriptionRecord = z.strictObject({
  layer,
  patterns: z.array(z.string()),
  paused: z.boolean(),
  /**
   * The target (`PubsubAdmin.target`) that its subscriptions in Pub/Sub were made for, and {@link WITH_KEYS}; empty until
   * they are made.
   */
  attached: z.string(),
  /** It is being removed, with its subscriptions in Pub/Sub. */
  removed: z.boolean(),
  /** Topics that the patterns no longer match, and since when: earlier publications are still delivered. */
  retired: z.array(z.strictObject({ topic: z.string(), at: z.number() })),
});

type SubscriptionRecord = z.infer<typeof subscriptionRecord>;

export interface KnownTopic {
  readonly layer: TopicLayer;
  readonly topic: Topic;
  readonly ready: boolean;
}

export interface Retired {
  readonly topic: Topic;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface KnownSubscription {
  readonly name: string;
  readonly layer: TopicLayer;
  readonly patterns: readonly TopicPattern[];
  readonly paused: boolean;
  readonly attached: string;
  readonly retired: readonly Retired[];
}

export const topicId = (of: TopicLayer, topic: string): string => `${of}/${topic}`;

function topicOf(doc: Doc): KnownTopic {
  const record = topicRecord.parse(doc.value);
  return { ...record, topic: parseTopic(record.topic) };
}

/** Undefined for a subscription that is being removed. */
function subscriptionOf(doc: Doc | undefined): KnownSubscription | undefined {
  if (doc === undefined) return undefined;
  const known = anySubscriptionOf(doc);
  return known.removed ? undefined : known;
}

function anySubscriptionOf(doc: Doc): KnownSubscription & { readonly removed: boolean } {
  const { patterns, retired, ...record } = subscriptionRecord.parse(doc.value);
  return {
    ...record,
    name: doc.id,
    patterns: patterns.map(parsePattern),
    retired: retired.map(({ topic, at }) => ({ topic: parseTopic(topic), at })),
  };
}

export function isWanted(
  subscription: Pick<KnownSubscription, 'layer' | 'patterns'>,
  of: TopicLayer,
  topic: Topic,
): boolean {
  return subscription.layer === of && subscription.patterns.some((pattern) => topicMatches(pattern, topic));
}

function isSame(
  known: Pick<KnownSubscription, 'patterns' | 'paused'>,
  { patterns, paused = false }: Pick<Subscription, 'patterns' | 'paused'>,
): boolean {
  const isEqual = patterns.map(parsePattern).every((pattern, at) => pattern === known.patterns[at]);
  return isEqual && patterns.length === known.patterns.length && paused === known.paused;
}

const keyOn = (of: TopicLayer, key: string): string => `${of} ${key}`;

function putSubscription(tx: Transaction, name: string, record: SubscriptionRecord): void {
  const keys = record.patterns.map((pattern) => keyOn(record.layer, patternKey(parsePattern(pattern))));
  tx.put(SUBSCRIPTIONS, name, record, { index: { [PATTERN_FIELD]: [...new Set(keys)] } });
}

export class SubscriptionRegistry {
  readonly #store: Store;
  #areKeysComplete = false;

  constructor(store: Store) {
    this.#store = store;
  }

  async topic(of: TopicLayer, topic: Topic): Promise<KnownTopic | undefined> {
    const doc = await this.#store.get(TOPICS, topicId(of, topic));
    return doc === undefined ? undefined : topicOf(doc);
  }

  async addTopic(of: TopicLayer, topic: Topic): Promise<void> {
    await this.#store.create(TOPICS, topicId(of, topic), { layer: of, topic, ready: false });
  }

  async topicReady(of: TopicLayer, topic: Topic): Promise<void> {
    await this.#store.transact(async (tx) => {
      const doc = await tx.get(TOPICS, topicId(of, topic));
      if (doc !== undefined && !topicOf(doc).ready) {
        tx.put(TOPICS, topicId(of, topic), { layer: of, topic, ready: true });
      }
    });
  }

  /** All topics, or those of the ids that exist. */
  async topics(ids?: readonly string[]): Promise<readonly KnownTopic[]> {
    return (await this.#docs(TOPICS, ids)).map(topicOf);
  }

  async subscription(name: string): Promise<KnownSubscription | undefined> {
    return subscriptionOf(await this.#store.get(SUBSCRIPTIONS, name));
  }

  /** All subscriptions, or those of the names that exist. */
  async subscriptions(names?: readonly string[]): Promise<readonly KnownSubscription[]> {
    return (await this.#docs(SUBSCRIPTIONS, names)).map(subscriptionOf).filter((known) => known !== undefined);
  }

  /** The subscriptions that want a topic; reads those with a pattern that begins like the topic. */
  async subscriptionsTo(of: TopicLayer, topic: Topic): Promise<readonly KnownSubscription[]> {
    await this.#completeKeys();
    const found = new Map<string, KnownSubscription>();
    await Promise.all(
      topicKeys(topic).map(async (key) => {
        const where = [{ field: PATTERN_FIELD, value: keyOn(of, key) }];
        for (const doc of await this.#all({ collection: SUBSCRIPTIONS, where })) {
          const known = subscriptionOf(doc);
          if (known !== undefined && isWanted(known, of, topic)) found.set(known.name, known);
        }
      }),
    );
    return [...found.values()];
  }

  /** Stores all subscriptions again with their keys, once for a deployment that release 1.0 made. */
  async #completeKeys(): Promise<void> {
    if (this.#areKeysComplete) return;
    const { collection, id } = KEYS_COMPLETE;
    if ((await this.#store.get(collection, id)) === undefined) {
      const without = (await this.#all({ collection: SUBSCRIPTIONS }))
        .filter(({ value }) => !subscriptionRecord.parse(value).attached.endsWith(WITH_KEYS))
        .map(({ id: name }) => name);
      await concurrently(without, PUBSUB_ADMIN_CONCURRENCY, (name) =>
        this.#changeSubscription(name, (record) => record),
      );
      await this.#store.create(collection, id, {});
    }
    this.#areKeysComplete = true;
  }

  /** The subscription is stored as wanted, and its subscriptions in Pub/Sub are made for `target`. */
  async isSet(wanted: Subscription, target: string): Promise<boolean> {
    const known = await this.subscription(wanted.name);
    return known !== undefined && isSame(known, wanted) && known.attached === target + WITH_KEYS;
  }

  /**
   * Stores the subscription, unless it is stored already. True when its subscriptions in Pub/Sub are to be made.
   *
   * @param topics that exist: those that the patterns no longer match are retired at `now`
   * @throws CmbsError `conflict` when the subscription is on another layer
   */
  async setSubscription(
    wanted: Subscription,
    target: string,
    topics: readonly KnownTopic[],
    now: number,
  ): Promise<boolean> {
    const { name, layer: of, patterns, paused = false } = wanted;
    const parsed = patterns.map(parsePattern);
    return this.#store.transact(async (tx) => {
      const before = subscriptionOf(await tx.get(SUBSCRIPTIONS, name));
      if (before !== undefined && before.layer !== of) {
        throw new CmbsError('conflict', `The subscription ${name} is on layer ${before.layer}; remove it first.`);
      }
      if (before !== undefined && isSame(before, wanted)) return before.attached !== target + WITH_KEYS;
      const isLeft = ({ topic }: { readonly topic: Topic }): boolean =>
        !isWanted({ layer: of, patterns: parsed }, of, topic);
      const left = topics.filter(
        (one) => before !== undefined && isWanted(before, one.layer, one.topic) && isLeft(one),
      );
      const retired = [
        ...(before?.retired ?? []).filter(isLeft),
        ...left.map(({ topic }): Retired => ({ topic, at: now })),
      ];
      putSubscription(tx, name, {
        layer: of,
        patterns: parsed,
        paused,
        attached: '',
        removed: false,
        retired: retired.map((one) => ({ ...one })),
      });
      return true;
    });
  }

  /** Notes that the subscriptions in Pub/Sub are made, unless the subscription has changed in the meantime. */
  async subscriptionAttached(known: KnownSubscription, target: string): Promise<void> {
    await this.#changeSubscription(known.name, (record) =>
      isSame(known, record) && !record.removed ? { ...record, attached: target + WITH_KEYS } : undefined,
    );
  }

  /** Notes that a retired topic was read to its end. */
  async forgetRetired(name: string, topic: Topic): Promise<void> {
    await this.#changeSubscription(name, (record) => ({
      ...record,
      retired: record.retired.filter((one) => one.topic !== topic),
    }));
  }

  async #changeSubscription(
    name: string,
    change: (record: SubscriptionRecord) => SubscriptionRecord | undefined,
  ): Promise<void> {
    await this.#store.transact(async (tx) => {
      const doc = await tx.get(SUBSCRIPTIONS, name);
      const changed = doc === undefined ? undefined : change(subscriptionRecord.parse(doc.value));
      if (changed !== undefined) putSubscription(tx, name, changed);
    });
  }

  /**
   * Marks the subscription as removed. Its record is kept until {@link forgetSubscription}, so that a removal that was
   * interrupted can go on. Undefined when there is no such subscription.
   */
  removeSubscription(name: string): Promise<KnownSubscription | undefined> {
    return this.#store.transact(async (tx) => {
      const doc = await tx.get(SUBSCRIPTIONS, name);
      if (doc === undefined) return undefined;
      const record = subscriptionRecord.parse(doc.value);
      if (!record.removed) putSubscription(tx, name, { ...record, removed: true });
      return anySubscriptionOf(doc);
    });
  }

  /** Deletes the record of a removed subscription, unless the subscription was made again. */
  async forgetSubscription(name: string): Promise<void> {
    await this.#store.transact(async (tx) => {
      const doc = await tx.get(SUBSCRIPTIONS, name);
      if (doc !== undefined && anySubscriptionOf(doc).removed) tx.delete(SUBSCRIPTIONS, name);
    });
  }

  /** Reports each change, by the ids of topics and the names of subscriptions. */
  watch(
    onTopics: (ids: readonly string[]) => void,
    onSubscriptions: (names: readonly string[]) => void,
  ): readonly Watch[] {
    return [
      this.#store.watch({ collection: TOPICS }, (changes) => onTopics(changes.map(({ id }) => id))),
      this.#store.watch({ collection: SUBSCRIPTIONS }, (changes) => onSubscriptions(changes.map(({ id }) => id))),
    ];
  }

  async #docs(collection: string, ids: readonly string[] | undefined): Promise<readonly Doc[]> {
    if (ids === undefined) return this.#all({ collection });
    if (ids.length === 0) return [];
    return (await this.#store.getAll(collection, ids)).filter((doc) => doc !== undefined);
  }

  async #all(of: Pick<Query, 'collection' | 'where'>): Promise<readonly Doc[]> {
    const docs: Doc[] = [];
    let after: string | undefined;
    do {
      const page = await this.#store.query({
        ...of,
        limit: MAX_PAGE_DOCS,
        ...(after === undefined ? {} : { after }),
      });
      docs.push(...page.docs);
      after = page.next;
    } while (after !== undefined);
    return docs;
  }
}

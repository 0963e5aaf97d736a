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
  isTopic,
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

/** Times that a subscription is read again because another process has changed it. */
const MAX_SET_TRIES = 5;

/** The words of a pattern before its first wildcard, with which its topics begin. */
function beginOf(pattern: TopicPattern): string {
  const words = pattern.split('.');
  const literal = words.slice(
    0,
    words.findIndex((word) => word === '*' || word === '>'),
  );
  return literal.map((word) => `${word}.`).join('');
}

/** Without those that begin like another one. */
function outermost(begins: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (const begin of [...begins].sort()) if (!kept.some((one) => begin.startsWith(one))) kept.push(begin);
  return kept;
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

/** @param topics of the subscription before */
function replacementOf(
  before: KnownSubscription | undefined,
  { name, layer: of, patterns, paused = false }: Subscription,
  topics: readonly KnownTopic[],
  now: number,
): SubscriptionRecord {
  if (before !== undefined && before.layer !== of) {
    throw new CmbsError('conflict', `The subscription ${name} is on layer ${before.layer}; remove it first.`);
  }
  const parsed = patterns.map(parsePattern);
  const isLeft = ({ topic }: { readonly topic: Topic }): boolean =>
    !isWanted({ layer: of, patterns: parsed }, of, topic);
  const left = before === undefined ? [] : topics.filter(isLeft);
  const retired = [
    ...(before?.retired ?? []).filter(isLeft),
    ...left.map(({ topic }): Retired => ({ topic, at: now })),
  ];
  return {
    layer: of,
    patterns: parsed,
    paused,
    attached: '',
    removed: false,
    retired: retired.map((one) => ({ ...one })),
  };
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

  /** The topics that a subscription wants; reads those that begin like its patterns, up to the first wildcard. */
  async topicsOf(of: Pick<KnownSubscription, 'layer' | 'patterns'>): Promise<readonly KnownTopic[]> {
    const begins = outermost(of.patterns.filter((one) => !isTopic(one)).map(beginOf));
    const named = of.patterns.filter((one) => isTopic(one) && !begins.some((begin) => one.startsWith(begin)));
    const found = await this.topics([...new Set(named)].map((topic) => topicId(of.layer, topic)));
    const all = [...found];
    await concurrently(begins, PUBSUB_ADMIN_CONCURRENCY, async (begin) => {
      const prefix = topicId(of.layer, begin);
      for (const doc of await this.#all({ collection: TOPICS, prefix })) all.push(topicOf(doc));
    });
    return all.filter(({ layer: on, topic }) => isWanted(of, on, topic));
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

  /**
   * Stores the subscription, unless it is stored already. True when its subscriptions in Pub/Sub are to be made for
   * `target`. Topics that the patterns no longer match are retired at `now`.
   *
   * @throws CmbsError `conflict` when the subscription is on another layer; `unavailable` when others go on changing it
   */
  async setSubscription(wanted: Subscription, target: string, now: number): Promise<boolean> {
    let before = await this.subscription(wanted.name);
    for (let tries = 0; tries < MAX_SET_TRIES; tries += 1) {
      if (before !== undefined && isSame(before, wanted)) return before.attached !== target + WITH_KEYS;
      // A new subscription has left no topic.
      const topics = before === undefined ? [] : await this.topicsOf(before);
      const seen = before;
      const { isStored, current } = await this.#store.transact(async (tx) => {
        const stored = subscriptionOf(await tx.get(SUBSCRIPTIONS, wanted.name));
        const isAsSeen = stored === undefined || (seen?.layer === stored.layer && isSame(seen, stored));
        if (isAsSeen) putSubscription(tx, wanted.name, replacementOf(stored, wanted, topics, now));
        return { isStored: isAsSeen, current: stored };
      });
      if (isStored) return true;
      before = current;
    }
    throw new CmbsError('unavailable', `The subscription ${wanted.name} is being changed; repeat the request.`);
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

  async #all(of: Pick<Query, 'collection' | 'where' | 'prefix'>): Promise<readonly Doc[]> {
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

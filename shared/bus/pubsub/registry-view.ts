/**
 * The registry as one process knows it. After a first read of the whole registry, only documents that the store reports
 * as changed are read: there may be ten thousand topics, and Firestore charges for each read
 * (`test/cloud/registry.test.ts`).
 */
import type { Topic } from '../topics';
import {
  isWanted,
  topicId,
  type KnownSubscription,
  type KnownTopic,
  type SubscriptionRegistry,
} from './subscription-registry';

export class RegistryView {
  readonly #registry: SubscriptionRegistry;
  #topics = new Map<string, KnownTopic>();
  #subscriptions = new Map<string, KnownSubscription>();
  /** Documents that may have changed and are not read yet. */
  #staleTopics = new Set<string>();
  #staleSubscriptions = new Set<string>();

  constructor(registry: SubscriptionRegistry) {
    this.#registry = registry;
  }

  get subscriptions(): Iterable<KnownSubscription> {
    return this.#subscriptions.values();
  }

  /** The topics of a subscription. Retired topics have the time from which publications are not wanted. */
  topicsOf(name: string): ReadonlyMap<Topic, number | undefined> {
    const known = this.#subscriptions.get(name);
    if (known === undefined) return new Map();
    const wanted = new Map<Topic, number | undefined>(known.retired.map(({ topic, at }) => [topic, at]));
    for (const { layer, topic, ready } of this.#topics.values()) {
      // Before a topic is ready, its first publisher makes it and its subscriptions.
      if (ready && isWanted(known, layer, topic)) wanted.set(topic, undefined);
    }
    return wanted;
  }

  topicsChanged(ids: Iterable<string>): void {
    for (const id of ids) this.#staleTopics.add(id);
  }

  subscriptionsChanged(names: Iterable<string>): void {
    for (const name of names) this.#staleSubscriptions.add(name);
  }

  get isStale(): boolean {
    return this.#staleTopics.size > 0 || this.#staleSubscriptions.size > 0;
  }

  /** When it rejects, the view stays as it was. */
  async readAll(): Promise<void> {
    this.#staleTopics = new Set();
    this.#staleSubscriptions = new Set();
    const [topics, subscriptions] = await Promise.all([this.#registry.topics(), this.#registry.subscriptions()]);
    this.#topics = new Map(topics.map((one) => [topicId(one.layer, one.topic), one]));
    this.#subscriptions = new Map(subscriptions.map((one) => [one.name, one]));
  }

  /** Reads the changed documents; resolves with the subscriptions whose {@link topicsOf} may have changed. */
  async readChanged(): Promise<ReadonlySet<string>> {
    const ids = [...this.#staleTopics];
    const names = [...this.#staleSubscriptions];
    this.#staleTopics = new Set();
    this.#staleSubscriptions = new Set();
    const [topics, subscriptions] = await Promise.all([
      this.#registry.topics(ids),
      this.#registry.subscriptions(names),
    ]);
    const changed = replace(this.#topics, ids, topics, ({ layer, topic }) => topicId(layer, topic));
    replace(this.#subscriptions, names, subscriptions, ({ name }) => name);
    const affected = new Set(names);
    for (const known of this.#subscriptions.values()) {
      if (changed.some(({ layer, topic }) => isWanted(known, layer, topic))) affected.add(known.name);
    }
    return affected;
  }
}

/** Replaces the entries of these ids by those that were read; returns the old and the new ones. */
function replace<T>(
  known: Map<string, T>,
  ids: readonly string[],
  read: readonly T[],
  idOf: (one: T) => string,
): readonly T[] {
  const before = ids.map((id) => known.get(id)).filter((one) => one !== undefined);
  for (const id of ids) known.delete(id);
  for (const one of read) known.set(idOf(one), one);
  return [...before, ...read];
}

/**
 * The registry as one process knows it. It is read as a whole at first, and then only what the store says has changed:
 * there may be ten thousand topics, and each is paid for each time that it is read.
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
  /** What may have changed and is not read yet. */
  #staleTopics = new Set<string>();
  #staleSubscriptions = new Set<string>();

  constructor(registry: SubscriptionRegistry) {
    this.#registry = registry;
  }

  get subscriptions(): Iterable<KnownSubscription> {
    return this.#subscriptions.values();
  }

  /** The topics of a subscription, and since when those are not wanted that it is only to read to their end. */
  topicsOf(name: string): ReadonlyMap<Topic, number | undefined> {
    const known = this.#subscriptions.get(name);
    if (known === undefined) return new Map();
    const wanted = new Map<Topic, number | undefined>(known.retired.map(({ topic, at }) => [topic, at]));
    for (const { layer, topic, ready } of this.#topics.values()) {
      // One that is not ready is being made by whoever is about to publish on it.
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

  /** Keeps what it knows when that fails. */
  async readAll(): Promise<void> {
    this.#staleTopics = new Set();
    this.#staleSubscriptions = new Set();
    const [topics, subscriptions] = await Promise.all([this.#registry.topics(), this.#registry.subscriptions()]);
    this.#topics = new Map(topics.map((one) => [topicId(one.layer, one.topic), one]));
    this.#subscriptions = new Map(subscriptions.map((one) => [one.name, one]));
  }

  /** Reads what has changed; returns the subscriptions of which {@link topicsOf} may be others now. */
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

/** Puts what was read under the ids in the place of what was known; returns both. */
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

/** The subscriptions of the embedded bus, as of one revision of its state document. */
import type { Store, Transaction } from '../../store';
import type { TopicLayer } from '../bus';
import { MAX_REMEMBERED_TOPICS } from '../limits';
import { parsePattern, type Topic, topicMatches, type TopicPattern } from '../topics';
import { readSubscription, STATE, SUBSCRIPTIONS } from './records';

export interface Subscriber {
  readonly layer: TopicLayer;
  readonly patterns: readonly TopicPattern[];
  readonly stream: string;
}

/** Subscriptions read at a time. */
const PAGE_SIZE = 1000;

export class Subscribers {
  readonly #store: Store;
  #revision = -1;
  #all: readonly Subscriber[] = [];
  readonly #byTopic = new Map<string, readonly Subscriber[]>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Reads the subscriptions again when one has changed. */
  refresh(): Promise<void> {
    return this.#store.transact((tx) => this.refreshIn(tx));
  }

  /** In the transaction of a publication, so that the publication misses no subscription. */
  async refreshIn(tx: Transaction): Promise<void> {
    const revision = (await tx.get(STATE, 'subscriptions'))?.revision ?? 0;
    if (revision === this.#revision) return;
    const all: Subscriber[] = [];
    let after: string | undefined;
    do {
      const page = await tx.query({
        collection: SUBSCRIPTIONS,
        limit: PAGE_SIZE,
        ...(after === undefined ? {} : { after }),
      });
      for (const doc of page.docs) {
        const { layer, patterns, stream } = readSubscription(doc);
        all.push({ layer, patterns: patterns.map(parsePattern), stream });
      }
      after = page.next;
    } while (after !== undefined);
    this.#revision = revision;
    this.#all = all;
    this.#byTopic.clear();
  }

  get streams(): ReadonlySet<string> {
    return new Set(this.#all.map(({ stream }) => stream));
  }

  matching(layer: TopicLayer, topic: Topic): readonly Subscriber[] {
    const key = `${layer} ${topic}`;
    const known = this.#byTopic.get(key);
    if (known !== undefined) return known;
    const matching = this.#all.filter(
      (each) => each.layer === layer && each.patterns.some((pattern) => topicMatches(pattern, topic)),
    );
    if (this.#byTopic.size >= MAX_REMEMBERED_TOPICS) this.#byTopic.clear();
    this.#byTopic.set(key, matching);
    return matching;
  }
}

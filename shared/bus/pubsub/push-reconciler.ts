/**
 * Looks after subscriptions whose deliveries are pushed: nobody here reads them, so nobody would miss one that was
 * deleted from outside, or see that a topic which is not wanted any more is read to its end.
 */
import type { Topic } from '../topics';
import type { Clock } from '../../clock';
import { PUBSUB_ADMIN_CONCURRENCY, RETIRED_IDLE_MS } from './limits';
import type { Counters, Log } from '../../log';
import { concurrently } from '../../concurrently';
import type { Consumer } from '../bus';
import type { PubsubNames } from './names';
import { isWanted, type KnownSubscription, type SubscriptionRegistry } from './subscription-registry';

/** Milliseconds between two looks at subscriptions that are pushed: until one that was deleted from outside is back. */
const PUSH_CHECK_MS = 5 * 60_000;

export interface PushReconcilerOptions {
  readonly names: PubsubNames;
  readonly registry: SubscriptionRegistry;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Names in Pub/Sub of the subscriptions that are there. */
  readonly list: () => Promise<ReadonlySet<string>>;
  /** Makes the counterpart of a subscription for one topic, and the topic; tells whether it had to. */
  readonly attach: (subscription: KnownSubscription, topic: Topic) => Promise<boolean>;
  /** Removes it. */
  readonly detach: (subscription: string, topic: Topic) => Promise<void>;
}

export class PushReconciler {
  readonly #options: PushReconcilerOptions;
  readonly #kept = new Set<string>();
  #checking: Promise<void> | undefined;
  #cancelNext: () => void;
  #isClosed = false;

  constructor(options: PushReconcilerOptions) {
    this.#options = options;
    this.#cancelNext = options.clock.after(0, () => this.#check());
  }

  add(name: string): Consumer {
    this.#kept.add(name);
    return {
      close: () => {
        this.#kept.delete(name);
        return Promise.resolve();
      },
    };
  }

  #check(): void {
    const { clock, log } = this.#options;
    this.#checking = this.#compare()
      .catch((error: unknown) => log.warn('subscriptions are looked at later', { cause: error }))
      .finally(() => {
        if (!this.#isClosed) this.#cancelNext = clock.after(PUSH_CHECK_MS, () => this.#check());
      });
  }

  async #compare(): Promise<void> {
    const { registry, names, clock, list } = this.#options;
    // The registry is read first: what is attached there was in Pub/Sub before the list is.
    const [subscriptions, topics] = await Promise.all([registry.subscriptions(), registry.topics()]);
    const there = await list();
    const missing: (() => Promise<void>)[] = [];
    for (const known of subscriptions) {
      if (!this.#kept.has(known.name) || known.attached === '') continue;
      for (const { topic, layer, ready } of topics) {
        const isThere = there.has(names.subscription(known.name, topic));
        if (ready && isWanted(known, layer, topic) && !isThere) missing.push(() => this.#remake(known, topic));
      }
      for (const { topic, at } of known.retired) {
        const isOver = clock.now() - at > RETIRED_IDLE_MS;
        if (isOver) missing.push(() => this.#options.detach(known.name, topic));
      }
    }
    await concurrently(missing, PUBSUB_ADMIN_CONCURRENCY, (repair) => repair());
  }

  async #remake({ name }: KnownSubscription, topic: Topic): Promise<void> {
    const { registry, attach, counters, log } = this.#options;
    // As it is now: it may be on its way out.
    const known = await registry.subscription(name);
    if (this.#isClosed || known === undefined || !isWanted(known, known.layer, topic)) return;
    if (!(await attach(known, topic))) return;
    counters.add('cmbs_subscriptions_remade');
    log.error('a subscription was deleted from outside and is made again; what it held is lost', {
      subscription: name,
      topic,
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelNext();
    await this.#checking;
  }
}

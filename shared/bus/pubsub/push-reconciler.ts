/**
 * Repairs subscriptions that are pushed. No stream reads them, so nothing else here notices that a subscription was
 * deleted from outside, or that a retired topic is read to its end.
 */
import type { Clock } from '../../clock';
import { concurrently } from '../../concurrently';
import type { Counters, Log } from '../../log';
import type { Consumer } from '../bus';
import type { Topic } from '../topics';
import { PUBSUB_ADMIN_CONCURRENCY, RETIRED_IDLE_MS } from './limits';
import type { PubsubNames } from './names';
import type { PubsubAdmin } from './pubsub-admin';
import { isWanted, type KnownSubscription, type SubscriptionRegistry } from './subscription-registry';

/** Milliseconds between two checks: the longest time for which a deleted subscription is missing. */
const PUSH_CHECK_MS = 5 * 60_000;

export interface PushReconcilerOptions {
  readonly admin: PubsubAdmin;
  readonly names: PubsubNames;
  readonly registry: SubscriptionRegistry;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

export class PushReconciler {
  readonly #options: PushReconcilerOptions;
  /** Subscriptions that this process is responsible for. */
  readonly #names = new Set<string>();
  #checking: Promise<void> | undefined;
  #cancelNext: () => void;
  #isClosed = false;

  constructor(options: PushReconcilerOptions) {
    this.#options = options;
    this.#cancelNext = options.clock.after(0, () => this.#check());
  }

  add(name: string): Consumer {
    this.#names.add(name);
    return {
      close: () => {
        this.#names.delete(name);
        return Promise.resolve();
      },
    };
  }

  #check(): void {
    const { clock, log } = this.#options;
    this.#checking = this.#repair()
      .catch((error: unknown) =>
        log.warn('the subscriptions in Pub/Sub could not be checked; retrying', { cause: error }),
      )
      .finally(() => {
        if (!this.#isClosed) this.#cancelNext = clock.after(PUSH_CHECK_MS, () => this.#check());
      });
  }

  async #repair(): Promise<void> {
    const { admin, registry, names, clock } = this.#options;
    // The registry first: a subscription that is attached there was in Pub/Sub before the list is read.
    const [subscriptions, topics] = await Promise.all([registry.subscriptions(), registry.topics()]);
    const existing = await admin.list();
    const repairs: (() => Promise<void>)[] = [];
    for (const known of subscriptions) {
      if (!this.#names.has(known.name) || known.attached === '') continue;
      for (const { topic, layer, ready } of topics) {
        const exists = existing.has(names.subscription(known.name, topic));
        if (ready && isWanted(known, layer, topic) && !exists) repairs.push(() => this.#remake(known, topic));
      }
      for (const { topic, at } of known.retired) {
        const isOver = clock.now() - at > RETIRED_IDLE_MS;
        if (isOver) repairs.push(() => admin.dropRetired(known.name, topic));
      }
    }
    await concurrently(repairs, PUBSUB_ADMIN_CONCURRENCY, (repair) => repair());
  }

  async #remake({ name }: KnownSubscription, topic: Topic): Promise<void> {
    const { admin, registry, counters, log } = this.#options;
    // Read again: it may have been removed or changed in the meantime.
    const known = await registry.subscription(name);
    if (this.#isClosed || known === undefined || !isWanted(known, known.layer, topic)) return;
    if (!(await admin.attach(known, topic))) return;
    counters.add('cmbs_subscriptions_remade');
    log.error('a subscription was deleted from outside and was created again; its messages are lost', {
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

/**
 * Keeps the consumers of this process in step with the registry: a topic that is used for the first time is taken up
 * by whoever has a pattern for it, without anybody acting. And hears of what Pub/Sub itself gives up.
 */
import type { Random } from '../../back-off';
import type { Topic } from '../topics';
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { BUS_BACKOFF_MAX_MS } from '../limits';
import { COMPANION_LOOK_MS, WATCH_FALLBACK_MS } from '../../limits';
import type { Counters, Log } from '../../log';
import type { Watch } from '../../store';
import type { Consumer, ConsumeOptions, BusDelivery } from '../bus';
import { FlowControl } from './flow-control';
import { PubsubConsumer } from './consumer';
import { DEAD_LETTER } from '../push';
import { deliveryOf } from './message';
import type { PubsubNames } from './names';
import type { PubsubStream, PubsubStreams, Received } from './streams';
import type { KnownSubscription, SubscriptionRegistry } from './subscription-registry';
import { RegistryView } from './registry-view';

/**
 * Bytes of deliveries in hand, of all consumers of a process: in the 2 GB of an `e2-small` they may be there twice more,
 * as what is on its way ({@link STREAMS_BYTES}) and as text in the handlers, beside sockets, caches and the system.
 */
const DELIVERIES_BYTES = 64 * 1024 * 1024;

export interface PullReconcilerOptions {
  readonly streams: PubsubStreams;
  readonly names: PubsubNames;
  readonly registry: SubscriptionRegistry;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly random: Random;
  /** Makes the counterpart of a subscription for one topic, and the topic; tells whether it had to. */
  readonly attach: (subscription: KnownSubscription, topic: Topic) => Promise<boolean>;
  /** Removes it. */
  readonly detach: (subscription: string, topic: Topic) => Promise<void>;
  readonly deadLetter: (
    message: Received,
    delivery: BusDelivery,
    subscription: string,
    reason: string,
  ) => Promise<void>;
}

interface Followed {
  readonly consumer: PubsubConsumer;
  readonly options: ConsumeOptions;
}

export class PullReconciler {
  readonly #options: PullReconcilerOptions;
  readonly #budget = new FlowControl(DELIVERIES_BYTES);
  readonly #followed = new Map<string, Followed>();
  readonly #view: RegistryView;
  readonly #watches: readonly Watch[];
  /** Every change is told. */
  #isWatched = false;
  /** Reads of the registry, one after the other; all consumers share one. */
  #reading: Promise<void> | undefined;
  /** All of it is to be read. */
  #isUnknown = true;
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
        this.#look();
      },
      (error: unknown) => {
        options.log.warn('topics are looked for from time to time only', { cause: error });
      },
    );
    this.#watchDeadLetters();
  }

  consume(name: string, handler: (delivery: BusDelivery) => Promise<void>, options: ConsumeOptions): Consumer {
    if (this.#followed.has(name)) {
      throw new CmbsError('conflict', `The subscription ${name} has a consumer already; close it first.`);
    }
    const {
      streams,
      names,
      clock,
      log,
      counters,
      random,
      attach,
      detach,
      deadLetter: bury,
      registry,
    } = this.#options;
    const consumer = new PubsubConsumer({
      ...options,
      name,
      streams,
      budget: this.#budget,
      nameOf: (topic) => names.subscription(name, topic),
      handler,
      clock,
      log,
      counters,
      random,
      remake: async (topic) => {
        const known = await registry.subscription(name);
        return known !== undefined && attach(known, topic);
      },
      deadLetter: (message, delivery, reason) => bury(message, delivery, name, reason),
      onDrained: (topic) => {
        detach(name, topic).then(
          () => this.#lookAt(name),
          (error: unknown) => log.warn('a subscription that is read to its end stays', { topic, cause: error }),
        );
      },
      onClosed: () => {
        if (this.#followed.get(name)?.consumer === consumer) this.#followed.delete(name);
      },
    });
    this.#followed.set(name, { consumer, options });
    this.#lookAt(name);
    return consumer;
  }

  /** Reads one subscription again, soon; and all there is when nobody tells of changes. */
  #lookAt(name: string): void {
    if (!this.#isWatched) {
      this.#look();
      return;
    }
    this.#view.subscriptionsChanged([name]);
    this.#readSoon();
  }

  /** Reads the registry as a whole again, soon. */
  #look(): void {
    this.#isUnknown = true;
    this.#readSoon();
  }

  #readSoon(): void {
    if (this.#isClosed) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
      if (this.#isUnknown || this.#view.isStale) this.#readSoon();
    });
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    try {
      if (this.#isUnknown) {
        this.#isUnknown = false;
        await this.#view.readAll();
        this.#follow(this.#followed.keys());
        this.#lookAfter(this.#isWatched ? COMPANION_LOOK_MS : WATCH_FALLBACK_MS);
      } else {
        this.#follow(await this.#view.readChanged());
      }
    } catch (error) {
      this.#options.log.error('the topics could not be read; trying again', { cause: error });
      this.#lookAfter(BUS_BACKOFF_MAX_MS);
    }
  }

  #lookAfter(ms: number): void {
    this.#cancelNext();
    if (!this.#isClosed) this.#cancelNext = this.#options.clock.after(ms, () => this.#look());
  }

  #follow(names: Iterable<string>): void {
    if (this.#isClosed) return;
    for (const name of names) this.#followed.get(name)?.consumer.follow(this.#view.topicsOf(name));
  }

  // --- Dead letters ---

  #watchDeadLetters(): void {
    const { streams, names, log, clock } = this.#options;
    const stream = streams.open(names.watchedDeadLetters, {
      received: (message) => void this.#deadLetter(stream, message),
      ended: (error) => {
        if (this.#isClosed) return;
        // Made with the first subscription; until then there is nothing to hear.
        log.debug('dead letters are not told now', { cause: error });
        this.#cancelReopening = clock.after(BUS_BACKOFF_MAX_MS, () => this.#watchDeadLetters());
      },
    });
    this.#deadLetters = stream;
  }

  /** What was given up here was told already. Never rejects. */
  async #deadLetter(stream: PubsubStream, message: Received): Promise<void> {
    const { names, log, counters } = this.#options;
    const { [DEAD_LETTER.source]: source, topic = '' } = message.attributes;
    try {
      if (source !== undefined) {
        const reason = 'its reader fell silent each time';
        await this.#reading;
        const known = [...this.#view.subscriptions].find(({ name }) => names.isSubscription(source, name));
        const followed = known === undefined ? undefined : this.#followed.get(known.name);
        if (followed?.options.onDeadLetter !== undefined) {
          await followed.options.onDeadLetter(deliveryOf(message, topic, 0), reason);
        } else {
          // Of another shard's member, or of one that is gone; whoever hears of it tells.
          const what = { subscription: source, topic, publication: message.id, reason };
          counters.add('cmbs_dead_letters', { layer: known?.layer ?? 'l32' });
          log.error('topic message given up', { event: 'dead_letter', ...what });
        }
      }
      await stream.acknowledge(message.ackId);
    } catch (error) {
      // Its lease runs out, and it comes again.
      log.warn('a dead letter is looked at later', { cause: error });
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelNext();
    for (const watch of this.#watches) watch.end();
    await this.#reading;
    await Promise.all([...this.#followed.values()].map(({ consumer }) => consumer.close()));
    this.#cancelReopening();
    this.#deadLetters?.close();
  }
}

/** A member's subscription on the topic bus, while its layer is open: follows its topics, rests while it is suspended. */
import { CmbsError, isOutage, pause, toCmbsError, type Clock, type Counters, type Log } from '@cmbs/shared';
import { isSuspended, type Layer, subscriptionName, topicPatterns } from '@cmbs/shared/broker';
import type { Bus, BusDelivery } from '@cmbs/shared/bus';
import type { Entity, Path } from '@cmbs/shared/occi';

/** Deliveries of one subscription in flight. */
const MAX_BUS_IN_FLIGHT = 64;

export interface TopicSubscriptionEnvironment {
  readonly bus: Pick<Bus, 'setSubscription' | 'consume'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Milliseconds before a delivery is tried again, by the number of failures in a row. */
  readonly backOff: (failures: number) => number;
}

type Consumer = ReturnType<Bus['consume']>;
/** Takes a delivery for the member; rejects when it is not taken. */
type TakeDelivery = (delivery: BusDelivery) => Promise<void>;

export class TopicSubscription {
  readonly #environment: TopicSubscriptionEnvironment;
  readonly #member: Path;
  readonly #layer: Layer;
  readonly #take: TakeDelivery;
  readonly #name: string;
  /** The subscription as it was last written on the bus, as JSON. */
  #written: string | undefined;
  #consumer: Consumer | undefined;
  #stop = new AbortController();

  constructor(environment: TopicSubscriptionEnvironment, member: Path, layer: Layer, take: TakeDelivery) {
    this.#environment = environment;
    this.#member = member;
    this.#layer = layer;
    this.#take = take;
    this.#name = subscriptionName(member, layer);
  }

  /** Writes the member's topics to the bus if they have changed, and consumes unless the member is suspended. */
  async follow(member: Entity): Promise<void> {
    const wanted = {
      name: this.#name,
      layer: this.#layer,
      patterns: topicPatterns(member),
      paused: isSuspended(member),
    };
    const text = JSON.stringify(wanted);
    if (this.#written !== text) {
      await this.#environment.bus.setSubscription(wanted);
      this.#written = text;
    }
    if (wanted.paused) await this.close();
    else this.#consumer ??= this.#consume();
  }

  /** Takes no more deliveries; the subscription stays on the bus. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#consumer?.close();
    this.#consumer = undefined;
  }

  #consume(): Consumer {
    const { bus, log, counters } = this.#environment;
    const layer = this.#layer;
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    return bus.consume(this.#name, (delivery) => this.#takePatiently(delivery, signal), {
      maxInFlight: MAX_BUS_IN_FLIGHT,
      onDeadLetter: async ({ id, topic }, reason) => {
        counters.add('cmbs_dead_letters', { layer });
        log.error('topic message given up', {
          event: 'dead_letter',
          layer,
          member: this.#member,
          topic,
          publication: id,
          reason,
        });
      },
    });
  }

  /**
   * Takes a delivery, with any number of attempts while the member's side cannot take messages (a full inbox, a full disk):
   * these attempts must not make the message a dead letter. Meanwhile the delivery stays in flight, which slows the bus
   * down.
   */
  async #takePatiently(delivery: BusDelivery, stop: AbortSignal): Promise<void> {
    const { clock, counters, backOff } = this.#environment;
    for (let failures = 1; ; failures++) {
      try {
        await this.#take(delivery);
        return;
      } catch (thrown) {
        if (!isMembersFault(toCmbsError(thrown))) throw thrown;
        // A full inbox is not the message's fault, so this must not count as one of its attempts.
        if (stop.aborted) {
          throw new CmbsError('unavailable', 'The member takes no more messages for now.', { cause: thrown });
        }
      }
      counters.add('cmbs_retries', { layer: this.#layer });
      await pause(clock, backOff(failures), stop);
    }
  }
}

/** Whether the member's side cannot take messages for now; nothing is wrong with the message. */
const isMembersFault = (error: CmbsError): boolean =>
  isOutage(error) || error.code === 'queue_full' || error.code === 'storage_full';

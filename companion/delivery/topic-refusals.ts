/**
 * Topics that refuse messages for now (a topic is full, or the bus does not answer). After each back-off one message asks
 * again, two when it is taken, then four. So a topic that refuses costs little, however many messages wait for it, and a
 * topic that takes a few at a time gets a few at a time.
 */
import type { Clock } from '@cmbs/shared';
import { isOpen, type OutboundMessage } from '@cmbs/shared/broker';

/** Refusing topics that a companion remembers; the oldest are forgotten first, and are then asked sooner. */
const MAX_REFUSED_TOPICS = 10_000;
/** A topic that refused and then takes this many messages at the same time gets all that wait. */
const TOPIC_OPEN_AFTER = 64;

interface Refusal {
  readonly reason: string;
  /** Refusals in a row. */
  failures: number;
  /** When messages may ask again. */
  readonly until: number;
  /** Messages that may then ask at the same time. */
  allowed: number;
  /** Messages that are asking. */
  asking: number;
}

/** Why a message may not be tried now, and when it may. */
export interface Refused {
  readonly reason: string;
  readonly until: number;
}

type Topics = Pick<OutboundMessage, 'layer' | 'receivers'>;

export class TopicRefusals {
  readonly #clock: Clock;
  readonly #backOff: (failures: number) => number;
  /** By layer and topic, the oldest first. */
  readonly #refusals = new Map<string, Refusal>();

  constructor({ clock, backOff }: { readonly clock: Clock; readonly backOff: (failures: number) => number }) {
    this.#clock = clock;
    this.#backOff = backOff;
  }

  /** Undefined when one of the message's open topics may be tried. */
  of(outbound: Topics): Refused | undefined {
    const now = this.#clock.now();
    let first: Refused | undefined;
    for (const refusal of this.#ofOpenTopics(outbound)) {
      if (refusal === undefined || mayAsk(refusal, now)) return undefined;
      const until = refusal.until > now ? refusal.until : now + this.#backOff(1);
      if (first === undefined || until < first.until) first = { reason: refusal.reason, until };
    }
    return first;
  }

  /** A message is tried, until the function that is returned is called. */
  asks(outbound: Topics): () => void {
    const now = this.#clock.now();
    const asked: Refusal[] = [];
    for (const refusal of this.#ofOpenTopics(outbound)) {
      if (refusal !== undefined && mayAsk(refusal, now)) asked.push(refusal);
    }
    for (const refusal of asked) refusal.asking += 1;
    return () => {
      for (const refusal of asked) refusal.asking -= 1;
    };
  }

  refused(layer: string, topic: string, reason: string): void {
    const now = this.#clock.now();
    const name = nameOf(layer, topic);
    const known = this.#refusals.get(name);
    // Attempts that were under way together count as one refusal.
    if (known !== undefined && known.until > now) return;
    const failures = (known?.failures ?? 0) + 1;
    const until = now + this.#backOff(failures);
    this.#refusals.set(name, { reason, failures, until, allowed: 1, asking: 0 });
    if (this.#refusals.size <= MAX_REFUSED_TOPICS) return;
    // A topic that is forgotten is only asked sooner.
    const [oldest = ''] = this.#refusals.keys();
    this.#refusals.delete(oldest);
  }

  /** A topic took a message. Gives how many more messages may ask when the topic had refused before; 0 otherwise. */
  taken(layer: string, topic: string): number {
    const name = nameOf(layer, topic);
    const refusal = this.#refusals.get(name);
    if (refusal === undefined) return 0;
    const allowed = refusal.allowed * 2;
    if (allowed > TOPIC_OPEN_AFTER) {
      this.#refusals.delete(name);
      return Infinity;
    }
    refusal.failures = 0;
    refusal.allowed = allowed;
    return allowed;
  }

  #ofOpenTopics({ layer, receivers }: Topics): readonly (Refusal | undefined)[] {
    return receivers
      .filter((receiver) => receiver.via === 'bus' && isOpen(receiver))
      .map(({ name }) => this.#refusals.get(nameOf(layer, name)));
  }
}

const mayAsk = ({ until, allowed, asking }: Refusal, now: number): boolean => until <= now && asking < allowed;

const nameOf = (layer: string, topic: string): string => `${layer} ${topic}`;

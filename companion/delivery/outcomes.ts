/** Logs the outcomes of deliveries, and writes them to the store, those of one outbound message together. */
import {
  applyOutcomes,
  type Delivery,
  isGivenUp,
  type OutboundMessage,
  type Outcome,
  readOutbound,
  registryOf,
  writeOutbound,
} from '@cmbs/shared/broker';
import type { DeliveryEnvironment } from './environment';
import type { InFlightMessage, AttemptedItem } from './in-flight-message';

export type OutcomesEnvironment = Pick<
  DeliveryEnvironment,
  'store' | 'clock' | 'log' | 'shard' | 'backOff' | 'categories' | 'layers'
>;

export class Outcomes {
  readonly #environment: OutcomesEnvironment;
  /** All outcomes of a message are in the store. */
  readonly #written: (message: InFlightMessage) => void;
  /** Writes under way. */
  readonly #writing = new Set<Promise<void>>();
  #isClosed = false;

  constructor(environment: OutcomesEnvironment, written: (message: InFlightMessage) => void) {
    this.#environment = environment;
    this.#written = written;
  }

  /** Outcomes that cannot be written are not tried again. */
  close(): void {
    this.#isClosed = true;
  }

  /** Resolves when every known outcome and claim is in the store, or could not be written. */
  async writeAll(all: Iterable<InFlightMessage>): Promise<void> {
    const claims: Promise<void>[] = [];
    for (const message of all) {
      this.#write(message);
      claims.push(message.endClaim());
    }
    await Promise.all([...this.#writing, ...claims]);
  }

  /** A delivery has changed. */
  note(message: InFlightMessage, outcome: Outcome): void {
    message.outcomes.push(outcome);
    message.outbound = applyOutcomes(message.outbound, [outcome], this.#environment.clock.now());
    if (message.flushing) return;
    message.flushing = true;
    // Outcomes of the same turn (a broadcast to many) share one transaction.
    setImmediate(() => this.#write(message));
  }

  #write(message: InFlightMessage, attempt = 1): void {
    const writing: Promise<void> = this.#flush(message, attempt).finally(() => void this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  async #flush(message: InFlightMessage, attempt: number): Promise<void> {
    const { store, clock, log, shard, backOff, layers } = this.#environment;
    const outcomes = message.outcomes;
    message.outcomes = [];
    if (outcomes.length === 0) {
      message.flushing = false;
      return;
    }
    try {
      // A claim that commits after this would show a waiting message as being sent.
      await message.claim?.writing;
      // Outcomes of some deliveries bring the claim with them, while frames to others are in flight.
      const isClaiming = message.claim !== undefined && message.trying.size > 0;
      if (message.claim !== undefined && isClaiming) message.claim.writing = Promise.resolve();
      const registry = await registryOf(this.#environment);
      await store.transact(async (tx) => {
        const current = await readOutbound(tx, message.outbound.id);
        if (current === undefined) return;
        const { holder, ...free } = current.outbound;
        // A later companion may have claimed the message.
        const isOurs = holder === undefined || shard.isOurs(holder);
        const own: OutboundMessage = isClaiming ? { ...free, holder: shard.name } : free;
        const base = isOurs ? own : current.outbound;
        writeOutbound(tx, applyOutcomes(base, outcomes, clock.now()), current.message, {
          registry,
          clock,
          layers,
        });
      });
    } catch (error) {
      log.error('outcome not recorded; trying again', { send: message.outbound.id, cause: error });
      message.outcomes.unshift(...outcomes);
      if (this.#isClosed) return;
      message.cancelRetry = clock.after(backOff(attempt), () => this.#write(message, attempt + 1));
      return;
    }
    if (message.trying.size === 0) message.claim = undefined;
    message.flushing = false;
    if (message.outcomes.length > 0) {
      message.flushing = true;
      await this.#flush(message, 0);
      return;
    }
    this.#written(message);
  }
}

export function logOutcome(
  { clock, log }: Pick<DeliveryEnvironment, 'clock' | 'log'>,
  item: AttemptedItem,
  change: Pick<Delivery, 'state'> & Partial<Pick<Delivery, 'reason'>>,
): void {
  const { message } = item;
  const what = {
    layer: message.outbound.layer,
    member: message.outbound.from,
    id: message.outbound.message,
    send: message.outbound.id,
    receiver: message.receiver(item)?.name,
    trace: message.outbound.trace,
  };
  log.info('sent', {
    event: 'delivery',
    direction: 'out',
    ...what,
    outcome: change.state,
    attempts: item.tries,
    ms: clock.now() - message.outbound.createdAt,
  });
  if (isGivenUp(change.state)) {
    log.warn('a delivery became a dead letter', { event: 'dead_letter', ...what, reason: change.reason });
  }
}

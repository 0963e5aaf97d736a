/** Outcomes of deliveries: told in the log, and written to the store, those of one outbound message together. */
import {
  applyOutcomes,
  type Delivery,
  isGivenUp,
  type Outcome,
  readOutbound,
  registryOf,
  writeOutbound,
} from '@cmbs/shared/broker';
import type { Environment } from '../environment';
import type { InFlightMessage, AttemptedItem } from './in-flight-message';

export type OutcomesEnvironment = Pick<
  Environment,
  'store' | 'clock' | 'log' | 'shard' | 'backOff' | 'categories'
>;

export class Outcomes {
  readonly #environment: OutcomesEnvironment;
  /** All that was known of a message is in the store. */
  readonly #written: (held: InFlightMessage) => void;
  /** Writes under way. */
  readonly #writing = new Set<Promise<void>>();
  #isClosed = false;

  constructor(environment: OutcomesEnvironment, written: (held: InFlightMessage) => void) {
    this.#environment = environment;
    this.#written = written;
  }

  /** What cannot be written is not tried again. */
  close(): void {
    this.#isClosed = true;
  }

  /** Resolves when what is known is in the store, or could not be written. */
  async writeAll(all: Iterable<InFlightMessage>): Promise<void> {
    for (const held of all) this.#write(held);
    await Promise.all(this.#writing);
  }

  /** Something became of a receiver. */
  note(held: InFlightMessage, outcome: Outcome): void {
    held.outcomes.push(outcome);
    held.outbound = applyOutcomes(held.outbound, [outcome], this.#environment.clock.now());
    if (held.flushing) return;
    held.flushing = true;
    // Outcomes that come in the same turn (a broadcast to many) share one transaction.
    setImmediate(() => this.#write(held));
  }

  #write(held: InFlightMessage, attempt = 1): void {
    const writing: Promise<void> = this.#flush(held, attempt).finally(() => void this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  async #flush(held: InFlightMessage, attempt: number): Promise<void> {
    const { store, clock, log, shard, backOff } = this.#environment;
    const outcomes = held.outcomes;
    held.outcomes = [];
    if (outcomes.length === 0) {
      held.flushing = false;
      return;
    }
    try {
      // A claim that commits after this would show a send as being sent that waits.
      await held.claiming?.catch(() => undefined);
      const registry = await registryOf(this.#environment);
      await store.transact(async (tx) => {
        const current = await readOutbound(tx, held.outbound.id);
        if (current === undefined) return;
        const { holder, ...free } = current.send;
        // Not when a later companion has claimed it.
        const isReleased = held.trying.size === 0 && (holder === undefined || shard.isOurs(holder));
        const base = isReleased ? free : current.send;
        writeOutbound(tx, applyOutcomes(base, outcomes, clock.now()), current.message, registry, clock);
      });
    } catch (error) {
      log.error('outcome not recorded; trying again', { send: held.outbound.id, cause: error });
      held.outcomes.unshift(...outcomes);
      if (this.#isClosed) return;
      held.cancelRetry = clock.after(backOff(attempt), () => this.#write(held, attempt + 1));
      return;
    }
    if (held.trying.size === 0) held.claiming = undefined;
    held.flushing = false;
    if (held.outcomes.length > 0) {
      held.flushing = true;
      await this.#flush(held, 0);
      return;
    }
    this.#written(held);
  }
}

export function logOutcome(
  { clock, log }: Pick<Environment, 'clock' | 'log'>,
  item: AttemptedItem,
  change: Pick<Delivery, 'state'> & Partial<Pick<Delivery, 'reason'>>,
): void {
  const { held } = item;
  const what = {
    layer: held.outbound.layer,
    member: held.outbound.from,
    id: held.outbound.message,
    send: held.outbound.id,
    receiver: held.receiver(item)?.name,
    trace: held.outbound.trace,
  };
  log.info('sent', {
    event: 'delivery',
    direction: 'out',
    ...what,
    outcome: change.state,
    attempts: item.tries,
    ms: clock.now() - held.outbound.createdAt,
  });
  if (isGivenUp(change.state)) {
    log.warn('a delivery was given up', { event: 'dead_letter', ...what, reason: change.reason });
  }
}

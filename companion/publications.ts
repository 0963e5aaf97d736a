/**
 * What goes on the topic bus from here: what members pass on, and what a function queued and did not publish, since it
 * was cut off, the bus was away, or an earlier send with the same ordering key was still open.
 */
import { toCmbsError } from '@cmbs/shared';
import { registryOf } from '@cmbs/shared/broker/context';
import { publishSend } from '@cmbs/shared/broker/publish';
import { firstInLine, isItsTurn, isOpen, isPublishing, readSend, type Send } from '@cmbs/shared/broker/send';
import type { Environment } from './environment';
import { type LaneOwner, type HeldSend } from './held-send';

/** What publications need of the outbox that they work for. */
export interface PublicationOwner extends Pick<LaneOwner, 'settle' | 'park'> {
  /** The send in hand with this id, or else one that is taken in hand soon. */
  known(sendId: string): HeldSend | undefined;
  /** The store says so of a send: undefined when it is not there any more. */
  published(held: HeldSend, stored: Send | undefined): void;
}

export class Publications {
  readonly #environment: Environment;
  readonly #owner: PublicationOwner;
  /** Sends with something to publish. */
  readonly #open = new Set<HeldSend>();
  /** Those that are being published at this moment. */
  readonly #busy = new Map<HeldSend, Promise<void>>();
  readonly #cancelNext = new Map<HeldSend, () => void>();
  #draining = false;

  constructor(environment: Environment, owner: PublicationOwner) {
    this.#environment = environment;
    this.#owner = owner;
  }

  /** @param afterMs how long whoever queued the send is given to publish it */
  add(held: HeldSend, afterMs: number): void {
    if (!isPublishing(held.send)) return;
    this.#open.add(held);
    if (held.send.frame !== undefined || afterMs === 0) this.hurry(held);
    else this.#later(held, afterMs);
  }

  /** Whoever queued it leaves it to us, or its turn has come. */
  hurry(held: HeldSend): void {
    if (this.#draining || !this.#open.has(held)) return;
    this.#publish(held);
  }

  /** The function that queued a send publishes it: what it recorded is taken over. */
  async follow(held: HeldSend): Promise<void> {
    const { store, log } = this.#environment;
    try {
      const read = await readSend(store, held.send.id);
      if (read !== undefined) this.#owner.published(held, read.send);
    } catch (error) {
      // The grace ends with an attempt of our own, which reads again.
      log.warn('send not read', { send: held.send.id, cause: error });
    }
  }

  /** Nothing of it is to be published any more: the next one in its line may go. */
  remove(held: HeldSend): void {
    if (!this.#open.delete(held)) return;
    this.#cancel(held);
    if (held.send.orderingKey !== undefined && !this.#draining) void this.#giveTurn(held.send);
  }

  /** Publishes nothing more; resolves when what is being published has its outcome. */
  async drain(): Promise<void> {
    this.#draining = true;
    for (const cancel of this.#cancelNext.values()) cancel();
    this.#cancelNext.clear();
    await Promise.all(this.#busy.values());
  }

  #later(held: HeldSend, ms: number, attempt = 1): void {
    if (this.#draining) return;
    this.#cancel(held);
    this.#cancelNext.set(
      held,
      this.#environment.clock.after(ms, () => this.#publish(held, attempt)),
    );
  }

  #cancel(held: HeldSend): void {
    this.#cancelNext.get(held)?.();
    this.#cancelNext.delete(held);
  }

  async #giveTurn(gone: Send): Promise<void> {
    const { store, log } = this.#environment;
    try {
      const first = await firstInLine(store, gone);
      const held = first === undefined ? undefined : this.#owner.known(first);
      if (held !== undefined) this.hurry(held);
    } catch (error) {
      // Each in line looks again by itself.
      log.warn('line of an ordering key not read', { send: gone.id, cause: error });
    }
  }

  #publish(held: HeldSend, attempt = 1): void {
    this.#cancel(held);
    if (this.#busy.has(held)) return;
    const publishing = this.#try(held, attempt)
      .catch((thrown: unknown) => this.#failed(held, thrown, attempt))
      .finally(() => void this.#busy.delete(held));
    this.#busy.set(held, publishing);
  }

  async #try(held: HeldSend, attempt: number): Promise<void> {
    const { store, backOff } = this.#environment;
    if (await isItsTurn(store, held.send)) {
      const registry = await registryOf(this.#environment);
      this.#owner.published(held, await publishSend(held.send.id, { ...this.#environment, registry }));
    } else {
      // Whoever waits for it goes on: its turn comes as soon as the one before it is published.
      held.lastReason = 'an earlier message with its ordering key is not on the bus yet';
      this.#later(held, backOff(attempt), attempt + 1);
    }
  }

  #failed(held: HeldSend, thrown: unknown, attempt: number): void {
    const { log, counters, backOff } = this.#environment;
    const { retryable, message: reason } = toCmbsError(thrown);
    log.warn('publication failed', { send: held.send.id, cause: thrown, retried: retryable });
    if (retryable) {
      counters.add('cmbs_retries', { layer: held.send.layer });
      this.#later(held, backOff(attempt), attempt + 1);
    }
    for (const { name, via } of held.send.receivers.filter(isOpen)) {
      if (via !== 'bus') continue;
      if (retryable) this.#owner.park({ held, name, tries: 0 }, { reason, state: 'waiting' });
      else this.#owner.settle({ held, name, tries: 0 }, { state: 'failed', reason });
    }
  }
}

/**
 * What is broadcast to one peer, in order: at once while its subscription is up, else kept (up to a bound) and
 * flushed when the subscription appears (layers.md, L2).
 */
import { CmbsError } from '@cmbs/shared';
import { LANE_IDLE_MS, MAX_WAITING_BROADCASTS, SUBSCRIPTION_GRACE_MS } from '@cmbs/shared/limits';
import type { LaneEnvironment } from './environment';
import { heldElsewhere, type HeldSend, type LaneOwner, type Item, type Lane } from './held-send';
import { Broadcaster } from './sockets/broadcaster';

export class BroadcastLane implements Lane {
  readonly #address: string;
  readonly #outbox: LaneOwner;
  readonly #environment: LaneEnvironment;
  readonly #onIdle: () => void;
  readonly #items: Item[] = [];
  #broadcaster: Broadcaster | undefined;
  #isFlushing = false;
  /** The last flush, for who waits for its end. */
  #flushed: Promise<void> | undefined;
  #cancelGrace: (() => void) | undefined;
  #cancelIdle: (() => void) | undefined;
  #cancelRetry: (() => void) | undefined;
  #retries = 0;
  #draining = false;
  #closed = false;

  constructor(address: string, outbox: LaneOwner, environment: LaneEnvironment, onIdle: () => void) {
    this.#address = address;
    this.#outbox = outbox;
    this.#environment = environment;
    this.#onIdle = onIdle;
  }

  add(item: Item): void {
    this.#cancelIdle?.();
    if (this.#items.length >= MAX_WAITING_BROADCASTS) {
      this.#environment.counters.add('cmbs_dropped', { reason: 'too many broadcasts wait', layer: 'l2' });
      this.#outbox.settle(item, {
        state: 'dropped',
        reason: `${MAX_WAITING_BROADCASTS} broadcasts wait for ${this.#address} already`,
      });
      return;
    }
    this.#items.push(item);
    this.#look();
  }

  hurry(): void {
    this.#look();
  }

  remove(held: HeldSend, name: string): void {
    const at = this.#items.findIndex((item) => item.held === held && item.name === name);
    if (at < 0) return;
    this.#items.splice(at, 1);
    this.#watchIdle();
  }

  async drain(): Promise<void> {
    this.#draining = true;
    this.#cancelGrace?.();
    this.#cancelRetry?.();
    await this.#flushed;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelGrace?.();
    this.#cancelIdle?.();
    this.#cancelRetry?.();
    await this.#broadcaster?.close();
  }

  /** Flushes when the peer is subscribed, says "waiting" when it is away, else gives the subscription a moment. */
  #look(): void {
    if (this.#closed || this.#draining || this.#items.length === 0) return;
    let broadcaster: Broadcaster;
    try {
      broadcaster = this.#open();
    } catch (error) {
      if (!(error instanceof CmbsError)) throw error;
      for (const item of this.#items.splice(0))
        this.#outbox.settle(item, { state: 'failed', reason: error.message });
      this.#watchIdle();
      return;
    }
    if (broadcaster.subscribed) {
      if (!this.#isFlushing) this.#flushed = this.#flush(broadcaster);
    } else if (broadcaster.state === 'down') this.#wait(`nobody listens at ${this.#address}`);
    else {
      this.#cancelGrace ??= this.#environment.clock.after(SUBSCRIPTION_GRACE_MS, () => {
        this.#cancelGrace = undefined;
        if (!broadcaster.subscribed) this.#wait(`no subscription from ${this.#address} yet`);
      });
    }
  }

  #open(): Broadcaster {
    if (this.#broadcaster === undefined) {
      const { context, log, counters, clock } = this.#environment;
      const broadcaster = new Broadcaster(this.#address, { context, log, counters, clock });
      const look = (): void => {
        if (this.#items.length > 0) this.#look();
      };
      broadcaster.onSubscription(look);
      broadcaster.onState(look);
      broadcaster.onWritable(look);
      this.#broadcaster = broadcaster;
    }
    return this.#broadcaster;
  }

  #wait(reason: string): void {
    for (const item of this.#items) this.#outbox.park(item, { reason, state: 'waiting' });
  }

  async #flush(broadcaster: Broadcaster): Promise<void> {
    this.#isFlushing = true;
    this.#cancelRetry?.();
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
    try {
      for (let item = this.#items[0]; item !== undefined && this.#isGoing(); item = this.#items[0]) {
        this.#outbox.resumed(item);
        const frame = await this.#outbox.prepare(item);
        if (!this.#environment.shard.isCurrent()) throw heldElsewhere();
        if (frame !== undefined && !(await broadcaster.send(frame))) {
          // Full, or the subscription went: it stays first, and the socket tells when to look again.
          this.#outbox.park(item, {
            reason: `${this.#address} does not take it now`,
            state: 'waiting',
          });
          break;
        }
        if (this.#items[0] === item) this.#items.shift();
        if (frame !== undefined) {
          this.#environment.counters.add('cmbs_deliveries', { layer: 'l2', outcome: 'sent' });
          item.tries += 1;
          this.#outbox.settle(item, { state: 'sent' });
        }
        this.#retries = 0;
      }
    } catch (error) {
      this.#environment.log.error('lane failed; trying again', { address: this.#address, cause: error });
      this.#wait('the store does not answer');
      this.#retries += 1;
      const { clock, backOff } = this.#environment;
      this.#cancelRetry = clock.after(backOff(this.#retries), () => this.#look());
    } finally {
      // At once, and not when the promise settles: what is added in between would be left lying.
      this.#isFlushing = false;
    }
    this.#watchIdle();
  }

  /** A method, since a property that changes during an `await` looks constant to the compiler. */
  #isGoing(): boolean {
    return !this.#draining && !this.#closed;
  }

  #watchIdle(): void {
    this.#cancelIdle?.();
    if (this.#items.length > 0 || this.#closed) return;
    this.#cancelIdle = this.#environment.clock.after(LANE_IDLE_MS, () => {
      if (this.#items.length > 0 || this.#isFlushing) return;
      this.#onIdle();
      void this.close();
    });
  }
}

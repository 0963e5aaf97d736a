/**
 * What is queued for one address, in order, over one {@link Requester}: up to a window of requests in flight, resent
 * a few times when a reply is missing, then backing off; at once when the peer comes back (layers.md, Messages).
 */
import { CmbsError } from '@cmbs/shared';
import { ATTEMPT_TIMEOUT_MS, ATTEMPTS_IN_A_ROW, LANE_IDLE_MS, LANE_WINDOW } from '@cmbs/shared/limits';
import type { Environment } from './environment';
import { backOff, type HeldSend, type Item, type Outbox } from './outbox';
import { PeerError, Requester } from './sockets/requester';

interface Parked {
  readonly reason: string;
  /** `absent`: nobody listens; each new item and each `hurry` looks again, and the socket tells when somebody does. */
  readonly why: 'absent' | 'failing';
}

export class RequestLane {
  readonly #address: string;
  readonly #outbox: Outbox;
  readonly #environment: Environment;
  readonly #onIdle: () => void;
  /** In the order of their sends. */
  readonly #items: Item[] = [];
  readonly #prepared = new Map<Item, Promise<string | undefined>>();
  #requester: Requester | undefined;
  #inFlight = 0;
  #running = false;
  #parked: Parked | undefined;
  /** Attempts that failed since the last reply. */
  #failures = 0;
  #cancelBackOff: (() => void) | undefined;
  #cancelIdle: (() => void) | undefined;
  #closed = false;

  constructor(address: string, outbox: Outbox, environment: Environment, onIdle: () => void) {
    this.#address = address;
    this.#outbox = outbox;
    this.#environment = environment;
    this.#onIdle = onIdle;
  }

  add(item: Item): void {
    this.#cancelIdle?.();
    this.#insert(item);
    if (this.#parked?.why === 'failing') {
      this.#outbox.park(item, { reason: this.#parked.reason, attempted: false, state: 'queued' });
    } else this.#resume();
  }

  /** Somebody waits for an item: look at once whether the peer is back. */
  hurry(): void {
    if (this.#parked?.why === 'absent') this.#resume();
  }

  remove(held: HeldSend, name: string): void {
    const at = this.#items.findIndex((item) => item.held === held && item.name === name);
    if (at >= 0) this.#items.splice(at, 1);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelBackOff?.();
    this.#cancelIdle?.();
    await this.#requester?.close();
  }

  /** Items come back at the front as a rule, so the place is looked for from there. */
  #insert(item: Item): void {
    if (this.#items.includes(item)) return;
    const last = this.#items.at(-1);
    if (last === undefined || last.sequence <= item.sequence) {
      this.#items.push(item);
      return;
    }
    const at = this.#items.findIndex((other) => other.sequence > item.sequence);
    this.#items.splice(at < 0 ? this.#items.length : at, 0, item);
  }

  #resume(): void {
    this.#parked = undefined;
    this.#cancelBackOff?.();
    if (!this.#running && !this.#closed) void this.#run();
  }

  #open(): Requester {
    if (this.#requester === undefined) {
      const { context, log, counters, clock } = this.#environment;
      this.#requester = new Requester(this.#address, { context, log, counters, clock });
      this.#requester.onState((state) => {
        if (state === 'up' && this.#parked !== undefined) {
          this.#failures = 0;
          this.#resume();
        }
      });
    }
    return this.#requester;
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      const requester = this.#open();
      while (this.#items.length > 0 && this.#isGoing && this.#inFlight < LANE_WINDOW) {
        for (const item of this.#items.slice(0, LANE_WINDOW - this.#inFlight)) {
          if (this.#prepared.has(item)) continue;
          this.#outbox.resumed(item);
          const preparing = this.#outbox.prepare(item);
          // Awaited below, in order; until then a failure must not count as unhandled.
          preparing.catch(() => undefined);
          this.#prepared.set(item, preparing);
        }
        const item = this.#items[0] as Item;
        const frame = await this.#prepared.get(item);
        this.#prepared.delete(item);
        if (this.#items[0] !== item) continue;
        if (!this.#isGoing) break;
        this.#items.shift();
        if (frame !== undefined) this.#dispatch(requester, item, frame);
      }
    } catch (error) {
      const isAddress =
        error instanceof CmbsError && (error.code === 'bad_attribute' || error.code === 'conflict');
      if (isAddress) this.#refuseAll(error.message);
      else {
        this.#environment.log.error('lane failed; trying again', { address: this.#address, cause: String(error) });
        this.#prepared.clear();
        this.#park({ reason: 'the store does not answer', why: 'failing' }, false);
      }
    } finally {
      this.#running = false;
    }
    this.#watchIdle();
  }

  get #isGoing(): boolean {
    return this.#parked === undefined && !this.#closed;
  }

  #dispatch(requester: Requester, item: Item, frame: string): void {
    this.#inFlight += 1;
    requester
      .request(frame, { timeoutMs: ATTEMPT_TIMEOUT_MS })
      .then(
        async (reply) => {
          const outcome = await this.#outbox.replied(item, reply);
          if (outcome === 'settled') this.#failures = 0;
          else this.#failed(item, outcome.retry, true, ATTEMPTS_IN_A_ROW);
        },
        (error: unknown) => this.#onError(item, error),
      )
      .catch((error: unknown) => {
        this.#environment.log.error('reply not handled; trying again', {
          address: this.#address,
          cause: String(error),
        });
        this.#failed(item, 'the reply could not be recorded', true, ATTEMPTS_IN_A_ROW);
      })
      .finally(() => {
        this.#inFlight -= 1;
        if (!this.#running && this.#isGoing && this.#items.length > 0) void this.#run();
        else this.#watchIdle();
      });
  }

  #onError(item: Item, error: unknown): void {
    if (!(error instanceof PeerError)) {
      if (error instanceof CmbsError && error.code === 'too_large') {
        this.#outbox.settle(item, { state: 'failed', reason: error.message });
        return;
      }
      throw error;
    }
    const { counters } = this.#environment;
    counters.add('cmbs_retries', { layer: item.held.send.layer });
    switch (error.reason) {
      case 'no_listener':
        this.#insert(item);
        this.#park({ reason: `nobody listens at ${this.#address}`, why: 'absent' }, false);
        return;
      case 'closed':
      case 'aborted':
        this.#insert(item);
        return;
      case 'lost':
      case 'timeout':
        this.#failed(item, `no reply from ${this.#address}`, error.sent, this.#failures + 1);
        return;
    }
  }

  /** Puts an item back; after a few failures in a row the lane waits. */
  #failed(item: Item, reason: string, attempted: boolean, failures: number): void {
    this.#insert(item);
    this.#failures = Math.max(failures, this.#failures);
    if (this.#failures < ATTEMPTS_IN_A_ROW) return;
    this.#park({ reason, why: 'failing' }, attempted);
  }

  #park(parked: Parked, attempted: boolean): void {
    this.#parked = parked;
    // What was prepared is claimed again when the lane goes on; frames of parked items are not kept.
    this.#prepared.clear();
    for (const item of this.#items) {
      this.#outbox.park(item, { reason: parked.reason, attempted, state: 'queued' });
    }
    this.#cancelBackOff?.();
    const attempt = Math.max(this.#failures - ATTEMPTS_IN_A_ROW, 0);
    this.#failures += 1;
    this.#cancelBackOff = this.#environment.clock.after(backOff(attempt), () => this.#resume());
  }

  #refuseAll(reason: string): void {
    this.#prepared.clear();
    for (const item of this.#items.splice(0)) this.#outbox.settle(item, { state: 'failed', reason });
  }

  #watchIdle(): void {
    this.#cancelIdle?.();
    if (this.#items.length > 0 || this.#inFlight > 0 || this.#closed) return;
    this.#cancelIdle = this.#environment.clock.after(LANE_IDLE_MS, () => {
      if (this.#items.length > 0 || this.#inFlight > 0 || this.#running) return;
      this.#onIdle();
      void this.close();
    });
  }
}

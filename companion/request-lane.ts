/**
 * What is queued for one address, in order, over one {@link Requester}: up to a window of requests in flight, resent
 * a few times when a reply is missing, then backing off; at once when the peer comes back (layers.md, Messages).
 */
import { CmbsError } from '@cmbs/shared';
import {
  ATTEMPT_TIMEOUT_MS,
  ATTEMPTS_IN_A_ROW,
  BACKOFF_MAX_MS,
  LANE_IDLE_MS,
  LANE_WINDOW,
} from '@cmbs/shared/limits';
import type { Environment } from './environment';
import { heldElsewhere, type HeldSend, type LaneOwner, type Item, type Lane } from './held-send';
import { PeerError, Requester } from './sockets/requester';

interface Parked {
  readonly reason: string;
  /** `absent`: nobody listens; each new item and each `hurry` looks again, and the socket tells when somebody does. */
  readonly why: 'absent' | 'failing';
}

export class RequestLane implements Lane {
  readonly #address: string;
  readonly #outbox: LaneOwner;
  readonly #environment: Environment;
  readonly #onIdle: () => void;
  /** In the order of their sends. */
  readonly #items: Item[] = [];
  /** Those of the items that somebody may wait for: told when the lane parks. */
  readonly #hopeful = new Set<Item>();
  readonly #prepared = new Map<Item, Promise<string | undefined>>();
  #requester: Requester | undefined;
  #inFlight = 0;
  #running = false;
  #parked: Parked | undefined;
  /** Counts the rounds of requests, so that one silence of the peer is one failure, however many were in flight. */
  #round = 0;
  /** Rounds that failed since the last reply. */
  #failures = 0;
  /** Times that the lane was parked for a failing peer since the last reply. */
  #pauses = 0;
  #cancelBackOff: (() => void) | undefined;
  #cancelIdle: (() => void) | undefined;
  /** Ends the wait for a connection. */
  #wake: (() => void) | undefined;
  #draining = false;
  #closed = false;
  /** Told when nothing is in flight any more. */
  #landed: () => void = () => undefined;

  constructor(address: string, outbox: LaneOwner, environment: Environment, onIdle: () => void) {
    this.#address = address;
    this.#outbox = outbox;
    this.#environment = environment;
    this.#onIdle = onIdle;
  }

  add(item: Item): void {
    this.#cancelIdle?.();
    this.#insert(item);
    if (this.#parked?.why === 'failing') {
      this.#outbox.park(item, { reason: this.#parked.reason, state: 'queued' });
      return;
    }
    this.#hopeful.add(item);
    this.#resume();
  }

  /** Somebody waits for an item: look at once whether the peer is back. */
  hurry(): void {
    if (this.#parked?.why === 'absent') this.#resume();
  }

  remove(held: HeldSend, name: string): void {
    const at = this.#items.findIndex((item) => item.held === held && item.name === name);
    if (at < 0) return;
    for (const item of this.#items.splice(at, 1)) {
      this.#hopeful.delete(item);
      this.#prepared.delete(item);
    }
    this.#watchIdle();
  }

  async drain(): Promise<void> {
    this.#draining = true;
    this.#wake?.();
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#landed = resolve));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelBackOff?.();
    this.#cancelIdle?.();
    this.#wake?.();
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
    if (!this.#running && this.#isGoing()) void this.#run();
  }

  #open(): Requester {
    if (this.#requester === undefined) {
      const { context, log, counters, clock } = this.#environment;
      this.#requester = new Requester(this.#address, { context, log, counters, clock });
      this.#requester.onState((state) => {
        if (state !== 'connecting') this.#wake?.();
        if (state !== 'up') return;
        this.#failures = 0;
        this.#pauses = 0;
        if (this.#parked !== undefined) this.#resume();
      });
    }
    return this.#requester;
  }

  /** After a failure one goes ahead, so that a peer which refuses some and then takes some changes no order. */
  get #window(): number {
    return this.#failures > 0 || this.#pauses > 0 ? 1 : LANE_WINDOW;
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      const requester = this.#open();
      while (this.#items.length > 0 && this.#isGoing() && this.#inFlight < this.#window) {
        const ahead = this.#items.slice(0, this.#window - this.#inFlight);
        for (const item of ahead) this.#hope(item);
        // Nothing is claimed or written for a peer that is not there.
        if (requester.hurry() !== 'up' && !(await this.#connects(requester))) continue;
        for (const item of ahead) this.#prepare(item);
        const item = this.#items[0];
        if (item === undefined) break;
        this.#prepare(item);
        const frame = await this.#prepared.get(item);
        if (this.#items.at(0) !== item) continue;
        if (!this.#isGoing()) break;
        // It was prepared ahead: since then this process may have stood still, and another one have taken over.
        if (!this.#environment.shard.isCurrent()) throw heldElsewhere();
        this.#prepared.delete(item);
        this.#items.shift();
        this.#hopeful.delete(item);
        if (frame !== undefined) this.#dispatch(requester, item, frame);
      }
    } catch (error) {
      // An address that is none, or that the rules refuse.
      const isAddress = this.#requester === undefined && error instanceof CmbsError && !error.retryable;
      if (isAddress) this.#refuseAll(error.message);
      else {
        this.#environment.log.error('lane failed; trying again', { address: this.#address, cause: error });
        this.#park({ reason: 'the store does not answer', why: 'failing' });
      }
    } finally {
      this.#running = false;
    }
    // What changed while the last step was under way (a new item, a resumption) found the lane running.
    if (this.#isGoing() && this.#items.length > 0 && this.#inFlight < this.#window) void this.#run();
    else this.#watchIdle();
  }

  #hope(item: Item): void {
    this.#hopeful.add(item);
    this.#outbox.resumed(item);
  }

  #prepare(item: Item): void {
    if (this.#prepared.has(item) || !this.#items.includes(item)) return;
    this.#hope(item);
    const preparing = this.#outbox.prepare(item);
    // Awaited in order; until then a failure must not count as unhandled.
    preparing.catch(() => undefined);
    this.#prepared.set(item, preparing);
  }

  /** Waits for the outcome of the attempt to connect; false when there is no peer, and then the lane is parked. */
  async #connects(requester: Requester): Promise<boolean> {
    if (requester.state === 'connecting') {
      const { clock } = this.#environment;
      let cancel = (): void => undefined;
      await new Promise<void>((resolve) => {
        cancel = clock.after(ATTEMPT_TIMEOUT_MS, resolve);
        this.#wake = resolve;
      });
      cancel();
      this.#wake = undefined;
    }
    if (requester.state === 'up') return true;
    if (this.#isGoing()) this.#park({ reason: `nobody listens at ${this.#address}`, why: 'absent' });
    return false;
  }

  /** A method, since a property that changes during an `await` looks constant to the compiler. */
  #isGoing(): boolean {
    return this.#parked === undefined && !this.#draining && !this.#closed;
  }

  #dispatch(requester: Requester, item: Item, frame: string): void {
    this.#inFlight += 1;
    const round = this.#round;
    requester
      .request(frame, { timeoutMs: ATTEMPT_TIMEOUT_MS })
      .then(
        async (reply) => {
          item.tries += 1;
          const outcome = await this.#outbox.replied(item, reply);
          if (outcome === 'settled') {
            this.#failures = 0;
            this.#pauses = 0;
          } else {
            this.#environment.counters.add('cmbs_retries', { layer: item.held.send.layer });
            this.#putBack(item, outcome.retry);
          }
        },
        (error: unknown) => this.#onError(item, error, round),
      )
      .catch((error: unknown) => {
        this.#environment.log.error('reply not handled; trying again', {
          address: this.#address,
          cause: error,
        });
        this.#putBack(item, 'the reply could not be recorded');
      })
      .finally(() => {
        this.#inFlight -= 1;
        if (this.#inFlight === 0) this.#landed();
        if (!this.#running && this.#isGoing() && this.#items.length > 0) void this.#run();
        else this.#watchIdle();
      });
  }

  #onError(item: Item, error: unknown, round: number): void {
    if (!(error instanceof PeerError)) {
      if (error instanceof CmbsError && error.code === 'too_large') {
        this.#outbox.settle(item, { state: 'failed', reason: error.message });
        return;
      }
      throw error;
    }
    if (error.sent) item.tries += 1;
    this.#environment.counters.add('cmbs_retries', { layer: item.held.send.layer });
    switch (error.reason) {
      case 'no_listener':
        this.#insert(item);
        this.#hopeful.add(item);
        this.#park({ reason: `nobody listens at ${this.#address}`, why: 'absent' });
        return;
      case 'closed':
      case 'aborted':
        this.#insert(item);
        return;
      case 'lost':
      case 'timeout':
        if (round === this.#round) {
          this.#round += 1;
          this.#failures += 1;
        }
        if (this.#failures >= ATTEMPTS_IN_A_ROW) {
          this.#putBack(item, `no reply from ${this.#address}`);
        } else {
          this.#insert(item);
          this.#hopeful.add(item);
        }
        return;
    }
  }

  /** Puts an item back and leaves the peer alone for a while. */
  #putBack(item: Item, reason: string): void {
    this.#insert(item);
    this.#hopeful.add(item);
    this.#park({ reason, why: 'failing' });
  }

  #park(parked: Parked): void {
    // What was prepared is claimed again when the lane goes on; frames of parked items are not kept.
    this.#prepared.clear();
    const hopeful = [...this.#hopeful];
    this.#hopeful.clear();
    for (const item of hopeful) {
      this.#outbox.park(item, { reason: parked.reason, state: 'queued' });
    }
    if (this.#parked?.why === parked.why) return;
    this.#parked = parked;
    this.#cancelBackOff?.();
    // The socket tells when somebody listens; an absent peer is looked for besides, in case it does not.
    const { clock, backOff } = this.#environment;
    if (parked.why !== 'absent') this.#pauses += 1;
    const pauseMs = parked.why === 'absent' ? BACKOFF_MAX_MS : backOff(this.#pauses);
    this.#cancelBackOff = clock.after(pauseMs, () => this.#resume());
  }

  #refuseAll(reason: string): void {
    this.#hopeful.clear();
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

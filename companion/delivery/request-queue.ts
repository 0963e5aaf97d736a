/**
 * The requests that wait for one address, in order, over one connection: up to a window of them in flight, resent a few
 * times when a reply is missing, then backing off; at once when the peer comes back (docs/layers.md).
 */
import { CmbsError } from '@cmbs/shared';
import { socketAt } from '@cmbs/shared/broker';
import { PeerError, type RequestConnection } from '../exchanges/exchange';
import { DestinationQueue } from './destination-queue';
import type { QueueItem } from './in-flight-message';
import { itemsAhead } from './prepared-frames';
import { RequestFailures, requestWindow } from './request-failures';

/** Milliseconds until an attempt without a reply is given up. */
const ATTEMPT_TIMEOUT_MS = 5000;

interface BackOff {
  readonly reason: string;
  /** `absent`: no peer listens. Each new item and each `notify` tries again, and the connection tells when one does. */
  readonly why: 'absent' | 'failing';
}

export class RequestQueue extends DestinationQueue {
  readonly via = 'request';
  /** Items that a caller may wait for; the caller is told when the queue backs off. */
  readonly #hopeful = new Set<QueueItem>();
  /** Items in flight, each with the promise that it has landed. */
  readonly #out = new Map<QueueItem, Promise<void>>();
  readonly #failures = new RequestFailures();
  #requester: RequestConnection | undefined;
  #running = false;
  #backedOff: BackOff | undefined;
  /** Ends the wait for a connection. */
  #wake: (() => void) | undefined;
  /** Called when nothing is in flight any more. */
  #landed: () => void = () => undefined;

  get use(): 'idle' | 'stuck' | 'busy' {
    if (this.#out.size > 0) return 'busy';
    if (this.#backedOff !== undefined) return 'stuck';
    return this.items.length === 0 && !this.hasMore ? 'idle' : 'busy';
  }

  protected get inFlight(): number {
    return this.#out.size;
  }

  async landed(isWanted: (item: QueueItem) => boolean): Promise<void> {
    await Promise.all([...this.#out].flatMap(([item, landing]) => (isWanted(item) ? [landing] : [])));
  }

  protected accepted(item: QueueItem): void {
    if (this.#backedOff?.why === 'failing') {
      this.outbox.backOff(item, { reason: this.#backedOff.reason, state: 'queued' });
      return;
    }
    this.#hopeful.add(item);
    this.notify();
  }

  notify(): void {
    if (this.#backedOff?.why !== 'failing') this.#resume();
  }

  protected override removed(item: QueueItem): void {
    super.removed(item);
    this.#hopeful.delete(item);
  }

  async drain(): Promise<void> {
    this.isDraining = true;
    this.#wake?.();
    if (this.#out.size > 0) await new Promise<void>((resolve) => (this.#landed = resolve));
  }

  // --- Connection ---

  protected get isConnected(): boolean {
    return this.#requester?.state === 'up';
  }

  connect(): void {
    const requester = this.dial(() => this.environment.exchanges.connectForRequests(socketAt(this.address)));
    if (requester === undefined) return;
    this.#requester = requester;
    requester.onState((state) => {
      if (requester !== this.#requester) return;
      if (state === 'connecting') this.slots.isTrying(this);
      else if (state === 'down') this.#isAbsent();
      else this.#isThere();
      if (state !== 'connecting') this.#wake?.();
    });
    // The queue backed off while it waited for the connection, or its turn has come.
    this.#backedOff = undefined;
    this.#start();
  }

  protected async closeConnection(): Promise<void> {
    this.retry.cancel();
    this.#wake?.();
    const requester = this.#requester;
    this.#requester = undefined;
    await requester?.close();
  }

  protected crowdedOut(reason: string): void {
    this.#backOff({ reason, why: 'absent' });
  }

  protected yielded(): void {
    this.#backOff({ reason: `nobody answers at ${this.address} yet`, why: 'absent' });
  }

  #isThere(): void {
    this.slots.isUp(this);
    this.#failures.succeeded();
    this.retry.succeeded();
    this.#backedOff = undefined;
    this.retry.cancel();
    this.readOn();
    this.#start();
  }

  #isAbsent(): void {
    if (this.#isGoing() || this.#backedOff?.why === 'absent') {
      this.#backOff({ reason: `nobody listens at ${this.address}`, why: 'absent' });
    }
    this.slots.isDown(this);
    this.checkWaiting();
  }

  /** Waits for the outcome of the attempt to connect; false when there is no peer, and then the queue backs off. */
  async #connects(requester: RequestConnection): Promise<boolean> {
    if (requester.state === 'connecting') {
      const { clock } = this.environment;
      let cancel = (): void => undefined;
      await new Promise<void>((resolve) => {
        cancel = clock.after(ATTEMPT_TIMEOUT_MS, resolve);
        this.#wake = resolve;
      });
      cancel();
      this.#wake = undefined;
    }
    if (requester !== this.#requester) return false;
    if (requester.state === 'up') return true;
    if (this.#isGoing()) this.#isAbsent();
    return false;
  }

  // --- Sending ---

  protected proceed(): void {
    if (this.items.length > 0) this.#start();
  }

  #start(): void {
    if (!this.#running && this.#isGoing()) void this.track(this.#run());
  }

  #resume(): void {
    this.#backedOff = undefined;
    this.retry.cancel();
    if (this.isDraining || this.isClosed) return;
    if (this.ask()) this.#start();
  }

  get #isFailing(): boolean {
    return this.#failures.isFailing || this.retry.failures > 0;
  }

  #ahead(): readonly QueueItem[] {
    return itemsAhead(this.items, {
      most: requestWindow(this.#isFailing),
      inFlight: this.#out.keys(),
      isInGroups: true,
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#isGoing()) {
        for (const item of this.#ahead()) this.#hope(item);
        const requester = this.#requester;
        if (requester === undefined) break;
        // Nothing is read or written for a peer that is not there.
        if (requester.connectNow() !== 'up' && !(await this.#connects(requester))) continue;
        this.readOn();
        // Earlier messages are on their way from the store.
        if (this.isBehind) break;
        const ahead = this.#ahead();
        const [item] = ahead;
        if (item === undefined) break;
        for (const each of ahead) this.#prepareOnce(each);
        const frame = await this.prepared.of(item);
        if (this.items.first !== item || requester !== this.#requester) continue;
        if (!this.#isGoing()) break;
        // The frame was prepared ahead; since then this process may have stood still and lost its shard.
        this.assertLease();
        this.prepared.forget(item);
        this.items.shift();
        this.#hopeful.delete(item);
        if (frame === undefined) this.outbox.passed(item);
        else this.#dispatch(requester, item, frame);
        this.readOn();
      }
    } catch (error) {
      this.logFailure(error);
      this.#backOff({ reason: 'the store does not answer', why: 'failing' });
    } finally {
      this.#running = false;
    }
    // A change during the last step (a new item, a resumption) found the queue running.
    if (this.#isGoing() && this.isConnected && !this.isBehind && this.#ahead().length > 0) this.#start();
    else this.watchIdle();
  }

  #hope(item: QueueItem): void {
    this.#hopeful.add(item);
    this.outbox.resumed(item);
  }

  #prepareOnce(item: QueueItem): void {
    if (this.prepared.has(item) || !this.items.has(item)) return;
    this.#hope(item);
    this.prepare(item, this.#isFailing);
  }

  /** A method, since a property that changes during an `await` looks constant to the compiler. */
  #isGoing(): boolean {
    return this.#backedOff === undefined && !this.isDraining && !this.isClosed;
  }

  #dispatch(requester: RequestConnection, item: QueueItem, frame: Buffer): void {
    const { round } = this.#failures;
    const landing = requester
      .request(frame, { timeoutMs: ATTEMPT_TIMEOUT_MS })
      .then(
        (reply) => this.#replied(item, reply),
        (error: unknown) => this.#onError(item, error, round),
      )
      .catch((error: unknown) => {
        this.environment.log.error('reply not handled; trying again', { address: this.address, cause: error });
        this.#putBack(item, 'the reply could not be recorded');
      })
      .finally(() => {
        this.#out.delete(item);
        if (this.#out.size === 0) this.#landed();
        this.readOn();
        if (!this.#running && this.#isGoing() && this.items.length > 0) this.#resume();
        else this.watchIdle();
      });
    this.#out.set(item, this.track(landing));
  }

  // --- Outcomes ---

  async #replied(item: QueueItem, reply: Buffer): Promise<void> {
    item.tries += 1;
    this.#failures.replied();
    const outcome = await this.outbox.replied(item, reply);
    if (outcome === 'settled' || outcome === 'moved') {
      this.#failures.succeeded();
      this.retry.succeeded();
      if (outcome === 'moved') this.outbox.passed(item);
      return;
    }
    this.environment.counters.add('cmbs_retries', { layer: item.message.outbound.layer });
    this.#putBack(item, outcome.retry);
  }

  #onError(item: QueueItem, error: unknown, round: number): void {
    if (!(error instanceof PeerError)) {
      if (error instanceof CmbsError && error.code === 'too_large') {
        this.outbox.settle(item, { state: 'failed', reason: error.message });
        return;
      }
      throw error;
    }
    if (error.sent) item.tries += 1;
    this.environment.counters.add('cmbs_retries', { layer: item.message.outbound.layer });
    switch (error.reason) {
      case 'no_listener':
        this.#keep(item);
        this.#isAbsent();
        return;
      case 'closed':
      case 'aborted':
        this.#keep(item);
        return;
      case 'lost':
        if (this.#out.size > 1) this.#failures.suspect(this.#out.size);
        else if (error.sent) {
          const broke = this.outbox.broke(item);
          if (broke !== 'given up') this.#putBack(item, broke.retry);
          return;
        }
        this.#failed(item, round);
        return;
      case 'timeout':
        this.#failed(item, round);
        return;
    }
  }

  #failed(item: QueueItem, round: number): void {
    if (this.#failures.failed(round)) this.#putBack(item, `no reply from ${this.address}`);
    else this.#keep(item);
  }

  #keep(item: QueueItem): void {
    this.insert(item);
    this.#hopeful.add(item);
  }

  /** Puts an item back and leaves the peer alone for a while. */
  #putBack(item: QueueItem, reason: string): void {
    this.#keep(item);
    this.#backOff({ reason, why: 'failing' });
  }

  #backOff(backedOff: BackOff): void {
    // Messages are read again when the queue goes on; frames of items that backed off are not kept.
    this.prepared.clear();
    const hopeful = [...this.#hopeful];
    this.#hopeful.clear();
    for (const item of hopeful) this.outbox.backOff(item, { reason: backedOff.reason, state: 'queued' });
    if (backedOff.why === 'absent') this.evict();
    if (this.#backedOff?.why === backedOff.why) return;
    this.#backedOff = backedOff;
    this.retry.cancel();
    // An absent peer is tried in turn with the others.
    if (backedOff.why === 'failing') this.retry.failed(() => this.#resume());
  }
}

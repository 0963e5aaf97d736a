/**
 * What waits for one address, in order, over one connection: up to a window of requests in flight, resent a few
 * times when a reply is missing, then backing off; at once when the peer comes back (docs/layers.md).
 */
import { CmbsError } from '@cmbs/shared';
import { DESTINATION_BYTES } from '../limits';
import { orderingGroupOf, socketAt } from '@cmbs/shared/broker';
import { DestinationQueue } from './destination-queue';
import { leaseLost, type QueueItem } from './in-flight-message';
import { PeerError, type RequestConnection } from '../exchanges/exchange';

/** Requests in flight to one peer; more wait in order. */
const DESTINATION_WINDOW = 128;
/** Milliseconds until an attempt without reply is given up, and attempts before the queue backs off (Lazy Pirate). */
const ATTEMPT_TIMEOUT_MS = 5000;
const ATTEMPTS_IN_A_ROW = 3;

interface BackOff {
  readonly reason: string;
  /** `absent`: no peer listens. Each new item and each `notify` tries again, and the connection tells when one does. */
  readonly why: 'absent' | 'failing';
}

export class RequestQueue extends DestinationQueue {
  readonly via = 'request';
  /** Items that a caller may wait for; the caller is told when the queue backs off. */
  readonly #hopeful = new Set<QueueItem>();
  readonly #prepared = new Map<QueueItem, Promise<Buffer | undefined>>();
  /** Items in flight, each with the promise that it has landed. */
  readonly #out = new Map<QueueItem, Promise<void>>();
  /** Messages that go one at a time, since so many were on their way when the connection broke: one may break it. */
  #suspects = 0;
  #requester: RequestConnection | undefined;
  #running = false;
  #backedOff: BackOff | undefined;
  /** Counts the rounds of requests, so that one silence of the peer is one failure, however many were in flight. */
  #round = 0;
  /** Rounds that failed since the last reply. */
  #failures = 0;
  /** Times that the queue backed off for a failing peer since the last reply. */
  #pauses = 0;
  #cancelBackOff: (() => void) | undefined;
  /** Ends the wait for a connection. */
  #wake: (() => void) | undefined;
  /** Told when nothing is in flight any more. */
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

  protected get isConnected(): boolean {
    return this.#requester?.state === 'up';
  }

  protected accepted(item: QueueItem): void {
    if (this.#backedOff?.why === 'failing') {
      this.outbox.backOff(item, { reason: this.#backedOff.reason, state: 'queued' });
      return;
    }
    this.#hopeful.add(item);
    this.notify();
  }

  /** A caller waits for an item: tries at once whether the peer is back. */
  notify(): void {
    if (this.#backedOff?.why !== 'failing') this.#resume();
  }

  protected override removed(item: QueueItem): void {
    super.removed(item);
    this.#hopeful.delete(item);
    this.#prepared.delete(item);
  }

  async drain(): Promise<void> {
    this.isDraining = true;
    this.#wake?.();
    if (this.#out.size > 0) await new Promise<void>((resolve) => (this.#landed = resolve));
  }

  override async close(): Promise<void> {
    this.#cancelBackOff?.();
    await super.close();
  }

  protected async closeConnection(): Promise<void> {
    this.#cancelBackOff?.();
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

  protected proceed(): void {
    if (!this.#running && this.#isGoing() && this.items.length > 0) void this.track(this.#run());
  }

  #resume(): void {
    this.#backedOff = undefined;
    this.#cancelBackOff?.();
    if (this.isDraining || this.isClosed) return;
    if (this.ask() && !this.#running) void this.track(this.#run());
  }

  connect(): void {
    let requester: RequestConnection;
    try {
      requester = this.environment.exchanges.connectForRequests(socketAt(this.address));
    } catch (error) {
      this.cannotConnect(error);
      return;
    }
    this.#requester = requester;
    requester.onState((state) => {
      if (requester !== this.#requester) return;
      if (state === 'connecting') this.slots.isTrying(this);
      else if (state === 'down') this.#isAbsent();
      else this.#isThere();
      if (state !== 'connecting') this.#wake?.();
    });
    // It backed off while it waited for the connection, or its turn has come.
    this.#backedOff = undefined;
    if (!this.#running && this.#isGoing()) void this.track(this.#run());
  }

  #isThere(): void {
    this.slots.isUp(this);
    this.#failures = 0;
    this.#pauses = 0;
    if (this.#backedOff !== undefined) this.#backedOff = undefined;
    this.#cancelBackOff?.();
    this.readOn();
    if (!this.#running && this.#isGoing()) void this.track(this.#run());
  }

  #isAbsent(): void {
    if (this.#isGoing() || this.#backedOff?.why === 'absent') {
      this.#backOff({ reason: `nobody listens at ${this.address}`, why: 'absent' });
    }
    this.slots.isDown(this);
    this.checkWaiting();
  }

  /** After a failure one goes ahead, so that a peer which refuses some and then takes some changes no order. */
  get #window(): number {
    return this.#isFailing ? 1 : DESTINATION_WINDOW;
  }

  get #isFailing(): boolean {
    return this.#failures > 0 || this.#pauses > 0 || this.#suspects > 0;
  }

  /** The items that may be on their way together with those that are: by number, by bytes, one of each ordering key. */
  #ahead(): readonly QueueItem[] {
    const ahead: QueueItem[] = [];
    const groups = new Set<string>();
    let bytes = 0;
    for (const { message } of this.#out.keys()) {
      bytes += message.bytes;
      const group = orderingGroupOf(message.outbound);
      if (group !== undefined) groups.add(group);
    }
    for (const item of this.items) {
      const group = orderingGroupOf(item.message.outbound);
      const isAlone = this.#out.size + ahead.length === 0;
      if (this.#out.size + ahead.length >= this.#window) break;
      if (!isAlone && bytes + item.message.bytes > DESTINATION_BYTES) break;
      // Refused for a moment, it would be overtaken by the next one with its key.
      if (group !== undefined && groups.has(group)) break;
      bytes += item.message.bytes;
      if (group !== undefined) groups.add(group);
      ahead.push(item);
    }
    return ahead;
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#isGoing()) {
        for (const item of this.#ahead()) this.#hope(item);
        const requester = this.#requester;
        if (requester === undefined) break;
        // Nothing is claimed, written or read for a peer that is not there.
        if (requester.connectNow() !== 'up' && !(await this.#connects(requester))) continue;
        this.readOn();
        // What has to go before these is on its way from the store.
        if (this.isBehind) break;
        const ahead = this.#ahead();
        const [item] = ahead;
        if (item === undefined) break;
        for (const each of ahead) this.#prepare(each);
        const frame = await this.#prepared.get(item);
        if (this.items.at(0) !== item || requester !== this.#requester) continue;
        if (!this.#isGoing()) break;
        // It was prepared ahead: since then this process may have stood still, and another one have taken over.
        if (!this.environment.shard.isCurrent()) throw leaseLost();
        this.#prepared.delete(item);
        this.items.shift();
        this.#hopeful.delete(item);
        if (frame === undefined) this.outbox.passed(item);
        else this.#dispatch(requester, item, frame);
        this.readOn();
      }
    } catch (error) {
      this.environment.log.error('destination queue failed; trying again', {
        address: this.address,
        cause: error,
      });
      this.#backOff({ reason: 'the store does not answer', why: 'failing' });
    } finally {
      this.#running = false;
    }
    // What changed while the last step was under way (a new item, a resumption) found the queue running.
    if (this.#isGoing() && this.isConnected && !this.isBehind && this.#ahead().length > 0)
      void this.track(this.#run());
    else this.watchIdle();
  }

  #hope(item: QueueItem): void {
    this.#hopeful.add(item);
    this.outbox.resumed(item);
  }

  #prepare(item: QueueItem): void {
    if (this.#prepared.has(item) || !this.items.includes(item)) return;
    this.#hope(item);
    const preparing = this.track(this.outbox.prepare(item, this.#isFailing));
    // Awaited in order; until then a failure must not count as unhandled.
    preparing.catch(() => undefined);
    this.#prepared.set(item, preparing);
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

  /** A method, since a property that changes during an `await` looks constant to the compiler. */
  #isGoing(): boolean {
    return this.#backedOff === undefined && !this.isDraining && !this.isClosed;
  }

  #dispatch(requester: RequestConnection, item: QueueItem, frame: Buffer): void {
    const round = this.#round;
    const landing = requester
      .request(frame, { timeoutMs: ATTEMPT_TIMEOUT_MS })
      .then(
        async (reply) => {
          item.tries += 1;
          this.#suspects = Math.max(0, this.#suspects - 1);
          const outcome = await this.outbox.replied(item, reply);
          if (outcome === 'settled' || outcome === 'moved') {
            this.#failures = 0;
            this.#pauses = 0;
            if (outcome === 'moved') this.outbox.passed(item);
          } else {
            this.environment.counters.add('cmbs_retries', { layer: item.message.outbound.layer });
            this.#putBack(item, outcome.retry);
          }
        },
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
        if (this.#out.size > 1) this.#suspects = Math.max(this.#suspects, this.#out.size);
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
    if (round === this.#round) {
      this.#round += 1;
      this.#failures += 1;
    }
    if (this.#failures >= ATTEMPTS_IN_A_ROW) this.#putBack(item, `no reply from ${this.address}`);
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
    // What was prepared is claimed again when the queue goes on; frames of items that backed off are not kept.
    this.#prepared.clear();
    const hopeful = [...this.#hopeful];
    this.#hopeful.clear();
    for (const item of hopeful) this.outbox.backOff(item, { reason: backedOff.reason, state: 'queued' });
    if (backedOff.why === 'absent') this.evict();
    if (this.#backedOff?.why === backedOff.why) return;
    this.#backedOff = backedOff;
    this.#cancelBackOff?.();
    // An absent peer is tried in turn with the others.
    if (backedOff.why === 'absent') return;
    const { clock, backOff } = this.environment;
    this.#pauses += 1;
    this.#cancelBackOff = clock.after(backOff(this.#pauses), () => this.#resume());
  }
}

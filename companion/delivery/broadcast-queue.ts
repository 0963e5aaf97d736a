/**
 * What is broadcast to one peer, in order: at once while its subscription is up, else kept (up to a bound) and
 * flushed when the subscription appears (docs/layers.md).
 */
import { isLocal, isOpenOn, socketOf } from '@cmbs/shared/broker';
import { DESTINATION_BYTES } from '../limits';
import { type Entity, type Path, readEntity } from '@cmbs/shared/occi';
import { DestinationQueue } from './destination-queue';
import { leaseLost, type QueueItem } from './in-flight-message';
import type { BroadcastConnection } from '../exchanges/exchange';

/** Broadcasts to one peer that are made ready together. */
const BROADCASTS_AHEAD = 32;
/** Milliseconds that a broadcast waits for a subscription that is on its way before the sender is told "waiting". */
const SUBSCRIPTION_GRACE_MS = 500;

export class BroadcastQueue extends DestinationQueue {
  readonly via = 'broadcast';
  #broadcaster: BroadcastConnection | undefined;
  #isFlushing = false;
  /** Frames of the next ones: what is claimed together shares a commit. */
  readonly #prepared = new Map<QueueItem, Promise<Buffer | undefined>>();
  /** The last flush, for who waits for its end. */
  #flushed: Promise<void> | undefined;
  #cancelGrace: (() => void) | undefined;
  #cancelRetry: (() => void) | undefined;
  #retries = 0;

  get use(): 'idle' | 'stuck' | 'busy' {
    if (this.#isFlushing) return 'busy';
    return this.items.length === 0 && !this.hasMore ? 'idle' : 'stuck';
  }

  protected get inFlight(): number {
    return this.#isFlushing ? 1 : 0;
  }

  /** A broadcast has no reply, so none of them comes back. */
  landed(): Promise<void> {
    return Promise.resolve();
  }

  protected get isConnected(): boolean {
    return this.#broadcaster?.subscribed === true;
  }

  protected accepted(): void {
    this.#look();
  }

  notify(): void {
    this.#look();
  }

  async drain(): Promise<void> {
    this.isDraining = true;
    this.#cancelGrace?.();
    this.#cancelRetry?.();
    await this.#flushed;
  }

  override async close(): Promise<void> {
    this.#cancelRetry?.();
    await super.close();
  }

  protected async closeConnection(): Promise<void> {
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
    const broadcaster = this.#broadcaster;
    this.#broadcaster = undefined;
    await broadcaster?.close();
  }

  protected crowdedOut(reason: string): void {
    this.#wait(reason);
    this.evict();
  }

  protected yielded(): void {
    this.#wait(`nobody takes it at ${this.address} yet`);
    this.evict();
  }

  protected proceed(): void {
    this.#look();
  }

  /** Flushes when the peer is subscribed, says "waiting" when it is away, else gives the subscription a moment. */
  #look(): void {
    if (this.isClosed || this.isDraining || (this.items.length === 0 && !this.hasMore)) return;
    if (!this.ask()) return;
    const broadcaster = this.#broadcaster;
    if (broadcaster === undefined) return;
    if (broadcaster.subscribed) {
      this.readOn();
      // What has to go before these is on its way from the store.
      if (!this.#isFlushing && !this.isBehind) this.#flushed = this.track(this.#flush(broadcaster));
    } else if (broadcaster.state === 'down') this.#isAbsent(`nobody listens at ${this.address}`);
    else {
      this.#cancelGrace ??= this.environment.clock.after(SUBSCRIPTION_GRACE_MS, () => {
        this.#cancelGrace = undefined;
        if (broadcaster === this.#broadcaster && !broadcaster.subscribed) {
          this.#isAbsent(`no subscription from ${this.address} yet`);
        }
      });
    }
  }

  connect(): void {
    let broadcaster: BroadcastConnection;
    try {
      broadcaster = this.environment.exchanges.connectForBroadcasts(this.address);
    } catch (error) {
      this.cannotConnect(error);
      return;
    }
    this.#broadcaster = broadcaster;
    broadcaster.onSubscription(() => this.#look());
    broadcaster.onState((state) => {
      if (state === 'up') this.slots.isUp(this);
      else if (state === 'connecting') this.slots.isTrying(this);
      else this.slots.isDown(this);
      this.#look();
    });
    broadcaster.onWritable(() => this.#look());
    this.#look();
  }

  /** The peer takes no broadcasts now. They wait in the store until the connection or the next attempt finds it. */
  #isAbsent(reason: string): void {
    this.#wait(reason);
    this.evict();
    if (this.#broadcaster?.state === 'down') this.slots.isDown(this);
    this.checkWaiting();
  }

  #prepareAhead(): void {
    let bytes = 0;
    for (const item of this.items.slice(0, BROADCASTS_AHEAD)) {
      bytes += item.message.bytes;
      if (bytes > DESTINATION_BYTES && item !== this.items[0]) return;
      if (this.#prepared.has(item)) continue;
      this.outbox.resumed(item);
      const preparing = this.track(this.outbox.prepare(item, false));
      // Awaited in order; until then a failure must not count as unhandled.
      preparing.catch(() => undefined);
      this.#prepared.set(item, preparing);
    }
  }

  #backOffPrepared(reason: string): void {
    for (const item of this.#prepared.keys()) this.outbox.backOff(item, { reason, state: 'waiting' });
    this.#prepared.clear();
  }

  protected override removed(item: QueueItem): void {
    super.removed(item);
    this.#prepared.delete(item);
  }

  #wait(reason: string): void {
    this.#prepared.clear();
    for (const item of this.items) this.outbox.backOff(item, { reason, state: 'waiting' });
  }

  async #flush(broadcaster: BroadcastConnection): Promise<void> {
    this.#isFlushing = true;
    this.#cancelRetry?.();
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
    try {
      for (let item = this.items[0]; item !== undefined && this.#isGoing(broadcaster); item = this.items[0]) {
        this.#prepareAhead();
        const frame = await this.#prepared.get(item);
        const other = frame === undefined ? undefined : await this.#otherAtAddress(item);
        if (this.items[0] !== item) continue;
        if (!this.environment.shard.isCurrent()) throw leaseLost();
        if (frame !== undefined && other === undefined && !(await broadcaster.send(frame))) {
          // Full, or the subscription went: it stays first, and the socket tells when to look again.
          this.#backOffPrepared(`${this.address} does not take it now`);
          break;
        }
        this.#prepared.delete(item);
        if (this.items[0] === item) this.items.shift();
        if (frame === undefined) this.outbox.passed(item);
        else {
          const state = other === undefined ? 'sent' : 'failed';
          item.message.queued.delete(item.key);
          const { layer } = item.message.outbound;
          this.environment.counters.add('cmbs_deliveries', { layer, outcome: state });
          if (other === undefined) item.tries += 1;
          const reason = other === undefined ? {} : { reason: `${other} has this address and receives there` };
          this.outbox.settle(item, { state, ...reason });
        }
        this.#retries = 0;
        this.readOn();
      }
    } catch (error) {
      this.environment.log.error('destination queue failed; trying again', {
        address: this.address,
        cause: error,
      });
      this.#wait('the store does not answer');
      this.#retries += 1;
      const { clock, backOff } = this.environment;
      this.#cancelRetry = clock.after(backOff(this.#retries), () => this.#look());
    } finally {
      // At once, and not when the promise settles: what is added in between would be left lying.
      this.#isFlushing = false;
    }
    this.readOn();
    this.watchIdle();
  }

  /**
   * The local member that has the address open instead of the one that is meant: a subscription does not say whose it
   * is. Both are read again, since what is known of them may be a little behind.
   */
  async #otherAtAddress(item: QueueItem): Promise<Path | undefined> {
    const { members, store } = this.environment;
    const path = item.message.receiver(item)?.member;
    const meant = path === undefined ? undefined : members.get(path);
    const { layer } = item.message.outbound;
    if (meant === undefined || !isLocal(meant) || isOpenOn(meant, layer)) return undefined;
    const holds = (member: Entity): boolean => socketOf(member, layer) === this.address && isOpenOn(member, layer);
    const other = members.local().find((member) => member !== meant && holds(member));
    if (other === undefined) return undefined;
    const [now, otherNow] = await Promise.all([readEntity(store, meant.path), readEntity(store, other.path)]);
    const isOther = now !== undefined && !holds(now.entity) && otherNow !== undefined && holds(otherNow.entity);
    return isOther ? other.path : undefined;
  }

  /** A method, since a property that changes during an `await` looks constant to the compiler. */
  #isGoing(broadcaster: BroadcastConnection): boolean {
    return broadcaster === this.#broadcaster && !this.isDraining && !this.isClosed;
  }
}

/**
 * The broadcasts that wait for one address, in order: sent at once while the peer is subscribed, else kept (up to a
 * limit) and sent when the subscription appears (docs/layers.md).
 */
import { isLocal, isOpenOn, localMembersAt, socketOf } from '@cmbs/shared/broker';
import { type Entity, type Path, readEntity } from '@cmbs/shared/occi';
import type { BroadcastConnection } from '../exchanges/exchange';
import { DestinationQueue } from './destination-queue';
import type { QueueItem } from './in-flight-message';
import { itemsAhead } from './prepared-frames';

/** Broadcasts to one peer that are made ready together. */
const BROADCASTS_AHEAD = 32;
/** Milliseconds that a broadcast waits for a subscription that is on its way before the sender is told "waiting". */
const SUBSCRIPTION_GRACE_MS = 500;

export class BroadcastQueue extends DestinationQueue {
  readonly via = 'broadcast';
  #broadcaster: BroadcastConnection | undefined;
  #isFlushing = false;
  /** The last flush, for callers that wait for its end. */
  #flushed: Promise<void> | undefined;
  #cancelGrace: (() => void) | undefined;
  /** The receiver of the last broadcast, if it is no member of this deployment. */
  #remote: Path | undefined;

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

  protected accepted(): void {
    this.#look();
  }

  notify(): void {
    this.#look();
  }

  async drain(): Promise<void> {
    this.isDraining = true;
    this.#cancelGrace?.();
    this.retry.cancel();
    await this.#flushed;
  }

  // --- Connection ---

  protected get isConnected(): boolean {
    return this.#broadcaster?.subscribed === true;
  }

  connect(): void {
    const broadcaster = this.dial(() => this.environment.exchanges.connectForBroadcasts(this.address));
    if (broadcaster === undefined) return;
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

  protected async closeConnection(): Promise<void> {
    this.#endGrace();
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

  /** The peer takes no broadcasts now. They wait in the store until the connection or the next attempt finds it. */
  #isAbsent(reason: string): void {
    this.#wait(reason);
    this.evict();
    if (this.#broadcaster?.state === 'down') this.slots.isDown(this);
    this.checkWaiting();
  }

  #endGrace(): void {
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
  }

  // --- Sending ---

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
      // While the queue is behind, earlier messages are on their way from the store.
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

  #prepareAhead(): void {
    for (const item of itemsAhead(this.items, { most: BROADCASTS_AHEAD })) {
      if (this.prepared.has(item)) continue;
      this.outbox.resumed(item);
      this.prepare(item, false);
    }
  }

  #backOffPrepared(reason: string): void {
    for (const item of this.prepared.items) this.outbox.backOff(item, { reason, state: 'waiting' });
    this.prepared.clear();
  }

  #wait(reason: string): void {
    this.prepared.clear();
    for (const item of this.items) this.outbox.backOff(item, { reason, state: 'waiting' });
  }

  async #flush(broadcaster: BroadcastConnection): Promise<void> {
    this.#isFlushing = true;
    this.retry.cancel();
    this.#endGrace();
    try {
      for (
        let item = this.items.first;
        item !== undefined && this.#isGoing(broadcaster);
        item = this.items.first
      ) {
        this.#prepareAhead();
        const frame = await this.prepared.of(item);
        const other = frame === undefined ? undefined : await this.#otherAtAddress(item);
        if (this.items.first !== item) continue;
        this.assertLease();
        if (frame !== undefined && other === undefined && !(await broadcaster.send(frame))) {
          // Full, or the subscription went: the item stays first, and the socket tells when to look again.
          this.#backOffPrepared(`${this.address} does not take it now`);
          break;
        }
        this.prepared.forget(item);
        if (this.items.first === item) this.items.shift();
        if (frame === undefined) this.outbox.passed(item);
        else this.#sent(item, other);
        this.retry.succeeded();
        this.readOn();
      }
    } catch (error) {
      this.logFailure(error);
      this.#wait('the store does not answer');
      this.retry.failed(() => this.#look());
    } finally {
      // At once, and not when the promise settles: an item that is added in between would not go.
      this.#isFlushing = false;
    }
    this.readOn();
    this.watchIdle();
  }

  /** @param other the member that has the address instead of the receiver; then nothing was sent */
  #sent(item: QueueItem, other: Path | undefined): void {
    const state = other === undefined ? 'sent' : 'failed';
    item.message.queued.delete(item.key);
    const { layer } = item.message.outbound;
    this.environment.counters.add('cmbs_deliveries', { layer, outcome: state });
    if (other === undefined) item.tries += 1;
    const reason = other === undefined ? {} : { reason: `${other} has this address and receives there` };
    this.outbox.settle(item, { state, ...reason });
  }

  /**
   * The local member that has the address open instead of the receiver: a subscription does not say whose it is. Both
   * members are read again, since the known ones may be a little behind.
   */
  async #otherAtAddress(item: QueueItem): Promise<Path | undefined> {
    const { members, store } = this.environment;
    const path = item.message.receiver(item)?.member;
    if (path === undefined || path === this.#remote) return undefined;
    const meant = await members.find(path);
    // Broadcasts to one member follow one another.
    if (meant === undefined || !isLocal(meant)) this.#remote = path;
    const { layer } = item.message.outbound;
    if (meant === undefined || !isLocal(meant) || isOpenOn(meant, layer)) return undefined;
    const holds = (member: Entity): boolean => socketOf(member, layer) === this.address && isOpenOn(member, layer);
    const there = await localMembersAt(store, layer, this.address);
    const other = there.find((member) => member.path !== path && holds(member));
    if (other === undefined) return undefined;
    const now = await readEntity(store, path);
    return now !== undefined && !holds(now.entity) ? other.path : undefined;
  }

  /** A method, since a property that changes during an `await` looks constant to the compiler. */
  #isGoing(broadcaster: BroadcastConnection): boolean {
    return broadcaster === this.#broadcaster && !this.isDraining && !this.isClosed;
  }
}

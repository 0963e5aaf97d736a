/**
 * The outbox: every send in the store that has an open receiver. Requests and broadcasts go through one queue per
 * address, so that what one sender queued for one receiver arrives in its order and a receiver that hangs holds nobody
 * else up. What can go now is held in memory, within bounds; the rest lies in the store until its turn.
 */
import { CmbsError } from '@cmbs/shared';
import type { RpcResult } from '@cmbs/shared/rpc';
import {
  ADDRESS_FIELD,
  apartAddress,
  deleteOrphan,
  type Delivery,
  deliveryKey,
  isOpen,
  isPublishing,
  type MemberRegistration,
  orderOf,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  type Outcome,
  withPublished,
} from '@cmbs/shared/broker';
import { PUBLICATION_GRACE_MS } from '../limits';
import type { Watch } from '@cmbs/shared/store';
import { Backlog, type OutboxStatus } from './backlog';
import { claim } from './claim';
import type { DestinationQueue } from './destination-queue';
import { Destinations } from './destinations';
import type { Environment } from '../environment';
import { Expiry } from './expiry';
import {
  leaseLost,
  InFlightMessage,
  type Destination,
  type QueueItem,
  type BackOffReason,
  type QueueOwner,
  type AttemptedItem,
  type Waiter,
  type Waiting,
} from './in-flight-message';
import { logOutcome, Outcomes } from './outcomes';
import { Moves } from './moves';
import { OutgoingFrames } from './outgoing-frames';
import { Publications } from './publications';
import { Replies } from './replies';
import { StoreScan } from './store-scan';
import { OutboundReader } from './outbound-reader';
import { WaitingMessages } from './waiting-messages';
import { WatchedMessages } from './watched-messages';

/** Broadcasts kept in order for one peer whose subscription is not up (layers.md, L2). */
const MAX_WAITING_BROADCASTS = 1000;
/** Outbound messages that all of them hold in memory; beyond, each reads one at a time. */
const MAX_HELD = 10_000;

export class Outbox implements QueueOwner {
  readonly #environment: Environment;
  readonly #held = new Map<string, InFlightMessage>();
  readonly #destinations: Destinations;
  readonly #waiting: WaitingMessages;
  readonly #frames: OutgoingFrames;
  readonly #outcomes: Outcomes;
  readonly #replies: Replies;
  readonly #publications: Publications;
  readonly #expiry: Expiry;
  readonly #backlog: Backlog;
  readonly #moves: Moves;
  readonly #look: StoreScan;
  readonly #taking: OutboundReader;
  readonly watchedMessages = new WatchedMessages();
  #watch: Watch | undefined;
  /** Not everything that lies in the store has been seen. */
  #isScanning = true;
  /** Sends that wait for members which have moved, found at the start. */
  readonly #misplaced: Pick<OutboundMessage, 'id' | 'from'>[] = [];
  #stopFollowing: () => void = () => undefined;
  /** Begins nothing more. */
  #draining = false;
  #closed = false;

  constructor(environment: Environment, learning: MemberRegistration) {
    this.#environment = environment;
    const { store, clock, log, backOff } = environment;
    const settle: QueueOwner['settle'] = (item, change) => this.settle(item, change);
    const hold = (send: OutboundMessage): InFlightMessage => this.#hold(send);
    const serves = (send: Pick<OutboundMessage, 'from'>): Promise<boolean> => this.#serves(send);
    this.#destinations = new Destinations(environment, this, () => this.#isScanning);
    this.#waiting = new WaitingMessages({
      environment,
      settle,
      hold,
      serves,
      release: (held) => this.#release(held),
      isDraining: () => this.#draining,
    });
    this.#frames = new OutgoingFrames(environment);
    this.#outcomes = new Outcomes(environment, (held) => this.#written(held));
    this.#replies = new Replies(environment, learning, settle);
    this.#expiry = new Expiry({ store, clock, log, backOff, expire: (send) => this.#expireStored(send) });
    this.#publications = new Publications(environment, {
      settle,
      hold,
      serves,
      backOff: (item, parking) => this.backOff(item, parking),
      published: (held, stored) => this.#published(held, stored),
      removed: (held) => this.#unpublished(held),
    });
    this.#moves = new Moves({
      environment,
      destinations: this.#destinations,
      settle,
      hold,
      release: (held) => this.#release(held),
      serves,
      isDraining: () => this.#draining,
    });
    this.#look = new StoreScan({ environment, serves, found: (send, afterMs) => this.#found(send, afterMs) });
    this.#taking = new OutboundReader(environment, (send) => this.#takeRead(send));
    this.#backlog = new Backlog(environment, () =>
      this.#destinations.all.reduce((sum, queue) => sum + queue.waiting, this.#publications.size),
    );
  }

  /** Finds everything that is open in the store, and begins with it in the order in which it was queued. */
  async open(): Promise<void> {
    const { store } = this.#environment;
    this.#watch = store.watch({ collection: OUTBOUND_MESSAGES }, (changes) => {
      for (const { id, deleted } of changes) {
        const held = this.#held.get(id);
        if (deleted) {
          this.#cancelled(id);
          this.watchedMessages.deleted(id);
        } else if (held === undefined) this.#taking.soon(id);
        else if (isPublishing(held.outbound)) void this.#publications.follow(held);
      }
    });
    await this.#watch.ready;
    this.#expiry.open();
    this.#stopFollowing = this.#environment.members.onChange((path, before) => this.#moves.changed(path, before));
    await this.#look.all(0);
    // Members that moved while nobody looked; nothing goes before they are followed.
    await this.#moves.moveFound(this.#misplaced.splice(0));
    this.#isScanning = false;
    for (const queue of this.#destinations.all) queue.caughtUp();
    this.#look.soon();
  }

  /** Tells each queue, and the publications, of a send that lies in the store. */
  #found(send: OutboundMessage, publishAfterMs: number): void {
    this.#expiry.note(send);
    if (this.#moves.isMisplaced(send)) this.#follow(send);
    for (const receiver of send.receivers) {
      if (!isOpen(receiver) || this.#held.get(send.id)?.queued.has(deliveryKey(receiver)) === true) continue;
      const queue = this.#destinations.of(receiver);
      if (queue === undefined) continue;
      if (!this.#isScanning) {
        if (!queue.knowsOfMore) queue.resume();
        continue;
      }
      const { address = '' } = receiver;
      queue.waiting += 1;
      queue.found({
        held: this.#hold(send),
        key: deliveryKey(receiver),
        address,
        sequence: orderOf(send),
        tries: 0,
      });
    }
    const held = this.#held.get(send.id);
    if (held !== undefined) this.#release(held);
    if (isPublishing(send)) this.#publications.found(send, publishAfterMs);
  }

  #follow(send: OutboundMessage): void {
    if (this.#isScanning) {
      this.#misplaced.push({ id: send.id, from: send.from });
      return;
    }
    this.#moves.move(send).catch((error: unknown) => {
      this.#environment.log.warn('a member that has moved was not followed; the next look tries again', {
        send: send.id,
        cause: error,
      });
    });
  }

  /** Whether a send is this companion's: its member's sockets are here. */
  async #serves({ from }: Pick<OutboundMessage, 'from'>): Promise<boolean> {
    const { members, shard } = this.#environment;
    return shard.servesAll || shard.serves(members.get(from) ?? (await members.refresh(from)));
  }

  /** Finds what the watch did not tell of, or nobody else has any more. */
  lookNow(): void {
    this.#look.now();
  }

  /** Somebody at an address was heard of: what waits for it may go. */
  notify(address: string): void {
    this.#destinations.notify(address);
  }

  /** Tries a queued send now; answers as soon as its outcome is known or it is clear that it has to wait. */
  async attempt(sendId: string, signal: AbortSignal | undefined): Promise<RpcResult<'send'>> {
    const taken = await this.#take(sendId);
    if (taken === undefined) return { outcome: 'settled' };
    // It may have been let go, since nothing of it is being tried.
    const held = this.#held.get(sendId) ?? taken;
    this.#held.set(sendId, held);
    if (isPublishing(held.outbound)) {
      await this.#publications.follow(held);
      // Who asks has published what it could: the rest is ours.
      this.#publications.notify(held);
    }
    for (const receiver of held.outbound.receivers) {
      if (!isOpen(receiver) || receiver.via === 'bus') continue;
      if (held.queued.has(deliveryKey(receiver))) this.#destinations.known(receiver)?.notify();
      else this.#offer(held, receiver);
    }
    return new Promise((resolve) => {
      const waiter: Waiter = (reply) => {
        held.waiters.delete(waiter);
        signal?.removeEventListener('abort', giveUp);
        // Its queue may have left it to the store.
        this.#release(held);
        resolve(reply);
      };
      const giveUp = (): void => waiter({ outcome: 'queued', reason: held.lastReason ?? 'no outcome in time' });
      held.waiters.add(waiter);
      if (signal?.aborted === true) giveUp();
      else signal?.addEventListener('abort', giveUp, { once: true });
      this.#answer(held);
    });
  }

  /** Sends in memory; a gauge. */
  get heldCount(): number {
    return this.#held.size;
  }

  /** Destinations to which messages go, or for which they wait; a gauge. */
  get destinationCount(): number {
    return this.#destinations.size;
  }

  /** Gauges; as they were when the store does not answer. */
  status(): Promise<OutboxStatus> {
    return this.#backlog.status();
  }

  /** Nothing more leaves for anybody; resolves when what has left has its outcome, in the store too. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#stopFollowing();
    this.#watch?.end();
    this.#look.stop();
    this.#taking.stop();
    await Promise.all([this.#publications.drain(), ...this.#destinations.all.map((queue) => queue.drain())]);
    await this.#outcomes.writeAll(this.#held.values());
  }

  async close(): Promise<void> {
    this.#draining = true;
    this.#closed = true;
    this.#outcomes.close();
    this.#watch?.end();
    this.#look.stop();
    this.#taking.stop();
    this.#expiry.close();
    for (const held of this.#held.values()) held.cancelRetry?.();
    this.#publications.stop();
    await this.#destinations.close();
    for (const held of this.#held.values()) {
      for (const waiter of [...held.waiters]) waiter({ outcome: 'queued', reason: 'the companion is stopping' });
    }
    await this.#outcomes.writeAll(this.#held.values());
    // The bus may not answer; what else is known is written by now.
    await this.#publications.drain();
    await this.#outcomes.writeAll(this.#held.values());
  }

  #take(sendId: string): Promise<InFlightMessage | undefined> {
    const known = this.#held.get(sendId);
    return known === undefined ? this.#taking.take(sendId) : Promise.resolve(known);
  }

  async #takeRead(send: OutboundMessage): Promise<InFlightMessage | undefined> {
    if (!(await this.#serves(send)) || this.#draining) return undefined;
    return this.#takeUp(send, PUBLICATION_GRACE_MS);
  }

  /** @param publishAfterMs how long the function that queued the send is given to publish it */
  #takeUp(send: OutboundMessage, publishAfterMs: number): InFlightMessage {
    const known = this.#held.get(send.id);
    if (known !== undefined) return known;
    const held = this.#hold(send);
    this.#expiry.note(send);
    this.#begin(held, publishAfterMs);
    this.#release(held);
    return held;
  }

  #hold(send: OutboundMessage): InFlightMessage {
    const known = this.#held.get(send.id);
    if (known !== undefined) return known;
    const held = new InFlightMessage(send);
    this.#held.set(send.id, held);
    return held;
  }

  /** Lets go of a send that nobody works on here; the store has it. */
  #release(held: InFlightMessage): void {
    if (this.#held.get(held.outbound.id) !== held || this.#publications.has(held)) return;
    if (held.queued.size > 0 || held.waiters.size > 0 || held.flushing || held.outcomes.length > 0) return;
    this.#frames.free(held);
    this.#held.delete(held.outbound.id);
  }

  get hasRoom(): boolean {
    return this.#held.size < MAX_HELD;
  }

  /** Offers every open receiver to its queue; what is passed on, or was cut off by a crash, is published from here. */
  #begin(held: InFlightMessage, publishAfterMs: number): void {
    for (const receiver of held.outbound.receivers) {
      if (!isOpen(receiver)) continue;
      const { via } = receiver;
      const key = deliveryKey(receiver);
      if (via === 'bus') {
        held.trying.add(key);
        continue;
      }
      const queue = this.#destinations.of(receiver);
      if (queue === undefined) continue;
      const isNew = receiver.attempts === 0 && receiver.reason === undefined;
      if (isNew) {
        queue.waiting += 1;
        if (via === 'broadcast' && queue.waiting > MAX_WAITING_BROADCASTS) {
          void this.#dropIfFull(held, key, queue);
          continue;
        }
      } else if (!queue.isHolding) {
        // It was tried before, and this tells of our own note of that.
        queue.resume();
        continue;
      }
      this.#offer(held, receiver);
    }
    if (this.#publications.add(held, publishAfterMs)) return;
    held.lastReason = 'earlier messages wait for the topic bus';
    for (const one of held.outbound.receivers) if (one.via === 'bus') held.trying.delete(deliveryKey(one));
  }

  /** Nothing of a send is to be published any more, or it went back to the store. */
  #unpublished(held: InFlightMessage): void {
    if (this.#held.get(held.outbound.id) !== held) return;
    for (const one of held.outbound.receivers) if (one.via === 'bus') held.trying.delete(deliveryKey(one));
    this.#answer(held);
    this.#release(held);
  }

  #offer(held: InFlightMessage, receiver: Delivery): void {
    const { address = '' } = receiver;
    const key = deliveryKey(receiver);
    const queue = this.#destinations.of(receiver);
    if (queue === undefined) return;
    held.queued.add(key);
    held.trying.add(key);
    if (queue.offer({ held, key, address, sequence: orderOf(held.outbound), tries: 0 })) return;
    held.queued.delete(key);
    held.trying.delete(key);
    held.lastReason = `earlier messages wait for ${address}`;
  }

  /** The count is kept without what is cancelled in the store, so it is made again before a broadcast is dropped. */
  async #dropIfFull(held: InFlightMessage, key: string, queue: DestinationQueue): Promise<void> {
    const { store, counters, log } = this.#environment;
    const { address } = queue;
    held.queued.add(key);
    try {
      const where = [{ field: ADDRESS_FIELD, value: address }];
      queue.waiting = await store.count({ collection: OUTBOUND_MESSAGES, where }, MAX_WAITING_BROADCASTS + 1);
    } catch (error) {
      log.warn('broadcasts that wait not counted', { address, cause: error });
    }
    held.queued.delete(key);
    if (queue.waiting > MAX_WAITING_BROADCASTS) {
      counters.add('cmbs_dropped', { reason: 'too many broadcasts wait', layer: 'l2' });
      const reason = `${MAX_WAITING_BROADCASTS} broadcasts wait for ${address} already`;
      this.settle({ held, key, tries: 0 }, { state: 'dropped', reason });
    } else queue.resume();
  }

  /** The store says so of its topics; undefined when the send is there no more. */
  #published(held: InFlightMessage, stored: OutboundMessage | undefined): void {
    if (stored === undefined) {
      this.#drop(held);
      return;
    }
    held.outbound = withPublished(held.outbound, stored);
    for (const receiver of held.outbound.receivers) {
      if (receiver.via === 'bus' && !isOpen(receiver)) held.trying.delete(deliveryKey(receiver));
    }
    if (!isPublishing(held.outbound)) this.#publications.remove(held);
    this.#settleIfDone(held);
    this.#answer(held);
  }

  firstWaiting(queue: Destination): Promise<string | undefined> {
    return this.#waiting.first(queue);
  }

  readWaiting(queue: Destination, limit: number, after?: string): Promise<Waiting> {
    return this.#waiting.read(queue, limit, after);
  }

  passed(item: QueueItem): void {
    const { held, key } = item;
    held.queued.delete(key);
    held.trying.delete(key);
    const receiver = held.receiver(item);
    if (receiver === undefined || !isOpen(receiver) || receiver.address === item.address) return;
    // It was on its way when its member moved.
    this.#destinations.of(receiver)?.resume();
    this.#release(held);
  }

  evicted({ held, key }: QueueItem): void {
    held.queued.delete(key);
    held.trying.delete(key);
    if (held.trying.size === 0) this.#frames.free(held);
    this.#answer(held);
    this.#release(held);
  }

  refuseWaiting(queue: Destination, reason: string): void {
    this.#waiting.refuse(queue, reason);
  }

  /**
   * What has to go out for an item, after this companion has claimed its send in the store; undefined when there is
   * nothing to do any more (settled, cancelled, expired).
   */
  async prepare(item: QueueItem, isFailing: boolean): Promise<Buffer | undefined> {
    const { held } = item;
    if (!this.#environment.shard.isCurrent()) throw leaseLost();
    if (!isOpenFor(item)) return undefined;
    if (held.outbound.expiresAt <= this.#environment.clock.now()) {
      this.#expire(held);
      return undefined;
    }
    held.claiming ??= this.#claim(held);
    if (!(await held.claiming)) return undefined;
    if (held.receiver(item)?.address !== item.address) return undefined;
    if (!isOpenFor(item)) {
      held.trying.delete(item.key);
      return undefined;
    }
    let frame: Buffer | undefined;
    try {
      frame = await this.#frames.of(held, isFailing);
    } catch (error) {
      // This send has nothing to go out; the others of its queue have.
      if (!(error instanceof CmbsError) || error.retryable) throw error;
      this.settle(item, { state: 'failed', reason: error.message });
      return undefined;
    }
    if (frame !== undefined && this.#replies.isTooMuchFor(item)) return undefined;
    if (frame === undefined) {
      await deleteOrphan(this.#environment.store, held.outbound.id);
      this.#drop(held);
    }
    return frame;
  }

  async #claim(held: InFlightMessage): Promise<boolean> {
    const claimed = await claim(this.#environment, held);
    if (claimed === 'gone') this.#drop(held);
    if (claimed === 'moved') this.#drop(held, { outcome: 'queued', reason: 'another companion has the member' });
    return claimed === 'claimed';
  }

  async replied(item: QueueItem, bytes: Buffer): ReturnType<QueueOwner['replied']> {
    const outcome = await this.#replies.replied(item, bytes);
    // It may have been queued by a function that still knew the old address.
    if (outcome === 'moved') await this.#moves.move(item.held.outbound);
    if (typeof outcome === 'string' || 'retry' in outcome) return outcome;
    await this.#setApart(item, outcome.apart);
    return 'settled';
  }

  /** Another member is at the address of the one that is meant: the item waits in a queue of its own. */
  async #setApart(item: QueueItem, reason: string): Promise<void> {
    const { store, queueLimit, log, counters } = this.#environment;
    const { held, key } = item;
    const address = apartAddress(item.address, held.receiver(item)?.member ?? '');
    let waiting = 0;
    try {
      const where = [{ field: ADDRESS_FIELD, value: address }];
      waiting = await store.count({ collection: OUTBOUND_MESSAGES, where }, queueLimit);
    } catch (error) {
      log.warn('what waits for a member that is elsewhere not counted', { address, cause: error });
    }
    if (waiting >= queueLimit) {
      counters.add('cmbs_deliveries', { layer: held.outbound.layer, outcome: 'failed' });
      this.settle(item, { state: 'failed', reason: `${waiting} messages wait for this already. ${reason}` });
      return;
    }
    const before = this.#destinations.known({ via: 'request', address: item.address });
    if (before !== undefined) before.waiting = Math.max(0, before.waiting - 1);
    held.queued.delete(key);
    held.trying.delete(key);
    held.lastReason = reason;
    const change = { state: 'waiting', reason, address, ...triesOf(item) } as const;
    this.#outcomes.note(held, { sendId: held.outbound.id, key, change });
    const receiver = held.receiver(item);
    const queue = receiver === undefined || !isOpen(receiver) ? undefined : this.#destinations.of(receiver);
    if (receiver === undefined || queue === undefined) return;
    queue.waiting += 1;
    this.#offer(held, receiver);
  }

  broke(item: QueueItem): 'given up' | { readonly retry: string } {
    return this.#replies.broke(item);
  }

  /** An item has its outcome. */
  settle(
    item: AttemptedItem,
    change: Pick<Delivery, 'state'> & Partial<Pick<Delivery, 'reason' | 'reply'>>,
  ): void {
    const { held } = item;
    logOutcome(this.#environment, item, change);
    held.trying.delete(item.key);
    held.queued.delete(item.key);
    if (held.trying.size === 0) this.#frames.free(held);
    const receiver = held.receiver(item);
    const queue = receiver === undefined ? undefined : this.#destinations.known(receiver);
    if (queue !== undefined) queue.waiting = Math.max(0, queue.waiting - 1);
    this.#outcomes.note(held, {
      sendId: held.outbound.id,
      key: item.key,
      change: { ...change, ...triesOf(item) },
    });
  }

  /** An item cannot go further now; those who wait for the send are answered, and the item stays. */
  backOff(item: AttemptedItem, { reason, state }: BackOffReason): void {
    const { held } = item;
    const wasTrying = held.trying.delete(item.key);
    if (held.trying.size === 0) this.#frames.free(held);
    held.lastReason = reason;
    const before = held.receiver(item);
    // What the store says already is not written again, unless the store says that we have claimed the send.
    const isNews = before?.reason !== reason || before.state !== state || item.tries > 0;
    if (isNews || held.claiming !== undefined) {
      this.#outcomes.note(held, {
        sendId: held.outbound.id,
        key: item.key,
        change: { state, reason, ...triesOf(item) },
      });
    } else if (wasTrying) this.#answer(held);
  }

  /** A queue takes a parked item up again. */
  resumed(item: QueueItem): void {
    item.held.trying.add(item.key);
  }

  /** All that is known of a send is in the store. */
  #written(held: InFlightMessage): void {
    this.#settleIfDone(held);
    this.#answer(held);
    this.#release(held);
  }

  #settleIfDone(held: InFlightMessage): void {
    // Not while outcomes are being written: who is told would read the message as it was before.
    if (held.isSettled && held.outcomes.length === 0 && !held.flushing) this.#drop(held);
  }

  /** Answers whoever waits, once nothing is being tried and everything is in the store. */
  #answer(held: InFlightMessage): void {
    if (held.waiters.size === 0 || held.flushing || held.trying.size > 0) return;
    const isPartial =
      held.outbound.layer === 'l2' && held.outbound.receivers.some(({ state }) => state === 'sent');
    const reply: RpcResult<'send'> =
      held.isSettled || isPartial
        ? { outcome: 'settled' }
        : { outcome: 'queued', ...(held.lastReason === undefined ? {} : { reason: held.lastReason }) };
    for (const waiter of [...held.waiters]) waiter(reply);
  }

  /** Without a reply of its own: it is in the store no more, and what became of it stands in its message, if at all. */
  #drop(held: InFlightMessage, reply: RpcResult<'send'> = { outcome: 'settled' }): void {
    if (this.#held.get(held.outbound.id) !== held) return;
    this.#held.delete(held.outbound.id);
    held.cancelRetry?.();
    this.#publications.remove(held);
    this.#frames.free(held);
    held.queued.clear();
    held.trying.clear();
    held.flushing = false;
    for (const waiter of [...held.waiters]) waiter(reply);
  }

  /** The message, and with it its send, was deleted. */
  #cancelled(sendId: string): void {
    const held = this.#held.get(sendId);
    // Our own last write of a settled send is seen here too; it is dropped already or about to be.
    if (held === undefined || held.isSettled) return;
    for (const receiver of held.outbound.receivers)
      this.#destinations.known(receiver)?.remove(held, deliveryKey(receiver));
    held.outbound = { ...held.outbound, receivers: [] };
    this.#drop(held);
  }

  async #expireStored(send: OutboundMessage): Promise<void> {
    if (!(await this.#serves(send)) || this.#closed) return;
    const held = this.#hold(send);
    held.follow(send);
    this.#expire(held);
    this.#release(held);
  }

  #expire(held: InFlightMessage): void {
    const { counters } = this.#environment;
    for (const receiver of held.outbound.receivers) {
      if (!isOpen(receiver)) continue;
      const key = deliveryKey(receiver);
      this.#destinations.known(receiver)?.remove(held, key);
      counters.add('cmbs_dropped', { reason: 'expired', layer: held.outbound.layer });
      const reason = receiver.reason ?? 'not delivered in time';
      this.settle({ held, key, tries: 0 }, { state: 'expired', reason });
    }
  }
}

/** What an item's outcome tells of its attempts; they are counted once. */
function triesOf(item: AttemptedItem): Pick<Outcome['change'], 'attempts' | 'broken'> {
  const { tries: attempts, broken = 0 } = item;
  item.tries = 0;
  item.broken = 0;
  return { attempts, broken };
}

function isOpenFor(item: QueueItem): boolean {
  const receiver = item.held.receiver(item);
  return receiver !== undefined && isOpen(receiver);
}

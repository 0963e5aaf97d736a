/**
 * The outbox: every send in the store that has an open receiver. Requests and broadcasts go through one queue per
 * address, so that what one sender queued for one receiver arrives in its order and a receiver that hangs holds nobody
 * else up. What can go now is held in memory, within bounds; the rest lies in the store until its turn.
 */
import { CATALOGUE, CmbsError, toCmbsError, type ErrorCode, type JsonObject } from '@cmbs/shared';
import type { LinkReply } from '@cmbs/shared/link/link';
import { outgoingFrame } from '@cmbs/shared/broker/publish';
import {
  ADDRESS_FIELD,
  applyOutcomes,
  deleteOrphan,
  isGivenUp,
  isOpen,
  isPublishing,
  orderOf,
  putSend,
  readSend,
  sendOf,
  SENDS,
  withPublished,
  writeSend,
  type Outcome,
  type Receiver,
  type Send,
} from '@cmbs/shared/broker/send';
import { registryOf } from '@cmbs/shared/broker/context';
import type { Learning } from '@cmbs/shared/broker/learning';
import { describe } from '@cmbs/shared/broker/member';
import { isEmptyContent } from '@cmbs/shared/broker/message';
import { MESSAGE } from '@cmbs/shared/broker/cmbs';
import { originOf, parseFrame, parseReply, type Reply } from '@cmbs/shared/broker/wire';
import {
  DESTINATION_HELD,
  MAX_HELD,
  MAX_INTERNAL_ATTEMPTS,
  MAX_READ_CHARS,
  MAX_WAITING_BROADCASTS,
  PUBLICATION_GRACE_MS,
} from '@cmbs/shared/limits';
import { readEntity } from '@cmbs/shared/occi/entity-store';
import type { Page, Watch } from '@cmbs/shared/store/store';
import { BroadcastQueue } from './broadcast-queue';
import { ByteBudget } from './byte-budget';
import { ConnectionSlots } from './connection-slots';
import type { DestinationQueue } from './destination-queue';
import type { Environment } from './environment';
import { Expiry } from './expiry';
import {
  heldElsewhere,
  HeldSend,
  UNKNOWN_BYTES,
  type Destination,
  type Item,
  type Parking,
  type QueueOwner,
  type Tried,
  type Waiter,
  type Waiting,
} from './held-send';
import { Publications } from './publications';
import { RequestQueue } from './request-queue';
import { Witnesses } from './witnesses';

const PAGE = 1000;

export interface OutboxStatus {
  /** Sends without an outcome. */
  readonly queued: number;
  /** Milliseconds since the oldest of them was queued; 0 when there is none. */
  readonly oldestMs: number;
}

export class Outbox implements QueueOwner {
  readonly #environment: Environment;
  readonly #learning: Learning;
  readonly #held = new Map<string, HeldSend>();
  readonly #taking = new Map<string, Promise<HeldSend | undefined>>();
  /** Writes of outcomes under way. */
  readonly #writing = new Set<Promise<void>>();
  readonly #requests = new Map<string, DestinationQueue>();
  readonly #broadcasts = new Map<string, DestinationQueue>();
  readonly #slots: ConnectionSlots;
  readonly #frames = new ByteBudget();
  readonly #publications: Publications;
  readonly #expiry: Expiry;
  readonly witnesses = new Witnesses();
  #watch: Watch | undefined;
  #cancelLook: () => void = () => undefined;
  /** Not everything that lies in the store has been seen. */
  #isScanning = true;
  #status: OutboxStatus = { queued: 0, oldestMs: 0 };
  /** Takes nothing more in hand. */
  #draining = false;
  #closed = false;

  constructor(environment: Environment, learning: Learning) {
    this.#environment = environment;
    this.#learning = learning;
    const { store, clock, log } = environment;
    this.#slots = new ConnectionSlots(clock);
    this.#expiry = new Expiry({ store, clock, log, expire: (id) => this.#expireSoon(id) });
    this.#publications = new Publications(environment, {
      settle: (item, change) => this.settle(item, change),
      park: (item, parking) => this.park(item, parking),
      published: (held, stored) => this.#published(held, stored),
      hold: (send) => this.#hold(send),
      removed: (held) => this.#unpublished(held),
      serves: (send) => this.#serves(send),
    });
  }

  /** Finds everything that is open in the store, and begins with it in the order in which it was queued. */
  async open(): Promise<void> {
    const { store } = this.#environment;
    this.#watch = store.watch({ collection: SENDS }, (changes) => {
      for (const { id, deleted } of changes) {
        const held = this.#held.get(id);
        if (deleted) {
          this.#cancelled(id);
          this.witnesses.gone(id);
        } else if (held === undefined) this.#takeSoon(id);
        else if (isPublishing(held.send)) void this.#publications.follow(held);
      }
    });
    await this.#watch.ready;
    this.#expiry.open();
    await this.#scan(0);
    this.#isScanning = false;
    for (const queue of this.#queues()) queue.caughtUp();
    this.#lookSoon();
  }

  /** Tells each queue, and the publications, what waits for it. */
  async #scan(publishAfterMs: number): Promise<void> {
    const { store } = this.#environment;
    for (let after: string | undefined, more = true; more && !this.#draining;) {
      const page = await store.query({
        collection: SENDS,
        by: 'order',
        limit: PAGE,
        maxChars: MAX_READ_CHARS,
        ...(after === undefined ? {} : { after }),
      });
      for (const doc of page.docs) {
        const send = sendOf(doc);
        if (!(await this.#serves(send))) continue;
        if (send.bytes === undefined) await this.#writeAgain(send.id);
        this.#expiry.note(send);
        for (const receiver of send.receivers) {
          if (!isOpen(receiver) || this.#held.get(send.id)?.queued.has(receiver.name) === true) continue;
          const queue = this.#queueOf(receiver);
          if (queue === undefined) continue;
          if (!this.#isScanning) {
            if (!queue.knowsOfMore) queue.resume();
            continue;
          }
          const { name, address = '' } = receiver;
          queue.waiting += 1;
          queue.found({ held: this.#hold(send), name, address, sequence: orderOf(send), tries: 0 });
        }
        const held = this.#held.get(send.id);
        if (held !== undefined) this.#release(held);
        if (isPublishing(send)) this.#publications.found(send, publishAfterMs);
      }
      after = page.next;
      more = after !== undefined;
    }
  }

  /** What an earlier release queued lacks some of the entries by which it is found; written again, it has them. */
  async #writeAgain(sendId: string): Promise<void> {
    await this.#environment.store.transact(async (tx) => {
      const doc = await tx.get(SENDS, sendId);
      if (doc === undefined) return;
      const send = sendOf(doc);
      putSend(tx, { ...send, bytes: send.frame?.length ?? UNKNOWN_BYTES });
    });
  }

  /** Whether a send is this companion's: its member's sockets are here. */
  async #serves({ from }: Pick<Send, 'from'>): Promise<boolean> {
    const { members, shard } = this.#environment;
    return shard.servesAll || shard.serves(members.get(from) ?? (await members.refresh(from)));
  }

  #lookSoon(): void {
    const { clock, lookAgainMs } = this.#environment;
    if (lookAgainMs === undefined || this.#draining) return;
    // Two looks may have been under way; one comes next.
    this.#cancelLook();
    this.#cancelLook = clock.after(lookAgainMs, () => this.lookNow());
  }

  /** Finds what the watch did not tell of, or nobody else has any more. */
  lookNow(): void {
    const { log } = this.#environment;
    this.#cancelLook();
    this.#scan(PUBLICATION_GRACE_MS)
      .catch((error: unknown) => log.warn('sends not read', { cause: error }))
      .finally(() => this.#lookSoon());
  }

  /** Somebody at an address was heard of: what waits for it may go. */
  notify(address: string): void {
    this.#requests.get(address)?.notify();
    this.#broadcasts.get(address)?.notify();
  }

  /** Tries a queued send now; answers as soon as its outcome is known or it is clear that it has to wait. */
  async attempt(sendId: string, signal: AbortSignal | undefined): Promise<LinkReply<'send'>> {
    const taken = await this.#take(sendId);
    if (taken === undefined) return { outcome: 'settled' };
    // It may have been let go, since nothing of it is being tried.
    const held = this.#held.get(sendId) ?? taken;
    this.#held.set(sendId, held);
    if (isPublishing(held.send)) {
      await this.#publications.follow(held);
      // Who asks has published what it could: the rest is ours.
      this.#publications.notify(held);
    }
    for (const receiver of held.send.receivers) {
      if (!isOpen(receiver) || receiver.via === 'bus') continue;
      if (held.queued.has(receiver.name)) this.#knownQueue(receiver)?.notify();
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
    return this.#requests.size + this.#broadcasts.size;
  }

  /** Gauges; as they were when the store does not answer. */
  async status(): Promise<OutboxStatus> {
    try {
      this.#status = await this.#count();
    } catch (error) {
      this.#environment.log.warn('what waits to go out could not be counted', { cause: error });
    }
    return this.#status;
  }

  async #count(): Promise<OutboxStatus> {
    const { store, clock, shard } = this.#environment;
    const { docs } = await store.query({ collection: SENDS, by: 'order', limit: 1 });
    const [oldest] = docs;
    const oldestMs = oldest === undefined ? 0 : Math.max(0, clock.now() - sendOf(oldest).createdAt);
    if (shard.servesAll) return { queued: await store.count({ collection: SENDS }, MAX_COUNTED), oldestMs };
    // Of several shards each tells of what waits for its own peers, and of the oldest of all.
    const waiting = this.#queues().reduce((sum, queue) => sum + queue.waiting, this.#publications.size);
    return { queued: waiting, oldestMs: waiting === 0 ? 0 : oldestMs };
  }

  /** Nothing more leaves for anybody; resolves when what has left has its outcome, in the store too. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#watch?.end();
    this.#cancelLook();
    await Promise.all([this.#publications.drain(), ...this.#queues().map((queue) => queue.drain())]);
    await this.#writeAll();
  }

  async close(): Promise<void> {
    this.#draining = true;
    this.#closed = true;
    this.#watch?.end();
    this.#cancelLook();
    this.#expiry.close();
    this.#slots.close();
    for (const held of this.#held.values()) held.cancelRetry?.();
    this.#publications.stop();
    await Promise.all(this.#queues().map((queue) => queue.close()));
    for (const held of this.#held.values()) {
      for (const waiter of [...held.waiters]) waiter({ outcome: 'queued', reason: 'the companion is stopping' });
    }
    await this.#writeAll();
    // The bus may not answer; what else is known is written by now.
    await this.#publications.drain();
    await this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    for (const held of this.#held.values()) this.#write(held);
    await Promise.all(this.#writing);
  }

  /** Takes a send in hand of which the store told; when it cannot be read now, a little later. */
  #takeSoon(sendId: string, attempt = 1): void {
    this.#take(sendId).catch(() => {
      if (this.#draining) return;
      const { clock, backOff } = this.#environment;
      clock.after(backOff(attempt), () => this.#takeSoon(sendId, attempt + 1));
    });
  }

  #take(sendId: string): Promise<HeldSend | undefined> {
    const known = this.#held.get(sendId);
    if (known !== undefined) return Promise.resolve(known);
    let taking = this.#taking.get(sendId);
    if (taking === undefined) {
      const { store, log } = this.#environment;
      taking = readSend(store, sendId).then(
        async (read) => {
          if (read === undefined || !(await this.#serves(read.send)) || this.#draining) return undefined;
          return this.#takeInHand(read.send, PUBLICATION_GRACE_MS);
        },
        (error: unknown) => {
          log.error('send not read', { send: sendId, cause: error });
          throw error;
        },
      );
      this.#taking.set(sendId, taking);
      const done = (): void => void this.#taking.delete(sendId);
      taking.then(done, done);
    }
    return taking;
  }

  /** @param publishAfterMs how long whoever queued the send is given to publish it */
  #takeInHand(send: Send, publishAfterMs: number): HeldSend {
    const known = this.#held.get(send.id);
    if (known !== undefined) return known;
    const held = this.#hold(send);
    this.#expiry.note(send);
    this.#begin(held, publishAfterMs);
    this.#release(held);
    return held;
  }

  #hold(send: Send): HeldSend {
    const known = this.#held.get(send.id);
    if (known !== undefined) return known;
    const held = new HeldSend(send);
    this.#held.set(send.id, held);
    return held;
  }

  /** Lets go of a send that nobody works on here; the store has it. */
  #release(held: HeldSend): void {
    if (this.#held.get(held.send.id) !== held || this.#publications.has(held)) return;
    if (held.queued.size > 0 || held.waiters.size > 0 || held.flushing || held.outcomes.length > 0) return;
    this.#freeFrame(held);
    this.#held.delete(held.send.id);
  }

  get hasRoom(): boolean {
    return this.#held.size < MAX_HELD;
  }

  /** Offers every open receiver to its queue; what is passed on, or was cut off by a crash, is published from here. */
  #begin(held: HeldSend, publishAfterMs: number): void {
    for (const receiver of held.send.receivers) {
      if (!isOpen(receiver)) continue;
      const { name, via } = receiver;
      if (via === 'bus') {
        held.trying.add(name);
        continue;
      }
      const queue = this.#queueOf(receiver);
      if (queue === undefined) continue;
      const isNew = receiver.attempts === 0 && receiver.reason === undefined;
      if (isNew) {
        queue.waiting += 1;
        if (via === 'broadcast' && queue.waiting > MAX_WAITING_BROADCASTS) {
          void this.#dropIfFull(held, name, queue);
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
    for (const { name, via } of held.send.receivers) if (via === 'bus') held.trying.delete(name);
  }

  /** Nothing of a send is to be published any more, or it went back to the store. */
  #unpublished(held: HeldSend): void {
    if (this.#held.get(held.send.id) !== held) return;
    for (const { name, via } of held.send.receivers) if (via === 'bus') held.trying.delete(name);
    this.#answer(held);
    this.#release(held);
  }

  #offer(held: HeldSend, receiver: Receiver): void {
    const { name, address = '' } = receiver;
    const queue = this.#queueOf(receiver);
    if (queue === undefined) return;
    held.queued.add(name);
    held.trying.add(name);
    if (queue.offer({ held, name, address, sequence: orderOf(held.send), tries: 0 })) return;
    held.queued.delete(name);
    held.trying.delete(name);
    held.lastReason = `earlier messages wait for ${address}`;
  }

  /** The count is kept without what is cancelled in the store, so it is made again before a broadcast is dropped. */
  async #dropIfFull(held: HeldSend, name: string, queue: DestinationQueue): Promise<void> {
    const { store, counters, log } = this.#environment;
    const { address } = queue;
    held.queued.add(name);
    try {
      const where = [{ field: ADDRESS_FIELD, value: address }];
      queue.waiting = await store.count({ collection: SENDS, where }, MAX_WAITING_BROADCASTS + 1);
    } catch (error) {
      log.warn('broadcasts that wait not counted', { address, cause: error });
    }
    held.queued.delete(name);
    if (queue.waiting > MAX_WAITING_BROADCASTS) {
      counters.add('cmbs_dropped', { reason: 'too many broadcasts wait', layer: 'l2' });
      const reason = `${MAX_WAITING_BROADCASTS} broadcasts wait for ${address} already`;
      this.settle({ held, name, tries: 0 }, { state: 'dropped', reason });
    } else queue.resume();
  }

  /** The store says so of its topics; undefined when the send is there no more. */
  #published(held: HeldSend, stored: Send | undefined): void {
    if (stored === undefined) {
      this.#drop(held);
      return;
    }
    held.send = withPublished(held.send, stored);
    for (const receiver of held.send.receivers) {
      if (receiver.via === 'bus' && !isOpen(receiver)) held.trying.delete(receiver.name);
    }
    if (!isPublishing(held.send)) this.#publications.remove(held);
    this.#settleIfDone(held);
    this.#answer(held);
  }

  #queues(): readonly DestinationQueue[] {
    return [...this.#requests.values(), ...this.#broadcasts.values()];
  }

  #queuesOf({ via }: Pick<Receiver, 'via'>): Map<string, DestinationQueue> {
    return via === 'broadcast' ? this.#broadcasts : this.#requests;
  }

  #knownQueue(receiver: Receiver): DestinationQueue | undefined {
    return receiver.address === undefined ? undefined : this.#queuesOf(receiver).get(receiver.address);
  }

  /** The queue to the receiver, a new one if need be. */
  #queueOf(receiver: Receiver): DestinationQueue | undefined {
    const { address, via } = receiver;
    const known = this.#knownQueue(receiver);
    if (known !== undefined || address === undefined || via === 'bus' || via === 'none') return known;
    const queues = this.#queuesOf(receiver);
    const parts = {
      address,
      outbox: this,
      environment: this.#environment,
      slots: this.#slots,
      isBehind: this.#isScanning,
      onIdle: () => void queues.delete(address),
    };
    const queue = via === 'broadcast' ? new BroadcastQueue(parts) : new RequestQueue(parts);
    queues.set(address, queue);
    return queue;
  }

  #pageOf(address: string, limit: number, after: string | undefined): Promise<Page> {
    return this.#environment.store.query({
      collection: SENDS,
      where: [{ field: ADDRESS_FIELD, value: address }],
      by: 'order',
      limit,
      maxChars: MAX_READ_CHARS,
      ...(after === undefined ? {} : { after }),
    });
  }

  async firstWaiting({ address, via }: Destination): Promise<string | undefined> {
    for (let after: string | undefined; ;) {
      const { docs, next } = await this.#pageOf(address, after === undefined ? 1 : DESTINATION_HELD, after);
      for (const send of docs.map(sendOf)) {
        const waits = send.receivers.some((one) => one.address === address && one.via === via && isOpen(one));
        if (waits && (await this.#serves(send))) return send.id;
      }
      if (next === undefined) return undefined;
      after = next;
    }
  }

  async readWaiting({ address, via }: Destination, limit: number, after?: string): Promise<Waiting> {
    const page = await this.#pageOf(address, limit, after);
    const items: Item[] = [];
    for (const doc of page.docs) {
      const send = sendOf(doc);
      if (this.#draining || !(await this.#serves(send))) continue;
      const held = this.#hold(send);
      for (const { name, ...receiver } of held.send.receivers) {
        if (receiver.address !== address || receiver.via !== via || !isOpen({ name, ...receiver })) continue;
        if (held.queued.has(name)) continue;
        held.queued.add(name);
        items.push({ held, name, address, sequence: orderOf(send), tries: 0 });
      }
      this.#release(held);
    }
    const last = page.docs.at(-1);
    return { items, upTo: last === undefined ? '' : orderOf(sendOf(last)), next: page.next };
  }

  evicted({ held, name }: Item): void {
    held.queued.delete(name);
    held.trying.delete(name);
    if (held.trying.size === 0) this.#freeFrame(held);
    this.#answer(held);
    this.#release(held);
  }

  refuseWaiting(queue: Destination, reason: string): void {
    const { log, clock, backOff } = this.#environment;
    this.readWaiting(queue, PAGE)
      .then(({ items, next }) => {
        for (const item of items) this.settle(item, { state: 'failed', reason });
        return next !== undefined;
      })
      .catch((error: unknown) => {
        log.warn('what waits for a destination not read', { address: queue.address, cause: error });
        return true;
      })
      .then((isMore) => {
        if (isMore && !this.#draining) clock.after(backOff(1), () => this.refuseWaiting(queue, reason));
      })
      .catch((error: unknown) => log.error('what cannot go was not refused', { cause: error }));
  }

  /**
   * What has to go out for an item, after this companion has claimed its send in the store; undefined when there is
   * nothing to do any more (settled, cancelled, expired).
   */
  async prepare(item: Item, isFailing: boolean): Promise<Buffer | undefined> {
    const { held } = item;
    if (!this.#environment.shard.isCurrent()) throw heldElsewhere();
    if (!isOpenIn(held.send, item.name)) return undefined;
    if (held.send.expiresAt <= this.#environment.clock.now()) {
      this.#expire(held);
      return undefined;
    }
    held.claiming ??= this.#claim(held);
    if (!(await held.claiming)) return undefined;
    if (!isOpenIn(held.send, item.name)) {
      held.trying.delete(item.name);
      return undefined;
    }
    held.frame ??= this.#frameOf(held, isFailing);
    let frame: Buffer | undefined;
    try {
      frame = await held.frame;
    } catch (error) {
      // This send has nothing to go out; the others of its queue have.
      if (!(error instanceof CmbsError) || error.retryable) throw error;
      this.settle(item, { state: 'failed', reason: error.message });
      return undefined;
    }
    if (frame === undefined) {
      await deleteOrphan(this.#environment.store, held.send.id);
      this.#drop(held);
    }
    return frame;
  }

  async #claim(held: HeldSend): Promise<boolean> {
    const { store, clock, shard } = this.#environment;
    const registry = await registryOf(this.#environment);
    let found: Send | undefined;
    try {
      const claimed = await store.transact(async (tx) => {
        const current = await readSend(tx, held.send.id);
        if (current === undefined) return 'gone';
        // Its member's sockets may have moved to another shard, whose companion has the send as well.
        if (!shard.servesAll && !shard.serves((await readEntity(tx, current.send.from))?.entity)) return 'moved';
        // A later companion has it in hand; this one's time is over, whether or not it knows.
        if (current.send.holder !== undefined && shard.isOutrunBy(current.send.holder)) throw heldElsewhere();
        found = current.send;
        const send: Send = { ...current.send, holder: shard.name };
        if (current.message === undefined) putSend(tx, send);
        else writeSend(tx, send, current.message, registry, clock);
        return 'claimed';
      });
      // It may have been read before its last outcomes were written.
      if (found !== undefined) held.follow(found);
      if (claimed === 'gone') this.#drop(held);
      if (claimed === 'moved') this.#drop(held, { outcome: 'queued', reason: 'another companion has the member' });
      return claimed === 'claimed';
    } catch (error) {
      held.claiming = undefined;
      throw error;
    }
  }

  /** The frame, as one copy for all of its receivers, once there is room for it. */
  async #frameOf(held: HeldSend, isFailing: boolean): Promise<Buffer | undefined> {
    try {
      const release = await this.#frames.take(held.bytes, isFailing);
      // One that was parked while it waited for its bytes may be asked for twice.
      const earlier = held.releaseFrame;
      held.releaseFrame = () => {
        earlier();
        release();
      };
      const text = await this.#textOf(held);
      // Parked meanwhile: it is read again in its turn.
      if (held.trying.size === 0) this.#freeFrame(held);
      return text === undefined ? undefined : Buffer.from(text);
    } catch (error) {
      this.#freeFrame(held);
      throw error;
    }
  }

  async #textOf(held: HeldSend): Promise<string | undefined> {
    const { store, members, deployment, uriOf } = this.#environment;
    const read = await readSend(store, held.send.id);
    if (read?.send.frame !== undefined) return read.send.frame;
    if (read?.message === undefined) return undefined;
    const { send } = read;
    const from = members.get(send.from) ?? (await members.refresh(send.from));
    if (from === undefined) throw new CmbsError('conflict', 'The sending member is not here any more.');
    const { entity } = read.message;
    const isDiscovery = send.layer === 'l1' && isEmptyContent(entity.verbatim[MESSAGE.content]);
    const content = isDiscovery ? JSON.stringify(describe(from)) : undefined;
    const frame = outgoingFrame(send, entity, { deployment, uriOf, revision: from.updatedAt }, content);
    // What an earlier release queued may be what no receiver takes.
    parseFrame(frame);
    return frame;
  }

  #freeFrame(held: HeldSend): void {
    held.frame = undefined;
    held.releaseFrame();
    held.releaseFrame = () => undefined;
  }

  /** A reply came for an item. */
  async replied(item: Item, bytes: Buffer): Promise<'settled' | { readonly retry: string }> {
    const { counters } = this.#environment;
    const { layer } = item.held.send;
    let reply: Reply;
    try {
      reply = parseReply(bytes);
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (error.code !== 'bad_request') throw thrown;
      counters.add('cmbs_deliveries', { layer, outcome: 'failed' });
      this.settle(item, { state: 'failed', reason: error.message });
      return 'settled';
    }
    if (reply.kind === 'error') {
      if (isRetryable(reply.code) && !this.#isHopeless(item, reply.code)) return { retry: reply.message };
      counters.add('cmbs_deliveries', { layer, outcome: 'failed' });
      this.settle(item, {
        state: 'failed',
        reason: `${reply.code}: ${reply.message}`,
        reply: bytes.toString('utf8'),
      });
      return 'settled';
    }
    counters.add('cmbs_deliveries', { layer, outcome: 'delivered' });
    this.settle(item, { state: 'delivered', reply: reply.text });
    await this.#learnFrom(reply.json, item);
    return 'settled';
  }

  /** What the receiver says of itself is a courtesy: the delivery stands whatever becomes of it. */
  async #learnFrom(reply: JsonObject, { held, address }: Item): Promise<void> {
    try {
      const { id = '' } = this.#environment.members.get(held.send.from) ?? {};
      await this.#learning.learn(reply.member_description, originOf(reply), id, { asked: address });
    } catch (error) {
      this.#environment.log.warn('description in a reply not kept', { cause: error });
    }
  }

  /** A message on which its receiver breaks each time must not hold up those behind it until it expires. */
  #isHopeless({ held, name, tries }: Item, code: string): boolean {
    const recorded = held.send.receivers.find((receiver) => receiver.name === name)?.attempts ?? 0;
    return code === 'internal' && recorded + tries >= MAX_INTERNAL_ATTEMPTS;
  }

  /** An item has its outcome. */
  settle(item: Tried, change: Pick<Receiver, 'state'> & Partial<Pick<Receiver, 'reason' | 'reply'>>): void {
    const { held } = item;
    const { clock, log } = this.#environment;
    const what = {
      layer: held.send.layer,
      member: held.send.from,
      id: held.send.message,
      send: held.send.id,
      receiver: item.name,
      trace: held.send.trace,
    };
    log.info('sent', {
      event: 'delivery',
      direction: 'out',
      ...what,
      outcome: change.state,
      attempts: item.tries,
      ms: clock.now() - held.send.createdAt,
    });
    if (isGivenUp(change.state)) {
      log.warn('a delivery was given up', { event: 'dead_letter', ...what, reason: change.reason });
    }
    held.trying.delete(item.name);
    held.queued.delete(item.name);
    if (held.trying.size === 0) this.#freeFrame(held);
    const receiver = held.send.receivers.find(({ name }) => name === item.name);
    const queue = receiver === undefined ? undefined : this.#knownQueue(receiver);
    if (queue !== undefined) queue.waiting = Math.max(0, queue.waiting - 1);
    this.#note(held, {
      sendId: held.send.id,
      name: item.name,
      change: { ...change, attempts: item.tries },
    });
    item.tries = 0;
  }

  /** An item cannot go further now; the send answers whoever waits and stays in hand. */
  park(item: Tried, { reason, state }: Parking): void {
    const { held } = item;
    const wasTrying = held.trying.delete(item.name);
    if (held.trying.size === 0) this.#freeFrame(held);
    held.lastReason = reason;
    const before = held.send.receivers.find(({ name }) => name === item.name);
    // What the store says already is not written again, unless it says that the send is in our hands.
    const isNews = before?.reason !== reason || before.state !== state || item.tries > 0;
    if (isNews || held.claiming !== undefined) {
      this.#note(held, { sendId: held.send.id, name: item.name, change: { state, reason, attempts: item.tries } });
      item.tries = 0;
    } else if (wasTrying) this.#answer(held);
  }

  /** A queue takes a parked item up again. */
  resumed(item: Item): void {
    item.held.trying.add(item.name);
  }

  #note(held: HeldSend, outcome: Outcome): void {
    held.outcomes.push(outcome);
    held.send = applyOutcomes(held.send, [outcome], this.#environment.clock.now());
    if (held.flushing) return;
    held.flushing = true;
    // Outcomes that come in the same turn (a broadcast to many) share one transaction.
    setImmediate(() => this.#write(held));
  }

  #write(held: HeldSend, attempt = 1): void {
    const writing: Promise<void> = this.#flush(held, attempt).finally(() => void this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  async #flush(held: HeldSend, attempt: number): Promise<void> {
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
        const current = await readSend(tx, held.send.id);
        if (current === undefined) return;
        const { holder, ...free } = current.send;
        // Not when a later companion has it in hand.
        const isReleased = held.trying.size === 0 && (holder === undefined || shard.isOurs(holder));
        const base = isReleased ? free : current.send;
        writeSend(tx, applyOutcomes(base, outcomes, clock.now()), current.message, registry, clock);
      });
    } catch (error) {
      log.error('outcome not recorded; trying again', { send: held.send.id, cause: error });
      held.outcomes.unshift(...outcomes);
      if (this.#closed) return;
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
    this.#settleIfDone(held);
    this.#answer(held);
    this.#release(held);
  }

  #settleIfDone(held: HeldSend): void {
    // Not while outcomes are being written: who is told would read the message as it was before.
    if (held.isSettled && held.outcomes.length === 0 && !held.flushing) this.#drop(held);
  }

  /** Answers whoever waits, once nothing is being tried and everything is in the store. */
  #answer(held: HeldSend): void {
    if (held.waiters.size === 0 || held.flushing || held.trying.size > 0) return;
    const isPartial = held.send.layer === 'l2' && held.send.receivers.some(({ state }) => state === 'sent');
    const reply: LinkReply<'send'> =
      held.isSettled || isPartial
        ? { outcome: 'settled' }
        : { outcome: 'queued', ...(held.lastReason === undefined ? {} : { reason: held.lastReason }) };
    for (const waiter of [...held.waiters]) waiter(reply);
  }

  /** Without a reply of its own: it is in the store no more, and what became of it stands in its message, if at all. */
  #drop(held: HeldSend, reply: LinkReply<'send'> = { outcome: 'settled' }): void {
    if (this.#held.get(held.send.id) !== held) return;
    this.#held.delete(held.send.id);
    held.cancelRetry?.();
    this.#publications.remove(held);
    this.#freeFrame(held);
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
    for (const receiver of held.send.receivers) this.#knownQueue(receiver)?.remove(held, receiver.name);
    held.send = { ...held.send, receivers: [] };
    this.#drop(held);
  }

  #expire(held: HeldSend): void {
    const { counters } = this.#environment;
    for (const receiver of held.send.receivers) {
      if (!isOpen(receiver)) continue;
      const { name } = receiver;
      this.#knownQueue(receiver)?.remove(held, name);
      counters.add('cmbs_dropped', { reason: 'expired', layer: held.send.layer });
      const reason = receiver.reason ?? 'not delivered in time';
      this.settle({ held, name, tries: 0 }, { state: 'expired', reason });
    }
  }

  /** A send is due, whether it is held or not; when it cannot be read now, a little later. */
  #expireSoon(sendId: string, attempt = 1): void {
    const { store, clock, log, backOff } = this.#environment;
    readSend(store, sendId)
      .then(
        async (read) => {
          if (read === undefined || this.#closed || !(await this.#serves(read.send))) return;
          if (read.send.expiresAt > clock.now()) return;
          const held = this.#hold(read.send);
          held.follow(read.send);
          this.#expire(held);
          this.#release(held);
        },
        (error: unknown) => {
          log.warn('a send that has expired could not be read', { send: sendId, cause: error });
          if (!this.#draining) clock.after(backOff(attempt), () => this.#expireSoon(sendId, attempt + 1));
        },
      )
      .catch((error: unknown) => log.error('a send was not ended', { send: sendId, cause: error }));
  }
}

/** Sends that a gauge counts at most. */
const MAX_COUNTED = 1_000_000;

/** Whether the same send may succeed later, after an error reply with this code. */
const isRetryable = (code: string): boolean =>
  Object.hasOwn(CATALOGUE, code) && CATALOGUE[code as ErrorCode].retryable;

const isOpenIn = (send: Send, name: string): boolean =>
  send.receivers.some((receiver) => receiver.name === name && isOpen(receiver));

/**
 * The outbox: every send in the store that has an open receiver, in hand here until it has an outcome. Requests and
 * broadcasts go through one lane per address, so that what one sender queued for one receiver arrives in its order
 * and a receiver that hangs holds nobody else up.
 */
import { CATALOGUE, CmbsError, toCmbsError, type ErrorCode, type JsonObject } from '@cmbs/shared';
import type { LinkReply } from '@cmbs/shared/link/link';
import { outgoingFrame } from '@cmbs/shared/broker/publish';
import {
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
import { MAX_INTERNAL_ATTEMPTS, MAX_LANES, PUBLICATION_GRACE_MS } from '@cmbs/shared/limits';
import { readEntity } from '@cmbs/shared/occi/entity-store';
import type { Watch } from '@cmbs/shared/store/store';
import { BroadcastLane } from './broadcast-lane';
import type { Environment } from './environment';
import {
  heldElsewhere,
  HeldSend,
  type LaneOwner,
  type Item,
  type Lane,
  type Parking,
  type Tried,
  type Waiter,
} from './held-send';
import { Publications } from './publications';
import { RequestLane } from './request-lane';

const PAGE = 1000;

export class Outbox implements LaneOwner {
  readonly #environment: Environment;
  readonly #learning: Learning;
  readonly #held = new Map<string, HeldSend>();
  readonly #taking = new Map<string, Promise<HeldSend | undefined>>();
  /** Writes of outcomes under way. */
  readonly #writing = new Set<Promise<void>>();
  readonly #requests = new Map<string, Lane>();
  readonly #broadcasts = new Map<string, Lane>();
  readonly #publications: Publications;
  /** What found every lane taken, in order; the next lane that is free is theirs. */
  readonly #withoutLane = new Map<HeldSend, Item[]>();
  #watch: Watch | undefined;
  #cancelExpiry: (() => void) | undefined;
  #cancelLook: () => void = () => undefined;
  #nextExpiry = Infinity;
  /** Takes nothing more in hand. */
  #draining = false;
  #closed = false;

  constructor(environment: Environment, learning: Learning) {
    this.#environment = environment;
    this.#learning = learning;
    this.#publications = new Publications(environment, {
      settle: (item, change) => this.settle(item, change),
      park: (item, parking) => this.park(item, parking),
      published: (held, stored) => this.#published(held, stored),
    });
  }

  /** Takes everything that is open in the store in hand, in the order in which it was queued. */
  async open(): Promise<void> {
    const { store } = this.#environment;
    this.#watch = store.watch({ collection: SENDS }, (changes) => {
      for (const { id, deleted } of changes) {
        const held = this.#held.get(id);
        if (deleted) this.#cancelled(id);
        else if (held === undefined) this.#takeSoon(id);
        else if (isPublishing(held.send)) void this.#publications.follow(held);
      }
    });
    await this.#watch.ready;
    await this.#takeAll(0);
    this.#lookSoon();
  }

  async #takeAll(publishAfterMs: number): Promise<void> {
    const { store } = this.#environment;
    for (let after: string | undefined, more = true; more && !this.#draining;) {
      const page = await store.query({
        collection: SENDS,
        by: 'order',
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      for (const doc of page.docs) {
        const send = sendOf(doc);
        if (await this.#serves(send)) this.#takeInHand(send, publishAfterMs);
      }
      after = page.next;
      more = after !== undefined;
    }
  }

  /** Whether a send is this companion's: its member's sockets are here. */
  async #serves({ from }: Send): Promise<boolean> {
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

  /** Takes in hand what the watch did not tell of, or nobody else has any more. */
  lookNow(): void {
    const { log } = this.#environment;
    this.#cancelLook();
    this.#takeAll(PUBLICATION_GRACE_MS)
      .catch((error: unknown) => log.warn('sends not read', { cause: error }))
      .finally(() => this.#lookSoon());
  }

  /** Tries a queued send now; answers as soon as its outcome is known or it is clear that it has to wait. */
  async attempt(sendId: string, signal: AbortSignal | undefined): Promise<LinkReply<'send'>> {
    const held = await this.#take(sendId);
    if (held === undefined) return { outcome: 'settled' };
    if (isPublishing(held.send)) {
      await this.#publications.follow(held);
      // Who asks has published what it could: the rest is ours.
      this.#publications.hurry(held);
    }
    for (const receiver of held.send.receivers) {
      if (isOpen(receiver)) this.#knownLane(receiver)?.hurry();
    }
    return new Promise((resolve) => {
      const waiter: Waiter = (reply) => {
        held.waiters.delete(waiter);
        signal?.removeEventListener('abort', giveUp);
        resolve(reply);
      };
      const giveUp = (): void => waiter({ outcome: 'queued', reason: held.lastReason ?? 'no outcome in time' });
      held.waiters.add(waiter);
      if (signal?.aborted === true) giveUp();
      else signal?.addEventListener('abort', giveUp, { once: true });
      this.#answer(held);
    });
  }

  /** Sends in hand; a gauge. */
  get depth(): number {
    return this.#held.size;
  }

  /** Milliseconds since the oldest of them was queued; a gauge. */
  get oldestMs(): number {
    const now = this.#environment.clock.now();
    let oldest = now;
    for (const { send } of this.#held.values()) oldest = Math.min(oldest, send.createdAt);
    return now - oldest;
  }

  /** Nothing more leaves for anybody; resolves when what has left has its outcome, in the store too. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#watch?.end();
    this.#cancelLook();
    await Promise.all([this.#publications.drain(), ...this.#lanes().map((lane) => lane.drain())]);
    await this.#writeAll();
  }

  async close(): Promise<void> {
    this.#draining = true;
    this.#closed = true;
    this.#watch?.end();
    this.#cancelLook();
    this.#cancelExpiry?.();
    for (const held of this.#held.values()) held.cancelRetry?.();
    this.#publications.stop();
    await Promise.all(this.#lanes().map((lane) => lane.close()));
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
    const held = new HeldSend(send);
    this.#held.set(send.id, held);
    this.#expireAt(send.expiresAt);
    this.#begin(held, publishAfterMs);
    return held;
  }

  /** Hands every open receiver to its lane; what is passed on, or was cut off by a crash, is published from here. */
  #begin(held: HeldSend, publishAfterMs: number): void {
    const { send } = held;
    const sequence = orderOf(send);
    for (const receiver of send.receivers) {
      if (!isOpen(receiver)) continue;
      held.trying.add(receiver.name);
      if (receiver.via === 'bus') continue;
      const { name, address = '' } = receiver;
      const item: Item = { held, name, address, sequence, tries: 0 };
      const lane = this.#laneOf(receiver);
      if (lane !== undefined) lane.add(item);
      else {
        const others = this.#withoutLane.get(held);
        if (others === undefined) this.#withoutLane.set(held, [item]);
        else others.push(item);
        this.park(item, { reason: 'too many peers at once', state: 'queued' });
      }
    }
    this.#publications.add(held, publishAfterMs);
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

  #lanes(): readonly Lane[] {
    return [...this.#requests.values(), ...this.#broadcasts.values()];
  }

  #lanesOf({ via }: Receiver): Map<string, Lane> {
    return via === 'broadcast' ? this.#broadcasts : this.#requests;
  }

  #knownLane(receiver: Receiver): Lane | undefined {
    return receiver.address === undefined ? undefined : this.#lanesOf(receiver).get(receiver.address);
  }

  /** The lane to the receiver, a new one if need be; undefined when all are taken. */
  #laneOf(receiver: Receiver): Lane | undefined {
    const { address, via } = receiver;
    if (address === undefined) return undefined;
    const known = this.#knownLane(receiver);
    if (known !== undefined) return known;
    const lanes = this.#lanesOf(receiver);
    if (lanes.size >= MAX_LANES) return undefined;
    const idle = (): void => {
      lanes.delete(address);
      this.#giveLanes();
    };
    const lane =
      via === 'broadcast'
        ? new BroadcastLane(address, this, this.#environment, idle)
        : new RequestLane(address, this, this.#environment, idle);
    lanes.set(address, lane);
    return lane;
  }

  /** Hands what waits for a lane to those that there are now. */
  #giveLanes(): void {
    if (this.#draining) return;
    for (const [held, items] of [...this.#withoutLane]) {
      const left = items.filter((item) => {
        const receiver = held.send.receivers.find(({ name }) => name === item.name);
        if (receiver === undefined || !isOpen(receiver)) return false;
        const lane = this.#laneOf(receiver);
        if (lane === undefined) return true;
        this.resumed(item);
        lane.add(item);
        return false;
      });
      if (left.length > 0) this.#withoutLane.set(held, left);
      else this.#withoutLane.delete(held);
    }
  }

  /**
   * What has to go out for an item, after this companion has claimed its send in the store; undefined when there is
   * nothing to do any more (settled, cancelled, expired).
   */
  async prepare(item: Item): Promise<string | undefined> {
    const { held } = item;
    if (!this.#environment.shard.isCurrent()) throw heldElsewhere();
    if (!isOpenIn(held.send, item.name)) return undefined;
    if (held.send.expiresAt <= this.#environment.clock.now()) {
      this.#expire(held);
      return undefined;
    }
    held.claiming ??= this.#claim(held);
    if (!(await held.claiming)) return undefined;
    held.frame ??= this.#frameOf(held);
    let frame: string | undefined;
    try {
      frame = await held.frame;
    } catch (error) {
      // This send has nothing to go out; the others of its lane have.
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
    try {
      const claimed = await store.transact(async (tx) => {
        const current = await readSend(tx, held.send.id);
        if (current === undefined) return 'gone';
        // Its member's sockets may have moved to another shard, whose companion has the send as well.
        if (!shard.servesAll && !shard.serves((await readEntity(tx, current.send.from))?.entity)) return 'moved';
        // A later companion has it in hand; this one's time is over, whether or not it knows.
        if (current.send.holder !== undefined && shard.isOutrunBy(current.send.holder)) throw heldElsewhere();
        const send: Send = { ...current.send, holder: shard.name };
        if (current.message === undefined) putSend(tx, send);
        else writeSend(tx, send, current.message, registry, clock);
        return 'claimed';
      });
      if (claimed === 'gone') this.#drop(held);
      if (claimed === 'moved') this.#drop(held, { outcome: 'queued', reason: 'another companion has the member' });
      return claimed === 'claimed';
    } catch (error) {
      held.claiming = undefined;
      throw error;
    }
  }

  async #frameOf(held: HeldSend): Promise<string | undefined> {
    const { send } = held;
    if (send.frame !== undefined) return send.frame;
    const { store, members, deployment, uriOf } = this.#environment;
    try {
      const read = await readSend(store, send.id);
      if (read?.message === undefined) return undefined;
      const from = members.get(send.from) ?? (await members.refresh(send.from));
      if (from === undefined) throw new CmbsError('conflict', 'The sending member is not here any more.');
      const { entity } = read.message;
      const isDiscovery = send.layer === 'l1' && isEmptyContent(entity.verbatim[MESSAGE.content]);
      const content = isDiscovery ? JSON.stringify(describe(from)) : undefined;
      const frame = outgoingFrame(send, entity, { deployment, uriOf, revision: from.updatedAt }, content);
      // What an earlier release queued may be what no receiver takes.
      parseFrame(frame);
      return frame;
    } catch (error) {
      held.frame = undefined;
      throw error;
    }
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
    held.lastReason = reason;
    const before = held.send.receivers.find(({ name }) => name === item.name);
    // What the store says already is not written again, unless it says that the send is in our hands.
    const isNews = before?.reason !== reason || before.state !== state || item.tries > 0;
    if (isNews || held.claiming !== undefined) {
      this.#note(held, { sendId: held.send.id, name: item.name, change: { state, reason, attempts: item.tries } });
      item.tries = 0;
    } else if (wasTrying) this.#answer(held);
  }

  /** A lane takes a parked item up again. */
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
    if (held.trying.size === 0) {
      held.claiming = undefined;
      held.frame = undefined;
    }
    held.flushing = false;
    if (held.outcomes.length > 0) {
      held.flushing = true;
      await this.#flush(held, 0);
      return;
    }
    this.#settleIfDone(held);
    this.#answer(held);
  }

  #settleIfDone(held: HeldSend): void {
    if (held.isSettled && held.outcomes.length === 0) this.#drop(held);
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
    this.#withoutLane.delete(held);
    held.trying.clear();
    held.flushing = false;
    for (const waiter of [...held.waiters]) waiter(reply);
  }

  /** The message, and with it its send, was deleted. */
  #cancelled(sendId: string): void {
    const held = this.#held.get(sendId);
    // Our own last write of a settled send is seen here too; it is dropped already or about to be.
    if (held === undefined || held.isSettled) return;
    for (const receiver of held.send.receivers) this.#knownLane(receiver)?.remove(held, receiver.name);
    held.send = { ...held.send, receivers: [] };
    this.#drop(held);
  }

  #expire(held: HeldSend): void {
    const { counters } = this.#environment;
    for (const receiver of held.send.receivers) {
      if (!isOpen(receiver)) continue;
      const { name } = receiver;
      this.#knownLane(receiver)?.remove(held, name);
      counters.add('cmbs_dropped', { reason: 'expired', layer: held.send.layer });
      const reason = receiver.reason ?? 'not delivered in time';
      this.settle({ held, name, tries: 0 }, { state: 'expired', reason });
    }
  }

  /** Wakes at the earliest expiry among the sends in hand. */
  #expireAt(time: number): void {
    if (time >= this.#nextExpiry || this.#closed) return;
    const { clock } = this.#environment;
    this.#cancelExpiry?.();
    this.#nextExpiry = time;
    this.#cancelExpiry = clock.after(Math.min(Math.max(time - clock.now(), 0), LONGEST_TIMER_MS), () => {
      this.#nextExpiry = Infinity;
      const now = clock.now();
      let earliest = Infinity;
      for (const held of [...this.#held.values()]) {
        if (held.send.expiresAt <= now) this.#expire(held);
        else earliest = Math.min(earliest, held.send.expiresAt);
      }
      if (earliest !== Infinity) this.#expireAt(earliest);
    });
  }
}

/** A timer of Node takes 31 bits of milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Whether the same send may succeed later, after an error reply with this code. */
const isRetryable = (code: string): boolean =>
  Object.hasOwn(CATALOGUE, code) && CATALOGUE[code as ErrorCode].retryable;

const isOpenIn = (send: Send, name: string): boolean =>
  send.receivers.some((receiver) => receiver.name === name && isOpen(receiver));

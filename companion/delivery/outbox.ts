/**
 * The outbox: every outbound message in the store that has an open delivery. Requests and broadcasts go through one
 * queue per address, so that the messages of one sender reach one receiver in their order, and a receiver that hangs
 * delays no other (docs/design.md). Memory holds a limited number of messages that can go now; the rest stays in the store.
 */
import type { RpcResult } from '@cmbs/shared/rpc';
import type { Layer, MemberRegistration, OutboundMessage } from '@cmbs/shared/broker';
import type { Entity, Path } from '@cmbs/shared/occi';
import type { DeliveryEnvironment } from './environment';
import { Admission } from './admission';
import { Backlog, type OutboxStatus } from './backlog';
import { Claims } from './claim';
import { Destinations } from './destinations';
import { Diversion } from './diversion';
import { Expiry } from './expiry';
import type { QueueItem, QueueOwner } from './in-flight-message';
import { InFlightMessages } from './in-flight-messages';
import { MessageShards } from './message-shards';
import { Moves } from './moves';
import { OutgoingFrames } from './outgoing-frames';
import { Publications } from './publications';
import { Replies } from './replies';
import { Settlement } from './settlement';
import { WaitingMessages } from './waiting-messages';
import { WatchedMessages } from './watched-messages';

export class Outbox {
  readonly #environment: DeliveryEnvironment;
  readonly #messages: InFlightMessages;
  readonly #destinations: Destinations;
  readonly #settlement: Settlement;
  readonly #replies: Replies;
  readonly #publications: Publications;
  readonly #expiry: Expiry;
  readonly #backlog: Backlog;
  readonly #moves: Moves;
  readonly #diversion: Diversion;
  readonly #admission: Admission;
  readonly #shards: MessageShards;
  /** Begins nothing more. */
  #isDraining = false;
  #isClosed = false;

  constructor(environment: DeliveryEnvironment, registration: MemberRegistration) {
    this.#environment = environment;
    const { store, clock, log, backOff } = environment;
    const serves = (outbound: Pick<OutboundMessage, 'from'>): Promise<boolean> => this.#serves(outbound);
    const shards = new MessageShards(environment);
    this.#shards = shards;
    const isDraining = (): boolean => this.#isDraining;
    const frames = new OutgoingFrames(environment);
    const messages = new InFlightMessages({ frames, isPublishing: (message) => this.#publications.has(message) });
    this.#messages = messages;
    const hold = (outbound: OutboundMessage) => messages.hold(outbound);
    const release: InFlightMessages['release'] = (message) => messages.release(message);
    const settle: QueueOwner['settle'] = (item, change) => this.#settlement.settle(item, change);
    const watchedMessages = new WatchedMessages();
    const waiting = new WaitingMessages({ environment, settle, hold, serves, release, isDraining });
    this.#destinations = new Destinations(
      environment,
      {
        prepare: (item, isFailing) => claims.prepare(item, isFailing),
        replied: (item, bytes) => this.#replied(item, bytes),
        broke: (item) => this.#replies.broke(item),
        settle,
        backOff: (item, reason) => this.#settlement.backOff(item, reason),
        resumed: (item) => this.#settlement.resumed(item),
        passed: (item) => this.#settlement.passed(item),
        evicted: (item) => this.#settlement.evicted(item),
        readWaiting: (queue, limit, after) => waiting.read(queue, limit, after),
        firstWaiting: (queue) => waiting.first(queue),
        refuseWaiting: (queue, reason) => waiting.refuse(queue, reason),
        watchedMessages,
        get hasRoom() {
          return messages.hasRoom;
        },
      },
      () => this.#admission.isScanning,
    );
    const destinations = this.#destinations;
    this.#publications = new Publications(environment, {
      settle,
      hold,
      serves,
      backOff: (item, reason) => this.#settlement.backOff(item, reason),
      published: (message, stored) => this.#settlement.published(message, stored),
      removed: (message) => this.#settlement.unpublished(message),
    });
    const publications = this.#publications;
    this.#settlement = new Settlement({ environment, messages, frames, destinations, publications });
    const settlement = this.#settlement;
    this.#replies = new Replies(environment, registration, settle);
    const claims = new Claims({ environment, frames, replies: this.#replies, settlement });
    const { shard } = environment.shard;
    this.#expiry = new Expiry({ store, clock, log, backOff, shard, expire: (outbound) => this.#expire(outbound) });
    this.#moves = new Moves({ environment, destinations, settle, hold, release, serves, isDraining });
    this.#admission = new Admission({
      environment,
      messages,
      destinations,
      publications,
      expiry: this.#expiry,
      moves: this.#moves,
      settlement,
      watchedMessages,
      shards,
      serves: (outbound) => this.#servesOrCorrects(outbound),
      isDraining,
    });
    this.#diversion = new Diversion({
      environment,
      destinations,
      settlement,
      offer: (message, delivery) => this.#admission.offer(message, delivery),
    });
    this.#backlog = new Backlog(environment);
  }

  /** Begins with every open message in the store, in the order in which they were queued. */
  open(): Promise<void> {
    return this.#admission.open();
  }

  /** A member has come from another shard: its messages go out from here. */
  memberCame(): void {
    this.#admission.memberCame();
  }

  /**
   * A member that may not be this companion's has changed.
   * @param before addresses that it had, by layer
   * @param now the member; undefined if it was deleted
   */
  memberMoved(path: Path, before: Readonly<Record<Layer, string>>, now: Entity | undefined): void {
    if (!this.#isDraining) this.#moves.changed(path, before, now);
  }

  /** A frame came from a member at an address: messages that wait for the member may go. */
  notify(address: string): void {
    this.#destinations.notify(address);
  }

  /** Tries a message now; answers when its outcome is known, or when it has to wait. */
  attempt(id: string, signal: AbortSignal | undefined): Promise<RpcResult<'send'>> {
    return this.#admission.attempt(id, signal);
  }

  /** Outbound messages in memory; a gauge. */
  get inFlight(): number {
    return this.#messages.size;
  }

  /** Addresses to which messages go, or for which they wait; a gauge. */
  get destinationCount(): number {
    return this.#destinations.size;
  }

  /** Gauges; the last known when the store does not answer. */
  status(): Promise<OutboxStatus> {
    return this.#backlog.status();
  }

  /** Sends no more; resolves when everything that was sent has its outcome in the store. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#admission.stop();
    await Promise.all([this.#publications.drain(), ...this.#destinations.all.map((queue) => queue.drain())]);
    await this.#settlement.writeAll();
  }

  async close(): Promise<void> {
    this.#isDraining = true;
    this.#isClosed = true;
    this.#settlement.close();
    this.#admission.stop();
    this.#expiry.close();
    for (const message of this.#messages.all) message.cancelRetry?.();
    this.#publications.stop();
    await this.#destinations.close();
    for (const message of this.#messages.all) {
      for (const waiter of [...message.waiters])
        waiter({ outcome: 'queued', reason: 'the companion is stopping' });
    }
    await this.#settlement.writeAll();
    // The bus may not answer; all other outcomes are written by now.
    await this.#publications.drain();
    await this.#settlement.writeAll();
  }

  /** Whether an outbound message is this companion's: the sockets of its member are here. */
  async #serves({ from }: Pick<OutboundMessage, 'from'>): Promise<boolean> {
    const { members, shard } = this.#environment;
    return shard.servesAll || shard.serves(members.get(from) ?? (await members.refresh(from)));
  }

  /** For a message that was found by its shard: when another shard serves the member, the message goes there. */
  async #servesOrCorrects(outbound: Pick<OutboundMessage, 'id' | 'from'>): Promise<boolean> {
    if (await this.#serves(outbound)) return true;
    await this.#shards.give(outbound.id);
    return false;
  }

  async #replied(item: QueueItem, bytes: Buffer): ReturnType<QueueOwner['replied']> {
    const outcome = await this.#replies.replied(item, bytes);
    // A function that still knew the old address may have queued the message.
    if (outcome === 'moved') await this.#moves.move(item.message.outbound);
    if (typeof outcome === 'string' || 'retry' in outcome) return outcome;
    await this.#diversion.divert(item, outcome.apart);
    return 'settled';
  }

  async #expire(outbound: OutboundMessage): Promise<void> {
    if (!(await this.#servesOrCorrects(outbound)) || this.#isClosed) return;
    const message = this.#messages.hold(outbound);
    message.follow(outbound);
    this.#settlement.expire(message);
    this.#messages.release(message);
  }
}

/**
 * Brings outbound messages from the store to their queues: all messages at the start, messages that the store reports
 * later, and messages that a caller asks to be tried now.
 */
import type { RpcResult } from '@cmbs/shared/rpc';
import {
  ADDRESS_FIELD,
  type Delivery,
  deliveryKey,
  isOpen,
  isPublishing,
  orderOf,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  SHARD_FIELD,
  socketsOf,
} from '@cmbs/shared/broker';
import type { Watch } from '@cmbs/shared/store';
import type { DeliveryEnvironment } from './environment';
import { PUBLICATION_GRACE_MS } from '../limits';
import type { DestinationQueue } from './destination-queue';
import type { Destinations } from './destinations';
import type { Expiry } from './expiry';
import type { InFlightMessage, Waiter } from './in-flight-message';
import type { InFlightMessages } from './in-flight-messages';
import type { MessageShards } from './message-shards';
import type { Moves } from './moves';
import { OutboundReader } from './outbound-reader';
import type { Publications } from './publications';
import type { Settlement } from './settlement';
import { StoreScan } from './store-scan';
import type { WatchedMessages } from './watched-messages';

export interface AdmissionParts {
  readonly environment: Pick<
    DeliveryEnvironment,
    'store' | 'members' | 'clock' | 'log' | 'counters' | 'backOff' | 'lookAgainMs' | 'limits' | 'shard' | 'layers'
  >;
  readonly messages: InFlightMessages;
  readonly destinations: Destinations;
  readonly publications: Publications;
  readonly expiry: Expiry;
  readonly moves: Moves;
  readonly settlement: Settlement;
  readonly watchedMessages: WatchedMessages;
  readonly shards: MessageShards;
  /** Whether the sending member is this companion's; if not, the shard of the message is corrected. */
  readonly serves: (outbound: Pick<OutboundMessage, 'id' | 'from'>) => Promise<boolean>;
  readonly isDraining: () => boolean;
}

export class Admission {
  readonly #parts: AdmissionParts;
  readonly #scan: StoreScan;
  readonly #reader: OutboundReader;
  /** The first scan of the store is under way. */
  #isScanning = true;
  /** Outbound messages for members that moved while no companion ran, found by the first scan. */
  readonly #misplaced: Pick<OutboundMessage, 'id' | 'from'>[] = [];
  #watch: Watch | undefined;
  #stopFollowingMembers: () => void = () => undefined;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    const { environment, shards, serves } = parts;
    this.#scan = new StoreScan({
      environment,
      shards,
      serves,
      found: (outbound, afterMs) => this.#found(outbound, afterMs),
    });
    this.#reader = new OutboundReader(environment, (outbound) => this.#read(outbound));
  }

  /** During the first scan a new queue has to expect that the store has earlier messages. */
  get isScanning(): boolean {
    return this.#isScanning;
  }

  /** Finds every open message in the store and begins with them, in the order in which they were queued. */
  async open(): Promise<void> {
    const { environment, messages, publications, settlement, moves, destinations, watchedMessages } = this.#parts;
    const where = { field: SHARD_FIELD, value: environment.shard.shard };
    this.#watch = environment.store.watch({ collection: OUTBOUND_MESSAGES, where }, (changes) => {
      for (const { id, deleted } of changes) {
        const message = messages.get(id);
        if (deleted) {
          settlement.cancelled(id);
          watchedMessages.deleted(id);
        } else if (message === undefined) this.#reader.soon(id);
        else if (isPublishing(message.outbound)) void publications.follow(message);
      }
    });
    await this.#watch.ready;
    this.#parts.expiry.open();
    this.#stopFollowingMembers = environment.members.onChange((path, before, now) => {
      if (before !== undefined) moves.changed(path, socketsOf(before, environment.layers), now);
    });
    await this.#scan.all(0);
    // No message goes before those of moved members are at their new addresses.
    await moves.moveFound(this.#misplaced.splice(0));
    this.#isScanning = false;
    for (const queue of destinations.all) queue.caughtUp();
    this.#scan.soon();
  }

  /** Scans the store for the messages of a member that has come from another shard. */
  memberCame(): void {
    this.#parts.shards.memberCame();
    this.#scan.now();
  }

  /** Tries a message now; answers when its outcome is known, or when it has to wait. */
  async attempt(id: string, signal: AbortSignal | undefined): Promise<RpcResult<'send'>> {
    const { messages, destinations, publications, settlement } = this.#parts;
    const taken = messages.get(id) ?? (await this.#reader.take(id));
    if (taken === undefined) return { outcome: 'settled' };
    // It may have been released meanwhile, since nothing of it is being tried.
    const message = messages.keep(taken);
    if (isPublishing(message.outbound)) {
      await publications.follow(message);
      // The caller has published what it could; the companion publishes the rest.
      publications.notify(message);
    }
    for (const delivery of message.outbound.receivers) {
      if (!isOpen(delivery) || delivery.via === 'bus') continue;
      if (message.queued.has(deliveryKey(delivery))) destinations.known(delivery)?.notify();
      else this.offer(message, delivery);
    }
    return new Promise((resolve) => {
      const waiter: Waiter = (reply) => {
        message.waiters.delete(waiter);
        signal?.removeEventListener('abort', giveUp);
        // Its queue may have left it to the store.
        messages.release(message);
        resolve(reply);
      };
      const giveUp = (): void => waiter({ outcome: 'queued', reason: message.lastReason ?? 'no outcome in time' });
      message.waiters.add(waiter);
      if (signal?.aborted === true) giveUp();
      else signal?.addEventListener('abort', giveUp, { once: true });
      settlement.answer(message);
    });
  }

  /** Offers a delivery to its queue. */
  offer(message: InFlightMessage, delivery: Delivery): void {
    const { address = '' } = delivery;
    const key = deliveryKey(delivery);
    const queue = this.#parts.destinations.of(delivery);
    if (queue === undefined) return;
    message.queued.add(key);
    message.trying.add(key);
    if (queue.offer({ message, key, address, sequence: orderOf(message.outbound), tries: 0 })) return;
    message.queued.delete(key);
    message.stopTrying(key);
    message.lastReason = `earlier messages wait for ${address}`;
  }

  /** Takes no more messages. */
  stop(): void {
    this.#stopFollowingMembers();
    this.#watch?.end();
    this.#scan.stop();
    this.#reader.stop();
  }

  /** A scan found a message: tells its queues, and the publications. */
  async #found(outbound: OutboundMessage, publishAfterMs: number): Promise<void> {
    const { messages, destinations, publications, expiry, moves } = this.#parts;
    expiry.note(outbound);
    if (await moves.isMisplaced(outbound)) this.#follow(outbound);
    for (const delivery of outbound.receivers) {
      const key = deliveryKey(delivery);
      if (!isOpen(delivery) || messages.get(outbound.id)?.queued.has(key) === true) continue;
      const queue = destinations.of(delivery);
      if (queue === undefined) continue;
      if (!this.#isScanning) {
        if (!queue.knowsOfMore) queue.resume();
        continue;
      }
      const { address = '' } = delivery;
      queue.waiting += 1;
      queue.found({ message: messages.hold(outbound), key, address, sequence: orderOf(outbound), tries: 0 });
    }
    const message = messages.get(outbound.id);
    if (message !== undefined) messages.release(message);
    if (isPublishing(outbound)) publications.found(outbound, publishAfterMs);
  }

  #follow(outbound: OutboundMessage): void {
    if (this.#isScanning) {
      this.#misplaced.push({ id: outbound.id, from: outbound.from });
      return;
    }
    this.#parts.moves.move(outbound).catch((error: unknown) => {
      this.#parts.environment.log.warn(
        'message not moved to the new address of its member; the next scan tries again',
        {
          send: outbound.id,
          cause: error,
        },
      );
    });
  }

  /** The store reported a message, or a caller named it. */
  async #read(outbound: OutboundMessage): Promise<InFlightMessage | undefined> {
    const { messages, expiry, serves, isDraining } = this.#parts;
    if (!(await serves(outbound)) || isDraining()) return undefined;
    const known = messages.get(outbound.id);
    if (known !== undefined) return known;
    const message = messages.hold(outbound);
    expiry.note(outbound);
    this.#begin(message);
    messages.release(message);
    return message;
  }

  /** Offers every open delivery to its queue, and topics to the publications. */
  #begin(message: InFlightMessage): void {
    const { environment, destinations, publications } = this.#parts;
    const { waitingBroadcasts } = environment.limits;
    for (const delivery of message.outbound.receivers) {
      if (!isOpen(delivery)) continue;
      const { via } = delivery;
      const key = deliveryKey(delivery);
      if (via === 'bus') {
        message.trying.add(key);
        continue;
      }
      const queue = destinations.of(delivery);
      if (queue === undefined) continue;
      const isNew = delivery.attempts === 0 && delivery.reason === undefined;
      if (isNew) {
        queue.waiting += 1;
        if (via === 'broadcast' && queue.waiting > waitingBroadcasts) {
          void this.#dropIfFull(message, key, queue);
          continue;
        }
      } else if (!queue.isHolding) {
        // The store reports our own note of an earlier attempt.
        queue.resume();
        continue;
      }
      this.offer(message, delivery);
    }
    // The function that queued the message is given time to publish it.
    if (publications.add(message, PUBLICATION_GRACE_MS)) return;
    message.lastReason = 'earlier messages wait for the topic bus';
    for (const delivery of message.outbound.receivers) {
      if (delivery.via === 'bus') message.stopTrying(deliveryKey(delivery));
    }
  }

  /** A queue's count includes messages that were cancelled in the store, so it is made again before a broadcast is dropped. */
  async #dropIfFull(message: InFlightMessage, key: string, queue: DestinationQueue): Promise<void> {
    const { environment, settlement } = this.#parts;
    const { store, counters, log, limits } = environment;
    const most = limits.waitingBroadcasts;
    const { address } = queue;
    message.queued.add(key);
    try {
      const where = [{ field: ADDRESS_FIELD, value: address }];
      queue.waiting = await store.count({ collection: OUTBOUND_MESSAGES, where }, most + 1);
    } catch (error) {
      log.warn('waiting broadcasts not counted', { address, cause: error });
    }
    message.queued.delete(key);
    if (queue.waiting > most) {
      counters.add('cmbs_dropped', { reason: 'too many broadcasts wait', layer: message.outbound.layer });
      const reason = `${most} broadcasts wait for ${address} already`;
      settlement.settle({ message, key, tries: 0 }, { state: 'dropped', reason });
    } else queue.resume();
  }
}

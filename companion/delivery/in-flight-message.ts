/** An outbound message in memory, as the outbox and its destination queues share it. */
import { CmbsError } from '@cmbs/shared';
import type { RpcResult } from '@cmbs/shared/rpc';
import { type Delivery, deliveryKey, isOpen, type OutboundMessage, type Outcome } from '@cmbs/shared/broker';
import type { WatchedMessages } from './watched-messages';

/** One delivery, as a destination queue handles it. */
export interface QueueItem {
  readonly message: InFlightMessage;
  /** `deliveryKey` of the delivery. */
  readonly key: string;
  readonly address: string;
  /** Order in which the message was queued. */
  readonly sequence: string;
  /** Attempts that are not recorded yet. */
  tries: number;
  /** Of those, attempts at which the connection broke while no other message was in flight. */
  broken?: number;
}

/** A delivery that was attempted. */
export type AttemptedItem = Pick<QueueItem, 'message' | 'key' | 'tries' | 'broken'>;

/** Why a delivery backs off, and its state meanwhile. */
export interface BackOffReason {
  readonly reason: string;
  readonly state: 'queued' | 'waiting';
}

export type Waiter = (reply: RpcResult<'send'>) => void;

/** Assumed bytes of a frame whose size was not recorded, because an earlier release queued the message. */
export const UNKNOWN_BYTES = 64 * 1024;

/** The claim of a message that is in flight. */
export interface Claim {
  /** The claim need not be written any more. */
  readonly cancel: () => void;
  /** The write of the claim, once it has begun. Never rejects. */
  writing: Promise<void> | undefined;
}

/** An outbound message in memory. Its frame stays in the store until it goes out. */
export class InFlightMessage {
  outbound: Omit<OutboundMessage, 'frame' | 'sent'>;
  /** The message is forwarded for another member, and stored with its frame. */
  readonly isPassedOn: boolean;
  /** Bytes of the frame, about. */
  readonly bytes: number;
  /** Keys of the receivers that a queue holds, or has in flight. */
  readonly queued = new Set<string>();
  /** Of those, the deliveries that a queue is trying or about to try; the others have backed off. */
  readonly trying = new Set<string>();
  readonly waiters = new Set<Waiter>();
  /** Outcomes that are not in the store yet. */
  outcomes: Outcome[] = [];
  /** Present while a frame of the message is in flight, and after a claim was written until an outcome is written. */
  claim: Claim | undefined;
  frame: Promise<Buffer | undefined> | undefined;
  /** Gives back the bytes that were reserved for the frame. */
  releaseFrame: () => void = () => undefined;
  /** The content of the frame is an object with an `id`. */
  hasId = false;
  flushing = false;
  /** The message is no longer this companion's, or no longer in the store. */
  isDropped = false;
  lastReason: string | undefined;
  cancelRetry: (() => void) | undefined;

  constructor({ frame, sent: _inTheStore, ...outbound }: OutboundMessage) {
    this.outbound = outbound;
    this.isPassedOn = frame !== undefined;
    const waiting = outbound.receivers.find((delivery) => isOpen(delivery) && delivery.reason !== undefined);
    this.lastReason = waiting?.reason;
    this.bytes = outbound.bytes ?? frame?.length ?? UNKNOWN_BYTES;
  }

  /** A queue does not try a delivery any more; returns whether it did. */
  stopTrying(key: string): boolean {
    const wasTrying = this.trying.delete(key);
    if (this.trying.size === 0) this.#stopClaiming();
    return wasTrying;
  }

  stopAll(): void {
    this.trying.clear();
    this.#stopClaiming();
  }

  /** No claim is written any more; resolves when a write that has begun is over. */
  async endClaim(): Promise<void> {
    const { claim } = this;
    this.#stopClaiming();
    await claim?.writing;
  }

  /** A claim that was written stays until an outcome is written. */
  #stopClaiming(): void {
    this.claim?.cancel();
    if (this.claim?.writing === undefined) this.claim = undefined;
  }

  get isSettled(): boolean {
    return !this.outbound.receivers.some(isOpen);
  }

  /** The delivery of an item of this message. */
  receiver({ key }: Pick<QueueItem, 'key'>): Delivery | undefined {
    return this.outbound.receivers.find((receiver) => deliveryKey(receiver) === key);
  }

  /** The receiver has another address now. */
  moved(key: string, address: string): void {
    const receivers = this.outbound.receivers.map((one) => (deliveryKey(one) === key ? { ...one, address } : one));
    this.outbound = { ...this.outbound, receivers };
  }

  /** Takes over the outcomes of deliveries from the store; outcomes that are known here stay. */
  follow({ receivers }: Pick<OutboundMessage, 'receivers'>): void {
    const settled = new Map(receivers.filter((one) => !isOpen(one)).map((one) => [deliveryKey(one), one]));
    if (settled.size === 0) return;
    this.outbound = {
      ...this.outbound,
      receivers: this.outbound.receivers.map((one) =>
        isOpen(one) ? (settled.get(deliveryKey(one)) ?? one) : one,
      ),
    };
  }
}

/** What destination queues need of their outbox. */
export interface QueueOwner {
  /** The frame of an item that may go out now; undefined when the item may not go any more. */
  prepare(item: QueueItem, isFailing: boolean): Promise<Buffer | undefined>;
  /** The connection broke while the item alone was in flight; `given up` when that happened too often. */
  broke(item: QueueItem): 'given up' | { readonly retry: string };
  /** A reply came: the item has its outcome, waits for another address, or is to be tried again. */
  replied(item: QueueItem, bytes: Buffer): Promise<'settled' | 'moved' | { readonly retry: string }>;
  settle(item: AttemptedItem, change: Pick<Delivery, 'state'> & Partial<Pick<Delivery, 'reason' | 'reply'>>): void;
  /** The item cannot go now; the queue keeps it. */
  backOff(item: AttemptedItem, reason: BackOffReason): void;
  /** The queue tries an item again that had backed off. */
  resumed(item: QueueItem): void;
  /** The queue has no frame for the item and no longer holds it: the item is settled, or waits elsewhere. */
  passed(item: QueueItem): void;
  /** The queue no longer holds the item, which waits in the store. */
  evicted(item: QueueItem): void;
  /** The items that wait for a queue in the store, from a cursor on, without those in memory; `next` if there may be more. */
  readWaiting(queue: Destination, limit: number, after?: string): Promise<Waiting>;
  /** The id of the first outbound message that waits for a queue in the store; undefined when none waits. */
  firstWaiting(queue: Destination): Promise<string | undefined>;
  /** Those of queues without a connection. */
  readonly watchedMessages: WatchedMessages;
  /** The queue's address can never be used: fails the deliveries that wait in the store. */
  refuseWaiting(queue: Destination, reason: string): void;
  /** Whether more may be held in memory. */
  readonly hasRoom: boolean;
}

export interface Destination {
  readonly address: string;
  readonly via: 'request' | 'broadcast';
}

export interface Waiting {
  readonly items: readonly QueueItem[];
  /** Order of the last item that was read. */
  readonly upTo: string;
  readonly next?: string | undefined;
}

/** Refuses to use a socket when another companion may hold the shard by now. */
export const leaseLost = (): CmbsError =>
  new CmbsError('unavailable', 'The shard is held by another companion now.');

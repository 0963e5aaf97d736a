/** An outbound message in memory, as the outbox and its destination queues share it. */
import { CmbsError } from '@cmbs/shared';
import type { RpcResult } from '@cmbs/shared/rpc';
import { type Delivery, deliveryKey, isOpen, type OutboundMessage, type Outcome } from '@cmbs/shared/broker';
import type { WatchedMessages } from './watched-messages';

/** One delivery, as a destination queue handles it. */
export interface QueueItem {
  readonly message: InFlightMessage;
  /** `receiverKey` of the receiver. */
  readonly key: string;
  readonly address: string;
  /** Order in which the message was queued. */
  readonly sequence: string;
  /** Times that it left for the peer and that are not recorded yet. */
  tries: number;
  /** Of those, the ones at which the connection broke while nothing else was on its way. */
  broken?: number;
}

/** A delivery that was attempted. */
export type AttemptedItem = Pick<QueueItem, 'message' | 'key' | 'tries' | 'broken'>;

/** What a queue tells about an item that it cannot bring further now. */
export interface BackOffReason {
  readonly reason: string;
  readonly state: 'queued' | 'waiting';
}

export type Waiter = (reply: RpcResult<'send'>) => void;

/** Bytes that are reckoned for a frame whose size was not recorded: an earlier release queued it. */
export const UNKNOWN_BYTES = 64 * 1024;

/** An outbound message in memory. Its frame stays in the store until it goes out. */
export class InFlightMessage {
  outbound: Omit<OutboundMessage, 'frame' | 'sent'>;
  /** It is forwarded for another member, and the store has its frame with it. */
  readonly isPassedOn: boolean;
  /** Bytes of its frame, about. */
  readonly bytes: number;
  /** Keys of the receivers that a queue holds, or has in flight. */
  readonly queued = new Set<string>();
  /** Of those, the ones that a queue is busy with or will be at once; the others have backed off. */
  readonly trying = new Set<string>();
  readonly waiters = new Set<Waiter>();
  /** Outcomes that are not in the store yet. */
  outcomes: Outcome[] = [];
  claiming: Promise<boolean> | undefined;
  frame: Promise<Buffer | undefined> | undefined;
  /** Gives back what was reserved for the frame. */
  releaseFrame: () => void = () => undefined;
  /** The content of its frame is an object with an `id`. */
  hasId = false;
  flushing = false;
  lastReason: string | undefined;
  cancelRetry: (() => void) | undefined;

  constructor({ frame, sent: _inTheStore, ...send }: OutboundMessage) {
    this.outbound = send;
    this.isPassedOn = frame !== undefined;
    this.lastReason = send.receivers.find((one) => isOpen(one) && one.reason !== undefined)?.reason;
    this.bytes = send.bytes ?? frame?.length ?? UNKNOWN_BYTES;
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

  /** Takes over which receivers have an outcome in the store; one that is known here stays. */
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

/** What destination queues need of the outbox that they work for. */
export interface QueueOwner {
  /** The frame of an item that may go out now; undefined when it may not any more. */
  prepare(item: QueueItem, isFailing: boolean): Promise<Buffer | undefined>;
  /** The connection broke while the item alone was on its way; `given up` when that was so too often. */
  broke(item: QueueItem): 'given up' | { readonly retry: string };
  /** A reply came: the item has its outcome, waits for another address now, or is to be tried again. */
  replied(item: QueueItem, bytes: Buffer): Promise<'settled' | 'moved' | { readonly retry: string }>;
  settle(item: AttemptedItem, change: Pick<Delivery, 'state'> & Partial<Pick<Delivery, 'reason' | 'reply'>>): void;
  /** The queue cannot bring the item further now; it keeps it. */
  backOff(item: AttemptedItem, reason: BackOffReason): void;
  /** The queue works again on an item that had backed off. */
  resumed(item: QueueItem): void;
  /** The queue has no frame for the item and holds it no more: it is settled, or waits elsewhere. */
  passed(item: QueueItem): void;
  /** The queue holds the item no more; it waits in the store. */
  evicted(item: QueueItem): void;
  /** What waits for a queue in the store, from a cursor on, but what is held; `next` where there may be more. */
  readWaiting(queue: Destination, limit: number, after?: string): Promise<Waiting>;
  /** Id of the first outbound message that waits for a queue in the store; undefined when none does. */
  firstWaiting(queue: Destination): Promise<string | undefined>;
  /** Of queues without a connection. */
  readonly watchedMessages: WatchedMessages;
  /** Nothing can ever go to the queue's address. */
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
  /** Order of the last that was read. */
  readonly upTo: string;
  readonly next?: string | undefined;
}

/** Nothing goes to a socket whose shard another companion may hold by now. */
export const leaseLost = (): CmbsError =>
  new CmbsError('unavailable', 'The shard is held by another companion now.');

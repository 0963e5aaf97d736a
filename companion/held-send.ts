/** A send that is held in memory, as the outbox and its destination queues share it. */
import { CmbsError } from '@cmbs/shared';
import type { LinkReply } from '@cmbs/shared/link/link';
import { isOpen, receiverKey, type Outcome, type Receiver, type Send } from '@cmbs/shared/broker/send';
import type { Witnesses } from './witnesses';

/** One receiver of one send, as a destination queue handles it. */
export interface Item {
  readonly held: HeldSend;
  /** `receiverKey` of the receiver. */
  readonly key: string;
  readonly address: string;
  /** Order of creation of the send. */
  readonly sequence: string;
  /** Times that it left for the peer and that are not recorded yet. */
  tries: number;
  /** Of those, the ones at which the connection broke while nothing else was on its way. */
  broken?: number;
}

/** One receiver of one send, of which something became. */
export type Tried = Pick<Item, 'held' | 'key' | 'tries' | 'broken'>;

/** What a queue tells about an item that it cannot bring further now. */
export interface Parking {
  readonly reason: string;
  readonly state: 'queued' | 'waiting';
}

export type Waiter = (reply: LinkReply<'send'>) => void;

/** Bytes that are reckoned for a frame whose size was not recorded: an earlier release queued it. */
export const UNKNOWN_BYTES = 64 * 1024;

/** A send that is held in memory. What it carries stays in the store until it goes out. */
export class HeldSend {
  send: Omit<Send, 'frame' | 'sent'>;
  /** It is passed on for somebody else, and its frame lies in the store with it. */
  readonly isPassedOn: boolean;
  /** Bytes of its frame, about. */
  readonly bytes: number;
  /** Keys of the receivers that a queue holds, or has in flight. */
  readonly queued = new Set<string>();
  /** Of those, the ones that a queue is busy with or will be at once; the others are parked. */
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

  constructor({ frame, sent: _inTheStore, ...send }: Send) {
    this.send = send;
    this.isPassedOn = frame !== undefined;
    this.lastReason = send.receivers.find((one) => isOpen(one) && one.reason !== undefined)?.reason;
    this.bytes = send.bytes ?? frame?.length ?? UNKNOWN_BYTES;
  }

  get isSettled(): boolean {
    return !this.send.receivers.some(isOpen);
  }

  /** The receiver of an item of this send. */
  receiver({ key }: Pick<Item, 'key'>): Receiver | undefined {
    return this.send.receivers.find((receiver) => receiverKey(receiver) === key);
  }

  /** The receiver has another address now. */
  moved(key: string, address: string): void {
    const receivers = this.send.receivers.map((one) => (receiverKey(one) === key ? { ...one, address } : one));
    this.send = { ...this.send, receivers };
  }

  /** Takes over which receivers have an outcome in the store; one that is known here stays. */
  follow({ receivers }: Pick<Send, 'receivers'>): void {
    const settled = new Map(receivers.filter((one) => !isOpen(one)).map((one) => [receiverKey(one), one]));
    if (settled.size === 0) return;
    this.send = {
      ...this.send,
      receivers: this.send.receivers.map((one) => (isOpen(one) ? (settled.get(receiverKey(one)) ?? one) : one)),
    };
  }
}

/** What destination queues need of the outbox that they work for. */
export interface QueueOwner {
  /** The frame of an item that may go out now; undefined when it may not any more. */
  prepare(item: Item, isFailing: boolean): Promise<Buffer | undefined>;
  /** The connection broke while the item alone was on its way; `given up` when that was so too often. */
  broke(item: Item): 'given up' | { readonly retry: string };
  /** A reply came: the item has its outcome, waits for another address now, or is to be tried again. */
  replied(item: Item, bytes: Buffer): Promise<'settled' | 'moved' | { readonly retry: string }>;
  settle(item: Tried, change: Pick<Receiver, 'state'> & Partial<Pick<Receiver, 'reason' | 'reply'>>): void;
  /** The queue cannot bring the item further now; it keeps it. */
  park(item: Tried, parking: Parking): void;
  /** The queue is busy with a parked item again. */
  resumed(item: Item): void;
  /** The queue has no frame for the item and holds it no more: it is settled, or waits elsewhere. */
  passed(item: Item): void;
  /** The queue holds the item no more; it waits in the store. */
  evicted(item: Item): void;
  /** What waits for a queue in the store, from a cursor on, but what is held; `next` where there may be more. */
  readWaiting(queue: Destination, limit: number, after?: string): Promise<Waiting>;
  /** Id of the first outbound message that waits for a queue in the store; undefined when none does. */
  firstWaiting(queue: Destination): Promise<string | undefined>;
  /** Of queues without a connection. */
  readonly witnesses: Witnesses;
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
  readonly items: readonly Item[];
  /** Order of the last that was read. */
  readonly upTo: string;
  readonly next?: string | undefined;
}

/** Nothing goes to a socket whose shard another companion may hold by now. */
export const heldElsewhere = (): CmbsError =>
  new CmbsError('unavailable', 'The shard is held by another companion now.');

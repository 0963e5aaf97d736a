/** A send in hand, as the outbox and its lanes share it. */
import { CmbsError } from '@cmbs/shared';
import type { LinkReply } from '@cmbs/shared/link/link';
import { isOpen, type Outcome, type Receiver, type Send } from '@cmbs/shared/broker/send';

/** One receiver of one send, as a lane handles it. */
export interface Item {
  readonly held: HeldSend;
  readonly name: string;
  readonly address: string;
  /** Order of creation of the send. */
  readonly sequence: string;
  /** Times that it left for the peer and that are not recorded yet. */
  tries: number;
}

/** One receiver of one send, of which something became. */
export type Tried = Pick<Item, 'held' | 'name' | 'tries'>;

/** What a lane tells about an item that it cannot bring further now. */
export interface Parking {
  readonly reason: string;
  readonly state: 'queued' | 'waiting';
}

export type Waiter = (reply: LinkReply<'send'>) => void;

/** A send in hand. */
export class HeldSend {
  send: Send;
  /** Receivers that a lane is busy with or will be at once; the others are parked or have an outcome. */
  readonly trying = new Set<string>();
  readonly waiters = new Set<Waiter>();
  /** Outcomes that are not in the store yet. */
  outcomes: Outcome[] = [];
  claiming: Promise<boolean> | undefined;
  frame: Promise<string | undefined> | undefined;
  flushing = false;
  lastReason: string | undefined;
  cancelRetry: (() => void) | undefined;

  constructor(send: Send) {
    this.send = send;
  }

  get isSettled(): boolean {
    return !this.send.receivers.some(isOpen);
  }
}

/** What lanes need of the outbox that they work for. */
export interface LaneOwner {
  /** The frame of an item that may go out now; undefined when it may not any more. */
  prepare(item: Item): Promise<string | undefined>;
  /** A reply came: the item has its outcome, or the reason to try it again. */
  replied(item: Item, bytes: Buffer): Promise<'settled' | { readonly retry: string }>;
  settle(item: Tried, change: Pick<Receiver, 'state'> & Partial<Pick<Receiver, 'reason' | 'reply'>>): void;
  /** The lane cannot bring the item further now; it keeps it. */
  park(item: Tried, parking: Parking): void;
  /** The lane is busy with a parked item again. */
  resumed(item: Item): void;
}

/** What goes to one address, in order. */
export interface Lane {
  add(item: Item): void;
  /** Tries again at once what waits. */
  hurry(): void;
  remove(held: HeldSend, name: string): void;
  /** Sends nothing more; resolves when what has left has its outcome. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** Nothing goes to a socket whose shard another companion may hold by now. */
export const heldElsewhere = (): CmbsError =>
  new CmbsError('unavailable', 'The shard is held by another companion now.');

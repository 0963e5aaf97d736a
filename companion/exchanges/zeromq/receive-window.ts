/**
 * How much may be on its way through one ZeroMQ socket: messages that were handed to the socket and that its owner has
 * not received. libzmq limits the number of messages only, and for each peer by itself. When that limit stops the input
 * of a peer, libzmq 4.3.5 may abort the process (its issues 3937, 4364, 4767, 4841). Within this window the limit is
 * never reached.
 */
import { type Clock } from '@cmbs/shared';
import { RECEIVE_WINDOW_BYTES, WINDOW_STUCK_MS, RECEIVE_WINDOW_MESSAGES } from './limits';

/** Messages of one peer in a row while other peers wait. */
const RECEIVE_TURN_MESSAGES = 32;

/** A peer whose next message waits for room. */
export interface WaitingPeer {
  /** Goes on until {@link ReceiveWindow.admit} refuses. */
  resume(): void;
}

export class ReceiveWindow {
  readonly #clock: Clock;
  readonly #onReset: (messages: number) => void;
  #messages = 0;
  #bytes = 0;
  /** Peers that wait, in the order in which they go on. */
  readonly #waiting = new Set<WaitingPeer>();
  /** The peer whose turn it is, and how many messages it may still hand over now. */
  #turn: { readonly peer: WaitingPeer; left: number } | undefined;
  #taken = 0;
  #cancelLook: (() => void) | undefined;
  #isClosed = false;
  /** Whether the owner waits for a message. */
  isOwnerWaiting = false;

  /** @param onReset called when messages were lost on their way, which should never happen in libzmq */
  constructor(clock: Clock, onReset: (messages: number) => void) {
    this.#clock = clock;
    this.#onReset = onReset;
  }

  /** Messages that are on their way. */
  get messages(): number {
    return this.#messages;
  }

  /** Takes room for one message. False when there is no room or other peers wait: then `peer` waits for its turn. */
  admit(peer: WaitingPeer, bytes: number): boolean {
    const isTurn = this.#turn?.peer === peer;
    const mayGo = isTurn ? (this.#turn?.left ?? 0) > 0 : this.#waiting.size === 0;
    if (mayGo && this.#hasRoom(bytes)) {
      this.#messages += 1;
      this.#bytes += bytes;
      if (this.#turn !== undefined && isTurn) this.#turn.left -= 1;
      return true;
    }
    this.#waiting.add(peer);
    this.#lookLater();
    return false;
  }

  /** Peers wait for room: the bytes of other peers had better wait at their senders. */
  get isBlocked(): boolean {
    return this.#waiting.size > 0 && !this.#hasRoom(0);
  }

  /** Waits for a turn before the peer's next message is whole. */
  wait(peer: WaitingPeer): void {
    this.#waiting.add(peer);
    this.#lookLater();
  }

  /** The owner has received a message. */
  took(bytes: number): void {
    this.#taken += 1;
    this.#messages = Math.max(0, this.#messages - 1);
    this.#bytes = this.#messages === 0 ? 0 : Math.max(0, this.#bytes - bytes);
    if (this.#waiting.size > 0) this.#giveTurns();
  }

  /** The peer waits no longer. */
  leave(peer: WaitingPeer): void {
    this.#waiting.delete(peer);
  }

  /** The socket is being closed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelLook?.();
    this.#waiting.clear();
  }

  /** A message larger than the window passes alone. */
  #hasRoom(bytes: number): boolean {
    if (this.#messages === 0) return true;
    return this.#messages < RECEIVE_WINDOW_MESSAGES && this.#bytes + bytes <= RECEIVE_WINDOW_BYTES;
  }

  #giveTurns(): void {
    if (this.#turn !== undefined) return; // called from within a turn
    for (const peer of [...this.#waiting]) {
      if (!this.#hasRoom(0)) return;
      this.#waiting.delete(peer);
      this.#turn = { peer, left: RECEIVE_TURN_MESSAGES };
      try {
        peer.resume();
      } finally {
        this.#turn = undefined;
      }
    }
  }

  /** The room of a lost message must not stop the socket for ever. */
  #lookLater(): void {
    if (this.#cancelLook !== undefined) return;
    const before = this.#taken;
    this.#cancelLook = this.#clock.after(WINDOW_STUCK_MS, () => {
      this.#cancelLook = undefined;
      if (this.#waiting.size === 0) return;
      if (this.#taken === before && this.isOwnerWaiting && this.#messages > 0) {
        const lost = this.#messages;
        this.#messages = 0;
        this.#bytes = 0;
        this.#onReset(lost);
      }
      this.#giveTurns();
      this.#lookLater();
    });
  }
}

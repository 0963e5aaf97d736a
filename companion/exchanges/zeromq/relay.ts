/**
 * Carries bytes between one peer and our ZeroMQ socket. Messages of the peer pass the guard (frame-guard.ts) and the
 * receive window of the socket. The bytes that the peer does not read, and the time that it takes, are bounded. A peer
 * that exceeds a bound is cut off, counted and logged.
 *
 * There are no ZMTP heartbeats (RFC 37): TCP's keepalive notices a host that vanished, and requests have deadlines.
 */
import { type Socket as Stream } from 'node:net';
import { type Clock } from '@cmbs/shared';
import { MAX_UNSENT_BYTES, SOCKET_LINGER_MS, WINDOW_STUCK_MS } from './limits';
import { type Drops } from './drops';
import { type FrameFault, FrameGuard } from './frame-guard';
import { Handshake, type HandshakeFault } from './handshake';
import { clockOf, type SocketEnvironment } from './options';
import { type ReceiveWindow } from './receive-window';
import { RelayMemory } from './relay-memory';
import { ReplyMeter } from './reply-meter';
import { GREETING_BYTES, parseCommand, type SocketType } from './zmtp';

/** Milliseconds without a byte after which the connection of a message that has begun is cut. */
const UNFINISHED_MESSAGE_MS = 10_000;
/** Milliseconds of silence before the system probes whether the host of a peer is there. */
const TCP_KEEPALIVE_IDLE_MS = 30_000;
/** Why we cut a connection: the reason in `cmbs_socket_drops`. */
export type CutReason =
  | FrameFault
  | HandshakeFault
  | 'unfinished_message'
  | 'too_much_memory'
  | 'peer_does_not_read'
  | 'too_many_subscriptions';

export interface RelayOwner {
  /** The peer has shaken hands. */
  ready(): void;
  /** The peer's connection has ended. Messages that it handed over are still to be received. */
  gone(): void;
}

export interface RelayOptions {
  readonly type: SocketType;
  /** Bytes of a message, over all of its frames, above which the peer is cut off. */
  readonly maxMessageBytes: number;
  readonly environment: SocketEnvironment;
  readonly drops: Drops;
}

/** Bytes of an unfinished message above which its peer waits while other peers wait for room. */
const PAUSING_BYTES = 64 * 1024;
/** Bytes of a PONG with the longest context (RFC 37), which libzmq writes for each PING. */
const PONG_BYTES = 23;
/** Bytes of a PING's time to live, in front of its context. */
const TIME_TO_LIVE_BYTES = 2;
/** Commands that reach the owner of an XPUB as messages (RFC 29). */
const SUBSCRIPTION_COMMANDS = new Set(['SUBSCRIBE', 'CANCEL']);

export class Relay {
  readonly #peer: Stream;
  readonly #library: Stream;
  readonly #window: ReceiveWindow;
  readonly #owner: RelayOwner;
  readonly #options: RelayOptions;
  readonly #clock: Clock;
  readonly #guard: FrameGuard;
  readonly #handshake: Handshake;
  readonly #memory: RelayMemory;
  /** What a ROUTER's peer has asked for. */
  readonly #replies: ReplyMeter | undefined;
  #isGone = false;
  #cutFor: CutReason | undefined;
  #pings = 0;
  #cancelLook: (() => void) | undefined;
  #cancelStall: (() => void) | undefined;
  #whenClosed: (() => void) | undefined;

  /**
   * @param peer connected, and not read from yet
   * @param library our end of a new connection to our own socket
   */
  constructor(peer: Stream, library: Stream, window: ReceiveWindow, owner: RelayOwner, options: RelayOptions) {
    this.#peer = peer;
    this.#library = library;
    this.#window = window;
    this.#owner = owner;
    this.#options = options;
    this.#clock = clockOf(options.environment);
    const cut = (reason: CutReason): void => this.cut(reason);
    this.#handshake = new Handshake(options.type, this.#clock, cut);
    this.#memory = new RelayMemory(options.environment.context, cut);
    this.#replies = options.type === 'ROUTER' ? new ReplyMeter() : undefined;
    this.#guard = new FrameGuard(
      {
        admit: (bytes) => this.#admit(bytes),
        forward: (bytes) => void library.write(bytes),
        isAllowed: (body, isBetween) => this.#isAllowed(body, isBetween),
        command: (body) => this.#onCommand(body),
        handshake: (body) => this.#onHandshake(body),
      },
      options.maxMessageBytes,
    );
    peer.setNoDelay(true);
    peer.setKeepAlive(true, TCP_KEEPALIVE_IDLE_MS);
    peer.on('data', this.#onPeerData);
    peer.on('drain', this.#onDrain);
    // A peer that sends nothing more has gone: ZMTP knows no half-closed connection.
    peer.on('end', () => peer.destroy());
    // `close` always follows an error, and is enough.
    peer.on('error', () => undefined);
    peer.on('close', this.#onPeerClose);
    library.on('data', this.#onLibraryData);
    library.on('drain', () => this.#account());
    library.on('error', this.#onLibraryError);
    library.on('close', this.#onLibraryClose);
  }

  /** Why the peer was cut off; undefined when it was not. */
  get cutFor(): CutReason | undefined {
    return this.#cutFor;
  }

  /** Bytes that libzmq has handed over since the connection began, less the greeting and the PONGs. */
  get messageBytesFromLibrary(): number {
    return this.#library.bytesRead - GREETING_BYTES - PONG_BYTES * this.#pings;
  }

  /** Bytes that the peer has not read. */
  get unsentBytes(): number {
    return this.#peer.writableLength;
  }

  /** Goes on after a wait for room in the receive window. */
  resume(): void {
    if (this.#isGone) return;
    this.#after(this.#guard.resume());
    if (!this.#guard.isPaused) this.#peer.resume();
  }

  /** Cuts the connection to the peer; the reason is counted and logged. */
  cut(reason: CutReason): void {
    if (this.#isGone || this.#cutFor !== undefined) return;
    this.#cutFor = reason;
    const { remoteAddress } = this.#peer;
    this.#options.drops.note(reason, remoteAddress === undefined ? {} : { peer: remoteAddress });
    this.#guard.stop();
    this.#account();
    this.#peer.destroy();
  }

  /** Closes both ends without sending waiting bytes. */
  destroy(): void {
    this.#guard.stop();
    this.#peer.destroy();
    this.#library.destroy();
  }

  /** While the socket closes: resolves when the peer has received everything that the socket had for it. */
  ended(): Promise<void> {
    if (this.#peer.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#clock.after(2 * SOCKET_LINGER_MS, () => {
        this.destroy();
        resolve();
      });
      this.#whenClosed = () => {
        cancel();
        resolve();
      };
    });
  }

  /** libzmq takes a message that arrives before its own READY has left for a second READY, and ends the connection. */
  get #hasLibraryAnswered(): boolean {
    return this.#library.bytesRead > GREETING_BYTES;
  }

  /** A peer that does not read answers asks for no more of them. */
  get #isFull(): boolean {
    return this.#peer.writableLength + (this.#replies?.expectedBytes ?? 0) >= MAX_UNSENT_BYTES;
  }

  #admit(bytes: number): boolean {
    if (!this.#hasLibraryAnswered) return false;
    if (this.#isFull) {
      this.#lookLater();
      return false;
    }
    if (!this.#window.admit(this, bytes)) return false;
    this.#replies?.asked();
    return true;
  }

  /** Requests that get no reply must not stop the peer for ever. */
  #lookLater(): void {
    const before = this.#library.bytesRead;
    this.#cancelLook ??= this.#clock.after(WINDOW_STUCK_MS, () => {
      this.#cancelLook = undefined;
      if (this.#isGone || !this.#guard.isPaused) return;
      if (this.#library.bytesRead === before) this.#replies?.forget();
      this.resume();
    });
  }

  readonly #onPeerData = (chunk: Buffer): void => {
    if (this.#isGone || this.#cutFor !== undefined || this.#library.destroyed) return;
    let rest = chunk;
    if (!this.#handshake.isGreeted) {
      const greeted = this.#handshake.greet(chunk);
      if (greeted === undefined) return;
      this.#library.write(chunk.subarray(0, greeted));
      rest = chunk.subarray(greeted);
    }
    if (rest.length > 0) this.#after(this.#guard.push(rest));
  };

  #onHandshake(body: Buffer): Buffer | undefined {
    const replaced = this.#handshake.ready(body);
    if (replaced !== undefined) this.#guard.expectMessages();
    return replaced;
  }

  /**
   * libzmq hands `SUBSCRIBE` and `CANCEL` to sockets of any type, and reads 16 bytes after the sixth of a `PING`, even
   * of a shorter one.
   */
  #isAllowed(body: Buffer, isBetween: boolean): boolean {
    const command = parseCommand(body);
    if (command === undefined) return false;
    if (SUBSCRIPTION_COMMANDS.has(command.name)) return this.#options.type === 'XPUB' && !isBetween;
    if (command.name !== 'PING') return true;
    if (command.rest.length < TIME_TO_LIVE_BYTES) return false;
    // While the peer waits for room here, its next PING waits too, and libzmq would take the peer for dead.
    command.rest.fill(0, 0, TIME_TO_LIVE_BYTES);
    return true;
  }

  /** False when the command has to wait. */
  #onCommand(body: Buffer): boolean {
    if (!this.#hasLibraryAnswered) return false;
    if (this.#isFull) {
      this.#lookLater();
      return false;
    }
    const name = parseCommand(body)?.name ?? '';
    if (this.#options.type === 'XPUB' && SUBSCRIPTION_COMMANDS.has(name))
      return this.#window.admit(this, body.length);
    if (name === 'PING') this.#pings += 1;
    return true;
  }

  /** Acts on the state of the guard. */
  #after(fault: FrameFault | undefined): void {
    if (fault !== undefined) this.cut(fault);
    else if (this.#guard.isPaused) this.#peer.pause();
    else if (this.#guard.heldBytes > PAUSING_BYTES && this.#window.isBlocked) {
      this.#peer.pause();
      this.#window.wait(this);
    } else if (this.#guard.isUnfinished) this.#watchProgress();
    this.#account();
    if (this.#handshake.isDone && !this.#isGone && this.#cutFor === undefined) this.#tellReady();
  }

  #tellReady = (): void => {
    this.#tellReady = () => undefined;
    this.#owner.ready();
  };

  /** Cuts off a peer that does not go on with a message that it has begun. */
  #watchProgress(): void {
    if (this.#cancelStall !== undefined) return;
    const { bytesRead } = this.#peer;
    this.#cancelStall = this.#clock.after(UNFINISHED_MESSAGE_MS, () => {
      this.#cancelStall = undefined;
      if (!this.#guard.isUnfinished) return;
      if (this.#peer.bytesRead === bytesRead && !this.#peer.isPaused()) this.cut('unfinished_message');
      else this.#watchProgress();
    });
  }

  readonly #onLibraryData = (chunk: Buffer): void => {
    if (this.#peer.destroyed) return;
    this.#replies?.pass(chunk);
    this.#peer.write(chunk);
    this.#account();
    if (this.#guard.isPaused) this.resume();
  };

  readonly #onDrain = (): void => {
    this.#account();
    if (this.#guard.isPaused) this.resume();
  };

  readonly #onPeerClose = (): void => {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#handshake.end();
    this.#cancelStall?.();
    this.#cancelLook?.();
    this.#guard.stop();
    this.#window.leave(this);
    this.#account();
    // libzmq reads the bytes that were handed over, then sees the end.
    this.#library.end();
    this.#whenClosed?.();
    this.#owner.gone();
  };

  /** Only this process can have caused this error; `close` follows. */
  readonly #onLibraryError = (cause: Error): void => {
    // While the socket closes, or after the peer has gone, libzmq may end the connection in any way.
    if (this.#isGone || this.#cutFor !== undefined || this.#window.isClosed) return;
    this.#options.environment.log.error('the connection between the relay and a socket failed', { cause });
  };

  readonly #onLibraryClose = (): void => {
    this.#guard.stop();
    this.#window.leave(this);
    this.#account();
    if (this.#peer.destroyed) return;
    const cancel = this.#clock.after(SOCKET_LINGER_MS, () => this.#peer.destroy());
    this.#peer.once('close', cancel);
    // Bytes that the peer still sends are read and dropped: with unread bytes the system would discard our last ones.
    this.#peer.resume();
    this.#peer.end(() => this.#peer.destroy());
  };

  #account(): void {
    if (this.#isGone) this.#memory.set(0, 0);
    else this.#memory.set(this.#guard.heldBytes + this.#library.writableLength, this.#peer.writableLength);
  }
}

/**
 * Carries bytes between one peer and our ZeroMQ socket. What the peer sends passes the guard (frame-guard.ts) and the
 * window of the socket; what it does not read, and how long it takes, is bounded. A peer that exceeds a bound is cut
 * off, counted and logged.
 *
 * There are no ZMTP heartbeats: TCP's keepalive notices a host that vanished, and requests have deadlines of their own.
 */
import { type Socket as Stream } from 'node:net';
import { type Clock } from '@cmbs/shared';
import { MAX_UNSENT_BYTES, SOCKET_LINGER_MS, WINDOW_STUCK_MS } from './limits';
import { type Drops } from './drops';
import { type FrameFault, FrameGuard } from './frame-guard';
import { clockOf, type SocketEnvironment } from './options';
import { type ReceiveWindow } from './receive-window';
import { ReplyMeter } from './reply-meter';
import {
  GREETING_BYTES,
  greetingFault,
  type GreetingFault,
  isFitting,
  parseCommand,
  readyFrame,
  readyProperties,
  type SocketType,
} from './zmtp';

/** Milliseconds without a byte after which the connection of a message that has begun is cut. */
const UNFINISHED_MESSAGE_MS = 10_000;
/** Milliseconds of silence before the system probes whether the host of a peer is there. */
const TCP_KEEPALIVE_IDLE_MS = 30_000;
/** Milliseconds until a connection that was accepted must have spoken ZMTP; a slow link needs about one second. */
const HANDSHAKE_TIMEOUT_MS = 3000;

/** Why a connection was cut by us: the reason in `cmbs_socket_drops`. */
export type CutReason =
  | FrameFault
  | GreetingFault
  | 'socket_does_not_fit'
  | 'handshake_timeout'
  | 'unfinished_message'
  | 'refused_by_peer'
  | 'too_much_memory'
  | 'peer_does_not_read'
  | 'too_many_subscriptions';

export interface RelayOwner {
  /** The peer has shaken hands. */
  ready(): void;
  /** The peer's connection has ended. What was handed over is still to be received. */
  gone(): void;
}

export interface RelayOptions {
  readonly type: SocketType;
  /** Bytes of a message, over all of its frames, above which the peer is cut off. */
  readonly maxMessageBytes: number;
  readonly environment: SocketEnvironment;
  readonly drops: Drops;
}

/** Bytes of an unfinished message above which its peer waits while others wait for room. */
const PAUSING_BYTES = 64 * 1024;
/** Bytes of a PONG with the longest context (RFC 37), which libzmq writes for each PING. */
const PONG_BYTES = 23;
/** Bytes of a PING's time to live, in front of its context. */
const TIME_TO_LIVE_BYTES = 2;
/** Commands that reach the owner of an XPUB as messages. */
const SUBSCRIPTION_COMMANDS = new Set(['SUBSCRIBE', 'CANCEL']);

export class Relay {
  readonly #clock: Clock;
  readonly #guard: FrameGuard;
  #greeting: Buffer | undefined = Buffer.alloc(GREETING_BYTES);
  #greeted = 0;
  #isReady = false;
  #isGone = false;
  #cutFor: CutReason | undefined;
  #pings = 0;
  /** Of a ROUTER's peer, what it has asked for. */
  readonly #replies: ReplyMeter | undefined;
  #cancelLook: (() => void) | undefined;
  readonly #cancelHandshake: () => void;
  #cancelStall: (() => void) | undefined;
  #whenClosed: (() => void) | undefined;
  readonly #received = { bytes: 0, overflow: () => this.cut('too_much_memory') };
  readonly #unsent = { bytes: 0, overflow: () => this.cut('peer_does_not_read') };

  /**
   * @param peer connected, and not read from yet
   * @param library our end of a new connection to our own socket
   */
  constructor(
    private readonly peer: Stream,
    private readonly library: Stream,
    private readonly window: ReceiveWindow,
    private readonly owner: RelayOwner,
    private readonly options: RelayOptions,
  ) {
    this.#clock = clockOf(options.environment);
    this.#replies = options.type === 'ROUTER' ? new ReplyMeter() : undefined;
    this.#guard = new FrameGuard(
      {
        admit: (bytes) => this.#admit(bytes),
        forward: (bytes) => void this.library.write(bytes),
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
    peer.on('end', () => this.peer.destroy());
    // What went wrong with a transport shows by `close`, which always follows.
    peer.on('error', () => undefined);
    peer.on('close', this.#onPeerClose);
    library.on('data', this.#onLibraryData);
    library.on('drain', () => this.#account());
    library.on('error', this.#onLibraryError);
    library.on('close', this.#onLibraryClose);
    this.#cancelHandshake = this.#clock.after(HANDSHAKE_TIMEOUT_MS, () => this.cut('handshake_timeout'));
  }

  /** Why it was cut off, if it was. */
  get cutFor(): CutReason | undefined {
    return this.#cutFor;
  }

  /** Bytes that libzmq has handed over since the connection began, without the least that were not messages. */
  get messageBytesFromLibrary(): number {
    return this.library.bytesRead - GREETING_BYTES - PONG_BYTES * this.#pings;
  }

  /** Bytes that the peer has not read. */
  get unsentBytes(): number {
    return this.peer.writableLength;
  }

  /** Goes on after a wait for room in the window. */
  resume(): void {
    if (this.#isGone) return;
    this.#after(this.#guard.resume());
    if (!this.#guard.isPaused) this.peer.resume();
  }

  /** Cuts the connection because of what the peer did; counted and logged. */
  cut(reason: CutReason): void {
    if (this.#isGone || this.#cutFor !== undefined) return;
    this.#cutFor = reason;
    const { remoteAddress } = this.peer;
    this.options.drops.note(reason, remoteAddress === undefined ? {} : { peer: remoteAddress });
    this.#guard.stop();
    this.#account();
    this.peer.destroy();
  }

  /** Closes both ends without sending what waits. */
  destroy(): void {
    this.#guard.stop();
    this.peer.destroy();
    this.library.destroy();
  }

  /** Resolves when the socket, which is being closed, has nothing more for the peer and the peer has it. */
  ended(): Promise<void> {
    if (this.peer.destroyed) return Promise.resolve();
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

  /** A peer that does not read answers asks for no more of them. */
  get #isFull(): boolean {
    return this.peer.writableLength + (this.#replies?.expectedBytes ?? 0) >= MAX_UNSENT_BYTES;
  }

  #admit(bytes: number): boolean {
    if (this.#isFull) {
      this.#lookLater();
      return false;
    }
    if (!this.window.admit(this, bytes)) return false;
    this.#replies?.asked();
    return true;
  }

  /** Requests that get no reply must not stop the peer for ever. */
  #lookLater(): void {
    const before = this.library.bytesRead;
    this.#cancelLook ??= this.#clock.after(WINDOW_STUCK_MS, () => {
      this.#cancelLook = undefined;
      if (this.#isGone || !this.#guard.isPaused) return;
      if (this.library.bytesRead === before) this.#replies?.forget();
      this.resume();
    });
  }

  readonly #onPeerData = (chunk: Buffer): void => {
    if (this.#isGone || this.#cutFor !== undefined || this.library.destroyed) return;
    const rest = this.#greeting === undefined ? chunk : this.#greet(this.#greeting, chunk);
    if (rest !== undefined && rest.length > 0) this.#after(this.#guard.push(rest));
  };

  /** Takes the first bytes of the connection; gives what follows them. */
  #greet(bytes: Buffer, chunk: Buffer): Buffer | undefined {
    const taken = chunk.copy(bytes, this.#greeted);
    this.#greeted += taken;
    const fault = greetingFault(bytes, this.#greeted);
    if (fault !== undefined) {
      this.cut(fault);
      return undefined;
    }
    this.library.write(chunk.subarray(0, taken));
    if (this.#greeted === GREETING_BYTES) this.#greeting = undefined;
    return chunk.subarray(taken);
  }

  #onHandshake(body: Buffer): Buffer | undefined {
    const command = parseCommand(body);
    const properties = command?.name === 'READY' ? readyProperties(command.rest) : undefined;
    if (command?.name === 'ERROR') this.cut('refused_by_peer');
    else if (properties === undefined) this.cut('no_handshake');
    else if (!isFitting(this.options.type, properties)) this.cut('socket_does_not_fit');
    else {
      this.#isReady = true;
      this.#cancelHandshake();
      this.#guard.expectMessages();
      return readyFrame(properties);
    }
    return undefined;
  }

  /**
   * libzmq hands `SUBSCRIBE` and `CANCEL` to the socket whatever its type, and reads 16 bytes from the seventh of a
   * `PING` on, however short that is.
   */
  #isAllowed(body: Buffer, isBetween: boolean): boolean {
    const command = parseCommand(body);
    if (command === undefined) return false;
    if (SUBSCRIPTION_COMMANDS.has(command.name)) return this.options.type === 'XPUB' && !isBetween;
    if (command.name !== 'PING') return true;
    if (command.rest.length < TIME_TO_LIVE_BYTES) return false;
    // While the peer waits for room here, its next PING does too; libzmq would take it for dead.
    command.rest.fill(0, 0, TIME_TO_LIVE_BYTES);
    return true;
  }

  /** False when the command has to wait. */
  #onCommand(body: Buffer): boolean {
    if (this.#isFull) {
      this.#lookLater();
      return false;
    }
    const name = parseCommand(body)?.name ?? '';
    if (this.options.type === 'XPUB' && SUBSCRIPTION_COMMANDS.has(name))
      return this.window.admit(this, body.length);
    if (name === 'PING') this.#pings += 1;
    return true;
  }

  /** What follows from the guard's state. */
  #after(fault: FrameFault | undefined): void {
    if (fault !== undefined) this.cut(fault);
    else if (this.#guard.isPaused) this.peer.pause();
    else if (this.#guard.heldBytes > PAUSING_BYTES && this.window.isBlocked) {
      this.peer.pause();
      this.window.wait(this);
    } else if (this.#guard.isUnfinished) this.#watchProgress();
    this.#account();
    if (this.#isReady && !this.#isGone && this.#cutFor === undefined) this.#tellReady();
  }

  #tellReady = (): void => {
    this.#tellReady = () => undefined;
    this.owner.ready();
  };

  /** A message that has begun must go on. */
  #watchProgress(): void {
    if (this.#cancelStall !== undefined) return;
    const { bytesRead } = this.peer;
    this.#cancelStall = this.#clock.after(UNFINISHED_MESSAGE_MS, () => {
      this.#cancelStall = undefined;
      if (!this.#guard.isUnfinished) return;
      if (this.peer.bytesRead === bytesRead && !this.peer.isPaused()) this.cut('unfinished_message');
      else this.#watchProgress();
    });
  }

  readonly #onLibraryData = (chunk: Buffer): void => {
    if (this.peer.destroyed) return;
    this.#replies?.pass(chunk);
    this.peer.write(chunk);
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
    this.#cancelHandshake();
    this.#cancelStall?.();
    this.#cancelLook?.();
    this.#guard.stop();
    this.window.leave(this);
    this.#account();
    // libzmq reads what was handed over, then sees the end.
    this.library.end();
    this.#whenClosed?.();
    this.owner.gone();
  };

  /** What only this process can have done; `close` follows. */
  readonly #onLibraryError = (cause: Error): void => {
    // While the socket closes, or after the peer has gone, libzmq may end the connection in any way.
    if (this.#isGone || this.#cutFor !== undefined || this.window.isClosed) return;
    this.options.environment.log.error('the connection between the front and a socket failed', { cause });
  };

  readonly #onLibraryClose = (): void => {
    this.#guard.stop();
    this.window.leave(this);
    this.#account();
    if (this.peer.destroyed) return;
    const cancel = this.#clock.after(SOCKET_LINGER_MS, () => this.peer.destroy());
    this.peer.once('close', cancel);
    // What the peer still sends is read and forgotten: unread bytes would make the system discard what it has to send.
    this.peer.resume();
    this.peer.end(() => this.peer.destroy());
  };

  /** Tells what this connection holds; only the changes, since most messages come and go within one chunk. */
  #account(): void {
    const { received, unsent } = this.options.environment.context;
    const receivedBytes = this.#isGone ? 0 : this.#guard.heldBytes + this.library.writableLength;
    if (receivedBytes !== this.#received.bytes) {
      this.#received.bytes = receivedBytes;
      received.set(this.#received, receivedBytes);
    }
    const unsentBytes = this.#isGone ? 0 : this.peer.writableLength;
    if (unsentBytes !== this.#unsent.bytes) {
      this.#unsent.bytes = unsentBytes;
      unsent.set(this.#unsent, unsentBytes);
    }
  }
}

/**
 * One connection to one peer, which speaks ZMTP 3 over TCP or a Unix socket. Everything that the peer can make us keep
 * is bounded: bytes and frames of a message (frame-reader.ts), bytes that it does not read, and time. A peer that
 * exceeds a bound is cut off, counted and logged.
 *
 * There are no ZMTP heartbeats: TCP's keepalive notices a host that vanished, and requests have deadlines of their own.
 */
import { type Socket } from 'node:net';
import { type Clock } from '@cmbs/shared';
import {
  HANDSHAKE_TIMEOUT_MS,
  MAX_UNSENT_BYTES,
  SOCKET_LINGER_MS,
  TCP_KEEPALIVE_IDLE_MS,
  UNFINISHED_MESSAGE_MS,
} from '@cmbs/shared/limits';
import { type Drops } from './drops';
import { type FrameFault, FrameReader } from './frame-reader';
import { clockOf, type SocketEnvironment } from './options';
import {
  encodeMessage,
  greeting,
  GREETING_BYTES,
  type GreetingFault,
  greetingFault,
  isFitting,
  parseCommand,
  pongCommand,
  readyCommand,
  type SocketType,
} from './zmtp';

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

export interface PeerOwner {
  /** The handshake is done: messages may be sent. */
  ready(peer: Peer): void;
  /** False when the message is not wanted now: it waits, and the peer with it, until {@link Peer.resume}. */
  message(peer: Peer, frames: Buffer[]): boolean;
  /** The peer takes more, after {@link Peer.isFull}. */
  writable(peer: Peer): void;
  /** The connection has ended; nothing comes after it. */
  gone(peer: Peer): void;
}

export interface PeerOptions {
  readonly type: SocketType;
  /** Bytes of a message, over all of its frames, above which the peer is cut off. */
  readonly maxMessageBytes: number;
  readonly environment: SocketEnvironment;
  readonly drops: Drops;
}

/** Bytes up to which several small writes are made one. */
const GATHERED_BYTES = 64 * 1024;

export class Peer {
  readonly #clock: Clock;
  readonly #reader: FrameReader;
  #greeting: Buffer | undefined = Buffer.alloc(GREETING_BYTES);
  #greeted = 0;
  #isReady = false;
  #isClosed = false;
  #isEnding = false;
  /** What is written in this turn of the event loop, sent together. */
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #isFull = false;
  readonly #cancelHandshake: () => void;
  #cancelStall: (() => void) | undefined;
  readonly #received = { bytes: 0, overflow: () => this.cut('too_much_memory') };
  readonly #unsent = { bytes: 0, overflow: () => this.cut('peer_does_not_read') };

  /** @param socket connected, and not read from yet */
  constructor(
    private readonly socket: Socket,
    private readonly owner: PeerOwner,
    private readonly options: PeerOptions,
  ) {
    this.#clock = clockOf(options.environment);
    this.#reader = new FrameReader(
      {
        message: (frames) => this.owner.message(this, frames),
        command: (body) => this.#onCommand(body),
      },
      options.maxMessageBytes,
    );
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEPALIVE_IDLE_MS);
    socket.on('data', this.#onData);
    socket.on('drain', () => this.#onDrain());
    // A peer that sends nothing more has gone: ZMTP knows no half-closed connection.
    socket.on('end', () => this.destroy());
    // What went wrong with the transport shows by `close`, which always follows.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#onClose());
    this.#cancelHandshake = this.#clock.after(HANDSHAKE_TIMEOUT_MS, () => this.cut('handshake_timeout'));
    this.#write([greeting()]);
  }

  get isReady(): boolean {
    return this.#isReady && !this.#isEnding && !this.socket.destroyed;
  }

  /** The peer has not read what it was sent: nothing more should be. {@link PeerOwner.writable} tells of its end. */
  get isFull(): boolean {
    if (this.#unsentBytes < MAX_UNSENT_BYTES) return false;
    this.#isFull = true;
    return true;
  }

  /** Sends one message; false when the connection is not up, and nothing was sent. */
  send(frames: readonly (Buffer | string)[]): boolean {
    if (!this.isReady) return false;
    this.#write(encodeMessage(frames));
    return true;
  }

  /** Offers the message that was not wanted once more, and reads on. */
  resume(): void {
    if (this.#isClosed || this.#isEnding) return;
    this.#after(this.#reader.resume());
    if (!this.#reader.isPaused) this.socket.resume();
  }

  /** Cuts the connection because of what the peer did; counted and logged. */
  cut(reason: CutReason): void {
    if (this.#isClosed) return;
    const { remoteAddress } = this.socket;
    this.options.drops.note(reason, remoteAddress === undefined ? {} : { peer: remoteAddress });
    this.destroy();
  }

  /** Closes without sending what waits. */
  destroy(): void {
    this.#reader.stop();
    this.socket.destroy();
    this.#account();
  }

  /** Sends what waits and closes; resolves when that is done, or after `SOCKET_LINGER_MS`. */
  end(): Promise<void> {
    if (this.#isClosed || this.#isEnding) return Promise.resolve();
    this.#isEnding = true;
    this.#flush();
    this.#reader.stop();
    this.#account();
    // What the peer still sends is read and forgotten: unread bytes would make the system discard what it has to send.
    this.socket.resume();
    return new Promise((resolve) => {
      const cancel = this.#clock.after(SOCKET_LINGER_MS, () => {
        this.socket.destroy();
        resolve();
      });
      this.socket.once('close', () => {
        cancel();
        resolve();
      });
      this.socket.end(resolve);
    });
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#isEnding || this.#isClosed) return;
    const rest = this.#greeting === undefined ? chunk : this.#greet(this.#greeting, chunk);
    if (rest !== undefined && rest.length > 0) this.#after(this.#reader.push(rest));
  };

  /** What follows of the reader's state. */
  #after(fault: FrameFault | undefined): void {
    if (fault !== undefined) this.cut(fault);
    else if (this.#reader.isPaused) this.socket.pause();
    else if (this.#reader.isUnfinished) this.#watchProgress();
    this.#account();
  }

  /** Takes the first bytes of the connection; gives what follows them. */
  #greet(bytes: Buffer, chunk: Buffer): Buffer | undefined {
    const taken = chunk.copy(bytes, this.#greeted);
    this.#greeted += taken;
    const fault = greetingFault(bytes, this.#greeted);
    if (fault !== undefined) {
      this.cut(fault);
      return undefined;
    }
    if (this.#greeted === GREETING_BYTES) {
      this.#greeting = undefined;
      this.#write([readyCommand(this.options.type)]);
    }
    return chunk.subarray(taken);
  }

  #onCommand(body: Buffer): void {
    const command = parseCommand(body);
    if (!this.#isReady) {
      if (command?.name === 'ERROR') this.cut('refused_by_peer');
      else if (command?.name !== 'READY') this.cut('no_handshake');
      else if (!isFitting(this.options.type, command.rest)) this.cut('socket_does_not_fit');
      else {
        this.#isReady = true;
        this.#cancelHandshake();
        this.#reader.expectMessages();
        this.owner.ready(this);
      }
      return;
    }
    switch (command?.name) {
      case 'PING': // a time to live and a context (RFC 37)
        if (!this.isFull) this.#write([pongCommand(command.rest.subarray(2))]);
        return;
      case 'PONG':
        return;
      case 'SUBSCRIBE': // a peer that speaks 3.1 in spite of what we said
        this.owner.message(this, [Buffer.concat([Buffer.from([1]), command.rest])]);
        return;
      case 'CANCEL':
        this.owner.message(this, [Buffer.concat([Buffer.from([0]), command.rest])]);
        return;
      case 'ERROR':
        this.cut('refused_by_peer');
        return;
      default:
        this.options.drops.note('unknown_command');
    }
  }

  /** A message that has begun must go on. */
  #watchProgress(): void {
    if (this.#cancelStall !== undefined) return;
    const { bytesRead } = this.socket;
    this.#cancelStall = this.#clock.after(UNFINISHED_MESSAGE_MS, () => {
      this.#cancelStall = undefined;
      if (!this.#reader.isUnfinished) return;
      if (this.socket.bytesRead === bytesRead && !this.#reader.isPaused) this.cut('unfinished_message');
      else this.#watchProgress();
    });
  }

  #write(parts: readonly Buffer[]): void {
    if (this.#queue.length === 0) process.nextTick(this.#flush);
    for (const part of parts) {
      this.#queue.push(part);
      this.#queuedBytes += part.length;
    }
  }

  readonly #flush = (): void => {
    const parts = this.#queue;
    if (parts.length === 0) return;
    const bytes = this.#queuedBytes;
    this.#queue = [];
    this.#queuedBytes = 0;
    if (this.#isClosed || this.socket.destroyed) return;
    if (parts.length === 1 || bytes <= GATHERED_BYTES) {
      this.socket.write(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, bytes));
    } else {
      this.socket.cork();
      for (const part of parts) this.socket.write(part);
      this.socket.uncork();
    }
    this.#account();
    if (this.#isFull && this.#unsentBytes === 0) this.#onDrain();
  };

  #onDrain(): void {
    this.#account();
    if (!this.#isFull || this.#unsentBytes >= MAX_UNSENT_BYTES) return;
    this.#isFull = false;
    if (this.isReady) this.owner.writable(this);
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelHandshake();
    this.#cancelStall?.();
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#reader.stop();
    this.#account();
    this.owner.gone(this);
  }

  get #unsentBytes(): number {
    return this.#queuedBytes + this.socket.writableLength;
  }

  /** Tells what this connection holds; only the changes, since most messages come and go within one chunk. */
  #account(): void {
    const { received, unsent } = this.options.environment.context;
    const receivedBytes = this.#reader.heldBytes;
    if (receivedBytes !== this.#received.bytes) {
      this.#received.bytes = receivedBytes;
      received.set(this.#received, receivedBytes);
    }
    const unsentBytes = this.socket.destroyed ? 0 : this.#unsentBytes;
    if (unsentBytes !== this.#unsent.bytes) {
      this.#unsent.bytes = unsentBytes;
      unsent.set(this.#unsent, unsentBytes);
    }
  }
}

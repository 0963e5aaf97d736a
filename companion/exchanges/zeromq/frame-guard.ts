/**
 * Reads the frames of one peer (RFC 23) and passes whole messages on, byte by byte as they came. The limits hold for a
 * message with all of its frames. Memory is taken for the bytes that have arrived, not for the length that a header
 * claims.
 */
import { COMMAND, LONG, LONG_HEADER, MORE, SHORT_HEADER } from './zmtp';

/** Frames of one message. An envelope has few, and each frame takes memory beyond its bytes. */
const MAX_MESSAGE_FRAMES = 1024;
/** Bytes of a ZMTP command; a `READY` with all properties has about a hundred. */
const MAX_COMMAND_BYTES = 4096;

export type FrameFault =
  'message_too_large' | 'too_many_frames' | 'command_too_large' | 'malformed_frame' | 'no_handshake';

export interface GuardOwner {
  /** Whether a whole message of so many bytes may go on now. If not, {@link FrameGuard.resume} asks again. */
  admit(messageBytes: number): boolean;
  forward(bytes: Buffer): void;
  /** Whether a command may come at all after the handshake. @param isBetween it came between two frames of a message */
  isAllowed(body: Buffer, isBetween: boolean): boolean;
  /** Takes an allowed command, which goes on unchanged. False when it may not go on now. */
  command(body: Buffer): boolean;
  /** Takes a command of the handshake. @returns the bytes that go on in its place; undefined when the peer was cut off */
  handshake(body: Buffer): Buffer | undefined;
}

const EMPTY: Buffer = Buffer.alloc(0);
/** Bytes that are allocated at first for a message that comes in several pieces. */
const FIRST_CAPACITY = 4096;

/** The beginning of a message. The buffer doubles when it is full, so that many small pieces cost no more than few large ones. */
class Held {
  #bytes = EMPTY;
  #filled = 0;

  get capacity(): number {
    return this.#bytes.length;
  }

  get isEmpty(): boolean {
    return this.#filled === 0;
  }

  /** @param most bytes that a message may have; no more are allocated */
  append(part: Buffer, most: number): void {
    const needed = this.#filled + part.length;
    if (needed > this.#bytes.length) {
      const capacity = Math.max(FIRST_CAPACITY, needed, Math.min(2 * this.#bytes.length, most));
      const larger = Buffer.allocUnsafeSlow(capacity);
      this.#bytes.copy(larger, 0, 0, this.#filled);
      this.#bytes = larger;
    }
    part.copy(this.#bytes, this.#filled);
    this.#filled = needed;
  }

  /** Returns all bytes and keeps none. */
  take(): Buffer {
    const bytes = this.#bytes.subarray(0, this.#filled);
    this.#bytes = EMPTY;
    this.#filled = 0;
    return bytes;
  }
}

export class FrameGuard {
  readonly #owner: GuardOwner;
  readonly #maxMessageBytes: number;
  /** Bytes that are not read yet: the beginning of a frame, or bytes that came while a message waits. */
  #rest = EMPTY;
  readonly #held = new Held();
  /** Bytes of the present frame's body that have not arrived. */
  #missing = 0;
  /** Frames of the present message. */
  #frames = 0;
  #messageBytes = 0;
  #hasMore = false;
  /** A whole message, or a command, is held and may not go on yet. */
  #isPaused = false;
  #waitingCommand: Buffer | undefined;
  #isShakingHands = true;
  #isStopped = false;

  constructor(owner: GuardOwner, maxMessageBytes: number) {
    this.#owner = owner;
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** The handshake is over: from now on messages may come; before, a message is a fault. */
  expectMessages(): void {
    this.#isShakingHands = false;
  }

  /** Bytes of memory that are held for this peer. */
  get heldBytes(): number {
    return this.#held.capacity + (this.#rest.length === 0 ? 0 : this.#rest.buffer.byteLength);
  }

  /** Whether a message has begun and not ended. */
  get isUnfinished(): boolean {
    return !this.#isPaused && (this.#frames > 0 || this.#rest.length > 0);
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Reads more bytes of the peer. @returns the fault of a peer that is to be cut off */
  push(chunk: Buffer): FrameFault | undefined {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    return this.#isPaused ? undefined : this.#read();
  }

  /** Asks again whether the waiting message may go on, and goes on if so. */
  resume(): FrameFault | undefined {
    if (!this.#isPaused || this.#isStopped) return undefined;
    const command = this.#waitingCommand;
    const mayGo = command === undefined ? this.#owner.admit(this.#messageBytes) : this.#owner.command(command);
    if (!mayGo) return undefined;
    this.#waitingCommand = undefined;
    this.#isPaused = false;
    this.#messageBytes = 0;
    this.#owner.forward(this.#held.take());
    return this.#read();
  }

  /** Drops all bytes; nothing is passed on afterwards. */
  stop(): void {
    this.#isStopped = true;
    this.#rest = EMPTY;
    this.#held.take();
    this.#isPaused = false;
  }

  #read(): FrameFault | undefined {
    const bytes = this.#rest;
    this.#rest = EMPTY;
    /** The bytes from `start` to `end` go on; all bytes before `at` are read. */
    let start = 0;
    let end = 0;
    let at = 0;
    while (!this.#isStopped && !this.#isPaused) {
      if (this.#missing > 0) {
        const taken = Math.min(this.#missing, bytes.length - at);
        at += taken;
        this.#missing -= taken;
        if (this.#missing > 0) break;
      } else {
        const header = this.#header(bytes, at);
        if (header === undefined) break;
        const { flags, length, bodyAt } = header;
        const fault = this.#fault(flags, length);
        if (fault !== undefined) return fault;
        if ((flags & COMMAND) !== 0) {
          if (bodyAt + length > bytes.length) break;
          const body = bytes.subarray(bodyAt, bodyAt + length);
          at = bodyAt + length;
          if (this.#isShakingHands) {
            const replaced = this.#owner.handshake(body);
            if (replaced === undefined) return undefined;
            this.#owner.forward(replaced);
            start = at;
            end = at;
          } else if (!this.#owner.isAllowed(body, this.#frames > 0)) {
            return 'malformed_frame';
          } else if (this.#frames > 0) {
            // Between two frames of a message: the command goes on with the frames, and counts as they do.
            this.#messageBytes += length;
            if (this.#messageBytes > this.#maxMessageBytes) return 'message_too_large';
          } else if (this.#owner.command(body)) {
            end = at;
          } else {
            this.#waitingCommand = Buffer.from(body);
            this.#isPaused = true;
          }
          continue;
        }
        this.#messageBytes += length;
        this.#frames += 1;
        this.#hasMore = (flags & MORE) !== 0;
        this.#missing = length;
        at = bodyAt;
        if (length > 0) continue;
      }
      if (this.#hasMore) continue;
      this.#frames = 0;
      if (!this.#owner.admit(this.#messageBytes)) {
        this.#isPaused = true;
        break;
      }
      this.#messageBytes = 0;
      end = at;
    }
    if (!this.#isStopped) this.#passOn(bytes, start, end, at);
    return undefined;
  }

  #header(bytes: Buffer, at: number): { flags: number; length: number; bodyAt: number } | undefined {
    if (bytes.length - at < SHORT_HEADER) return undefined;
    const flags = bytes[at] as number;
    if ((flags & LONG) === 0) return { flags, length: bytes[at + 1] as number, bodyAt: at + SHORT_HEADER };
    const bodyAt = at + LONG_HEADER;
    if (bodyAt > bytes.length) return undefined;
    const length = bytes.readUInt32BE(at + 1) * 2 ** 32 + bytes.readUInt32BE(at + 5);
    return { flags, length, bodyAt };
  }

  #fault(flags: number, length: number): FrameFault | undefined {
    if ((flags & ~(MORE | LONG | COMMAND)) !== 0) return 'malformed_frame';
    if ((flags & COMMAND) !== 0) {
      if ((flags & MORE) !== 0) return 'malformed_frame';
      return length > MAX_COMMAND_BYTES ? 'command_too_large' : undefined;
    }
    if (this.#isShakingHands) return 'no_handshake';
    if (this.#messageBytes + length > this.#maxMessageBytes) return 'message_too_large';
    return this.#frames >= MAX_MESSAGE_FRAMES ? 'too_many_frames' : undefined;
  }

  #passOn(bytes: Buffer, start: number, end: number, at: number): void {
    if (end > start) {
      if (!this.#held.isEmpty) this.#owner.forward(this.#held.take());
      this.#owner.forward(bytes.subarray(start, end));
    }
    if (at > end) this.#held.append(bytes.subarray(end, at), this.#maxMessageBytes);
    const rest = bytes.subarray(at);
    // A small rest must not keep a large chunk in memory.
    this.#rest = rest.length > 0 && 2 * rest.length < rest.buffer.byteLength ? Buffer.from(rest) : rest;
  }
}

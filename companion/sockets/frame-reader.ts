/**
 * Reads ZMTP frames out of the bytes of one peer, within bounds that hold per message, over all of its frames, and hands
 * on whole messages. What is held of a message that is not finished is what has come of it, not what its header claims.
 */
import { MAX_COMMAND_BYTES, MAX_MESSAGE_FRAMES } from '@cmbs/shared/limits';
import { COMMAND, LONG, LONGEST_HEADER, MORE } from './zmtp';

export type FrameFault =
  'message_too_large' | 'too_many_frames' | 'command_too_large' | 'malformed_frame' | 'no_handshake';

export interface FrameOwner {
  /** One whole message. False when it is not wanted now: it is offered again by {@link FrameReader.resume}. */
  message(frames: Buffer[]): boolean;
  command(body: Buffer): void;
}

const EMPTY: Buffer = Buffer.alloc(0);
/** Bytes that the first piece of a body has room for. */
const FIRST_CAPACITY = 4096;
/** Bytes beyond its own that a frame which is kept may take. */
const FRAME_OVERHEAD = 256;

/** A part that keeps a much larger piece of memory alive is copied out of it. */
function compact(part: Buffer): Buffer {
  if (part.buffer.byteLength <= 2 * part.length + FRAME_OVERHEAD) return part;
  const copy = Buffer.allocUnsafeSlow(part.length);
  part.copy(copy);
  return copy;
}

/** A body that comes in several pieces; grows by doubling, so that many small pieces cost no more than few large ones. */
class Assembly {
  #bytes: Buffer;
  #filled = 0;

  constructor(
    readonly flags: number,
    private readonly length: number,
  ) {
    this.#bytes = Buffer.allocUnsafeSlow(Math.min(length, FIRST_CAPACITY));
  }

  get capacity(): number {
    return this.#bytes.length;
  }

  get whole(): Buffer | undefined {
    return this.#filled === this.length ? this.#bytes : undefined;
  }

  /** Takes what it can of `bytes` from `at` on; gives how much that was. */
  take(bytes: Buffer, at: number): number {
    const taken = Math.min(this.length - this.#filled, bytes.length - at);
    const needed = this.#filled + taken;
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(this.length, Math.max(needed, 2 * this.#bytes.length)));
      this.#bytes.copy(larger, 0, 0, this.#filled);
      this.#bytes = larger;
    }
    bytes.copy(this.#bytes, this.#filled, at, at + taken);
    this.#filled = needed;
    return taken;
  }
}

export class FrameReader {
  /** Bytes that were not looked at yet: the beginning of a header, or what came while nothing was wanted. */
  #rest = EMPTY;
  #body: Assembly | undefined;
  /** Frames of the message that is not finished. */
  #frames: Buffer[] = [];
  #messageBytes = 0;
  /** A whole message that was not wanted. */
  #waiting: Buffer[] | undefined;
  #mayCarryMessages = false;
  #stopped = false;

  constructor(
    private readonly owner: FrameOwner,
    private readonly maxMessageBytes: number,
  ) {}

  /** From now on messages may come; before, a message is a fault. */
  expectMessages(): void {
    this.#mayCarryMessages = true;
  }

  /** Bytes of memory that this reader holds. */
  get heldBytes(): number {
    const rest = this.#rest.length === 0 ? 0 : this.#rest.buffer.byteLength;
    const frames = this.#frames.length * FRAME_OVERHEAD;
    return rest + frames + this.#messageBytes + (this.#body?.capacity ?? 0);
  }

  /** A frame or a message has begun and not ended. */
  get isUnfinished(): boolean {
    return this.#body !== undefined || this.#frames.length > 0 || this.#rest.length > 0;
  }

  /** A message waits until it is wanted; nothing more is read before. */
  get isPaused(): boolean {
    return this.#waiting !== undefined;
  }

  /** Takes what came. @returns what is wrong with it: then the peer is to be cut off */
  push(chunk: Buffer): FrameFault | undefined {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    return this.#read();
  }

  /** Offers the message that waits, and goes on where it is taken. */
  resume(): FrameFault | undefined {
    const frames = this.#waiting;
    if (frames === undefined) return undefined;
    this.#waiting = undefined;
    this.#offer(frames);
    return this.#read();
  }

  /** Forgets everything; nothing is handed on any more. */
  stop(): void {
    this.#stopped = true;
    this.#rest = EMPTY;
    this.#body = undefined;
    this.#frames = [];
    this.#waiting = undefined;
    this.#messageBytes = 0;
  }

  #read(): FrameFault | undefined {
    const bytes = this.#rest;
    let at = 0;
    while (!this.#stopped && this.#waiting === undefined) {
      if (this.#body !== undefined) {
        at += this.#body.take(bytes, at);
        const { whole, flags } = this.#body;
        if (whole === undefined) break;
        this.#body = undefined;
        this.#frame(flags, whole);
        continue;
      }
      if (bytes.length - at < 2) break;
      const flags = bytes[at] as number;
      let length = bytes[at + 1] as number;
      let begin = at + 2;
      if ((flags & LONG) !== 0) {
        begin = at + LONGEST_HEADER;
        if (begin > bytes.length) break;
        length = bytes.readUInt32BE(at + 1) * 2 ** 32 + bytes.readUInt32BE(at + 5);
      }
      const fault = this.#fault(flags, length);
      if (fault !== undefined) return fault;
      if ((flags & COMMAND) === 0) this.#messageBytes += length;
      at = begin + length;
      if (at <= bytes.length) this.#frame(flags, bytes.subarray(begin, at));
      else {
        this.#body = new Assembly(flags, length);
        at = begin;
      }
    }
    if (!this.#stopped) this.#keep(bytes, at);
    return undefined;
  }

  #fault(flags: number, length: number): FrameFault | undefined {
    if ((flags & ~(MORE | LONG | COMMAND)) !== 0) return 'malformed_frame';
    if ((flags & COMMAND) !== 0) {
      if ((flags & MORE) !== 0) return 'malformed_frame';
      return length > MAX_COMMAND_BYTES ? 'command_too_large' : undefined;
    }
    if (!this.#mayCarryMessages) return 'no_handshake';
    if (this.#messageBytes + length > this.maxMessageBytes) return 'message_too_large';
    return this.#frames.length >= MAX_MESSAGE_FRAMES ? 'too_many_frames' : undefined;
  }

  #frame(flags: number, body: Buffer): void {
    if ((flags & COMMAND) !== 0) {
      this.owner.command(body);
      return;
    }
    this.#frames.push(body);
    if ((flags & MORE) !== 0) return;
    const frames = this.#frames;
    this.#frames = [];
    this.#offer(frames);
  }

  #offer(frames: Buffer[]): void {
    if (this.owner.message(frames)) this.#messageBytes = 0;
    else if (!this.#stopped) this.#waiting = frames;
  }

  #keep(bytes: Buffer, at: number): void {
    const left = bytes.length - at;
    this.#rest = left === 0 ? EMPTY : left < LONGEST_HEADER ? compact(bytes.subarray(at)) : bytes.subarray(at);
    // Those that were kept before are compact already.
    for (let index = this.#frames.length - 1; index >= 0; index -= 1) {
      const frame = this.#frames[index] as Buffer;
      const copy = compact(frame);
      if (copy === frame) break;
      this.#frames[index] = copy;
    }
  }
}

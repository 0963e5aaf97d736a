/**
 * Estimates how much one peer of a ROUTER has asked for and not read: each request brings one reply, and replies of one
 * kind have about one size. A peer is asked for no more while that is more than may wait for it.
 */
import { COMMAND, GREETING_BYTES, LONG, LONG_HEADER, MORE, SHORT_HEADER } from './zmtp';

/** Bytes that the first replies to a peer are taken to have: it may have so many requests in flight at first. */
const REPLY_BYTES_GUESS = 16 * 1024;

/** How much of an earlier, larger size a reply leaves of the estimate. */
const DECAY = 0.9;

export class ReplyMeter {
  #unanswered = 0;
  #replyBytes = REPLY_BYTES_GUESS;
  /** Bytes of the greeting, or of a frame, that pass before the next header. */
  #skip = GREETING_BYTES;
  /** The beginning of a header. */
  #header: Buffer = Buffer.alloc(0);
  #messageBytes = 0;
  #endsMessage = false;

  /** Bytes of replies that are still to come, about. */
  get expectedBytes(): number {
    return this.#unanswered * this.#replyBytes;
  }

  asked(): void {
    this.#unanswered += 1;
  }

  /** Requests that get no reply (they are malformed) must not count for ever. */
  forget(): void {
    this.#unanswered = 0;
  }

  /** Looks at what goes to the peer. */
  pass(chunk: Buffer): void {
    const bytes = this.#header.length === 0 ? chunk : Buffer.concat([this.#header, chunk]);
    this.#header = Buffer.alloc(0);
    for (let at = 0; at < bytes.length;) {
      const passed = Math.min(this.#skip, bytes.length - at);
      this.#skip -= passed;
      at += passed;
      if (this.#skip > 0) return;
      this.#endFrame();
      const isLong = ((bytes[at] ?? 0) & LONG) !== 0;
      const header = isLong ? LONG_HEADER : SHORT_HEADER;
      if (at + header > bytes.length) {
        this.#header = Buffer.from(bytes.subarray(at));
        return;
      }
      const flags = bytes[at] as number;
      this.#skip = isLong ? bytes.readUInt32BE(at + 5) : (bytes[at + 1] as number);
      at += header;
      if ((flags & COMMAND) !== 0) continue;
      this.#messageBytes += this.#skip;
      this.#endsMessage = (flags & MORE) === 0;
      if (this.#skip === 0) this.#endFrame();
    }
    if (this.#skip === 0) this.#endFrame();
  }

  #endFrame(): void {
    if (!this.#endsMessage) return;
    this.#endsMessage = false;
    this.#unanswered = Math.max(0, this.#unanswered - 1);
    this.#replyBytes = Math.max(this.#messageBytes, this.#replyBytes * DECAY);
    this.#messageBytes = 0;
  }
}

/**
 * Estimates how many bytes one peer of a ROUTER has asked for and not received: each request brings one reply, and the
 * replies to one peer have about one size. While the estimate is above the limit, nothing more is read from the peer.
 */
import { COMMAND, GREETING_BYTES, LONG, LONG_HEADER, MORE, SHORT_HEADER } from './zmtp';

/** Assumed bytes of the first reply to a peer, which decide how many requests may be in flight at first. */
const REPLY_BYTES_GUESS = 16 * 1024;

/** Factor by which a smaller reply lowers the estimate. */
const DECAY = 0.9;

export class ReplyMeter {
  #unanswered = 0;
  #replyBytes = REPLY_BYTES_GUESS;
  /** Bytes of the greeting, or of a frame, until the next header. */
  #skip = GREETING_BYTES;
  /** The beginning of a header. */
  #header: Buffer = Buffer.alloc(0);
  #messageBytes = 0;
  #endsMessage = false;

  /** Estimate of the bytes of replies that are still to come. */
  get expectedBytes(): number {
    return this.#unanswered * this.#replyBytes;
  }

  asked(): void {
    this.#unanswered += 1;
  }

  /** Forgets the open requests: malformed ones get no reply, and must not count for ever. */
  forget(): void {
    this.#unanswered = 0;
  }

  /** Counts the messages in the bytes that go to the peer (RFC 23). */
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

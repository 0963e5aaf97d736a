/** The outbound messages in memory. The store has them all; a message leaves memory when no part works on it. */
import type { OutboundMessage } from '@cmbs/shared/broker';
import { InFlightMessage } from './in-flight-message';
import type { OutgoingFrames } from './outgoing-frames';

/** Outbound messages that may be in memory, about; beyond this number each destination queue reads one at a time. */
const MAX_IN_FLIGHT = 10_000;

export interface InFlightMessagesParts {
  readonly frames: Pick<OutgoingFrames, 'free'>;
  /** Whether topics of the message are to be published from here. */
  readonly isPublishing: (message: InFlightMessage) => boolean;
}

export class InFlightMessages {
  readonly #parts: InFlightMessagesParts;
  readonly #byId = new Map<string, InFlightMessage>();

  constructor(parts: InFlightMessagesParts) {
    this.#parts = parts;
  }

  get(id: string): InFlightMessage | undefined {
    return this.#byId.get(id);
  }

  /** False once the message was released or removed, even if it was read again since. */
  has(message: InFlightMessage): boolean {
    return this.#byId.get(message.outbound.id) === message;
  }

  /** The message in memory; made from the stored message if it is not there. */
  hold(outbound: OutboundMessage): InFlightMessage {
    return this.get(outbound.id) ?? this.keep(new InFlightMessage(outbound));
  }

  /** Puts a message back that may have been released; returns the message that is in memory then. */
  keep(message: InFlightMessage): InFlightMessage {
    const { id } = message.outbound;
    const kept = this.#byId.get(id) ?? message;
    this.#byId.set(id, kept);
    return kept;
  }

  /** Takes a message out of memory if no part works on it. */
  release(message: InFlightMessage): void {
    const { frames, isPublishing } = this.#parts;
    if (!this.has(message) || isPublishing(message)) return;
    const isWaitedFor = message.queued.size > 0 || message.waiters.size > 0;
    if (isWaitedFor || message.flushing || message.outcomes.length > 0) return;
    frames.free(message);
    this.#byId.delete(message.outbound.id);
  }

  /** Takes a message out of memory. False when it is not there. */
  remove(message: InFlightMessage): boolean {
    return this.has(message) && this.#byId.delete(message.outbound.id);
  }

  get all(): Iterable<InFlightMessage> {
    return this.#byId.values();
  }

  get size(): number {
    return this.#byId.size;
  }

  get hasRoom(): boolean {
    return this.size < MAX_IN_FLIGHT;
  }
}

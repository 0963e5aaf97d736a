/**
 * Reads the messages that wait in the store for the topic bus, in order, a page at a time: from the end of the last page,
 * and from the start again when all have been read and some were left there. If all of these had failed, it reads again
 * after a back-off.
 */
import {
  ADDRESS_FIELD,
  busAddress,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  outboundMessageOf,
} from '@cmbs/shared/broker';
import { MAX_READ_CHARS } from '../limits';
import type { PublicationEnvironment } from './environment';

/** Where the next page begins. */
interface Cursor {
  /** Index in the layers of the bus. */
  readonly layer: number;
  readonly after?: string;
}

const START: Cursor = { layer: 0 };

/** What was left in the store since the last start: nothing, messages that failed, or messages without room. */
type Left = 'nothing' | 'failed' | 'crowded';

export interface WaitingPublicationsParts {
  readonly environment: Pick<PublicationEnvironment, 'store' | 'clock' | 'log' | 'backOff' | 'layers'>;
  /** Messages that may be taken now; none while too many are held. */
  readonly room: () => number;
  readonly take: (outbound: OutboundMessage) => Promise<void>;
}

export class WaitingPublications {
  readonly #parts: WaitingPublicationsParts;
  #cursor = START;
  #left: Left = 'nothing';
  /** Rounds in a row that left failed messages. */
  #rounds = 0;
  #reading: Promise<void> | undefined;
  #cancelPause: (() => void) | undefined;
  /** The pause before the next round is over. */
  #isRested = false;
  #isStopped = false;

  constructor(parts: WaitingPublicationsParts) {
    this.#parts = parts;
  }

  /** The store has messages that are not held. */
  get hasMore(): boolean {
    return this.#left !== 'nothing' || this.#cursor !== START;
  }

  /** A message stays in the store, or goes back there. */
  leave(left: Exclude<Left, 'nothing'>): void {
    if (this.#left !== 'crowded') this.#left = left;
  }

  /** Messages that failed may go now. */
  notify(): void {
    if (!this.hasMore) return;
    this.#rounds = 0;
    this.#isRested = true;
    this.readOn();
  }

  /** Reads the next page, if there is room for it. */
  readOn(): void {
    if (this.#isStopped || !this.hasMore || this.#reading !== undefined || this.#parts.room() === 0) return;
    if (this.#cursor === START && this.#left === 'failed' && !this.#isRested) {
      this.#rest();
      return;
    }
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      this.readOn();
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelPause?.();
  }

  #rest(): void {
    if (this.#cancelPause !== undefined) return;
    const { clock, backOff } = this.#parts.environment;
    this.#rounds += 1;
    this.#cancelPause = clock.after(backOff(this.#rounds), () => {
      this.#cancelPause = undefined;
      this.#isRested = true;
      this.readOn();
    });
  }

  async #read(): Promise<void> {
    const { environment, room, take } = this.#parts;
    const { onBus } = environment.layers;
    const { layer, after } = this.#cursor;
    if (this.#cursor === START) {
      this.#left = 'nothing';
      this.#isRested = false;
      this.#cancelPause?.();
      this.#cancelPause = undefined;
    }
    try {
      const page = await environment.store.query({
        collection: OUTBOUND_MESSAGES,
        where: [{ field: ADDRESS_FIELD, value: busAddress(onBus[layer] ?? '') }],
        by: 'order',
        limit: Math.max(1, room()),
        maxChars: MAX_READ_CHARS,
        ...(after === undefined ? {} : { after }),
      });
      for (const outbound of page.docs.map(outboundMessageOf)) await take(outbound);
      if (page.next !== undefined) this.#cursor = { layer, after: page.next };
      else this.#cursor = layer + 1 < onBus.length ? { layer: layer + 1 } : START;
    } catch (error) {
      environment.log.warn('messages that wait for the topic bus not read', { cause: error });
      this.#cursor = START;
      this.leave('failed');
      return;
    }
    if (this.#cursor === START && this.#left === 'nothing') this.#rounds = 0;
  }
}

/**
 * Expires outbound messages. Messages that are due within the next two minutes are known here; the others are found in
 * the store by the minute in which they are due. So messages that are not in memory expire too, and only messages that are
 * due soon are read.
 */
import type { Clock, Log } from '@cmbs/shared';
import {
  DUE_FIELD,
  dueIn,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  outboundMessageOf,
  partsOf,
  readOutbound,
} from '@cmbs/shared/broker';
import type { Store } from '@cmbs/shared/store';

const MINUTE_MS = 60_000;
/** Milliseconds of a pause beyond which earlier minutes are not read: a day longer than messages live. */
const LONGEST_GAP_MS = 8 * 24 * 60 * MINUTE_MS;
/** Messages on one page, and pages of one minute; the rest of the minute is read a minute later. */
const PAGE = 1000;
const PAGES = 10;

export interface ExpiryParts {
  readonly store: Pick<Store, 'query' | 'get' | 'getAll'>;
  readonly clock: Clock;
  readonly log: Log;
  /** The shard whose messages expire here. */
  readonly shard: string;
  /** Milliseconds before a failed read is tried again. */
  readonly backOff: (failures: number) => number;
  /** Called when an open message is due. */
  readonly expire: (outbound: OutboundMessage) => Promise<void>;
}

export class Expiry {
  readonly #parts: ExpiryParts;
  /** Times at which messages are due, by id. */
  readonly #due = new Map<string, number>();
  /** All messages that are due before this time are known. */
  #horizon = 0;
  /** The first minute that was not read whole. */
  #unread = 0;
  #nextAt = Infinity;
  #cancelNext: (() => void) | undefined;
  #cancelMinute: (() => void) | undefined;
  #isClosed = false;

  constructor(parts: ExpiryParts) {
    this.#parts = parts;
  }

  /** Begins to look ahead. */
  open(): void {
    this.#unread = startOfMinute(this.#parts.clock.now()) - MINUTE_MS;
    void this.#lookAhead();
  }

  /** The store has an outbound message. */
  note({ id, expiresAt, shard }: Pick<OutboundMessage, 'id' | 'expiresAt' | 'shard'>): void {
    // A message without the right shard is not found by the minute in which it is due.
    const isFound = shard === this.#parts.shard && expiresAt >= this.#horizon;
    if (isFound || this.#isClosed) return;
    this.#due.set(id, expiresAt);
    this.#wakeAt(expiresAt);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelNext?.();
    this.#cancelMinute?.();
  }

  #wakeAt(time: number): void {
    if (time >= this.#nextAt || this.#isClosed) return;
    const { clock } = this.#parts;
    this.#cancelNext?.();
    this.#nextAt = time;
    this.#cancelNext = clock.after(Math.min(Math.max(time - clock.now(), 0), MINUTE_MS), () => this.#wake());
  }

  #wake(): void {
    const { clock } = this.#parts;
    this.#nextAt = Infinity;
    const now = clock.now();
    let earliest = Infinity;
    for (const [id, at] of this.#due) {
      if (at > now) earliest = Math.min(earliest, at);
      else {
        this.#due.delete(id);
        this.#end(id);
      }
    }
    if (earliest !== Infinity) this.#wakeAt(earliest);
  }

  /** Expires a message, in memory or not. If it cannot be read now, tries again a little later. */
  #end(outboundId: string, attempt = 1): void {
    const { store, clock, log, backOff, expire } = this.#parts;
    readOutbound(store, outboundId)
      .then(
        async (read) => {
          if (read === undefined || this.#isClosed || read.outbound.expiresAt > clock.now()) return;
          await expire(read.outbound);
        },
        (error: unknown) => {
          log.warn('expired message not read', { send: outboundId, cause: error });
          if (!this.#isClosed) clock.after(backOff(attempt), () => this.#end(outboundId, attempt + 1));
        },
      )
      .catch((error: unknown) => log.error('expired message not settled', { send: outboundId, cause: error }));
  }

  /**
   * Reads the messages that are due until the end of the next minute, and again in a minute. A process that stood still
   * (the machine slept) reads the minutes that it has missed.
   */
  async #lookAhead(): Promise<void> {
    const { clock, log } = this.#parts;
    const last = startOfMinute(clock.now()) + MINUTE_MS;
    this.#horizon = last + MINUTE_MS;
    // Not further back than any open message, and not ahead of a clock that was set back.
    this.#unread = Math.min(Math.max(this.#unread, last - LONGEST_GAP_MS), last);
    try {
      for (let minute = this.#unread; minute <= last && !this.#isClosed; minute += MINUTE_MS) {
        if ((await this.#read(minute)) && minute === this.#unread) this.#unread += MINUTE_MS;
      }
    } catch (error) {
      log.warn('messages that expire soon not read', { cause: error });
    }
    if (this.#isClosed) return;
    this.#cancelMinute = clock.after(MINUTE_MS, () => void this.#lookAhead());
  }

  /** False when there may be more. */
  async #read(minute: number): Promise<boolean> {
    const parts = partsOf(this.#parts.shard);
    const areWhole = await Promise.all(parts.map((part) => this.#readPart(part, minute)));
    return areWhole.every((isWhole) => isWhole);
  }

  async #readPart(part: string, minute: number): Promise<boolean> {
    let after: string | undefined;
    for (let page = 0; page < PAGES; page += 1) {
      const { docs, next } = await this.#parts.store.query({
        collection: OUTBOUND_MESSAGES,
        where: [{ field: DUE_FIELD, value: dueIn(part, minute) }],
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      });
      for (const doc of docs) this.note(outboundMessageOf(doc));
      if (next === undefined) return true;
      after = next;
    }
    return false;
  }
}

const startOfMinute = (at: number): number => Math.floor(at / MINUTE_MS) * MINUTE_MS;

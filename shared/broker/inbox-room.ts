/**
 * Keeps inboxes within their limits, in entries and bytes (docs/guarantees.md, "Full queues"). An entry gets its place
 * before it is written, so that concurrent arrivals do not exceed the limits together. Acknowledged entries are not
 * subtracted; instead, a full inbox is measured again from time to time before an arrival is refused.
 *
 * Where a single process writes to an inbox, as the local stack and a companion do, the known size is never too small.
 * Functions that handle pushes do not see what other processes write, so a measurement is valid for a limited time.
 */
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import type { Size, Store } from '../store';

/** Least milliseconds between two measurements of a full inbox. */
const INBOX_MEASURE_MS = 1000;
/** A full inbox is not measured again for this many times as long as the last measurement took (5 % of the time). */
const INBOX_MEASURE_SHARE = 20;
/** Most milliseconds between two measurements of a full inbox, however long a measurement takes. */
const INBOX_MEASURE_MAX_MS = 60_000;
/** Milliseconds for which a measurement is valid: other processes may write to the inbox. */
export const INBOX_MEASURED_FOR_MS = 600_000;

export interface InboxLimits {
  /** Most entries of one member's inbox (`CMBS_INBOX_LIMIT`). */
  readonly inboxLimit: number;
  /** Most bytes of an inbox's entries, as JSON (`CMBS_INBOX_BYTES`). */
  readonly inboxBytes: number;
}

/** A reserved place in an inbox. The owner calls one of the two methods, once. */
export interface Place {
  /** The entry is in the inbox, or may be. */
  keep(): void;
  /** The entry is not in the inbox. */
  release(): void;
}

interface Room {
  /** Size of the stored entries; never less than in the store. */
  stored: Size;
  /** Size of the entries that have a place and are not written yet. */
  pending: Size;
  /** Size of the entries written since the current measurement began, which may have missed them. */
  writtenMeanwhile: Size;
  measuring: Promise<void> | undefined;
  /** Milliseconds since the epoch of the last measurement; undefined before the first one. */
  measuredAt: number | undefined;
  /** Milliseconds after a measurement in which a full inbox is not measured again. */
  pauseMs: number;
}

const NOTHING: Size = { count: 0, bytes: 0 };
const plus = (one: Size, other: Size): Size => ({
  count: one.count + other.count,
  bytes: one.bytes + other.bytes,
});
const minus = (one: Size, other: Size): Size => ({
  count: one.count - other.count,
  bytes: one.bytes - other.bytes,
});

export class InboxRooms {
  readonly #store: Pick<Store, 'measure'>;
  readonly #clock: Clock;
  readonly #limits: InboxLimits;
  readonly #rooms = new Map<string, Room>();

  constructor(store: Pick<Store, 'measure'>, clock: Clock, limits: InboxLimits) {
    this.#store = store;
    this.#clock = clock;
    this.#limits = limits;
  }

  /**
   * Reserves a place for an entry. Entries that arrive during a measurement wait for it, so that none overtakes another.
   * @throws CmbsError `queue_full`; `too_large` for an entry that would not fit into an empty inbox
   */
  async place(inbox: string, bytes: number): Promise<Place> {
    const { inboxBytes } = this.#limits;
    if (bytes > inboxBytes) {
      throw new CmbsError(
        'too_large',
        `The message takes ${bytes} bytes in an inbox, and one has ${inboxBytes} (CMBS_INBOX_BYTES); send a smaller one.`,
      );
    }
    const size = { count: 1, bytes };
    const room = this.#rooms.get(inbox) ?? this.#opened(inbox);
    if (room.measuring !== undefined || this.#isOlder(room, INBOX_MEASURED_FOR_MS)) {
      await (room.measuring ?? this.#measure(inbox, room));
    }
    if (!this.#fits(room, size) && (room.measuring !== undefined || this.#isOlder(room, room.pauseMs))) {
      await (room.measuring ?? this.#measure(inbox, room));
    }
    if (!this.#fits(room, size)) {
      throw new CmbsError('queue_full', "The receiver's inbox is full; try again later.");
    }
    room.pending = plus(room.pending, size);
    return {
      keep: () => {
        room.pending = minus(room.pending, size);
        room.stored = plus(room.stored, size);
        room.writtenMeanwhile = plus(room.writtenMeanwhile, size);
      },
      release: () => {
        room.pending = minus(room.pending, size);
      },
    };
  }

  /** Adds bytes to a stored entry: the answer of its call. */
  grew(inbox: string, bytes: number): void {
    const room = this.#rooms.get(inbox);
    if (room === undefined) return; // the next arrival measures the inbox
    const more = { count: 0, bytes };
    room.stored = plus(room.stored, more);
    room.writtenMeanwhile = plus(room.writtenMeanwhile, more);
  }

  #opened(inbox: string): Room {
    const room: Room = {
      stored: NOTHING,
      pending: NOTHING,
      writtenMeanwhile: NOTHING,
      measuring: undefined,
      measuredAt: undefined,
      pauseMs: 0,
    };
    this.#rooms.set(inbox, room);
    return room;
  }

  #fits({ stored, pending }: Room, size: Size): boolean {
    const { count, bytes } = plus(plus(stored, pending), size);
    return count <= this.#limits.inboxLimit && bytes <= this.#limits.inboxBytes;
  }

  /** Whether the last measurement is older than `ms`, or of unknown age because the clock was set back. */
  #isOlder({ measuredAt }: Room, ms: number): boolean {
    const now = this.#clock.now();
    return measuredAt === undefined || now < measuredAt || now >= measuredAt + ms;
  }

  #measure(inbox: string, room: Room): Promise<void> {
    const began = this.#clock.now();
    room.writtenMeanwhile = NOTHING;
    room.measuring = this.#store
      .measure(inbox, this.#limits.inboxLimit)
      .then((measured) => {
        room.stored = plus(measured, room.writtenMeanwhile);
        const now = this.#clock.now();
        const pauseMs = Math.max(INBOX_MEASURE_MS, (now - began) * INBOX_MEASURE_SHARE);
        room.measuredAt = now;
        room.pauseMs = Math.min(pauseMs, INBOX_MEASURE_MAX_MS);
      })
      .catch((error: unknown) => {
        // Forget an inbox that was never measured; the next arrival tries again.
        if (this.#rooms.get(inbox) === room && room.measuredAt === undefined) this.#rooms.delete(inbox);
        throw error;
      })
      .finally(() => {
        room.measuring = undefined;
      });
    return room.measuring;
  }
}

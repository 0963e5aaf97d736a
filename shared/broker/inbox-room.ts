/**
 * How full inboxes are, in entries and bytes. An entry has its place before it is written, so that arrivals which come at
 * once do not exceed the limits together. What leaves an inbox does not show here; so a full one is measured again before
 * an arrival is refused, now and then.
 *
 * What is known is never too little where one process writes to an inbox, as the local stack and a companion do. A
 * function that takes pushes does not know of what others write until it measures again, so each measurement counts for a
 * limited time.
 */
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import type { Size, Store } from '../store';

/** Milliseconds until a full inbox is measured again, and the part of the time, one in so many, that this may take. */
const INBOX_MEASURE_MS = 1000;
const INBOX_MEASURE_SHARE = 20;
/** Milliseconds until a full inbox is measured again at the latest, however long that took the last time. */
const INBOX_MEASURE_MAX_MS = 60_000;
/** Milliseconds for which a measurement of an inbox that is not full counts: others may write to it, too. */
export const INBOX_MEASURED_FOR_MS = 600_000;

export interface InboxLimits {
  /** Entries of one member's inbox, at most, and bytes of their JSON (`CMBS_INBOX_LIMIT`, `CMBS_INBOX_BYTES`). */
  readonly inboxLimit: number;
  readonly inboxBytes: number;
}

/** A place in an inbox. Either is called, once. */
export interface Place {
  /** The entry is in the inbox, or may be. */
  keep(): void;
  /** It is not. */
  release(): void;
}

interface Room {
  /** What is in the store, or more. */
  stored: Size;
  /** What has a place and is not written yet. */
  pending: Size;
  /** Written since the measurement under way began: the measurement may have missed it. */
  writtenMeanwhile: Size;
  measuring: Promise<void> | undefined;
  /** Milliseconds since the epoch of the last measurement; undefined before the first one. */
  measuredAt: number | undefined;
  /** Milliseconds from then on for which a full inbox is not measured again. */
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
   * Gives an entry of so many bytes a place. All that arrive while an inbox is measured wait for that, so that none
   * overtakes another. Throws `queue_full`, and `too_large` for what has no room in an empty inbox.
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

  /** An entry of the inbox takes so many bytes more: the answer of a call was written into it. */
  grew(inbox: string, bytes: number): void {
    const room = this.#rooms.get(inbox);
    if (room === undefined) return; // measured when something comes
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

  /** Whether the inbox was measured longer ago; a clock that was set back says nothing of that. */
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
        // An inbox that could not be measured is not known; the next arrival tries again.
        if (this.#rooms.get(inbox) === room && room.measuredAt === undefined) this.#rooms.delete(inbox);
        throw error;
      })
      .finally(() => {
        room.measuring = undefined;
      });
    return room.measuring;
  }
}

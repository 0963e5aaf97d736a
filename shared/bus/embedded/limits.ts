/** Limits of the embedded bus. */

/** Characters up to which each delivery has its own copy of the message; the deliveries of a larger one share a document. */
export const MAX_INLINE_MESSAGE_CHARS = 4096;

/** Limits that {@link EmbeddedBusOptions} can lower, for tests. */
export interface EmbeddedBusLimits {
  /** Unacknowledged deliveries of one subscription; beyond, a publication that matches it is refused (`queue_full`). */
  readonly maxBacklog: number;
  /** Deliveries that a consumer keeps in memory besides those in flight: backing off, or behind their ordering key. */
  readonly maxWaiting: number;
  /** Ids of new deliveries that a consumer remembers; beyond, it reads its backlog again. */
  readonly maxNew: number;
  /** Deliveries read from a backlog at a time. */
  readonly pageSize: number;
}

export const EMBEDDED_BUS_LIMITS: EmbeddedBusLimits = {
  maxBacklog: 100_000,
  maxWaiting: 1000,
  maxNew: 1000,
  pageSize: 32,
};

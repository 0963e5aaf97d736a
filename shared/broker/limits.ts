/** Limits that several files of this folder share: each with its unit and reason. */

/** Milliseconds that an inbox entry is kept: 30 days. */
export const INBOX_TTL_MS = 30 * 24 * 60 * 60 * 1000;
/** Most members that one message may name or reach: the outbound message stores an entry for each. */
export const MAX_RECEIVERS = 1000;
/** Milliseconds that a function waits for the companion if the caller names no time. */
export const RPC_TIMEOUT_MS = 25_000;
/** Most receivers that a frame names, so that another member at their address refuses it; with more, it names none. */
export const MAX_NAMED_RECEIVERS = 20;

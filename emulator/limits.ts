/** Limits that several files of this folder share: each with its unit and reason. */

/** Milliseconds that a stopping gateway gives to requests in hand; less than the two seconds of Ctrl-C. */
export const GATEWAY_GRACE_MS = 1500;
/** Milliseconds before the second of several restarts in a row, at first, and at most where the stack had been ready. */
export const RESTART_FIRST_MS = 250;
export const RESTART_READY_MAX_MS = 1000;

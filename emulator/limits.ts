/** Limits of the local programs. */

/** Milliseconds that a closing gateway waits for requests in flight; less than the two seconds of Ctrl-C. */
export const GATEWAY_GRACE_MS = 1500;
/** Milliseconds before the second consecutive restart, doubled for each further one; and the maximum if the stack was ready. */
export const RESTART_FIRST_MS = 250;
export const RESTART_READY_MAX_MS = 1000;

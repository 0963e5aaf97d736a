/**
 * Milliseconds until a test gives up on an expected event. The deadline ends a test that would otherwise wait
 * forever, and is long enough for a slow, busy machine.
 */
export const PATIENCE_MS = 60_000;

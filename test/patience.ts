/**
 * Milliseconds until a test gives up on what should happen soon. A deadline ends a test that would wait for ever; a
 * machine that is busy with other work, and slow, must not meet it.
 */
export const PATIENCE_MS = 60_000;

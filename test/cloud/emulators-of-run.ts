/** What the set-up of a run tells its tests and its tear-down. */
import type { Emulators } from '@cmbs/emulator/emulators';

export const VARIABLES = {
  firestore: 'CMBS_TEST_FIRESTORE_HOST',
  pubsub: 'CMBS_TEST_PUBSUB_HOST',
  /** Why there are no emulators. */
  missing: 'CMBS_TEST_EMULATORS_MISSING',
} as const;

// Jest loads set-up and tear-down apart from each other, in the same process.
const KEPT = Symbol.for('cmbs.emulators');
const shared = globalThis as { [KEPT]?: Emulators };

export function keepForTeardown(emulators: Emulators): void {
  shared[KEPT] = emulators;
}

export function keptForTeardown(): Emulators | undefined {
  return shared[KEPT];
}

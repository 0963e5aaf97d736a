/** Variables by which the set-up of a test run informs its tests and its tear-down. */
import type { Emulators } from '@cmbs/emulator/emulators';

export const VARIABLES = {
  firestore: 'CMBS_TEST_FIRESTORE_HOST',
  pubsub: 'CMBS_TEST_PUBSUB_HOST',
  /** Why tests cannot stop and start an emulator. */
  noRestarts: 'CMBS_TEST_EMULATORS_NO_RESTARTS',
  /** File with the key that signs identity tokens. */
  identityKey: 'CMBS_TEST_IDENTITY_KEY',
  /** Why there are no emulators. */
  missing: 'CMBS_TEST_EMULATORS_MISSING',
} as const;

interface Kept {
  readonly emulators: Promise<Emulators>;
  users: number;
}

// Jest loads set-up and tear-down separately, in the same process, and each once per project.
const shared = globalThis as { cmbsEmulators?: Kept | undefined };

/** Starts the emulators on the first call. */
export function emulatorsOfRun(start: () => Promise<Emulators>): Promise<Emulators> {
  const kept = (shared.cmbsEmulators ??= { emulators: start(), users: 0 });
  kept.users += 1;
  return kept.emulators;
}

/** Stops the emulators on the last call. */
export async function leaveEmulatorsOfRun(): Promise<void> {
  const kept = shared.cmbsEmulators;
  if (kept === undefined) return;
  kept.users -= 1;
  if (kept.users > 0) return;
  shared.cmbsEmulators = undefined;
  await (await kept.emulators).stop();
}

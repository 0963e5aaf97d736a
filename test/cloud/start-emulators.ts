/**
 * Starts the emulators once for all tests of `test/cloud` (`globalSetup` of that project). The hosts reach the tests by
 * the environment, under names of ours: a local deployment that another test starts must not find them.
 */
import { EmulatorsMissing, startEmulators } from '@cmbs/emulator/emulators';
import { keepForTeardown, VARIABLES } from './emulators-of-run';

export default async function startForRun(): Promise<void> {
  try {
    const emulators = await startEmulators();
    keepForTeardown(emulators);
    process.env[VARIABLES.firestore] = emulators.hosts.firestore;
    process.env[VARIABLES.pubsub] = emulators.hosts.pubsub;
  } catch (error) {
    if (!(error instanceof EmulatorsMissing)) throw error;
    process.env[VARIABLES.missing] = error.message;
    process.stderr.write(`\nTests on the emulators are skipped. ${error.message}\n`);
  }
}

/**
 * Starts the emulators once for all tests on them (`globalSetup` of their projects). The hosts reach the tests by the
 * environment, under names of ours: a local deployment that another test starts must not find them.
 */
import { EmulatorsMissing, startEmulators } from '@cmbs/emulator/emulators';
import { emulatorsOfRun, VARIABLES } from './emulators-of-run';

export default async function startForRun(): Promise<void> {
  try {
    const { hosts } = await emulatorsOfRun(() => startEmulators());
    process.env[VARIABLES.firestore] = hosts.firestore;
    process.env[VARIABLES.pubsub] = hosts.pubsub;
  } catch (error) {
    if (!(error instanceof EmulatorsMissing)) throw error;
    if (process.env[VARIABLES.missing] === undefined) {
      process.stderr.write(`\nTests on the emulators are skipped. ${error.message}\n`);
    }
    process.env[VARIABLES.missing] = error.message;
  }
}

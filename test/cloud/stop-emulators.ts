/** Stops the emulators when no test needs them any more (`globalTeardown` of their projects). */
import { leaveEmulatorsOfRun, VARIABLES } from './emulators-of-run';

export default async function stopAfterRun(): Promise<void> {
  if (process.env[VARIABLES.missing] === undefined) await leaveEmulatorsOfRun();
}

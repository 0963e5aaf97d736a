/** Stops the emulators when no test needs them any more (`globalTeardown` of their projects). */
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { leaveEmulatorsOfRun, VARIABLES } from './emulators-of-run';

export default async function stopAfterRun(): Promise<void> {
  const key = process.env[VARIABLES.identityKey];
  if (key !== undefined) await rm(dirname(key), { recursive: true, force: true });
  if (process.env[VARIABLES.missing] === undefined) await leaveEmulatorsOfRun();
}

/**
 * Starts the emulators and builds the programs once for all tests on emulators (`globalSetup` of their projects).
 * Environment variables with names of our own pass the hosts to the tests: Google's names would also reach the local
 * deployments of other tests.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { EmulatorsMissing, restartableEmulator, startEmulators, type Emulators } from '@cmbs/emulator/emulators';
import { newLocalKey } from '@cmbs/shared/rpc/identity';
import { freePort } from '../integration/free-port';
import { emulatorsOfRun, VARIABLES } from './emulators-of-run';

/** Programs that tests run as processes. */
const PROGRAMS = ['functions', 'companion', 'local/cloud', 'local/emulators'];

function newKeyFile(): string {
  const file = join(mkdtempSync(join(tmpdir(), 'cmbs-key-')), 'identity.pem');
  writeFileSync(file, newLocalKey(), { mode: 0o600 });
  return file;
}

async function startAndBuild(): Promise<Emulators> {
  // Ports that no test takes during the run.
  const ports = { firestore: await freePort(), pubsub: await freePort() };
  const emulators = await startEmulators({ ports });
  try {
    await promisify(execFile)(process.execPath, ['build.mjs', ...PROGRAMS], {
      cwd: resolve(__dirname, '../..'),
    });
    return emulators;
  } catch (error) {
    await emulators.stop();
    throw error;
  }
}

export default async function startForRun(): Promise<void> {
  process.env[VARIABLES.identityKey] ??= newKeyFile();
  try {
    const { hosts } = await emulatorsOfRun(startAndBuild);
    process.env[VARIABLES.firestore] = hosts.firestore;
    process.env[VARIABLES.pubsub] = hosts.pubsub;
    await restartableEmulator('firestore').catch((error: unknown) => {
      if (!(error instanceof EmulatorsMissing)) throw error;
      process.env[VARIABLES.noRestarts] = error.message;
    });
  } catch (error) {
    if (!(error instanceof EmulatorsMissing)) throw error;
    if (process.env[VARIABLES.missing] === undefined) {
      process.stderr.write(`\nTests on the emulators are skipped. ${error.message}\n`);
    }
    process.env[VARIABLES.missing] = error.message;
  }
}

/** Support for tests on Google's emulators, which `start-emulators.ts` starts. */
import { randomUUID } from 'node:crypto';
import { isCi, itNeeding, missingInCi, skippedName } from '../skipping';
import { VARIABLES } from './emulators-of-run';

// Google's clients would look for the metadata server of a cloud, and wait for it.
process.env.METADATA_SERVER_DETECTION = 'none';

export interface EmulatorHosts {
  /** `host:port` */
  readonly firestore: string;
  readonly pubsub: string;
}

/** A new project, so that tests do not see each other's data. */
export function uniqueProject(): string {
  return `demo-${randomUUID()}`;
}

/** The addresses of the emulators, or the reason why there are none. */
function emulators(): EmulatorHosts | string {
  const { [VARIABLES.firestore]: firestore = '', [VARIABLES.pubsub]: pubsub = '' } = process.env;
  return process.env[VARIABLES.missing] ?? { firestore, pubsub };
}

/**
 * `describe`, with the hosts of the emulators. Without emulators, its tests are reported as skipped; in CI, which has
 * emulators, they fail.
 */
export function describeOnEmulators(name: string, tests: (hosts: EmulatorHosts) => void): void {
  const hosts = emulators();
  if (typeof hosts !== 'string') {
    describe(name, () => tests(hosts));
  } else if (isCi()) {
    it(`${name}: needs the emulators`, () => {
      throw missingInCi(hosts);
    });
  } else {
    // Collected but not run, so that each test is reported by its name.
    describe.skip(skippedName(name, hosts), () => tests({ firestore: '', pubsub: '' }));
  }
}

/** `it`, for tests that stop and start an emulator; skipped if the installed emulators cannot be restarted. */
export function itRestartsEmulators(name: string, test: () => Promise<void>): void {
  itNeeding(process.env[VARIABLES.noRestarts])(name, test);
}

/**
 * The hosts of the emulators, for a set-up file. Without emulators, the tests of the next file are reported as skipped;
 * in CI they fail.
 */
export function emulatorsForFile(): EmulatorHosts | undefined {
  const hosts = emulators();
  if (typeof hosts !== 'string') return hosts;
  if (isCi()) throw missingInCi(hosts);
  // The reporter prints the reason.
  const { skip } = test;
  Object.assign(globalThis, { describe: describe.skip, test: skip, it: skip });
  return undefined;
}

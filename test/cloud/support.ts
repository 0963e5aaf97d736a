/** For tests against Google's emulators, which `start-emulators.ts` has started. */
import { randomUUID } from 'node:crypto';
import { skippedName } from '../skipping';
import { VARIABLES } from './emulators-of-run';

// Google's clients would look for the metadata server of a cloud, and wait for it.
process.env.METADATA_SERVER_DETECTION = 'none';

export interface EmulatorHosts {
  /** `host:port` */
  readonly firestore: string;
  readonly pubsub: string;
}

/** A project of its own for whoever asks, so that tests do not see each other's data. */
export function uniqueProject(): string {
  return `demo-${randomUUID()}`;
}

/** Where the emulators are, or why there are none. */
function emulators(): EmulatorHosts | string {
  const { [VARIABLES.firestore]: firestore = '', [VARIABLES.pubsub]: pubsub = '' } = process.env;
  return process.env[VARIABLES.missing] ?? { firestore, pubsub };
}

/**
 * `describe`, with the hosts of the emulators. Where there are none, its tests are reported as skipped; in CI, which has
 * them, that is a failure.
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
    // Collected, so that each is reported by its name; none of them runs.
    describe.skip(skippedName(name, hosts), () => tests({ firestore: '', pubsub: '' }));
  }
}

/** `it`, for what stops and starts an emulator of its own; skipped where the emulators are of a kind that cannot. */
export function itRestartsEmulators(name: string, test: () => Promise<void>): void {
  const reason = process.env[VARIABLES.noRestarts];
  if (reason === undefined) it(name, test);
  else if (isCi())
    it(name, () => {
      throw missingInCi(reason);
    });
  else it.skip(skippedName(name, reason), test);
}

/**
 * The hosts of the emulators, for a set-up file. Where there are none, the tests of the file that comes are reported as
 * skipped, and in CI fail.
 */
export function emulatorsForFile(): EmulatorHosts | undefined {
  const hosts = emulators();
  if (typeof hosts !== 'string') return hosts;
  if (isCi()) throw missingInCi(hosts);
  // The reporter knows why.
  const { skip } = test;
  Object.assign(globalThis, { describe: describe.skip, test: skip, it: skip });
  return undefined;
}

const missingInCi = (why: string): Error => new Error(`CI must not skip these tests. ${why}`);

function isCi(): boolean {
  return !['', '0', 'false'].includes(process.env.CI ?? '');
}

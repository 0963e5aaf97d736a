/** For tests against Google's emulators, which `start-emulators.ts` has started. */
import { randomUUID } from 'node:crypto';
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

/** Undefined where there are none. */
export function emulatorHosts(): EmulatorHosts | undefined {
  const { [VARIABLES.firestore]: firestore, [VARIABLES.pubsub]: pubsub } = process.env;
  return firestore === undefined || pubsub === undefined ? undefined : { firestore, pubsub };
}

/**
 * `describe`, with the hosts of the emulators. Where there are none, its tests are reported as skipped; in CI, which has
 * them, that is a failure.
 */
export function describeOnEmulators(name: string, tests: (hosts: EmulatorHosts) => void): void {
  const hosts = emulatorHosts();
  if (hosts !== undefined) {
    describe(name, () => tests(hosts));
    return;
  }
  if (isCi()) failForWantOfEmulators();
  // Collected, so that each is reported by its name; none of them runs.
  describe.skip(name, () => tests({ firestore: '', pubsub: '' }));
}

/** For a set-up file (`setupFilesAfterEnv`): skips all tests of the file that follows, or lets CI fail. */
export function skipsWithoutEmulators(): void {
  if (isCi()) failForWantOfEmulators();
  const { describe: suite, it: one } = globalThis;
  Object.assign(globalThis, { describe: suite.skip, it: one.skip, test: one.skip });
}

function failForWantOfEmulators(): void {
  it('has the emulators', () => {
    throw new Error(`In CI these tests must not be skipped. ${process.env[VARIABLES.missing] ?? ''}`);
  });
}

function isCi(): boolean {
  return process.env.CI === 'true';
}

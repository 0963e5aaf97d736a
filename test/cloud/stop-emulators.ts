import { keptForTeardown } from './emulators-of-run';

export default async function stopAfterRun(): Promise<void> {
  await keptForTeardown()?.stop();
}

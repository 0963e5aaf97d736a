/**
 * The program of the container: a companion until a signal comes. A deployment with additions of its own has a main of
 * its own that calls this with them (docs/extending.md).
 */
import { CmbsError, systemClock } from '@cmbs/shared';
import { ConfigError, readCloudConfig } from '@cmbs/shared/config';
import { CLOUD_STOP_MS } from '@cmbs/shared/limits';
import { watchMemory } from '@cmbs/shared/memory-watch';
import { RESTART_EXIT_CODE, takeRestarts } from '@cmbs/shared/restarts';
import { cloudLog } from '@cmbs/shared/structured-log';
import { type CloudCompanionOptions, startCloudCompanion } from './cloud';

/** Additions and limits of a program; the settings come from the environment. */
export type ProgramOptions = Omit<CloudCompanionOptions, 'config' | 'log' | 'restarts'>;

/** Runs until SIGINT or SIGTERM, or until the memory limit is exceeded; then ends the process. */
export async function runCompanion(options: ProgramOptions = {}): Promise<void> {
  try {
    await run(options);
  } catch (error) {
    const isExpected = error instanceof ConfigError || error instanceof CmbsError;
    process.stderr.write(`${isExpected ? error.message : String((error as Error).stack ?? error)}\n`);
    process.exitCode = 1;
  }
}

async function run(options: ProgramOptions): Promise<void> {
  const restarts = takeRestarts(process.env);
  const config = readCloudConfig(process.env);
  const log = cloudLog({
    write: (line) => process.stdout.write(line),
    least: config.CMBS_LOG,
    project: config.GOOGLE_CLOUD_PROJECT,
    labels: { part: 'companion', shard: config.CMBS_SHARD },
  });
  const companion = await startCloudCompanion({ ...options, config, log, restarts });
  log.info('the companion is up', { event: 'started', control: companion.url });
  const reason = await new Promise<string>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve(name));
    watchMemory({
      limitMb: config.CMBS_MEMORY_LIMIT_MB,
      clock: systemClock,
      onExceeded: (usedMb) => {
        const figures = { used_mb: usedMb, limit_mb: config.CMBS_MEMORY_LIMIT_MB };
        log.error('the companion uses too much memory and ends, to be started again', {
          event: 'memory_exceeded',
          ...figures,
        });
        resolve('memory');
      },
    });
  });
  log.info('the companion is stopping', { event: 'stopping', reason });
  const code = reason === 'memory' ? RESTART_EXIT_CODE : 0;
  // The cause of the memory use may block an orderly stop as well. The next companion waits for the lease in any case.
  if (code !== 0) setTimeout(() => process.exit(code), CLOUD_STOP_MS);
  await companion.close();
  log.flush();
  log.info('the companion has stopped', { event: 'stopped' });
  // Calls of services that do not answer would keep the process until their deadline.
  process.exit(code);
}

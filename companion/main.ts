/** The program of the container: a companion until a signal comes. */
import { CmbsError, systemClock } from '@cmbs/shared';
import { ConfigError, readCloudConfig } from '@cmbs/shared/config';
import { CLOUD_STOP_MS } from '@cmbs/shared/limits';
import { watchMemory } from '@cmbs/shared/memory-watch';
import { RESTART_EXIT_CODE, takeRestarts } from '@cmbs/shared/restarts';
import { cloudLog } from '@cmbs/shared/structured-log';
import { startCloudCompanion } from './cloud';

async function main(): Promise<void> {
  const restarts = takeRestarts(process.env);
  const config = readCloudConfig(process.env);
  const log = cloudLog({
    write: (line) => process.stdout.write(line),
    least: config.CMBS_LOG,
    project: config.GOOGLE_CLOUD_PROJECT,
    labels: { part: 'companion', shard: config.CMBS_SHARD },
  });
  const companion = await startCloudCompanion({ config, log, restarts });
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
  // What holds the memory may hold up an orderly stop as well. The next companion waits for the lease in any case.
  if (code !== 0) setTimeout(() => process.exit(code), CLOUD_STOP_MS);
  await companion.close();
  log.flush();
  log.info('the companion has stopped', { event: 'stopped' });
  // Calls to services that do not answer would keep it until their time is over.
  process.exit(code);
}

main().catch((error: unknown) => {
  const isExpected = error instanceof ConfigError || error instanceof CmbsError;
  process.stderr.write(`${isExpected ? error.message : String((error as Error).stack ?? error)}\n`);
  process.exitCode = 1;
});

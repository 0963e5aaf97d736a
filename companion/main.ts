/** The program of the container: a companion until a signal comes. */
import { CmbsError } from '@cmbs/shared';
import { ConfigError, readCloudConfig } from '@cmbs/shared/config';
import { structuredLog } from '@cmbs/shared/structured-log';
import { startCloudCompanion } from './cloud';

async function main(): Promise<void> {
  const config = readCloudConfig(process.env);
  const log = structuredLog({
    write: (line) => process.stdout.write(line),
    least: config.CMBS_LOG,
    project: config.GOOGLE_CLOUD_PROJECT,
    labels: { part: 'companion', shard: config.CMBS_SHARD },
  });
  const companion = await startCloudCompanion({ config, log });
  log.info('the companion is up', { event: 'started', control: companion.url });
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve(name));
  });
  log.info('the companion is stopping', { event: 'stopping', signal });
  await companion.close();
  log.info('the companion has stopped', { event: 'stopped' });
  // Calls to services that do not answer would keep it until their time is over.
  process.exit();
}

main().catch((error: unknown) => {
  const isExpected = error instanceof ConfigError || error instanceof CmbsError;
  process.stderr.write(`${isExpected ? error.message : String((error as Error).stack ?? error)}\n`);
  process.exitCode = 1;
});

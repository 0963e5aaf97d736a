/**
 * The program of a deployed function: the one that it is named as is registered with functions-framework; what it works
 * with is assembled at the first request. The build makes a bundle of this per function.
 */
import { ConfigError, readCloudConfig, type CloudConfig } from '@cmbs/shared/config';
import { cloudLog } from '@cmbs/shared/structured-log';
import { cloudRuntime } from './cloud';
import { provideRuntime } from './runtime';

/** Ends the process where the settings are wrong: a deployment that cannot work is not put into service. */
function settings(): CloudConfig {
  try {
    return readCloudConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

const config = settings();

provideRuntime(() => {
  const log = cloudLog({
    write: (line) => process.stdout.write(line),
    least: config.CMBS_LOG,
    project: config.GOOGLE_CLOUD_PROJECT,
    labels: { part: 'function' },
  });
  return cloudRuntime({ config, log });
});

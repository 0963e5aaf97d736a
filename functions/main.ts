/**
 * The program of a deployed function. The build bundles it with one function, and the first request assembles its
 * runtime.
 */
import { ConfigError, readFunctionConfig, type CloudConfig } from '@cmbs/shared/config';
import { cloudLog } from '@cmbs/shared/structured-log';
import { cloudRuntime } from './cloud';
import { provideRuntime } from './runtime';

/** Ends the process when the settings are not valid, so that the platform does not put the deployment into service. */
function settings(): CloudConfig {
  try {
    return readFunctionConfig(process.env);
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

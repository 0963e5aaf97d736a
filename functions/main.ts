/**
 * The program of a deployed function: the one that it is named as is registered with functions-framework; what it works
 * with is assembled at the first request. The build makes a bundle of this per function.
 */
import { readCloudConfig } from '@cmbs/shared/config';
import { structuredLog } from '@cmbs/shared/structured-log';
import { cloudRuntime } from './cloud';
import { provideApp } from './runtime';

provideApp(() => {
  const config = readCloudConfig(process.env);
  const log = structuredLog({
    write: (line) => process.stdout.write(line),
    least: config.CMBS_LOG,
    project: config.GOOGLE_CLOUD_PROJECT,
    labels: { part: 'function', function: process.env.FUNCTION_TARGET ?? 'unknown' },
  });
  return cloudRuntime({ config, log });
});

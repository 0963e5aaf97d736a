/**
 * The functions of a cloud deployment behind one endpoint in this process. They work with Firestore, Pub/Sub and the
 * companion's control endpoint only, as they do when they are deployed.
 */
import { prometheusMetrics } from '@cmbs/companion';
import { cloudRuntime, type CloudOptions } from '@cmbs/functions/cloud';
import { openEndpoint } from './endpoint';

export interface CloudFunctions {
  /** URL of the OCCI endpoint, without a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

export async function startCloudFunctions(options: Omit<CloudOptions, 'counters'>): Promise<CloudFunctions> {
  const metrics = prometheusMetrics();
  const runtime = await cloudRuntime({ ...options, counters: metrics });
  try {
    const endpoint = await openEndpoint(runtime.app, options.config, metrics, options.log);
    return {
      url: endpoint.url,
      close: async () => {
        await endpoint.close();
        await runtime.close();
      },
    };
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

/** The OCCI endpoint of a deployment on this machine: its functions behind a gateway, from its configuration. */
import type { Log } from '@cmbs/shared';
import { type CertificateSettings, certificateFilesOf, type Config } from '@cmbs/shared/config';
import { sitePolicyOf } from '@cmbs/shared/sites';
import type { prometheusMetrics } from '@cmbs/companion';
import type { App } from '@cmbs/functions/app';
import { Certificate } from './certificate';
import { Gateway } from './gateway';
import { GATEWAY_GRACE_MS } from './limits';

export interface Endpoint {
  /** URL of the OCCI endpoint, without a slash at the end. */
  readonly url: string;
  /** Accepts no more requests, and waits up to `graceMs` milliseconds for those in flight. */
  close(graceMs?: number): Promise<void>;
}

type Metrics = ReturnType<typeof prometheusMetrics>;

type EndpointConfig = Pick<
  Config,
  | 'CMBS_HOST'
  | 'PORT'
  | 'CMBS_PUBLIC_URL'
  | 'CMBS_TRUST_PROXY'
  | 'CMBS_MAX_BODY_BYTES'
  | 'CMBS_ALLOWED_HOSTS'
  | 'CMBS_ALLOWED_ORIGINS'
> &
  CertificateSettings;

export async function openEndpoint(
  app: App,
  config: EndpointConfig,
  metrics: Metrics,
  log: Log,
): Promise<Endpoint> {
  const files = certificateFilesOf(config);
  const certificate = files === undefined ? undefined : await Certificate.open({ files, clock: app.clock, log });
  try {
    const gateway = await Gateway.listen({
      app,
      certificate,
      host: config.CMBS_HOST,
      port: config.PORT,
      publicUrl: config.CMBS_PUBLIC_URL,
      trustedProxies: config.CMBS_TRUST_PROXY,
      maxBodyBytes: config.CMBS_MAX_BODY_BYTES,
      sites: sitePolicyOf(config, [config.CMBS_HOST], certificate === undefined ? 'http' : 'https'),
      log,
      metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
    });
    metrics.gauge('cmbs_requests_in_flight', () => gateway.inFlight);
    return {
      url: gateway.url,
      close: async (graceMs = GATEWAY_GRACE_MS) => {
        await certificate?.close();
        await gateway.close(graceMs);
      },
    };
  } catch (error) {
    await certificate?.close();
    throw error;
  }
}

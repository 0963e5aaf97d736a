/** The bus of a deployment, from its settings. */
import type { CloudConfig } from '../config';
import type { Bus } from './bus';
import { pubsubBus, type PubsubBusOptions, type PushTarget } from './pubsub';

export function pubsubBusOf(
  config: CloudConfig,
  parts: Pick<PubsubBusOptions, 'store' | 'clock' | 'log' | 'counters'>,
): Bus {
  const push = pushTargetOf(config);
  return pubsubBus({
    ...parts,
    projectId: config.GOOGLE_CLOUD_PROJECT,
    prefix: config.CMBS_TOPIC_PREFIX,
    isEmulated: config.emulators.pubsub,
    ...(push === undefined ? {} : { push }),
  });
}

/** Where deliveries are pushed, and who signs pushes; the emulator signs nothing. */
function pushTargetOf(config: CloudConfig): PushTarget | undefined {
  const { CMBS_TOPIC_DELIVERY: delivery, CMBS_PUSH_URL: url } = config;
  if (delivery !== 'push' || url === undefined) return undefined;
  const { CMBS_PUSH_SERVICE_ACCOUNT: serviceAccount, CMBS_PUSH_AUDIENCE: audience = url } = config;
  return { url, ...(serviceAccount === undefined ? {} : { signed: { serviceAccount, audience } }) };
}

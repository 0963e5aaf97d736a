/** The bus of a deployment, from its configuration. */
import type { CloudConfig } from '../../config';
import { type Bus, pushTargetOf } from '..';
import type { BusOptions } from '../options';
import { pubsubBus, type PubsubBusOptions } from './';

export function pubsubBusOf(config: CloudConfig, options: BusOptions & Pick<PubsubBusOptions, 'limits'>): Bus {
  const push = pushTargetOf(config);
  return pubsubBus({
    ...options,
    projectId: config.GOOGLE_CLOUD_PROJECT,
    prefix: config.CMBS_TOPIC_PREFIX,
    isEmulated: config.emulators.pubsub,
    ...(push === undefined ? {} : { push }),
  });
}

/** The cloud bus: Google Cloud Pub/Sub. */
export type { PubsubBusLimits } from './limits';
export { pubsubBus, type PubsubBusOptions } from './pubsub-bus';

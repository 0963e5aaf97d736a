/** The cloud bus: Google Cloud Pub/Sub. */
export { pubsubBus, type PubsubBusOptions } from './pubsub-bus';

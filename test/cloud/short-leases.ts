import type { PubsubBusLimits } from '@cmbs/shared/bus/pubsub';

/** The shortest leases of Pub/Sub, for tests that wait until Pub/Sub redelivers messages of a stopped consumer. */
export const SHORT_LEASES = { ackDeadlineS: 10 } as const satisfies Partial<PubsubBusLimits>;

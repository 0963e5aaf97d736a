import type { PubsubBusLimits } from '@cmbs/shared/bus/pubsub';

/** For tests that wait until Pub/Sub offers the messages of a stopped consumer again: the least that Pub/Sub takes. */
export const SHORT_LEASES = { ackDeadlineS: 10 } as const satisfies Partial<PubsubBusLimits>;

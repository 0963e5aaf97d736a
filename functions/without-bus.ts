/**
 * Replaces `shared/bus/pubsub/connect.ts` in the bundles of functions that have no access to the topic bus. The bundles
 * are smaller, and the code cannot do what the service account may not do.
 */
import { CmbsError } from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus';

/** @throws CmbsError `not_implemented`, always */
export function pubsubBusOf(): Bus {
  throw new CmbsError(
    'not_implemented',
    'This function is deployed without the topic bus; ask the function that sends on this layer.',
  );
}

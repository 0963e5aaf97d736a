/**
 * In place of `shared/bus/pubsub-of.ts` in the bundles of functions that have no access to the topic bus: smaller, and
 * what their service account may not do their code cannot either.
 */
import { CmbsError } from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus';

export function pubsubBusOf(): Bus {
  throw new CmbsError('not_implemented', 'This function is deployed without the topic bus.');
}

/** What every engine of the bus checks of a subscription. */
import { CmbsError } from '../errors';
import { MAX_SUBSCRIPTION_PATTERNS } from './limits';
import { parsePattern, type TopicPattern } from './topics';

/** Characters of a subscription's name: the limit of Pub/Sub. */
const MAX_SUBSCRIPTION_NAME_LENGTH = 255;

/** @throws CmbsError `bad_request` */
export function checkSubscriptionName(name: string): void {
  if (/^[A-Za-z0-9._-]+$/.test(name) && name.length <= MAX_SUBSCRIPTION_NAME_LENGTH) return;
  throw new CmbsError(
    'bad_request',
    `The subscription name ${JSON.stringify(name.slice(0, 100))} is not valid; use 1 to ` +
      `${MAX_SUBSCRIPTION_NAME_LENGTH} letters, digits, dots, underscores or hyphens.`,
  );
}

/** @throws CmbsError `bad_attribute` when there are too many patterns, or one is not valid */
export function parsePatterns(patterns: readonly string[]): readonly TopicPattern[] {
  if (patterns.length > MAX_SUBSCRIPTION_PATTERNS) {
    throw new CmbsError(
      'bad_attribute',
      `A subscription has at most ${MAX_SUBSCRIPTION_PATTERNS} patterns; remove some.`,
    );
  }
  return patterns.map(parsePattern);
}

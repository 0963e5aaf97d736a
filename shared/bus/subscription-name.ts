/** What a subscription may be called on any bus. */
import { CmbsError } from '../errors';

/** Characters of a subscription's name: what Pub/Sub gives it. */
const MAX_SUBSCRIPTION_NAME_LENGTH = 255;

/** Throws `bad_request`. */
export function checkSubscriptionName(name: string): void {
  if (/^[A-Za-z0-9._-]+$/.test(name) && name.length <= MAX_SUBSCRIPTION_NAME_LENGTH) return;
  throw new CmbsError(
    'bad_request',
    `The subscription name ${JSON.stringify(name.slice(0, 100))} is not valid; use 1 to ` +
      `${MAX_SUBSCRIPTION_NAME_LENGTH} letters, digits, dots, underscores or hyphens.`,
  );
}

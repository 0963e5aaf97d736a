/** Deliveries that Pub/Sub sends to a URL, and what it gives up: where who sets them up and who takes them meet. */

/** Deliveries go to a URL instead of being taken by `Bus.consume`. */
export interface PushTarget {
  /** {@link pushPath} is added. */
  readonly url: string;
  /** Who signs the pushes, and for whom; without them they are not signed. */
  readonly signed?: { readonly serviceAccount: string; readonly audience: string };
}

export interface PushSettings {
  readonly CMBS_TOPIC_DELIVERY: 'pull' | 'push';
  readonly CMBS_PUSH_URL: string | undefined;
  readonly CMBS_PUSH_SERVICE_ACCOUNT: string | undefined;
  /** The URL when absent. */
  readonly CMBS_PUSH_AUDIENCE: string | undefined;
}

/** Where deliveries are pushed; undefined where they are pulled. */
export function pushTargetOf(settings: PushSettings): PushTarget | undefined {
  const { CMBS_TOPIC_DELIVERY: delivery, CMBS_PUSH_URL: url } = settings;
  if (delivery !== 'push' || url === undefined) return undefined;
  const { CMBS_PUSH_SERVICE_ACCOUNT: serviceAccount, CMBS_PUSH_AUDIENCE: audience = url } = settings;
  return { url, ...(serviceAccount === undefined ? {} : { signed: { serviceAccount, audience } }) };
}

/** What is pushed goes below it: `/push/<subscription>?topic=<topic>`. */
export const PUSH = '/push/';
/** Stands for a subscription where what was given up is pushed. */
export const DEAD_LETTERS = 'dead-letter';

export const pushPath = (subscription: string, topic: string): string =>
  `${PUSH}${subscription}?topic=${encodeURIComponent(topic)}`;

/** Attributes of what was given up. */
export const DEAD_LETTER = {
  /** Set by Pub/Sub on what it gives up itself, to the name of the subscription. */
  source: 'CloudPubSubDeadLetterSourceSubscription',
  /** Set by CMBS. */
  subscription: 'dead_letter_subscription',
  reason: 'dead_letter_reason',
  attempts: 'dead_letter_attempts',
} as const;

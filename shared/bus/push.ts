/** Pushed deliveries and dead letters: what the bus that sends them and the function that receives them agree on. */

/** The URL to which deliveries are pushed, instead of being pulled by `Bus.consume`. */
export interface PushTarget {
  /** Without {@link pushPath}. */
  readonly url: string;
  /** The service account and the audience of the identity tokens; absent: pushes are not signed. */
  readonly signed?: { readonly serviceAccount: string; readonly audience: string };
}

export interface PushSettings {
  readonly CMBS_TOPIC_DELIVERY: 'pull' | 'push';
  readonly CMBS_PUSH_URL: string | undefined;
  readonly CMBS_PUSH_SERVICE_ACCOUNT: string | undefined;
  /** Default: the URL. */
  readonly CMBS_PUSH_AUDIENCE: string | undefined;
}

/** Undefined when deliveries are pulled. */
export function pushTargetOf(settings: PushSettings): PushTarget | undefined {
  const { CMBS_TOPIC_DELIVERY: delivery, CMBS_PUSH_URL: url } = settings;
  if (delivery !== 'push' || url === undefined) return undefined;
  const { CMBS_PUSH_SERVICE_ACCOUNT: serviceAccount, CMBS_PUSH_AUDIENCE: audience = url } = settings;
  return { url, ...(serviceAccount === undefined ? {} : { signed: { serviceAccount, audience } }) };
}

/** Path prefix of pushes: `/push/<subscription>?topic=<topic>`. */
export const PUSH = '/push/';
/** In the place of a subscription: dead letters are pushed. */
export const DEAD_LETTERS = 'dead-letter';

export const pushPath = (subscription: string, topic: string): string =>
  `${PUSH}${subscription}?topic=${encodeURIComponent(topic)}`;

/** Attributes of dead letters. */
export const DEAD_LETTER = {
  /** Name in Pub/Sub of the subscription; set by Pub/Sub on dead letters that it makes itself. */
  source: 'CloudPubSubDeadLetterSourceSubscription',
  /** Set by CMBS on dead letters that a consumer makes. */
  subscription: 'dead_letter_subscription',
  reason: 'dead_letter_reason',
  attempts: 'dead_letter_attempts',
} as const;

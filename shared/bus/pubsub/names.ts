/**
 * What the topics and subscriptions of a bus are called in Pub/Sub, so that an outside program finds them.
 *
 * A topic is `<prefix>.<layer>.<topic>`: `cmbs.l32.weather.tokyo`. Pub/Sub allows 3 to 255 letters, digits and
 * `-._~+%`; every other byte of the topic's UTF-8, and `~` and `+`, become `%XX` (RFC 3986 §2.1). Where that is too
 * long, the name is cut and ends with `~` and 32 digits of its SHA-256, which no uncut name does. What topic it is
 * then stands in the attribute `topic` of each message.
 */
import { createHash } from 'node:crypto';
import type { TopicLayer } from '../bus';

/** Characters of the name of a topic or subscription in Pub/Sub. */
const MAX_PUBSUB_NAME_LENGTH = 255;

const DIGEST_LENGTH = 32;

export class PubsubNames {
  /** @param prefix starts with a letter; lower-case letters, digits and hyphens (`CMBS_TOPIC_PREFIX`) */
  constructor(readonly prefix: string) {}

  /** @example new PubsubNames('cmbs').topic('l32', 'wétter.東京') // 'cmbs.l32.w%C3%A9tter.%E6%9D%B1%E4%BA%AC' */
  topic(layer: TopicLayer, topic: string): string {
    return fitted(`${this.prefix}.${layer}.${escaped(topic)}`);
  }

  /** One subscription of ours has one in Pub/Sub per topic that it matches. */
  subscription(name: string, topic: string): string {
    return fitted(`${this.prefix}.${name}.${escaped(topic)}`);
  }

  /** Whether what Pub/Sub has under `inPubsub` is the counterpart of a subscription of ours, for whichever topic. */
  isSubscription(inPubsub: string, name: string): boolean {
    return inPubsub.startsWith(`${this.prefix}.${name}.`);
  }

  /** Where deliveries end that were given up. */
  get deadLetters(): string {
    return `${this.prefix}.dead-letter`;
  }

  /** Keeps them for an operator. */
  get keptDeadLetters(): string {
    return `${this.prefix}.dead-letter.keep`;
  }

  /** Tells the deployment of them. */
  get watchedDeadLetters(): string {
    return `${this.prefix}.dead-letter.watch`;
  }
}

function escaped(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function fitted(name: string): string {
  if (name.length <= MAX_PUBSUB_NAME_LENGTH) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, DIGEST_LENGTH);
  // Not in the middle of an escape.
  const kept = name.slice(0, MAX_PUBSUB_NAME_LENGTH - DIGEST_LENGTH - 1).replace(/%[0-9A-F]?$/, '');
  return `${kept}~${digest}`;
}

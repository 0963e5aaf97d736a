/**
 * The names of topics and subscriptions in Pub/Sub, which outside programs use too (docs/operations.md).
 *
 * A topic is `<prefix>.<layer>.<topic>`, such as `cmbs.l32.weather.tokyo`. Pub/Sub allows 3 to 255 letters, digits and
 * `-._~+%`; every other byte of the topic's UTF-8, and `~` and `+`, become `%XX` (RFC 3986 §2.1). A name that is too long
 * is cut and ends with `~` and 32 digits of its SHA-256, as no other name does; the attribute `topic` of each message has
 * the whole topic.
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

  /** A CMBS subscription has one subscription in Pub/Sub for each topic that it matches. */
  subscription(name: string, topic: string): string {
    return fitted(`${this.prefix}.${name}.${escaped(topic)}`);
  }

  /** Whether the subscription `inPubsub` of Pub/Sub belongs to the CMBS subscription, for any topic. */
  isSubscription(inPubsub: string, name: string): boolean {
    return inPubsub.startsWith(`${this.prefix}.${name}.`);
  }

  /** The dead-letter topic. */
  get deadLetters(): string {
    return `${this.prefix}.dead-letter`;
  }

  /** The subscription that keeps dead letters for an operator. */
  get keptDeadLetters(): string {
    return `${this.prefix}.dead-letter.keep`;
  }

  /** The subscription that reports dead letters to the companions. */
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
  // Not cut in the middle of an escape.
  const kept = name.slice(0, MAX_PUBSUB_NAME_LENGTH - DIGEST_LENGTH - 1).replace(/%[0-9A-F]?$/, '');
  return `${kept}~${digest}`;
}

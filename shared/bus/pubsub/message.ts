/** Messages in Pub/Sub's form: checking them, reading them, and the attributes of dead letters. */
import { CmbsError } from '../../errors';
import { MAX_ORDERING_KEY_BYTES } from '../../limits';
import type { BusMessage, BusDelivery } from '../bus';
import { DEAD_LETTER } from '../push';

/** Attributes of a publication, and bytes of the name and of the value of each: limits of Pub/Sub. */
const MAX_PUBLICATION_ATTRIBUTES = 100;
const MAX_ATTRIBUTE_NAME_BYTES = 256;
const MAX_ATTRIBUTE_VALUE_BYTES = 1024;

/** Bytes of one publication with its attributes: the 10 MB of a request to Pub/Sub, less its envelope. */
const MAX_PUBLICATION_BYTES = 9_990_000;
/** Bytes of memory that a delivery takes besides its data and attributes: its objects, its lease, its timers. */
const DELIVERY_OVERHEAD_BYTES = 2048;
/** Bytes that a publication, and each attribute, adds to a request besides its text, at most. */
const FIELD_OVERHEAD = 20;

/** A message that a stream brought. */
export interface ReceivedMessage {
  /** Identifies this delivery of the message. */
  readonly ackId: string;
  /** Identifies the message. */
  readonly id: string;
  readonly data: Buffer;
  readonly attributes: Readonly<Record<string, string>>;
  /** Empty for a message without an ordering key. */
  readonly orderingKey: string;
  /** Milliseconds since the epoch. */
  readonly publishedAt: number;
  /** 1 for the first delivery; counted by Pub/Sub. */
  readonly attempt: number;
}

export function publicationBytes({ data, attributes, orderingKey = '' }: BusMessage): number {
  let bytes = Buffer.byteLength(data) + Buffer.byteLength(orderingKey) + FIELD_OVERHEAD;
  for (const [name, value] of Object.entries(attributes)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value) + FIELD_OVERHEAD;
  }
  return bytes;
}

/** Bytes of memory that a delivery takes, approximately. */
export function bytesInFlight({ data, attributes }: ReceivedMessage): number {
  let bytes = data.length + DELIVERY_OVERHEAD_BYTES;
  for (const [name, value] of Object.entries(attributes)) bytes += name.length + value.length;
  return bytes;
}

/**
 * Refuses a message that Pub/Sub would refuse.
 *
 * @throws CmbsError `too_large`, `bad_attribute`
 */
export function checkPublication(message: BusMessage): void {
  const { attributes, orderingKey = '' } = message;
  const named = Object.entries(attributes);
  if (named.length > MAX_PUBLICATION_ATTRIBUTES) {
    throw new CmbsError(
      'too_large',
      `A publication has at most ${MAX_PUBLICATION_ATTRIBUTES} attributes; remove some.`,
    );
  }
  for (const [name, value] of named) {
    if (name === '' || name.startsWith('goog')) {
      throw new CmbsError(
        'bad_attribute',
        'The name of a publication attribute must not be empty and must not begin with "goog".',
      );
    }
    if (
      Buffer.byteLength(name) > MAX_ATTRIBUTE_NAME_BYTES ||
      Buffer.byteLength(value) > MAX_ATTRIBUTE_VALUE_BYTES
    ) {
      throw new CmbsError(
        'too_large',
        `The publication attribute ${name.slice(0, 80)} is too long: a name has at most ${MAX_ATTRIBUTE_NAME_BYTES} ` +
          `bytes, a value at most ${MAX_ATTRIBUTE_VALUE_BYTES}.`,
      );
    }
  }
  if (Buffer.byteLength(orderingKey) > MAX_ORDERING_KEY_BYTES) {
    throw new CmbsError(
      'too_large',
      `An ordering key has at most ${MAX_ORDERING_KEY_BYTES} bytes; use a shorter key.`,
    );
  }
  const bytes = publicationBytes(message);
  if (bytes > MAX_PUBLICATION_BYTES) {
    throw new CmbsError(
      'too_large',
      `A publication has at most ${MAX_PUBLICATION_BYTES} bytes, not ${bytes}; make it smaller.`,
    );
  }
}

/** Bytes that are not UTF-8 become replacement characters; only an outside program can publish such data. */
export function deliveryOf(message: ReceivedMessage, topic: string, attempt: number): BusDelivery {
  const { id, data, attributes, orderingKey } = message;
  return {
    id,
    topic,
    message: { data: data.toString('utf8'), attributes, ...(orderingKey === '' ? {} : { orderingKey }) },
    attempt,
  };
}

/** The attributes of a dead letter: those of its message, as far as there is room, and the reason. */
export function deadLetterAttributes(
  own: Readonly<Record<string, string>>,
  { topic, attempt }: BusDelivery,
  subscription: string,
  reason: string,
): Record<string, string> {
  const added: Record<string, string> = {
    [DEAD_LETTER.subscription]: subscription,
    [DEAD_LETTER.reason]: cut(reason),
    [DEAD_LETTER.attempts]: String(attempt),
    topic: cut(topic),
  };
  // An outside program may have used all attributes that Pub/Sub allows; names of Google's cannot be published again.
  const room = MAX_PUBLICATION_ATTRIBUTES - Object.keys(added).length;
  const kept = Object.entries(own).filter(([name]) => !name.startsWith('goog') && !(name in added));
  return { ...Object.fromEntries(kept.slice(0, room)), ...added };
}

/** Cuts a text to the length of an attribute value, between two characters. */
function cut(text: string): string {
  let end = Math.min(text.length, MAX_ATTRIBUTE_VALUE_BYTES);
  while (Buffer.byteLength(text.slice(0, end)) > MAX_ATTRIBUTE_VALUE_BYTES) end -= 1;
  return text.slice(0, end).replace(/[\ud800-\udbff]$/, '');
}

/** Google's types allow `null` and other forms that the client never returns. */
interface WireResponse {
  readonly receivedMessages?: readonly {
    readonly ackId: string;
    readonly deliveryAttempt: number;
    readonly message: {
      readonly messageId: string;
      readonly data: Buffer;
      readonly attributes: Readonly<Record<string, string>>;
      readonly orderingKey: string;
      readonly publishTime: { readonly seconds: string | number; readonly nanos: number } | null;
    };
  }[];
}

/** The messages of one response of `StreamingPull`. */
export function receivedMessages(response: unknown): readonly ReceivedMessage[] {
  return ((response as WireResponse).receivedMessages ?? []).map(({ ackId, deliveryAttempt, message }) => ({
    ackId,
    id: message.messageId,
    data: message.data,
    attributes: message.attributes,
    orderingKey: message.orderingKey,
    publishedAt: Number(message.publishTime?.seconds ?? 0) * 1000 + (message.publishTime?.nanos ?? 0) / 1e6,
    // 0 when the subscription has no dead-letter topic.
    attempt: Math.max(deliveryAttempt, 1),
  }));
}

/** Messages as Pub/Sub carries them: its limits, and how a delivery is read. */
import { CmbsError } from '../../errors';
import {
  MAX_ATTRIBUTE_NAME_BYTES,
  MAX_ATTRIBUTE_VALUE_BYTES,
  MAX_ORDERING_KEY_BYTES,
  MAX_PUBLICATION_ATTRIBUTES,
} from '../../limits';
import type { BusMessage, BusDelivery } from '../bus';
import { DEAD_LETTER } from '../push';
import type { Received } from './streams';

/** Bytes of one publication, attributes included: Pub/Sub's 10 MB for a request, less what wraps it. */
const MAX_PUBLICATION_BYTES = 9_990_000;
/** Bytes that a delivery takes besides its data and attributes: its objects, its lease, its timers. */
const DELIVERY_OVERHEAD_BYTES = 2048;

/** Bytes that the fields of one publication, and of one attribute, take in a request, at most. */
const FIELD_OVERHEAD = 20;

export function publicationBytes({ data, attributes, orderingKey = '' }: BusMessage): number {
  let bytes = Buffer.byteLength(data) + Buffer.byteLength(orderingKey) + FIELD_OVERHEAD;
  for (const [name, value] of Object.entries(attributes)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value) + FIELD_OVERHEAD;
  }
  return bytes;
}

/** Bytes of memory that it takes while it is in hand, about. */
export function bytesInFlight({ data, attributes }: Received): number {
  let bytes = data.length + DELIVERY_OVERHEAD_BYTES;
  for (const [name, value] of Object.entries(attributes)) bytes += name.length + value.length;
  return bytes;
}

/** Refuses (`too_large`, `bad_attribute`) what Pub/Sub would refuse, in words that help. */
export function checkPublication(message: BusMessage): void {
  const { attributes, orderingKey = '' } = message;
  const named = Object.entries(attributes);
  if (named.length > MAX_PUBLICATION_ATTRIBUTES) {
    throw new CmbsError('too_large', `A publication has ${MAX_PUBLICATION_ATTRIBUTES} attributes at most.`);
  }
  for (const [name, value] of named) {
    if (name === '' || name.startsWith('goog')) {
      throw new CmbsError('bad_attribute', 'The name of an attribute of a publication is not empty or goog….');
    }
    if (
      Buffer.byteLength(name) > MAX_ATTRIBUTE_NAME_BYTES ||
      Buffer.byteLength(value) > MAX_ATTRIBUTE_VALUE_BYTES
    ) {
      throw new CmbsError(
        'too_large',
        `The attribute ${name.slice(0, 80)} of a publication is too long: a name has ${MAX_ATTRIBUTE_NAME_BYTES} ` +
          `bytes at most, a value ${MAX_ATTRIBUTE_VALUE_BYTES}.`,
      );
    }
  }
  if (Buffer.byteLength(orderingKey) > MAX_ORDERING_KEY_BYTES) {
    throw new CmbsError('too_large', `An ordering key has ${MAX_ORDERING_KEY_BYTES} bytes at most.`);
  }
  const bytes = publicationBytes(message);
  if (bytes > MAX_PUBLICATION_BYTES) {
    throw new CmbsError('too_large', `A publication has ${MAX_PUBLICATION_BYTES} bytes at most, not ${bytes}.`);
  }
}

/** Data that are no UTF-8 are shown as far as they are; nothing that was published here is like that. */
export function deliveryOf(message: Received, topic: string, attempt: number): BusDelivery {
  const { id, data, attributes, orderingKey } = message;
  return {
    id,
    topic,
    message: { data: data.toString('utf8'), attributes, ...(orderingKey === '' ? {} : { orderingKey }) },
    attempt,
  };
}

/** The attributes of a delivery that was given up here: its own, as far as there is room, and why. */
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
  // An outside program may have used all that there may be; what it may not have is what it did not get in with.
  const room = MAX_PUBLICATION_ATTRIBUTES - Object.keys(added).length;
  const kept = Object.entries(own).filter(([name]) => !name.startsWith('goog') && !(name in added));
  return { ...Object.fromEntries(kept.slice(0, room)), ...added };
}

/** As much of the text as fits the value of an attribute, and no half of a character. */
function cut(text: string): string {
  let end = Math.min(text.length, MAX_ATTRIBUTE_VALUE_BYTES);
  while (Buffer.byteLength(text.slice(0, end)) > MAX_ATTRIBUTE_VALUE_BYTES) end -= 1;
  return text.slice(0, end).replace(/[\ud800-\udbff]$/, '');
}

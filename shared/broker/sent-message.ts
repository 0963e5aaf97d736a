/**
 * What a send carries. A message is stored once: an open send carries what the message is, and when a client changes the
 * message, what it was is written to the send, in the same transaction.
 */
import { MESSAGE } from './cmbs';
import type { OutboundState } from './message';
import { isOpen, putOutbound, readOutbound, type OutboundMessage } from './outbound-message';
import { messageFrame } from './wire';
import type { JsonObject } from '../json';
import type { Change, Entity } from '../occi';
import type { Transaction } from '../store';

/** What of a message goes out. */
export type SentMessage = Pick<Entity, 'id' | 'mixins' | 'attributes' | 'rawJson'>;

/** A {@link SentMessage} as an outbound message stores it, with the names of release 1.0. */
type StoredContent = Omit<SentMessage, 'rawJson'> & { readonly verbatim: SentMessage['rawJson'] };

/** The message as it was when it was sent. */
export function sentMessage({ sent }: Pick<OutboundMessage, 'sent'>, message: Entity): SentMessage {
  if (sent === undefined) return message;
  // This module is the only writer of the field.
  const { verbatim: rawJson, ...rest } = JSON.parse(sent) as StoredContent;
  return { ...rest, rawJson };
}

const OPEN: readonly (OutboundState | undefined)[] = ['queued', 'sending', 'partial'];

/** Reads the open sends of messages that change; what comes back keeps in them what the messages were. */
export async function keepingSent(tx: Transaction, changes: readonly Change[]): Promise<() => void> {
  const keeping: OutboundMessage[] = [];
  for (const { next, before } of changes) {
    if (before === undefined) continue;
    const delivery = before.attributes[MESSAGE.delivery] as JsonObject | undefined;
    if (typeof delivery?.send_id !== 'string' || !OPEN.includes(delivery.state as OutboundState)) continue;
    if (contentOf(before) === contentOf(next)) continue;
    const send = (await readOutbound(tx, delivery.send_id))?.send;
    if (send === undefined || send.sent !== undefined || !send.receivers.some(isOpen)) continue;
    const { id, mixins } = before;
    const { [MESSAGE.delivery]: _delivery, ...attributes } = before.attributes;
    const { [MESSAGE.result]: _result, ...verbatim } = before.rawJson;
    keeping.push({ ...send, sent: JSON.stringify({ id, mixins, attributes, verbatim } satisfies StoredContent) });
  }
  return () => {
    for (const send of keeping) putOutbound(tx, send);
  };
}

/** All of a message that its receivers get. */
const contentOf = (message: Entity): string => messageFrame(message, { pathHistory: [], transfer: { v: 1 } });

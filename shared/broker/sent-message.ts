/**
 * The content of an outbound message. A message is stored once: its outbound message has no copy. When a client changes
 * the message meanwhile, the same transaction writes its earlier content to the outbound message.
 */
import { MESSAGE } from './cmbs';
import { isOpen, type OutboundState } from './delivery';
import { putOutbound, readOutbound, type OutboundMessage } from './outbound-message';
import { shownDelivery } from './message';
import { messageFrame } from './wire';
import type { Change, Entity } from '../occi';
import type { Transaction } from '../store';

/** The part of a message that goes out. */
export type SentMessage = Pick<Entity, 'id' | 'mixins' | 'attributes' | 'rawJson'>;

/** A {@link SentMessage} as an outbound message stores it, with the names of release 1.0. */
type StoredContent = Omit<SentMessage, 'rawJson'> & { readonly verbatim: SentMessage['rawJson'] };

/** The message as it was when it was queued. */
export function sentMessage({ sent }: Pick<OutboundMessage, 'sent'>, message: Entity): SentMessage {
  if (sent === undefined) return message;
  // This module is the only writer of the field.
  const { verbatim: rawJson, ...rest } = JSON.parse(sent) as StoredContent;
  return { ...rest, rawJson };
}

const OPEN: readonly (OutboundState | undefined)[] = ['queued', 'sending', 'partial'];

/** Reads the outbound messages of messages that change; the result stores the earlier content in them. */
export async function keepingSent(tx: Transaction, changes: readonly Change[]): Promise<() => void> {
  const keeping: OutboundMessage[] = [];
  for (const { next, before } of changes) {
    if (before === undefined) continue;
    const { send_id: sendId, state } = shownDelivery(before);
    if (sendId === undefined || !OPEN.includes(state)) continue;
    if (contentOf(before) === contentOf(next)) continue;
    const outbound = (await readOutbound(tx, sendId))?.outbound;
    if (outbound === undefined || outbound.sent !== undefined || !outbound.receivers.some(isOpen)) continue;
    const { id, mixins } = before;
    const { [MESSAGE.delivery]: _delivery, ...attributes } = before.attributes;
    const { [MESSAGE.result]: _result, ...verbatim } = before.rawJson;
    keeping.push({
      ...outbound,
      sent: JSON.stringify({ id, mixins, attributes, verbatim } satisfies StoredContent),
    });
  }
  return () => {
    for (const outbound of keeping) putOutbound(tx, outbound);
  };
}

/** Everything that receivers get of a message, as one text. */
const contentOf = (message: Entity): string => messageFrame(message, { pathHistory: [], transfer: { v: 1 } });

/**
 * What a send carries. A message is stored once: an open send carries what the message is, and when a client changes the
 * message, what it was is written to the send, in the same transaction.
 */
import { MESSAGE } from './cmbs';
import type { DeliveryState } from './message';
import { isOpen, putSend, readSend, type Send } from './send';
import { messageFrame } from './wire';
import type { JsonObject } from '../json';
import type { Entity } from '../occi/model';
import type { Change } from '../occi/provider';
import type { Transaction } from '../store/store';

/** What of a message goes out. */
export type SentMessage = Pick<Entity, 'id' | 'mixins' | 'attributes' | 'verbatim'>;

/** The message as it was when it was sent. */
export function sentMessage({ sent }: Pick<Send, 'sent'>, message: Entity): SentMessage {
  // This module is the only writer of the field.
  return sent === undefined ? message : (JSON.parse(sent) as SentMessage);
}

const OPEN: readonly (DeliveryState | undefined)[] = ['queued', 'sending', 'partial'];

/** Reads the open sends of messages that change; what comes back keeps in them what the messages were. */
export async function keepingSent(tx: Transaction, changes: readonly Change[]): Promise<() => void> {
  const keeping: Send[] = [];
  for (const { next, before } of changes) {
    if (before === undefined) continue;
    const delivery = before.attributes[MESSAGE.delivery] as JsonObject | undefined;
    if (typeof delivery?.send_id !== 'string' || !OPEN.includes(delivery.state as DeliveryState)) continue;
    if (contentOf(before) === contentOf(next)) continue;
    const send = (await readSend(tx, delivery.send_id))?.send;
    if (send === undefined || send.sent !== undefined || !send.receivers.some(isOpen)) continue;
    const { id, mixins } = before;
    const { [MESSAGE.delivery]: _delivery, ...attributes } = before.attributes;
    const { [MESSAGE.result]: _result, ...verbatim } = before.verbatim;
    keeping.push({ ...send, sent: JSON.stringify({ id, mixins, attributes, verbatim } satisfies SentMessage) });
  }
  return () => {
    for (const send of keeping) putSend(tx, send);
  };
}

/** All of a message that its receivers get. */
const contentOf = (message: Entity): string => messageFrame(message, { pathHistory: [], transfer: { v: 1 } });

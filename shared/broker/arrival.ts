/** A message that has arrived for a member. */
import type { NewId } from '../clock';
import type { Entity } from '../occi';
import type { Principal } from '../principal';
import type { Traceparent } from '../trace';
import type { Layer } from './layer-definition';
import { receiptId, type IdentifiedReceipt, type Receipt } from './receipt';
import { senderUri, type WireMessage } from './wire';

export interface Arrival {
  readonly member: Entity;
  readonly layer: Layer;
  readonly message: WireMessage;
  readonly principal: Principal;
  readonly trace?: Traceparent | undefined;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Position in the inbox. */
  readonly order: string;
}

/** The receipt that records an arrival. */
export function receiptFor(
  { layer, message, at }: Arrival,
  state: Receipt['state'],
  newId: NewId,
): IdentifiedReceipt {
  const sendId = message.transfer.send_id;
  const sender = senderUri(message);
  return {
    // Original peers name no send id and never retry by themselves: each arrival is a new send.
    id: receiptId(message, sendId ?? newId()),
    receipt: {
      messageId: message.id,
      ...(sendId === undefined ? {} : { sendId }),
      layer,
      ...(sender === undefined ? {} : { sender }),
      frame: message.text,
      state,
      receivedAt: at,
      expiresAt: message.expiresAt,
    },
  };
}

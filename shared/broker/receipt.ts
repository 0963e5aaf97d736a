/**
 * The record of a message that a member received. The record deduplicates, and it is the inbox entry that a program
 * reads (docs/guarantees.md, "Per layer"; docs/layers.md, "Inbox").
 */
import type { JsonObject } from '../json';
import type { Doc, PutOptions } from '../store';
import { shortDigest } from './digest';
import type { Layer } from './layer-definition';
import { INBOX_TTL_MS } from './limits';
import { expiryOfFrame, type WireMessage } from './wire';

export interface Receipt {
  readonly messageId: string;
  readonly sendId?: string;
  readonly layer: Layer;
  /** URI of the sending member, as the message claims. */
  readonly sender?: string;
  /** The frame as it arrived. */
  readonly frame: string;
  /** `executing` is written before a call runs, `executed` with the answer afterwards. */
  readonly state: 'received' | 'executing' | 'executed';
  /** JSON text of the call's answer. */
  readonly answer?: string;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
  /**
   * Milliseconds since the epoch after which the message is not offered; null for a message without an expiry. Receipts
   * of earlier releases have the expiry only in their frame.
   */
  readonly expiresAt?: number | null;
  /** Milliseconds since the epoch until which the entry is not offered again. */
  readonly leasedUntil?: number;
  /** Token of the lease; a reader may name the token when it acknowledges the entry. */
  readonly lease?: string;
  readonly acknowledged?: boolean;
}

/** A receipt with its id. */
export interface IdentifiedReceipt {
  readonly id: string;
  readonly receipt: Receipt;
}

/** Collection of a member's receipts. */
export const inboxOf = (memberId: string): string => `inbox:${memberId}`;

/**
 * Id of the receipt of one send. Every retry has the same id, whichever way it arrives. The sender is part of the id, so
 * another sender that uses the same identifiers cannot suppress the message.
 */
export const receiptId = (message: WireMessage, sendId: string): string =>
  shortDigest(message.id, sendId, senderOf(message));

/** The id under which earlier releases stored the receipt. */
export const oldReceiptId = (message: WireMessage, sendId: string): string => shortDigest(message.id, sendId);

/** The first member that the message passed, by deployment and id, since URLs change. */
function senderOf({ transfer, pathHistory }: WireMessage): string {
  return transfer.hops?.[0] ?? `${transfer.origin?.deployment ?? ''} ${pathHistory.at(-1) ?? ''}`;
}

/** An expired message needs no receipt: if the message arrives again, it is refused because it has expired. */
export function receiptOptions({ receivedAt, expiresAt }: Receipt, order: string): PutOptions {
  return { order, expiresAt: Math.min(expiresAt ?? Infinity, receivedAt + INBOX_TTL_MS) };
}

/** Whether the message of a receipt has not expired. */
export function isUnexpired(doc: Doc, now: number): boolean {
  const { expiresAt, frame } = receiptOf(doc);
  const expiry = expiresAt === undefined ? expiryOfFrame(frame) : expiresAt;
  return expiry === null || expiry > now;
}

export function receiptOf(doc: Doc): Receipt {
  // Only the inbox, the receipt writer and the execution of calls write this collection.
  return doc.value as unknown as Receipt;
}

export const receiptValue = (receipt: Receipt): JsonObject => receipt as unknown as JsonObject;

/**
 * What a member received, per member: the record that deduplicates is the entry that a program reads (layers.md,
 * Receiving). An entry that was read is leased; one that is not acknowledged in time is offered again. What is
 * acknowledged leaves the inbox and stays as a receipt, so that a late retry is still recognised.
 */
import { createHash } from 'node:crypto';
import { orderKey, type Clock } from '../clock';
import { CmbsError } from '../errors';
import type { JsonObject } from '../json';
import {
  INBOX_TTL_MS,
  MAX_INBOX_SCAN,
  MAX_PAGE_CHARS,
  MAX_STEP_CHARS,
  PAGE_PORTION_CHARS,
  RECEIPT_TTL_MS,
} from '../limits';
import { inPortions, type Portioned, type Portions } from '../occi/portions';
import { RawJson, type JsonOutputObject } from '../occi/json-source';
import type { Doc, PutOptions, Store, Watch } from '../store/store';
import { aborted } from '../waiting';
import type { Layer } from './layers';
import { expiryOfFrame, type WireMessage } from './wire';

export interface Receipt {
  readonly messageId: string;
  readonly sendId?: string;
  readonly layer: Layer;
  readonly sender?: string;
  /** The frame as it came. */
  readonly frame: string;
  /** `executing` is written before the call, `executed` with its answer after it. */
  readonly state: 'received' | 'executing' | 'executed';
  /** JSON text of the call's answer. */
  readonly answer?: string;
  readonly receivedAt: number;
  /**
   * Milliseconds since the epoch after which the message is not offered, or null when it says nothing of that. Receipts
   * of earlier releases have it in their frame only.
   */
  readonly expiresAt?: number | null;
  /** Milliseconds since the epoch until which the entry is not offered again. */
  readonly leasedUntil?: number;
  readonly acknowledged?: boolean;
}

export const inboxOf = (memberId: string): string => `inbox:${memberId}`;

/**
 * Id of the receipt of one send; retries of the send have the same, on whatever way they come. The sender is part of it:
 * what somebody else sends under the same identifiers is another send.
 */
export const receiptId = (message: WireMessage, sendId: string): string =>
  digest(message.id, sendId, senderOf(message));

/** The id that earlier releases gave it. */
export const oldReceiptId = (message: WireMessage, sendId: string): string => digest(message.id, sendId);

const digest = (...parts: readonly string[]): string =>
  createHash('sha256').update(parts.join('\0')).digest('base64url').slice(0, 22);

/** Who made the send: the first member that it passed, by deployment and id, since URLs change. */
function senderOf({ transfer, pathHistory }: WireMessage): string {
  return transfer.hops?.[0] ?? `${transfer.origin?.deployment ?? ''} ${pathHistory.at(-1) ?? ''}`;
}

/** A message that has expired needs no receipt: when it comes again it is refused for that. */
export function receiptOptions(receipt: Receipt, sequence: string): PutOptions {
  const { receivedAt, expiresAt } = receipt;
  return {
    order: orderKey(receivedAt, sequence),
    expiresAt: Math.min(expiresAt ?? Infinity, receivedAt + INBOX_TTL_MS),
  };
}

/** Whether an entry may be handed to a program. */
function isFree(doc: Doc, now: number): boolean {
  const { leasedUntil = 0, expiresAt, frame } = receiptOf(doc);
  if (leasedUntil > now) return false;
  const expiry = expiresAt === undefined ? expiryOfFrame(frame) : expiresAt;
  return expiry === null || expiry > now;
}

export function receiptOf(doc: Doc): Receipt {
  // Written by this module, the reception and the execution only.
  return doc.value as unknown as Receipt;
}

export const receiptValue = (receipt: Receipt): JsonObject => receipt as unknown as JsonObject;

export interface InboxPage {
  readonly entries: readonly { readonly id: string; readonly receipt: Receipt }[];
  readonly next?: string;
}

export interface ReadOptions extends Portioned {
  readonly cursor?: string;
  readonly limit: number;
  /** 0 looks without leasing. */
  readonly leaseMs: number;
  /** Characters of messages after which the page ends; {@link MAX_PAGE_CHARS} when absent. */
  readonly maxChars?: number;
}

export class Inbox {
  private readonly store: Store;
  private readonly clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.store = store;
    this.clock = clock;
  }

  /** Oldest first; entries that somebody has leased are passed over. */
  async read(memberId: string, options: ReadOptions): Promise<InboxPage> {
    const collection = inboxOf(memberId);
    const now = this.clock.now();
    const { leaseMs } = options;
    const { free, after } = await inPortions(options, (portions) => this.free(collection, now, options, portions));
    const taken = leaseMs === 0 ? free : await this.lease(collection, free, now, now + leaseMs);
    return {
      entries: taken.map((doc) => ({ id: doc.id, receipt: receiptOf(doc) })),
      ...(after === undefined ? {} : { next: after }),
    };
  }

  private async free(
    collection: string,
    now: number,
    { cursor, limit, maxChars = MAX_PAGE_CHARS }: ReadOptions,
    portions: Portions,
  ): Promise<{ readonly free: readonly Doc[]; readonly after: string | undefined }> {
    const free: Doc[] = [];
    let after = cursor;
    let chars = 0;
    for (let scanned = 0; free.length < limit && scanned < MAX_INBOX_SCAN;) {
      await portions.next();
      const asked = limit - free.length;
      const page = await this.store.query({
        collection,
        by: 'order',
        limit: asked,
        maxChars: PAGE_PORTION_CHARS,
        ...(after === undefined ? {} : { after }),
      });
      scanned += page.docs.length;
      for (const doc of page.docs) {
        if (!isFree(doc, now)) continue;
        const receipt = receiptOf(doc);
        free.push(doc);
        chars += receipt.frame.length + (receipt.answer?.length ?? 0);
      }
      after = page.next;
      if (after === undefined || chars >= maxChars) break;
    }
    return { free, after };
  }

  /** In transactions of bounded size: each entry's lease is its own. */
  private async lease(
    collection: string,
    docs: readonly Doc[],
    now: number,
    until: number,
  ): Promise<readonly Doc[]> {
    const leased: Doc[] = [];
    for (const some of inParts(docs)) leased.push(...(await this.leaseSome(collection, some, now, until)));
    return leased;
  }

  private leaseSome(
    collection: string,
    docs: readonly Doc[],
    now: number,
    until: number,
  ): Promise<readonly Doc[]> {
    return this.store.transact(async (tx) => {
      const current = await tx.getAll(
        collection,
        docs.map(({ id }) => id),
      );
      const free = current.flatMap((doc) => (doc?.order !== undefined && isFree(doc, now) ? [doc] : []));
      for (const doc of free) {
        const { expiresAt = Infinity } = doc;
        // A program that has read the message may acknowledge it for as long as its lease lasts.
        tx.put(collection, doc.id, { ...doc.value, leasedUntil: until }, keep(doc, Math.max(expiresAt, until)));
      }
      return free;
    });
  }

  /** Removes entries from the inbox; `not_found` when one is not there, and then none is removed. */
  async acknowledge(memberId: string, ids: readonly string[]): Promise<void> {
    const collection = inboxOf(memberId);
    const now = this.clock.now();
    await this.store.transact(async (tx) => {
      const docs = await tx.getAll(collection, ids);
      docs.forEach((doc, at) => {
        if (doc?.order === undefined)
          throw new CmbsError('not_found', `There is no entry ${ids[at] ?? ''} in this inbox.`);
      });
      for (const doc of docs as readonly Doc[]) {
        const { state, answer, messageId, receivedAt, layer } = receiptOf(doc);
        const stub = {
          messageId,
          layer,
          state,
          receivedAt,
          acknowledged: true,
          ...(answer === undefined ? {} : { answer }),
        };
        tx.put(collection, doc.id, stub, { expiresAt: now + RECEIPT_TTL_MS });
      }
    });
  }

  /** Tells when something arrives; to be ended by whoever asked. */
  watch(memberId: string): InboxWatch {
    return new InboxWatch(this.store, inboxOf(memberId));
  }
}

export class InboxWatch {
  private readonly watch: Watch;
  private isNews = false;
  private wake = (): void => undefined;

  constructor(store: Store, collection: string) {
    this.watch = store.watch({ collection, newest: true }, () => {
      this.isNews = true;
      this.wake();
    });
  }

  /** Resolves when no later arrival is missed, or when the signal aborts. */
  async ready(signal: AbortSignal): Promise<void> {
    await Promise.race([this.watch.ready, aborted(signal)]);
  }

  /** Resolves when something arrived since the last call, or when the signal aborts. */
  async changed(signal: AbortSignal): Promise<void> {
    if (!this.isNews) {
      await Promise.race([new Promise<void>((resolve) => (this.wake = resolve)), aborted(signal)]);
    }
    this.isNews = false;
  }

  end(): void {
    this.watch.end();
  }
}

function inParts(docs: readonly Doc[]): readonly (readonly Doc[])[] {
  const parts: Doc[][] = [];
  let chars = Infinity;
  for (const doc of docs) {
    const own = receiptOf(doc).frame.length;
    if (chars + own > MAX_STEP_CHARS) {
      parts.push([]);
      chars = 0;
    }
    parts.at(-1)?.push(doc);
    chars += own;
  }
  return parts;
}

function keep({ order }: Doc, expiresAt: number): PutOptions {
  return {
    ...(order === undefined ? {} : { order }),
    ...(expiresAt === Infinity ? {} : { expiresAt }),
  };
}

/** An entry as a program gets it. */
export function entryJson(id: string, receipt: Receipt, href: string): JsonOutputObject {
  return {
    id,
    href,
    message_id: receipt.messageId,
    send_id: receipt.sendId,
    layer: receipt.layer,
    sender: receipt.sender,
    received_at: new Date(receipt.receivedAt).toISOString(),
    state: receipt.state,
    message: new RawJson(receipt.frame),
    ...(receipt.answer === undefined ? {} : { answer: new RawJson(receipt.answer) }),
  };
}

/**
 * What a member received, per member: the record that deduplicates is the entry that a program reads (layers.md,
 * Receiving). An entry that was read is leased; one that is not acknowledged in time is offered again. What is
 * acknowledged leaves the inbox and stays as a receipt, so that a late retry is still recognised.
 */
import { createHash } from 'node:crypto';
import type { Clock, NewId } from '../clock';
import { CmbsError } from '../errors';
import type { JsonObject } from '../json';
import { INBOX_TTL_MS } from './limits';
import { MAX_PAGE_CHARS, MAX_STEP_CHARS, PAGE_PORTION_CHARS, RECEIPT_TTL_MS } from '../limits';
import {
  ENTITIES,
  type Entity,
  inPortions,
  type JsonOutputObject,
  type Path,
  type Portioned,
  type Portions,
  RawJson,
  readEntity,
} from '../occi';
import type { Doc, PutOptions, Store, Watch } from '../store';
import { allowAll, type Authorize, type Principal } from '../principal';
import { aborted } from '../waiting';
import { resourceOf } from './authorization';
import { MEMBER_KIND } from './cmbs';
import { DISCOVERY_LAYER, type Layer } from './layer-definition';
import { isLocal, socketOf } from './member';
import { expiryOfFrame, type WireMessage } from './wire';

/** Leases of inbox entries whose end a process knows by its own time; of others it goes by the wall clock. */
const MAX_REMEMBERED_LEASES = 10_000;
/** Inbox entries looked at for one page of free ones. */
const MAX_INBOX_SCAN = 10_000;

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
  /** Names the lease: who acknowledges may say under which one the entry was read. */
  readonly lease?: string;
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
export function receiptOptions(receipt: Receipt, order: string): PutOptions {
  const { receivedAt, expiresAt } = receipt;
  return {
    order,
    expiresAt: Math.min(expiresAt ?? Infinity, receivedAt + INBOX_TTL_MS),
  };
}

/** Whether an entry's message may still be handed to a program. */
function isWanted(doc: Doc, now: number): boolean {
  const { expiresAt, frame } = receiptOf(doc);
  const expiry = expiresAt === undefined ? expiryOfFrame(frame) : expiresAt;
  return expiry === null || expiry > now;
}

export function receiptOf(doc: Doc): Receipt {
  // Only this module, the inbound handler and the execution write it.
  return doc.value as unknown as Receipt;
}

export const receiptValue = (receipt: Receipt): JsonObject => receipt as unknown as JsonObject;

export interface InboxPage {
  readonly entries: readonly { readonly id: string; readonly receipt: Receipt; readonly lease?: string }[];
  readonly next?: string;
  /** Entries that were passed over, since another reader has them leased. */
  readonly leased: number;
}

export interface ReadOptions extends Portioned {
  readonly cursor?: string;
  readonly limit: number;
  /** 0 looks without leasing. */
  readonly leaseMs: number;
  /** Characters of messages after which the page ends; {@link MAX_PAGE_CHARS} when absent. */
  readonly maxChars?: number;
}

/** What one reader takes at once. */
interface Lease {
  readonly token: string;
  readonly ms: number;
}

/** Whose inbox is read: not that of a later member of the same name. */
export type Owner = Pick<Entity, 'id' | 'path' | 'createdAt' | 'kind' | 'mixins' | 'owner'>;

/** An entry of somebody's inbox that is acknowledged. */
export interface Acknowledged {
  readonly id: string;
  /** The lease under which it was read; without one the entry goes, whichever reader has it leased. */
  readonly lease?: string;
}

export class Inbox {
  readonly #authorize: Authorize;
  private readonly store: Store;
  private readonly clock: Clock;
  private readonly newId: NewId;
  private readonly leases: Leases;

  constructor(store: Store, clock: Clock, newId: NewId, authorize: Authorize = allowAll) {
    this.#authorize = authorize;
    this.store = store;
    this.clock = clock;
    this.newId = newId;
    this.leases = new Leases(clock);
  }

  /**
   * The member whose inbox is at a path, for a principal who may do the operation there. The question needs the stored
   * member, so the member is read first; without a member the question is about the path alone, so that a caller who is
   * denied gets the same answer whether or not the member exists.
   * @throws CmbsError `forbidden`; `not_found` when there is no member; `conflict` for a member of another deployment
   */
  async open(principal: Principal, operation: 'inbox.read' | 'inbox.acknowledge', path: Path): Promise<Owner> {
    const owner = (await readEntity(this.store, path))?.entity;
    await this.#authorize(principal, operation, owner === undefined ? { path } : resourceOf(owner));
    if (owner?.kind !== MEMBER_KIND) throw new CmbsError('not_found', `There is no member at ${path}.`);
    if (isLocal(owner)) return owner;
    const reached = socketOf(owner, DISCOVERY_LAYER) ?? 'the addresses in its description';
    throw new CmbsError(
      'conflict',
      `${path} is a member of another deployment, which keeps its inbox; ask that deployment (${reached}).`,
    );
  }

  /**
   * Oldest first; entries that somebody has leased are passed over.
   * @throws CmbsError `not_found` when the member is gone, or another one has come in its place
   */
  async read(principal: Principal, owner: Owner, options: ReadOptions): Promise<InboxPage> {
    await this.#authorize(principal, 'inbox.read', resourceOf(owner));
    const now = this.clock.now();
    const { leaseMs } = options;
    const { free, after, leased } = await inPortions(options, (portions) =>
      this.free(inboxOf(owner.id), now, options, portions),
    );
    const lease = leaseMs === 0 ? undefined : { token: this.newId(), ms: leaseMs };
    const taken = lease === undefined ? free : await this.lease(owner, free, now, lease);
    return {
      entries: taken.map((doc) => ({
        id: doc.id,
        receipt: receiptOf(doc),
        ...(lease === undefined ? {} : { lease: lease.token }),
      })),
      leased: leased + free.length - taken.length,
      ...(after === undefined ? {} : { next: after }),
    };
  }

  private async free(
    collection: string,
    now: number,
    { cursor, limit, maxChars = MAX_PAGE_CHARS }: ReadOptions,
    portions: Portions,
  ): Promise<{ readonly free: readonly Doc[]; readonly after: string | undefined; readonly leased: number }> {
    const free: Doc[] = [];
    let leased = 0;
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
        if (!isWanted(doc, now)) continue;
        if (this.leases.holds(receiptOf(doc), now)) {
          leased += 1;
          continue;
        }
        const receipt = receiptOf(doc);
        free.push(doc);
        chars += receipt.frame.length + (receipt.answer?.length ?? 0);
      }
      after = page.next;
      if (after === undefined || chars >= maxChars) break;
    }
    return { free, after, leased };
  }

  /** In transactions of bounded size: each entry's lease is its own. */
  private async lease(owner: Owner, docs: readonly Doc[], now: number, lease: Lease): Promise<readonly Doc[]> {
    const leased: Doc[] = [];
    for (const some of inParts(docs)) leased.push(...(await this.leaseSome(owner, some, now, lease)));
    if (leased.length > 0) this.leases.begin(lease);
    return leased;
  }

  private leaseSome(
    owner: Owner,
    docs: readonly Doc[],
    now: number,
    { token, ms }: Lease,
  ): Promise<readonly Doc[]> {
    const collection = inboxOf(owner.id);
    const until = now + ms;
    return this.store.transact(async (tx) => {
      const member = (await readEntity(tx, owner.path))?.entity;
      if (member?.createdAt !== owner.createdAt) throw gone(owner);
      const current = await tx.getAll(
        collection,
        docs.map(({ id }) => id),
      );
      const free = current.flatMap((doc) =>
        doc?.order !== undefined && isWanted(doc, now) && !this.leases.holds(receiptOf(doc), now) ? [doc] : [],
      );
      for (const doc of free) {
        const { expiresAt = Infinity } = doc;
        // A program that has read the message may acknowledge it for as long as its lease lasts.
        const value = { ...doc.value, leasedUntil: until, lease: token };
        tx.put(collection, doc.id, value, keep(doc, Math.max(expiresAt, until)));
      }
      return free;
    });
  }

  /**
   * Removes entries from the inbox, all or none.
   * @throws CmbsError `not_found` when one is not there, `conflict` when one is leased to another reader by now
   */
  async acknowledge(principal: Principal, owner: Owner, entries: readonly Acknowledged[]): Promise<void> {
    await this.#authorize(principal, 'inbox.acknowledge', resourceOf(owner));
    const collection = inboxOf(owner.id);
    const now = this.clock.now();
    await this.store.transact(async (tx) => {
      const docs = await tx.getAll(
        collection,
        entries.map(({ id }) => id),
      );
      docs.forEach((doc, at) => {
        const { id = '', lease } = entries[at] ?? {};
        if (doc?.order === undefined) throw new CmbsError('not_found', `There is no entry ${id} in this inbox.`);
        if (lease === undefined || receiptOf(doc).lease === lease) return;
        throw new CmbsError(
          'conflict',
          `The lease under which ${id} was read is over; read the inbox again before the entry is acknowledged.`,
        );
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

  /** Tells when an entry arrives. The caller ends the watch. */
  watch({ id, path }: Pick<Owner, 'id' | 'path'>): InboxWatch {
    return new InboxWatch(this.store, inboxOf(id), path);
  }
}

const gone = ({ path }: Owner): CmbsError => new CmbsError('not_found', `There is no member at ${path} any more.`);

/**
 * The leases that this process gave and that are not over, by time that no clock changes: a lease lasts as long as was
 * said, whatever becomes of the wall clock, by which other processes know it.
 */
class Leases {
  readonly #ends = new Map<string, number>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin({ token, ms }: Lease): void {
    const now = this.#clock.elapsed();
    for (const [other, end] of this.#ends) if (end <= now) this.#ends.delete(other);
    this.#ends.set(token, now + ms);
    if (this.#ends.size <= MAX_REMEMBERED_LEASES) return;
    const [oldest] = this.#ends.keys();
    if (oldest !== undefined) this.#ends.delete(oldest);
  }

  /** Whether an entry is leased. */
  holds({ lease, leasedUntil = 0 }: Receipt, now: number): boolean {
    const end = lease === undefined ? undefined : this.#ends.get(lease);
    return end === undefined ? leasedUntil > now : end > this.#clock.elapsed();
  }
}

export class InboxWatch {
  private readonly arrivals: Watch;
  private readonly member: Watch;
  private isNews = false;
  private wake = (): void => undefined;

  /** @param member whose deletion is told too */
  constructor(store: Store, collection: string, member: Path) {
    this.arrivals = store.watch({ collection, newest: true }, () => this.tell());
    this.member = store.watch({ collection: ENTITIES, id: member }, (changes) => {
      if (changes.some(({ deleted }) => deleted)) this.tell();
    });
  }

  private tell(): void {
    this.isNews = true;
    this.wake();
  }

  /** Resolves when no later arrival is missed, or when the signal aborts. */
  async ready(signal: AbortSignal): Promise<void> {
    await Promise.race([Promise.all([this.arrivals.ready, this.member.ready]), aborted(signal)]);
  }

  /** Resolves when something arrived since the last call, or when the signal aborts. */
  async changed(signal: AbortSignal): Promise<void> {
    if (!this.isNews) {
      await Promise.race([new Promise<void>((resolve) => (this.wake = resolve)), aborted(signal)]);
    }
    this.isNews = false;
  }

  end(): void {
    this.arrivals.end();
    this.member.end();
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
export function entryJson({ id, receipt, lease }: InboxPage['entries'][number], href: string): JsonOutputObject {
  return {
    id,
    href,
    ...(lease === undefined ? {} : { lease }),
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

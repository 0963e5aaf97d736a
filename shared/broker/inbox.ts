/**
 * A member's inbox, as programs read it (docs/layers.md, "Inbox"). A read leases entries to the reader; an entry that is
 * not acknowledged before its lease ends is offered again. An acknowledged entry leaves the inbox but its receipt stays,
 * so that a late retry of the message is still recognised.
 */
import type { Clock, NewId } from '../clock';
import { CmbsError } from '../errors';
import { MAX_STEP_CHARS, RECEIPT_TTL_MS } from '../limits';
import {
  type Entity,
  inPortions,
  type JsonOutputObject,
  type Path,
  type Portioned,
  RawJson,
  readEntity,
} from '../occi';
import { allowAll, type Authorize, type Principal } from '../principal';
import type { Doc, PutOptions, Store } from '../store';
import { resourceOf } from './authorization';
import { MEMBER_KIND } from './cmbs';
import { InboxLeases, type InboxLease } from './inbox-leases';
import { arrivalOrder, leasedOrder } from './inbox-order';
import { InboxWaiting } from './inbox-waiting';
import { InboxWatch } from './inbox-watch';
import { DISCOVERY_LAYER } from './layer-definition';
import { isLocal, socketOf } from './member';
import { inboxOf, isUnexpired, receiptOf, type IdentifiedReceipt } from './receipt';
import { UnleasedEntries } from './unleased-entries';

export interface InboxEntry extends IdentifiedReceipt {
  /** Token of the lease under which the entry was read; absent where the reader only looks. */
  readonly lease?: string;
}

export interface InboxPage {
  readonly entries: readonly InboxEntry[];
  /** Cursor of the next page. */
  readonly next?: string;
  /**
   * Entries that were skipped because another reader has leased them; of those that were not looked at
   * a thousand at most.
   */
  readonly leased: number;
  /** Milliseconds until the first of their leases ends; absent when no entry was skipped. */
  readonly leaseEndsInMs?: number;
}

export interface ReadOptions extends Portioned {
  readonly cursor?: string;
  readonly limit: number;
  /** Milliseconds of the lease; 0 looks without leasing. */
  readonly leaseMs: number;
  /** Characters of messages after which the page ends; {@link MAX_PAGE_CHARS} when absent. */
  readonly maxChars?: number;
}

/** Entries on a page, by default and at most. */
export const DEFAULT_INBOX_PAGE = 100;
export const MAX_INBOX_PAGE = 1000;
/** Seconds of the lease on an entry that was read, by default and at most. */
export const DEFAULT_LEASE_S = 30;
export const MAX_LEASE_S = 12 * 60 * 60;

/** A read that waits for an entry. */
export interface WaitingReadOptions extends ReadOptions {
  /** Milliseconds; 0: the reader does not wait. */
  readonly waitMs: number;
  /** Aborts when the reader does not wait any longer; the read then ends with the page that it has. */
  readonly signal: AbortSignal;
  /** Called before the reader waits: a reader that waits holds no page in memory. */
  readonly onPause?: () => void;
}

/** The member whose inbox is read, identified so that a later member with the same id does not count. */
export type Owner = Pick<Entity, 'id' | 'path' | 'createdAt' | 'kind' | 'mixins' | 'owner'>;

/** An inbox entry that is acknowledged. */
export interface Acknowledged {
  readonly id: string;
  /** The lease under which the entry was read; without it the entry is acknowledged even if another reader has a lease. */
  readonly lease?: string;
}

export class Inbox {
  readonly #authorize: Authorize;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #newId: NewId;
  readonly #leases: InboxLeases;

  constructor(store: Store, clock: Clock, newId: NewId, authorize: Authorize = allowAll) {
    this.#authorize = authorize;
    this.#store = store;
    this.#clock = clock;
    this.#newId = newId;
    this.#leases = new InboxLeases(clock);
  }

  /**
   * The member whose inbox is at a path, for a principal who may do the operation there. The question needs the stored
   * member, so the member is read first; without a member the question is about the path alone, so that a caller who is
   * denied gets the same answer whether or not the member exists.
   * @throws CmbsError `forbidden`; `not_found` when there is no member; `conflict` for a member of another deployment
   */
  async open(principal: Principal, operation: 'inbox.read' | 'inbox.acknowledge', path: Path): Promise<Owner> {
    const owner = (await readEntity(this.#store, path))?.entity;
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
   * Reads entries, without those that another reader has leased: first entries whose lease has ended, then others, each
   * oldest first. A page is in the order of arrival.
   * @throws CmbsError `forbidden`; `not_found` when the member was deleted or replaced
   */
  async read(principal: Principal, owner: Owner, options: ReadOptions): Promise<InboxPage> {
    await this.#authorize(principal, 'inbox.read', resourceOf(owner));
    const now = this.#clock.now();
    const { leaseMs } = options;
    const { free, after, leased, leaseEndsInMs } = await inPortions(options, (portions) =>
      new UnleasedEntries(this.#store, this.#leases, { ...options, collection: inboxOf(owner.id), now }).find(
        portions,
      ),
    );
    const lease = leaseMs === 0 ? undefined : { token: this.#newId(), ms: leaseMs };
    const taken = lease === undefined ? free : await this.#lease(owner, free, now, lease);
    // Another reader was faster; the next read finds the ends of its leases.
    const endsInMs = taken.length < free.length ? 0 : leaseEndsInMs;
    return {
      entries: taken.toSorted(byArrival).map((doc) => ({
        id: doc.id,
        receipt: receiptOf(doc),
        ...(lease === undefined ? {} : { lease: lease.token }),
      })),
      leased: leased + free.length - taken.length,
      ...(endsInMs === Infinity ? {} : { leaseEndsInMs: endsInMs }),
      ...(after === undefined ? {} : { next: after }),
    };
  }

  /** {@link read}, or, where no entry is free, the first read that finds one. @throws CmbsError as {@link read} */
  async readOrWait(principal: Principal, owner: Owner, options: WaitingReadOptions): Promise<InboxPage> {
    const { waitMs, signal, onPause, cursor, ...read } = options;
    if (waitMs === 0) return this.read(principal, owner, options);
    const deadline = this.#clock.now() + waitMs;
    const watch = this.watch(owner);
    try {
      // The watch starts before the first read, so that no arrival in between is missed.
      await watch.ready(waitMs, signal);
      for (const waiting = new InboxWaiting(cursor); ;) {
        // A reader that waits still gets its answer when the server stops, so its reads are not aborted.
        const page = await this.read(principal, owner, { ...read, ...waiting.cursor });
        const leftMs = deadline - this.#clock.now();
        if (page.entries.length > 0 || leftMs <= 0 || signal.aborted) return page;
        onPause?.();
        const pauseMs = waiting.pauseAfter(page);
        if (pauseMs > 0) await watch.changed(Math.min(pauseMs, leftMs), signal);
      }
    } finally {
      watch.end();
    }
  }

  /** Leases entries in transactions of bounded size; no entry's lease depends on another's. */
  async #lease(owner: Owner, docs: readonly Doc[], now: number, lease: InboxLease): Promise<readonly Doc[]> {
    const leased: Doc[] = [];
    for (const some of inSteps(docs)) leased.push(...(await this.#leaseStep(owner, some, now, lease)));
    if (leased.length > 0) this.#leases.begin(lease);
    return leased;
  }

  #leaseStep(owner: Owner, docs: readonly Doc[], now: number, { token, ms }: InboxLease): Promise<readonly Doc[]> {
    const collection = inboxOf(owner.id);
    const until = now + ms;
    return this.#store.transact(async (tx) => {
      const member = (await readEntity(tx, owner.path))?.entity;
      if (member?.createdAt !== owner.createdAt) {
        throw new CmbsError('not_found', `There is no member at ${owner.path} any more.`);
      }
      const current = await tx.getAll(
        collection,
        docs.map(({ id }) => id),
      );
      const free = current.flatMap((doc) =>
        doc?.order !== undefined && isUnexpired(doc, now) && this.#leases.msLeft(receiptOf(doc), now) === 0
          ? [{ ...doc, order: doc.order }]
          : [],
      );
      for (const doc of free) {
        const { expiresAt = Infinity } = doc;
        // A program that has read the message may acknowledge it for as long as its lease lasts.
        const value = { ...doc.value, leasedUntil: until, lease: token };
        const order = leasedOrder(doc.order, until);
        tx.put(collection, doc.id, value, putOptions(order, Math.max(expiresAt, until)));
      }
      return free;
    });
  }

  /**
   * Removes entries from the inbox, all or none.
   * @throws CmbsError `forbidden`; `not_found` when an entry is missing; `conflict` when another reader has leased an
   * entry since
   */
  async acknowledge(principal: Principal, owner: Owner, entries: readonly Acknowledged[]): Promise<void> {
    await this.#authorize(principal, 'inbox.acknowledge', resourceOf(owner));
    const collection = inboxOf(owner.id);
    const now = this.#clock.now();
    await this.#store.transact(async (tx) => {
      const docs = await tx.getAll(
        collection,
        entries.map(({ id }) => id),
      );
      const found = docs.map((doc, at) => {
        const { id = '', lease } = entries[at] ?? {};
        if (doc?.order === undefined) throw new CmbsError('not_found', `There is no entry ${id} in this inbox.`);
        if (lease === undefined || receiptOf(doc).lease === lease) return doc;
        throw new CmbsError(
          'conflict',
          `The lease under which ${id} was read is over; read the inbox again before the entry is acknowledged.`,
        );
      });
      for (const doc of found) {
        const { state, answer, messageId, receivedAt, layer } = receiptOf(doc);
        const rest = { messageId, layer, state, receivedAt, acknowledged: true };
        const value = { ...rest, ...(answer === undefined ? {} : { answer }) };
        tx.put(collection, doc.id, value, { expiresAt: now + RECEIPT_TTL_MS });
      }
    });
  }

  /** Tells when an entry arrives. The caller ends the watch. */
  watch({ id, path }: Pick<Owner, 'id' | 'path'>): InboxWatch {
    return new InboxWatch(this.#store, this.#clock, inboxOf(id), path);
  }
}

/** Splits entries so that one transaction does not write too much. */
function inSteps(docs: readonly Doc[]): readonly (readonly Doc[])[] {
  const steps: Doc[][] = [];
  let chars = Infinity;
  for (const doc of docs) {
    const own = receiptOf(doc).frame.length;
    if (chars + own > MAX_STEP_CHARS) {
      steps.push([]);
      chars = 0;
    }
    steps.at(-1)?.push(doc);
    chars += own;
  }
  return steps;
}

function putOptions(order: string, expiresAt: number): PutOptions {
  return { order, ...(expiresAt === Infinity ? {} : { expiresAt }) };
}

const arrivalKey = ({ order = '', id }: Doc): string => `${arrivalOrder(order)} ${id}`;

const byArrival = (one: Doc, other: Doc): number => (arrivalKey(one) < arrivalKey(other) ? -1 : 1);

/** An entry as a program reads it. */
export function entryJson({ id, receipt, lease }: InboxEntry, href: string): JsonOutputObject {
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

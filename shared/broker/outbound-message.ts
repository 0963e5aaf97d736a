/**
 * A send: one asking to deliver a message, from the moment it is queued until every receiver has an outcome. It lies
 * in the store before anything goes out, so whatever dies in between, it is still there (DESIGN, the way of a
 * request, 3). The message shows it in its `delivery` attribute.
 */
import { createHash } from 'node:crypto';
import { orderKey, type Clock } from '../clock';
import { concurrently } from '../concurrently';
import { CmbsError } from '../errors';
import { MAX_NAMED_RECEIVERS } from './limits';
import type { JsonObject } from '../json';
import { MESSAGE, DEAD_LETTER_MIXIN } from './cmbs';
import type { Layer } from './layers';
import type { OutboundState } from './message';
import {
  type CategoryRegistry,
  type Entity,
  type JsonOutputObject,
  type Path,
  RawJson,
  readEntity,
  type StoredEntity,
  stringifyJson,
  writeEntity,
} from '../occi';
import type { Doc, Store, Transaction } from '../store';

/** Queues that one send looks at together: it may have a thousand receivers, and a transaction 20 s. */
export const QUEUE_COUNT_CONCURRENCY = 32;
/** Milliseconds that a message which was given up is kept: 30 days. */
const DEAD_LETTER_TTL_MS = 30 * 24 * 60 * 60 * 1000;

export const OUTBOUND_MESSAGES = 'sends';
/** Places of sends with an ordering key, which have to be published one after the other. */
const ORDERING_GROUPS = 'ordering';
export const ADDRESS_FIELD = 'address';
/** Minute in which a send expires. */
export const DUE_FIELD = 'due';
const MINUTE_MS = 60_000;
export const dueMinute = (at: number): string => String(Math.floor(at / MINUTE_MS));

/** `queued` and `waiting` are open, the others are outcomes. */
export type DeliveryState = 'queued' | 'waiting' | 'sent' | 'delivered' | 'dropped' | 'failed' | 'expired';

export interface Delivery {
  /** How the result names it: a socket (L1), a member's path, the provider as it was named, a topic. */
  readonly name: string;
  /** `request`: acknowledged, over a socket. `broadcast`: L2. `bus`: published. `none`: cannot be reached, see reason. */
  readonly via: 'request' | 'broadcast' | 'bus' | 'none';
  readonly address?: string;
  /** Path of the member that is meant; absent where an address is (L1), and in what an earlier release queued. */
  readonly member?: Path;
  readonly state: DeliveryState;
  readonly attempts: number;
  /** Of those, the ones at which the connection broke while nothing else was on its way; absent: none. */
  readonly broken?: number;
  readonly reason?: string;
  /** JSON text of what came back. */
  readonly reply?: string;
  /** Milliseconds since the epoch of the outcome. */
  readonly at?: number;
}

export interface OutboundMessage {
  readonly id: string;
  /** On the wire; the same as {@link id} unless the message is passed on for somebody else. */
  readonly wireId: string;
  readonly message: Path;
  readonly layer: Layer;
  /** Path of the local member that sends. */
  readonly from: Path;
  readonly createdAt: number;
  /** Milliseconds by the order clock; absent in what an earlier release queued, which went by {@link createdAt}. */
  readonly orderedAt?: number;
  /** Order among the sends that one process queued in one millisecond. */
  readonly sequence: number;
  readonly expiresAt: number;
  /** Who has taken it in hand; undefined while it is queued. */
  readonly holder?: string;
  readonly receivers: readonly Delivery[];
  /** Local members that take the message from the topic bus; absent in what an earlier release queued. */
  readonly subscribers?: number;
  /** The trace that it is part of (W3C Trace Context). */
  readonly trace?: string;
  /** The frame to pass on, where no entity of this deployment is behind it. */
  readonly frame?: string;
  /** JSON text of the message as it was sent, where a client has changed it since (`sent-message.ts`). */
  readonly sent?: string;
  /** Messages from one member with the same key are published on a layer in the order in which they were queued. */
  readonly orderingKey?: string;
  /** The member that sent a message which is passed on, as `deployment/member`: its order is kept, not that of {@link from}. */
  readonly sender?: string;
  /** Bytes of its frame, about. */
  readonly bytes?: number;
}

/** Tells a receiver of a send from the others: a topic may have the name of a member. */
export const deliveryKey = ({ via, name }: Pick<Delivery, 'via' | 'name'>): string => `${via} ${name}`;

export const isOpen = ({ state }: Delivery): boolean => state === 'queued' || state === 'waiting';

/** Whether what did not arrive is a dead letter. */
export const isGivenUp = (state: OutboundState | DeliveryState): boolean =>
  state === 'failed' || state === 'expired';

export function outboundMessageOf(doc: Doc): OutboundMessage {
  // This module is the only writer of the collection.
  return doc.value as unknown as OutboundMessage;
}

/** Where a send stands among the others: by time, within a millisecond by the order of queueing here. */
export const orderOf = ({
  createdAt,
  orderedAt = createdAt,
  sequence,
  id,
}: Pick<OutboundMessage, 'createdAt' | 'orderedAt' | 'sequence' | 'id'>): string =>
  `${orderKey(orderedAt, String(sequence).padStart(12, '0'))}-${id}`;

let lastSequence = 0;
/** Numbers the sends that this process queues. Sends that two processes queue in one millisecond have no order. */
export const nextSequence = (): number => (lastSequence += 1);

/** Where a send waits: the sockets of its open receivers, and one word for the topic bus. */
export function addressesOf(layer: Layer, receivers: readonly Delivery[]): ReadonlySet<string> {
  return new Set(
    receivers
      .filter(isOpen)
      .flatMap(({ address, via }) => (via === 'bus' ? [busAddress(layer)] : (address ?? []))),
  );
}

const FOR = ' for ';

/**
 * Where a message waits for a member at whose address another member answers: in a queue of its own, so that it holds up
 * nothing for the other one. No address has a space in it.
 */
export const apartAddress = (address: string, member: Path): string => `${address}${FOR}${member}`;

/** The socket address of a place where messages wait. */
export const socketAt = (address: string): string => address.split(FOR, 1)[0] ?? address;

/** For the frame: the members that a send means, where they are few. */
export function meantBy(receivers: readonly Delivery[]): { readonly to?: readonly string[] } {
  const to = receivers.flatMap(({ member }) => (member === undefined ? [] : [idAt(member)]));
  return to.length === 0 || to.length > MAX_NAMED_RECEIVERS ? {} : { to };
}

const idAt = (path: Path): string => path.slice(path.lastIndexOf('/') + 1);

/** Where a send waits that has to be published. */
export const busAddress = (layer: Layer): string => `the topic bus of ${layer}`;

/** Some of its topics are not on the bus yet. */
export const isPublishing = ({ receivers }: Pick<OutboundMessage, 'receivers'>): boolean =>
  receivers.some((receiver) => receiver.via === 'bus' && isOpen(receiver));

/** What the places of sends with one ordering key, of one member on one layer, begin with; undefined without a key. */
export function orderingGroupOf({
  from,
  sender = from,
  layer,
  orderingKey = '',
}: Omit<OutboundMessage, 'frame' | 'sent'>): string | undefined {
  if (orderingKey === '') return undefined;
  return `${createHash('sha256').update([sender, layer, orderingKey].join('\0')).digest('base64url')}/`;
}

/** Whether nothing that has to be published before it is still open. */
export async function isFirstInGroup(
  store: Pick<Store, 'query'>,
  send: Omit<OutboundMessage, 'frame' | 'sent'>,
): Promise<boolean> {
  const line = orderingGroupOf(send);
  if (line === undefined) return true;
  const { docs } = await store.query({ collection: ORDERING_GROUPS, prefix: line, limit: 1 });
  const first = docs[0]?.value.send;
  return first === undefined || first === send.id;
}

export function deleteOutbound(tx: Transaction, send: OutboundMessage): void {
  tx.delete(OUTBOUND_MESSAGES, send.id);
  const line = orderingGroupOf(send);
  if (line !== undefined) tx.delete(ORDERING_GROUPS, line + orderOf(send));
}

/** Ends a send whose message is gone: nothing will ever go out for it, and others may stand in line behind it. */
export async function deleteOrphan(store: Pick<Store, 'transact'>, id: string): Promise<void> {
  await store.transact(async (tx) => {
    const current = await readOutbound(tx, id);
    if (current === undefined || current.message !== undefined || current.send.frame !== undefined) return;
    deleteOutbound(tx, current.send);
  });
}

export function putOutbound(tx: Transaction, send: OutboundMessage): void {
  const line = orderingGroupOf(send);
  if (line !== undefined) {
    const place = line + orderOf(send);
    if (isPublishing(send)) tx.put(ORDERING_GROUPS, place, { send: send.id }, { expiresAt: send.expiresAt });
    else tx.delete(ORDERING_GROUPS, place);
  }
  tx.put(OUTBOUND_MESSAGES, send.id, send as unknown as JsonObject, {
    index: {
      [ADDRESS_FIELD]: [...addressesOf(send.layer, send.receivers)],
      [DUE_FIELD]: [dueMinute(send.expiresAt)],
    },
    order: orderOf(send),
  });
}

/** Whether something is queued for one of the addresses. */
export async function isAwaited(tx: Pick<Transaction, 'query'>, addresses: readonly string[]): Promise<boolean> {
  const pages = await Promise.all(
    [...new Set(addresses)].map((value) =>
      tx.query({ collection: OUTBOUND_MESSAGES, where: [{ field: ADDRESS_FIELD, value }], limit: 1 }),
    ),
  );
  return pages.some(({ docs }) => docs.length > 0);
}

/** Throws `queue_full` where `limit` sends or more have an open receiver at one of the addresses. */
export async function assertQueueRoom(
  store: Pick<Store, 'count'>,
  addresses: Iterable<string>,
  limit: number,
  alsoQueued: ReadonlyMap<string, number> = new Map(),
): Promise<void> {
  await concurrently(new Set(addresses), QUEUE_COUNT_CONCURRENCY, async (address) => {
    const queued = await store.count(
      { collection: OUTBOUND_MESSAGES, where: [{ field: ADDRESS_FIELD, value: address }] },
      limit,
    );
    if (queued + (alsoQueued.get(address) ?? 0) < limit) return;
    throw new CmbsError('queue_full', `${limit} messages are queued for ${address} already; try again later.`, {
      headers: { 'Retry-After': '5' },
    });
  });
}

/** How many members a send is for, and how far it is. */
export interface DeliveryCounts {
  /** Members that are known to receive the message. */
  readonly receivers: number;
  readonly delivered: number;
  readonly waiting: number;
  /** For good: failed, expired or dropped. */
  readonly failed: number;
}

const isGood = ({ state }: Delivery): boolean => state === 'sent' || state === 'delivered';

/** A topic is no member: what is on the bus is delivered to the members that take it from there. */
export function countsOf({
  receivers,
  subscribers = 0,
}: Pick<OutboundMessage, 'receivers' | 'subscribers'>): DeliveryCounts {
  const topics = receivers.filter(({ via }) => via === 'bus');
  const members = receivers.filter(({ via }) => via !== 'bus');
  const onBus = topics.some(isOpen) ? 'waiting' : topics.some(isGood) ? 'delivered' : 'failed';
  const counted = (which: typeof onBus, own: readonly Delivery[]): number =>
    own.length + (which === onBus ? subscribers : 0);
  const delivered = counted('delivered', members.filter(isGood));
  const waiting = counted('waiting', members.filter(isOpen));
  const all = members.length + subscribers;
  return { receivers: all, delivered, waiting, failed: all - delivered - waiting };
}

/** State of the whole from the states of the receivers. `published`: it is out, and no member is known to take it. */
export function stateOf(send: Pick<OutboundMessage, 'receivers' | 'subscribers'>, held: boolean): OutboundState {
  const { receivers } = send;
  const has = (...states: readonly DeliveryState[]): boolean =>
    receivers.some(({ state }) => states.includes(state));
  const good = has('sent', 'delivered');
  if (receivers.some(isOpen)) {
    if (good) return 'partial';
    return held ? 'sending' : 'queued';
  }
  // A topic is no receiver: who has the message are the members that take it from there.
  const { receivers: all, delivered, failed } = countsOf(send);
  const topics = receivers.filter(({ via }) => via === 'bus');
  const isTopicRefused = topics.some((topic) => !isGood(topic));
  if (all === 0 && (topics.length === 0 || topics.some(isGood))) return isTopicRefused ? 'partial' : 'published';
  // An earlier release did not count who takes a topic: what is on the bus may have reached some.
  const isOut = send.subscribers === undefined && topics.some(isGood);
  if (delivered > 0 || isOut) return failed > 0 || isTopicRefused ? 'partial' : 'delivered';
  return has('failed', 'dropped') ? 'failed' : 'expired';
}

function deliveryOf(send: OutboundMessage, now: number): JsonObject {
  const attempts = Math.max(0, ...send.receivers.map((receiver) => receiver.attempts));
  const reason = send.receivers.find((receiver) => receiver.reason !== undefined)?.reason;
  return {
    state: stateOf(send, send.holder !== undefined),
    send_id: send.id,
    from: send.from,
    attempts,
    queued_at: new Date(send.createdAt).toISOString(),
    expires_at: new Date(send.expiresAt).toISOString(),
    updated_at: new Date(now).toISOString(),
    ...(reason === undefined ? {} : { reason }),
    counts: { ...countsOf(send) },
    receivers: send.receivers.map(({ name, state, attempts: tries, reason: why, at }) => ({
      name,
      state,
      attempts: tries,
      ...(why === undefined ? {} : { reason: why }),
      ...(at === undefined ? {} : { at: new Date(at).toISOString() }),
    })),
  };
}

/** The `result` of a message per layer (layers.md, the table). */
function resultOf(send: OutboundMessage): string {
  const outcome = (receiver: Delivery): JsonOutputObject[string] =>
    receiver.reply === undefined
      ? { error: { code: receiver.state, message: receiver.reason ?? receiver.state } }
      : new RawJson(receiver.reply);
  const named = (
    receivers: readonly Delivery[],
    value: (one: Delivery) => JsonOutputObject[string],
  ): JsonOutputObject => Object.fromEntries(receivers.map((receiver) => [receiver.name, value(receiver)]));
  const { receivers } = send;
  switch (send.layer) {
    case 'l1': {
      const [only] = receivers;
      return only === undefined ? '{}' : stringifyJson(outcome(only) as JsonOutputObject);
    }
    case 'l2':
      return stringifyJson(named(receivers, ({ state }) => state));
    case 'l31':
      return stringifyJson(named(receivers, outcome));
    case 'l32':
    case 'l4':
      return stringifyJson({
        published: named(
          receivers.filter(({ via }) => via === 'bus'),
          (receiver) =>
            receiver.state === 'delivered' ? new RawJson(receiver.reply ?? 'null') : outcome(receiver),
        ),
        members: named(
          receivers.filter(({ via }) => via !== 'bus'),
          outcome,
        ),
      });
  }
}

/** The message with the send's state in it; a dead letter when it was given up, a plain message again otherwise. */
export function withDelivery(message: Entity, send: OutboundMessage, now: number): Entity {
  const delivery = deliveryOf(send, now);
  const isSettled = !send.receivers.some(isOpen);
  const isDeadLetter = isSettled && isGivenUp(stateOf(send, false));
  const others = message.mixins.filter((id) => id !== DEAD_LETTER_MIXIN);
  const { expiresAt: _kept, ...staying } = message;
  // Where there are several receivers, the result says of each how far it is as soon as one is further than queued.
  const isTold = isSettled || (send.layer !== 'l1' && send.receivers.some(({ state }) => state !== 'queued'));
  return {
    ...staying,
    ...(isDeadLetter ? { expiresAt: now + DEAD_LETTER_TTL_MS } : {}),
    mixins: isDeadLetter ? [...others, DEAD_LETTER_MIXIN] : others,
    attributes: { ...message.attributes, [MESSAGE.delivery]: delivery },
    rawJson: isTold ? { ...message.rawJson, [MESSAGE.result]: resultOf(send) } : message.rawJson,
    updatedAt: now,
  };
}

/** Writes a send and its message as they are now: the send goes when every receiver has an outcome. */
export function writeOutbound(
  tx: Transaction,
  send: OutboundMessage,
  message: StoredEntity | undefined,
  registry: CategoryRegistry,
  clock: Clock,
): void {
  if (send.receivers.some(isOpen)) putOutbound(tx, send);
  else deleteOutbound(tx, send);
  if (message === undefined) return;
  // A newer send of the same message is what its delivery shows.
  const shown = (message.entity.attributes[MESSAGE.delivery] as JsonObject | undefined)?.send_id;
  if (shown === undefined || shown === send.id) {
    writeEntity(tx, withDelivery(message.entity, send, clock.now()), message.entity, registry);
  }
}

/** Reads a send with its message; undefined when it is settled, cancelled or unknown. */
export async function readOutbound(
  tx: Pick<Transaction, 'get' | 'getAll'>,
  id: string,
): Promise<{ readonly send: OutboundMessage; readonly message: StoredEntity | undefined } | undefined> {
  const doc = await tx.get(OUTBOUND_MESSAGES, id);
  if (doc === undefined) return undefined;
  const send = outboundMessageOf(doc);
  return { send, message: send.frame === undefined ? await readEntity(tx, send.message) : undefined };
}

/** What happened to one receiver of a send. */
export interface Outcome {
  readonly sendId: string;
  /** {@link deliveryKey} of the receiver. */
  readonly key: string;
  readonly change: Pick<Delivery, 'state'> &
    Partial<Pick<Delivery, 'reason' | 'reply' | 'address'>> & {
      /** Times that it left for the receiver since the last outcome. */
      readonly attempts: number;
      /** Of those, the ones at which the connection broke. */
      readonly broken?: number;
    };
}

/** Applies outcomes to a send in their order; one that is there for good stays (a late second answer changes nothing). */
export function applyOutcomes<S extends Pick<OutboundMessage, 'receivers'>>(
  send: S,
  outcomes: readonly Outcome[],
  now: number,
): S {
  const applied = (receiver: Delivery, { change: { attempts, broken = 0, ...change } }: Outcome): Delivery => {
    if (!isOpen(receiver)) return receiver;
    const { reason: _earlier, ...rest } = receiver;
    const next: Delivery = {
      ...rest,
      ...change,
      attempts: receiver.attempts + attempts,
      ...(broken === 0 ? {} : { broken: (receiver.broken ?? 0) + broken }),
    };
    return isOpen(next) ? next : { ...next, at: now };
  };
  return {
    ...send,
    receivers: send.receivers.map((receiver) =>
      outcomes.filter(({ key }) => key === deliveryKey(receiver)).reduce(applied, receiver),
    ),
  };
}

/**
 * A send in hand with what a copy of it in the store says of its topics. The copy may be older than what is known: an
 * outcome that is there stays.
 */
export function withPublished<S extends Pick<OutboundMessage, 'receivers'>>(held: S, stored: OutboundMessage): S {
  return {
    ...held,
    receivers: held.receivers.map((receiver) => {
      if (receiver.via !== 'bus' || !isOpen(receiver)) return receiver;
      return stored.receivers.find(({ name, via }) => via === 'bus' && name === receiver.name) ?? receiver;
    }),
  };
}

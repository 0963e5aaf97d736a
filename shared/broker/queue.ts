/** Queues a send: who receives, whether there is room, and the durable record of it (layers.md, the table). */
import type { Clock, NewId } from '../clock';
import { CmbsError } from '../errors';
import { MAX_RECEIVERS } from './limits';
import {
  type CategoryRegistry,
  earlierAnswer,
  type Entity,
  type IdempotentRequest,
  type Path,
  readEntity,
  rememberAnswer,
} from '../occi';
import type { OrderClock } from './order-clock';
import type { Store } from '../store';
import { MESSAGE } from './cmbs';
import type { Layer } from './layers';
import { allMembers, isLocal, isOpenOn, isSuspended, socketOf, wants } from './member';
import { checkMessage, outboundState, expiryOf, providersOf, topicsOf, whyNotSent } from './message';
import { actingMember, MemberIndex, SEVERAL_NAMED, type UriOf } from './references';
import {
  addressesOf,
  nextSequence,
  readOutbound,
  assertQueueRoom,
  writeOutbound,
  type Delivery,
  type OutboundMessage,
} from './outbound-message';

export interface QueueOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly order: OrderClock;
  readonly uriOf: UriOf;
  /** Sends queued for one address, or for the topic bus on one layer, at most. */
  readonly queueLimit: number;
}

export interface QueueRequest {
  readonly message: Path;
  readonly layer: Layer;
  readonly from: string | undefined;
  readonly registry: CategoryRegistry;
  readonly idempotent?: IdempotentRequest;
  /** The trace that the send is part of. */
  readonly trace?: string;
}

const open = (receiver: Pick<Delivery, 'name' | 'via' | 'address' | 'member'>): Delivery => ({
  ...receiver,
  state: 'queued',
  attempts: 0,
});

const unreachable = (name: string, reason: string, now: number): Delivery => ({
  name,
  via: 'none',
  state: 'failed',
  attempts: 0,
  reason,
  at: now,
});

function byRequest(name: string, member: Entity, layer: Layer, now: number): Delivery {
  const address = socketOf(member, layer);
  if (address === undefined) return unreachable(name, `the member has no ${layer} socket`, now);
  return open({ name, via: 'request', address, member: member.path });
}

function orderingKeyOf({ attributes }: Entity): Pick<OutboundMessage, 'orderingKey'> {
  const key = attributes[MESSAGE.orderingKey];
  return typeof key === 'string' && key !== '' ? { orderingKey: key } : {};
}

/** Refuses what cannot mean anything: no receiver could ever get the message. */
const meaningless = (message: string): CmbsError => new CmbsError('bad_request', message);

/** The one member that each reference means, or why there is none. */
function namedBy(
  references: readonly string[],
  index: MemberIndex,
): readonly { readonly reference: string; readonly member?: Entity; readonly why?: string }[] {
  const found = [...new Set(references)].map((reference) => {
    const named = index.named(reference);
    const [member] = named;
    if (member === undefined) return { reference, why: 'no such member is known' };
    return named.length === 1 ? { reference, member } : { reference, why: SEVERAL_NAMED };
  });
  if (found.length > 0 && found.every(({ member }) => member === undefined)) {
    const whole = found.map(({ reference, why = '' }) => `${reference} (${why})`).join(', ');
    throw meaningless(
      `None of the ${MESSAGE.providers} can be reached: ${whole}. Name known members by id or path.`,
    );
  }
  return found;
}

/**
 * Who receives a message on its layer.
 * @throws CmbsError `bad_request` or `bad_attribute` for a message that no member can ever receive
 */
export function deliveriesFor(
  message: Entity,
  layer: Layer,
  from: Entity,
  members: readonly Entity[],
  index: MemberIndex,
  now: number,
): readonly Delivery[] {
  const others = members.filter(({ path }) => path !== from.path);
  switch (layer) {
    case 'l1': {
      const address = message.attributes[MESSAGE.receiver];
      if (typeof address !== 'string' || address === '') {
        throw new CmbsError(
          'bad_attribute',
          `${MESSAGE.receiver} has to name the socket that receives the message.`,
        );
      }
      return [open({ name: address, via: 'request', address })];
    }
    case 'l2':
      return others.map((member) => {
        const address = socketOf(member, 'l2');
        if (address === undefined) return unreachable(member.path, 'the member has no l2 socket', now);
        return open({ name: member.path, via: 'broadcast', address, member: member.path });
      });
    case 'l31': {
      const providers = namedBy(providersOf(message), index);
      if (providers.length === 0)
        throw meaningless(`A message on l31 needs ${MESSAGE.providers}: who receives it.`);
      return providers.map(({ reference, member, why = '' }) =>
        member === undefined ? unreachable(reference, why, now) : byRequest(reference, member, 'l31', now),
      );
    }
    case 'l32':
    case 'l4': {
      const topics = [...new Set(topicsOf(message))];
      const listed = layer === 'l4' ? namedBy(providersOf(message), index) : [];
      if (topics.length === 0 && listed.length === 0) {
        const needed = layer === 'l4' ? `${MESSAGE.topics} or ${MESSAGE.providers}` : MESSAGE.topics;
        throw meaningless(`A message on ${layer} needs ${needed}: nobody would get it.`);
      }
      const chosen = new Set(listed.flatMap(({ member }) => member ?? []));
      const isListed = (member: Entity): boolean => listed.length === 0 || chosen.has(member);
      const unknown = listed.flatMap(({ reference, member, why = '' }) =>
        member === undefined ? [unreachable(reference, why, now)] : [],
      );
      if (topics.length === 0) {
        // Without a topic there is nothing to publish on: the listed ones are addressed directly.
        return [...unknown, ...[...chosen].map((member) => byRequest(member.path, member, 'l4', now))];
      }
      return [
        ...topics.map((topic) => open({ name: topic, via: 'bus' })),
        ...unknown,
        ...others
          .filter((member) => !isLocal(member) && isListed(member) && wants(member, topics))
          .map((member) => byRequest(member.path, member, layer, now)),
      ];
    }
  }
}

/** Local members that take the message from the topic bus now: those that want it and have the layer open. */
function subscribersOf(message: Entity, layer: Layer, members: readonly Entity[], index: MemberIndex): number {
  const topics = topicsOf(message);
  if ((layer !== 'l32' && layer !== 'l4') || topics.length === 0) return 0;
  const providers = layer === 'l4' ? providersOf(message) : [];
  const listed = new Set(providers.flatMap((provider) => index.named(provider)));
  return members.filter(
    (member) =>
      isLocal(member) &&
      !isSuspended(member) &&
      isOpenOn(member, layer) &&
      (providers.length === 0 || listed.has(member)) &&
      wants(member, topics),
  ).length;
}

/** What is known of a send before its transaction: who acts and who is there. */
export interface Sending {
  readonly layer: Layer;
  readonly from: Entity;
  readonly members: readonly Entity[];
  readonly index: MemberIndex;
  readonly id: string;
  readonly sequence: number;
  readonly trace?: string;
  /** How many more the same transaction queues for an address. */
  readonly alsoQueued?: ReadonlyMap<string, number>;
}

/** Reads what does not have to be of the same moment as the message. @throws CmbsError when no member can act */
export async function beginSend(
  { layer, from, trace }: Pick<QueueRequest, 'layer' | 'from' | 'trace'>,
  { store, newId, uriOf }: Pick<QueueOptions, 'store' | 'newId' | 'uriOf'>,
): Promise<Sending> {
  const acting = await actingMember(store, from, uriOf);
  const members = layer === 'l1' ? [] : await allMembers(store);
  return {
    layer,
    from: acting,
    members,
    index: new MemberIndex(members, uriOf),
    id: newId(),
    sequence: nextSequence(),
    ...(trace === undefined ? {} : { trace }),
  };
}

/** The send of a message that may be sent now; nothing is written. @throws CmbsError that says why it may not */
export async function outboundFor(
  message: Entity,
  { layer, from, members, index, id, sequence, trace, alsoQueued }: Sending,
  { store, clock, order, queueLimit }: Pick<QueueOptions, 'store' | 'clock' | 'order' | 'queueLimit'>,
): Promise<OutboundMessage> {
  const why = whyNotSent(message, layer);
  if (why !== undefined) throw new CmbsError('conflict', `The message cannot be sent on ${layer}: ${why}.`);
  // An earlier release may have stored it, or it came from a peer and would outgrow its frame here.
  const bytes = checkMessage(message);
  const now = clock.now();
  if (expiryOf(message, now) <= now) {
    throw new CmbsError('conflict', `The message has expired; give it a later ${MESSAGE.expiresAt} first.`);
  }
  const receivers = deliveriesFor(message, layer, from, members, index, now);
  if (receivers.length > MAX_RECEIVERS) {
    throw new CmbsError(
      'too_large',
      `One message reaches ${MAX_RECEIVERS} receivers at most, not ${receivers.length}.`,
    );
  }
  // Broadcasts have a bound of their own, per peer, and are dropped beyond it.
  if (layer !== 'l2') await assertQueueRoom(store, addressesOf(layer, receivers), queueLimit, alsoQueued);
  return {
    id,
    wireId: id,
    message: message.path,
    layer,
    from: from.path,
    createdAt: now,
    orderedAt: order.now(),
    sequence,
    expiresAt: expiryOf(message, now),
    receivers,
    subscribers: subscribersOf(message, layer, members, index),
    bytes,
    ...(trace === undefined ? {} : { trace }),
    ...(receivers.some(({ via }) => via === 'bus') ? orderingKeyOf(message) : {}),
  };
}

/** Stores the send; durable when resolved. Asking again while one is under way gives that one. */
export async function queueOutbound(request: QueueRequest, options: QueueOptions): Promise<OutboundMessage> {
  const { store, clock } = options;
  const { layer, registry, idempotent } = request;
  const sending = await beginSend(request, options);
  const queued = await store.transact(async (tx): Promise<OutboundMessage | { readonly earlier: string }> => {
    const earlier = idempotent === undefined ? undefined : await earlierAnswer(tx, idempotent);
    if (earlier !== undefined) return { earlier: earlier.sendId as string };
    const stored = await readEntity(tx, request.message);
    if (stored === undefined) throw new CmbsError('not_found', `There is nothing at ${request.message}.`);
    const message = stored.entity;
    const underWay = outboundState(message);
    if (underWay === 'queued' || underWay === 'sending' || underWay === 'partial') {
      const delivery = message.attributes[MESSAGE.delivery] as { readonly send_id?: string } | undefined;
      const current = delivery?.send_id === undefined ? undefined : await readOutbound(tx, delivery.send_id);
      if (current !== undefined) {
        if (idempotent !== undefined) rememberAnswer(tx, idempotent, { sendId: current.send.id }, clock.now());
        return current.send;
      }
    }
    const send = await outboundFor(message, sending, options);
    const fresh = {
      ...stored,
      entity: { ...message, attributes: { ...message.attributes, [MESSAGE.delivery]: {} } },
    };
    writeOutbound(tx, send, fresh, registry, clock);
    if (idempotent !== undefined) rememberAnswer(tx, idempotent, { sendId: send.id }, clock.now());
    return send;
  });
  if (!('earlier' in queued)) return queued;
  const again = await readOutbound(store, queued.earlier);
  if (again !== undefined) return again.send;
  // Settled since: the message shows the outcome.
  return {
    id: queued.earlier,
    wireId: queued.earlier,
    message: request.message,
    layer,
    from: sending.from.path,
    createdAt: 0,
    sequence: 0,
    expiresAt: 0,
    receivers: [],
  };
}

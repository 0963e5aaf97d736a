/** Queues a message: determines its receivers, checks that there is room, and stores the outbound message. */
import type { Clock, NewId } from '../clock';
import { CmbsError } from '../errors';
import {
  type CategoryRegistry,
  earlierAnswer,
  type Entity,
  type IdempotentRequest,
  type Path,
  rememberAnswer,
} from '../occi';
import { type Authorize, type Principal } from '../principal';
import type { Store } from '../store';
import { actingMember } from './acting-member';
import { assertFewReceivers } from './addressing';
import {
  authorizeSending,
  actingFor,
  membersThatMaySubscribe,
  membersThatReceive,
  resourceOf,
} from './authorization';
import { MESSAGE } from './cmbs';
import { existing } from './existing';
import type { Layer, LayerDefinition, Layers } from './layer-definition';
import { isLocal, isOpenOn, isSuspended, wants } from './member';
import { MemberLookup } from './member-lookup';
import {
  checkMessage,
  expiryOf,
  outboundState,
  providersOf,
  shownDelivery,
  topicsOf,
  whyNotSent,
} from './message';
import type { OrderClock } from './order-clock';
import { nextSequence, readOutbound, writeOutbound, type OutboundMessage } from './outbound-message';
import { addressesOf, assertQueueRoom } from './queue-room';
import type { UriOf } from './references';

export interface QueueOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly order: OrderClock;
  readonly layers: Layers;
  readonly authorize: Authorize;
  readonly uriOf: UriOf;
  /** Name of the shard of a local member. */
  readonly shardOf: (member: Entity) => string;
  /** Most messages queued for one address, or for the topic bus on one layer. */
  readonly queueLimit: number;
}

export interface QueueRequest {
  readonly message: Path;
  readonly principal: Principal;
  readonly layer: Layer;
  /** The local member that sends: id, path, URI or title; the only one when absent. */
  readonly from: string | undefined;
  readonly registry: CategoryRegistry;
  readonly idempotent?: IdempotentRequest;
  /** W3C Trace Context of the request. */
  readonly trace?: string;
}

function orderingKeyOf({ attributes }: Entity): Pick<OutboundMessage, 'orderingKey'> {
  const key = attributes[MESSAGE.orderingKey];
  return typeof key === 'string' && key !== '' ? { orderingKey: key } : {};
}

/** Local members that take the message from the topic bus now: they want it and have the layer open. */
async function subscribersOf(message: Entity, layer: LayerDefinition, { lookup }: Sending): Promise<number> {
  const topics = topicsOf(message);
  if (layer.channel !== 'bus' || topics.length === 0) return 0;
  const providers = layer.selectsProviders === true ? providersOf(message) : [];
  const named = await lookup.named(providers);
  const selected = new Map(named.flat().map((member) => [member.path, member]));
  const members = providers.length === 0 ? await lookup.wanting(topics) : [...selected.values()];
  return members.filter(
    (member) => isLocal(member) && !isSuspended(member) && isOpenOn(member, layer.name) && wants(member, topics),
  ).length;
}

/** What is read before the transaction, and how members are found. */
export interface Sending {
  readonly principal: Principal;
  readonly layer: Layer;
  readonly from: Entity;
  readonly lookup: MemberLookup;
  readonly id: string;
  readonly sequence: number;
  readonly trace?: string;
  /** Messages that the same transaction queues, by address. */
  readonly alsoQueued?: ReadonlyMap<string, number>;
}

/** Reads what need not be consistent with the message. @throws CmbsError when no member can act */
export async function beginSend(
  { layer, principal, from, trace }: Pick<QueueRequest, 'layer' | 'principal' | 'from' | 'trace'>,
  options: Pick<QueueOptions, 'store' | 'clock' | 'newId' | 'uriOf' | 'authorize'>,
): Promise<Sending> {
  const lookup = new MemberLookup(options);
  return {
    layer,
    principal,
    from: await actingMember(lookup, from, actingFor(options.authorize, principal)),
    lookup,
    id: options.newId(),
    sequence: nextSequence(),
    ...(trace === undefined ? {} : { trace }),
  };
}

/** Makes the outbound message of a message; nothing is written. @throws CmbsError that says why it cannot be sent */
export async function outboundFor(
  message: Entity,
  sending: Sending,
  { store, clock, order, queueLimit, layers, authorize, shardOf }: Omit<QueueOptions, 'newId' | 'uriOf'>,
): Promise<OutboundMessage> {
  const { principal, from, lookup, id, sequence, trace, alsoQueued } = sending;
  const butSender = (members: readonly Entity[]): readonly Entity[] =>
    members.filter(({ path }) => path !== from.path);
  const layer = layers.of(sending.layer);
  const topics = layer.channel === 'bus' ? topicsOf(message) : [];
  await authorizeSending(authorize, principal, { message, from, topics });
  const why = whyNotSent(message, layer.name);
  if (why !== undefined) throw new CmbsError('conflict', `The message cannot be sent on ${layer.name}: ${why}.`);
  // Earlier releases stored messages without this check, and a message from a peer may outgrow its frame here.
  const bytes = checkMessage(message);
  const now = clock.now();
  if (expiryOf(message, now) <= now) {
    throw new CmbsError('conflict', `The message has expired; give it a later ${MESSAGE.expiresAt} first.`);
  }
  // A member that does not take messages from the principal counts as unknown. An address may be written in many ways, so
  // whether a message on L1 is taken is decided where the message arrives.
  const receiving = (members: readonly Entity[]): Promise<readonly Entity[]> =>
    membersThatReceive(authorize, principal, members);
  const receivers = await layer.deliveries({
    message,
    from,
    others: async () => receiving(butSender(await lookup.all())),
    wanting: async (wanted) => membersThatMaySubscribe(authorize, butSender(await lookup.wanting(wanted)), wanted),
    named: async (references) => Promise.all((await lookup.named(references)).map(receiving)),
    now,
  });
  assertFewReceivers(receivers.length);
  // Broadcasts have their own limit per peer, beyond which they are dropped.
  if (layer.channel !== 'broadcast') {
    await assertQueueRoom(store, addressesOf(layer.name, receivers), queueLimit, alsoQueued);
  }
  return {
    id,
    wireId: id,
    message: message.path,
    layer: layer.name,
    from: from.path,
    shard: shardOf(from),
    principal,
    createdAt: now,
    orderedAt: order.now(),
    sequence,
    expiresAt: expiryOf(message, now),
    receivers,
    subscribers: await subscribersOf(message, layer, sending),
    bytes,
    ...(trace === undefined ? {} : { trace }),
    ...(receivers.some(({ via }) => via === 'bus') ? orderingKeyOf(message) : {}),
  };
}

/** Queues a stored message; durable when resolved. While the message is being sent, the same outbound message is given. */
export async function queueOutbound(request: QueueRequest, options: QueueOptions): Promise<OutboundMessage> {
  const { store, clock, layers } = options;
  const { layer, registry, idempotent } = request;
  const sending = await beginSend(request, options);
  const queued = await store.transact(async (tx): Promise<OutboundMessage | { readonly earlier: string }> => {
    const earlier = idempotent === undefined ? undefined : await earlierAnswer(tx, idempotent);
    if (earlier !== undefined) return { earlier: earlier.sendId as string };
    const stored = await existing(tx, request.message);
    const message = stored.entity;
    // Asked before an outbound message of another principal is shown.
    await options.authorize(request.principal, 'message.send', resourceOf(message));
    const state = outboundState(message);
    if (state === 'queued' || state === 'sending' || state === 'partial') {
      const { send_id: sendId } = shownDelivery(message);
      const current = sendId === undefined ? undefined : await readOutbound(tx, sendId);
      if (current !== undefined) {
        if (idempotent !== undefined) rememberAnswer(tx, idempotent, { sendId: current.outbound.id }, clock.now());
        return current.outbound;
      }
    }
    const outbound = await outboundFor(message, sending, options);
    const fresh = {
      ...stored,
      entity: { ...message, attributes: { ...message.attributes, [MESSAGE.delivery]: {} } },
    };
    writeOutbound(tx, outbound, fresh, { registry, clock, layers });
    if (idempotent !== undefined) rememberAnswer(tx, idempotent, { sendId: outbound.id }, clock.now());
    return outbound;
  });
  if (!('earlier' in queued)) return queued;
  const again = await readOutbound(store, queued.earlier);
  if (again !== undefined) return again.outbound;
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

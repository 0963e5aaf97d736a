/** Queues a send: who receives, whether there is room, and the durable record of it (layers.md, the table). */
import type { Clock, NewId } from '../clock';
import { CmbsError } from '../errors';
import { MAX_RECEIVERS } from '../limits';
import { readEntity } from '../occi/entity-store';
import { earlierAnswer, rememberAnswer, type IdempotentRequest } from '../occi/idempotency';
import type { Entity, Path } from '../occi/model';
import type { Registry } from '../occi/registry';
import type { Store } from '../store/store';
import { MESSAGE } from './cmbs';
import type { Layer } from './layers';
import { actingMember, allMembers, isLocal, socketOf, wants } from './member';
import { checkMessage, deliveryState, expiryOf, providersOf, topicsOf, whyNotSent } from './message';
import { membersNamed, SEVERAL_NAMED } from './provenance';
import { addressesOf, nextSequence, readSend, refuseWhereFull, writeSend, type Receiver, type Send } from './send';

export interface QueueOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly newId: NewId;
  /** Sends queued for one address, or for the topic bus on one layer, at most. */
  readonly queueLimit: number;
}

export interface QueueRequest {
  readonly message: Path;
  readonly layer: Layer;
  readonly from: string | undefined;
  readonly registry: Registry;
  readonly idempotent?: IdempotentRequest;
  /** The trace that the send is part of. */
  readonly trace?: string;
}

const open = (receiver: Pick<Receiver, 'name' | 'via'> & { readonly address?: string }): Receiver => ({
  ...receiver,
  state: 'queued',
  attempts: 0,
});

const unreachable = (name: string, reason: string, now: number): Receiver => ({
  name,
  via: 'none',
  state: 'failed',
  attempts: 0,
  reason,
  at: now,
});

function byRequest(name: string, member: Entity, layer: Layer, now: number): Receiver {
  const address = socketOf(member, layer);
  if (address === undefined) return unreachable(name, `the member has no ${layer} socket`, now);
  return open({ name, via: 'request', address });
}

function orderingKeyOf({ attributes }: Entity): Pick<Send, 'orderingKey'> {
  const key = attributes[MESSAGE.orderingKey];
  return typeof key === 'string' && key !== '' ? { orderingKey: key } : {};
}

/** Who receives a message on its layer. */
export function receiversOf(
  message: Entity,
  layer: Layer,
  from: Entity,
  members: readonly Entity[],
  now: number,
): readonly Receiver[] {
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
        return open({ name: member.path, via: 'broadcast', address });
      });
    case 'l31':
      return [...new Set(providersOf(message))].map((provider) => {
        const named = membersNamed(members, provider);
        if (named.length > 1) return unreachable(provider, SEVERAL_NAMED, now);
        const [member] = named;
        if (member === undefined) return unreachable(provider, 'no such member is known', now);
        return byRequest(provider, member, 'l31', now);
      });
    case 'l32':
    case 'l4': {
      const topics = [...new Set(topicsOf(message))];
      const listed = layer === 'l4' ? [...new Set(providersOf(message))] : [];
      const named = listed.map((provider) => ({ provider, found: membersNamed(members, provider) }));
      const chosen = new Set(named.flatMap(({ found }) => (found.length === 1 ? found : [])));
      const isListed = (member: Entity): boolean => listed.length === 0 || chosen.has(member);
      const unknown = named
        .filter(({ found }) => found.length !== 1)
        .map(({ provider, found }) =>
          unreachable(provider, found.length === 0 ? 'no such member is known' : SEVERAL_NAMED, now),
        );
      if (layer === 'l4' && topics.length === 0) {
        // Without a topic there is nothing to publish on: the listed ones are addressed directly.
        const direct = listed.length === 0 ? [] : members.filter(isListed);
        return [...unknown, ...direct.map((member) => byRequest(member.path, member, 'l4', now))];
      }
      const remote = topics.length === 0 ? [] : others.filter((member) => !isLocal(member) && isListed(member));
      return [
        ...topics.map((topic) => open({ name: topic, via: 'bus' })),
        ...unknown,
        ...remote
          .filter((member) => wants(member, topics))
          .map((member) => byRequest(member.path, member, layer, now)),
      ];
    }
  }
}

/** Stores the send; durable when resolved. Asking again while one is under way gives that one. */
export async function queueSend(request: QueueRequest, options: QueueOptions): Promise<Send> {
  const { store, clock, newId, queueLimit } = options;
  const { layer, registry, idempotent, trace } = request;
  const from = await actingMember(store, request.from);
  const members = layer === 'l1' ? [] : await allMembers(store);
  const id = newId();
  const sequence = nextSequence();
  const queued = await store.transact(async (tx): Promise<Send | { readonly earlier: string }> => {
    const earlier = idempotent === undefined ? undefined : await earlierAnswer(tx, idempotent);
    if (earlier !== undefined) return { earlier: earlier.sendId as string };
    const stored = await readEntity(tx, request.message);
    if (stored === undefined) throw new CmbsError('not_found', `There is nothing at ${request.message}.`);
    const message = stored.entity;
    const why = whyNotSent(message, layer);
    if (why !== undefined)
      throw new CmbsError('conflict', `${request.message} cannot be sent on ${layer}: ${why}.`);
    // An earlier release may have stored it, or it came from a peer and would outgrow its frame here.
    const bytes = checkMessage(message);
    const underWay = deliveryState(message);
    if (underWay === 'queued' || underWay === 'sending' || underWay === 'partial') {
      const delivery = message.attributes[MESSAGE.delivery] as { readonly send_id?: string } | undefined;
      const current = delivery?.send_id === undefined ? undefined : await readSend(tx, delivery.send_id);
      if (current !== undefined) {
        if (idempotent !== undefined) rememberAnswer(tx, idempotent, { sendId: current.send.id }, clock.now());
        return current.send;
      }
    }
    const now = clock.now();
    if (expiryOf(message, now) <= now) {
      throw new CmbsError(
        'conflict',
        `${request.message} has expired; give it a later ${MESSAGE.expiresAt} first.`,
      );
    }
    const receivers = receiversOf(message, layer, from, members, now);
    if (receivers.length > MAX_RECEIVERS) {
      throw new CmbsError(
        'too_large',
        `One message reaches ${MAX_RECEIVERS} receivers at most, not ${receivers.length}.`,
      );
    }
    // Broadcasts have a bound of their own, per peer, and are dropped beyond it.
    if (layer !== 'l2') await refuseWhereFull(store, addressesOf(layer, receivers), queueLimit);
    const send: Send = {
      id,
      wireId: id,
      message: request.message,
      layer,
      from: from.path,
      createdAt: now,
      sequence,
      expiresAt: expiryOf(message, now),
      receivers,
      bytes,
      ...(trace === undefined ? {} : { trace }),
      ...(receivers.some(({ via }) => via === 'bus') ? orderingKeyOf(message) : {}),
    };
    const fresh = {
      ...stored,
      entity: { ...message, attributes: { ...message.attributes, [MESSAGE.delivery]: {} } },
    };
    writeSend(tx, send, fresh, registry, clock);
    if (idempotent !== undefined) rememberAnswer(tx, idempotent, { sendId: id }, now);
    return send;
  });
  if (!('earlier' in queued)) return queued;
  const again = await readSend(store, queued.earlier);
  if (again !== undefined) return again.send;
  // Settled since: the message shows the outcome.
  return {
    id: queued.earlier,
    wireId: queued.earlier,
    message: request.message,
    layer,
    from: from.path,
    createdAt: 0,
    sequence: 0,
    expiresAt: 0,
    receivers: [],
  };
}

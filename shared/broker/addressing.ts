/** Receivers of messages: the functions from which the definitions of layers are made. */
import { CmbsError } from '../errors';
import type { Entity } from '../occi';
import { MESSAGE } from './cmbs';
import { newDelivery, unreachable, type Delivery } from './delivery';
import type { Addressing, Layer } from './layer-definition';
import { MAX_RECEIVERS } from './limits';
import { isLocal, socketOf, wants } from './member';
import { providersOf, topicsOf } from './message';
import { SEVERAL_NAMED } from './references';

/** For a message that no receiver could ever get. */
const noReceiver = (message: string): CmbsError => new CmbsError('bad_request', message);

/** @throws CmbsError `too_large` */
export function assertFewReceivers(count: number): void {
  if (count <= MAX_RECEIVERS) return;
  throw new CmbsError('too_large', `One message reaches ${MAX_RECEIVERS} receivers at most, not ${count}.`);
}

/** A delivery to a member over a socket; failed at once where the member has none on the layer. */
export function toMember(
  member: Entity,
  layer: Layer,
  { name, via, now }: { readonly name: string; readonly via: 'request' | 'broadcast'; readonly now: number },
): Delivery {
  const address = socketOf(member, layer);
  if (address === undefined) return unreachable(name, `the member has no ${layer} socket`, now);
  return newDelivery({ name, via, address, member: member.path });
}

/** A provider of a message: the member that a reference means, or why it means none. */
export interface Provider {
  readonly reference: string;
  readonly member?: Entity;
  readonly why?: string;
}

/** @throws CmbsError `bad_request` when there are references, and none of them means a member */
export async function providersNamed({ message, named }: Addressing): Promise<readonly Provider[]> {
  const references = [...new Set(providersOf(message))];
  assertFewReceivers(references.length);
  const found = await named(references);
  const providers = references.map((reference, at): Provider => {
    const [member, another] = found[at] ?? [];
    if (member === undefined) return { reference, why: 'no such member is known' };
    return another === undefined ? { reference, member } : { reference, why: SEVERAL_NAMED };
  });
  if (providers.length > 0 && providers.every(({ member }) => member === undefined)) {
    const all = providers.map(({ reference, why = '' }) => `${reference} (${why})`).join(', ');
    throw noReceiver(`None of the ${MESSAGE.providers} can be reached: ${all}. Name known members by id or path.`);
  }
  return providers;
}

/** Deliveries to the members that a message lists. */
export async function toProviders(
  addressing: Addressing,
  layer: Layer,
  via: 'request' | 'broadcast',
): Promise<readonly Delivery[]> {
  const providers = await providersNamed(addressing);
  if (providers.length === 0)
    throw noReceiver(`A message on ${layer} needs ${MESSAGE.providers}: who receives it.`);
  const { now } = addressing;
  return providers.map(({ reference, member, why = '' }) =>
    member === undefined
      ? unreachable(reference, why, now)
      : toMember(member, layer, { name: reference, via, now }),
  );
}

/** One delivery to the address that the message names. */
export function toNamedSocket({ message }: Addressing): readonly Delivery[] {
  const address = message.attributes[MESSAGE.receiver];
  if (typeof address !== 'string' || address === '') {
    throw new CmbsError('bad_attribute', `${MESSAGE.receiver} has to name the socket that receives the message.`);
  }
  return [newDelivery({ name: address, via: 'request', address })];
}

/** Deliveries to every other member. */
export const toAllOthers = async ({ others, now }: Addressing, layer: Layer): Promise<readonly Delivery[]> =>
  (await others()).map((member) => toMember(member, layer, { name: member.path, via: 'broadcast', now }));

/**
 * Publishes on the topics of a message, and passes it on to the members of other deployments that want one of them.
 * Local members take it from the bus.
 * @param selects the message may list providers: only they take it, and without a topic they are addressed directly
 */
export async function toTopics(
  addressing: Addressing,
  layer: Layer,
  selects: boolean,
): Promise<readonly Delivery[]> {
  const { message, from, wanting, now } = addressing;
  const topics = [...new Set(topicsOf(message))];
  const providers = selects ? await providersNamed(addressing) : [];
  if (topics.length === 0 && providers.length === 0) {
    const needed = selects ? `${MESSAGE.topics} or ${MESSAGE.providers}` : MESSAGE.topics;
    throw noReceiver(`A message on ${layer} needs ${needed}: nobody would get it.`);
  }
  const selected = new Map(
    providers.flatMap(({ member }) => (member === undefined ? [] : [[member.path, member]])),
  );
  const unknown = providers.flatMap(({ reference, member, why = '' }) =>
    member === undefined ? [unreachable(reference, why, now)] : [],
  );
  const byRequest = (member: Entity): Delivery =>
    toMember(member, layer, { name: member.path, via: 'request', now });
  if (topics.length === 0) return [...unknown, ...[...selected.values()].map(byRequest)];
  const wanted =
    providers.length === 0
      ? await wanting(topics)
      : [...selected.values()].filter((member) => member.path !== from.path && wants(member, topics));
  return [
    ...topics.map((name) => newDelivery({ name, via: 'bus' })),
    ...unknown,
    ...wanted.filter((member) => !isLocal(member)).map(byRequest),
  ];
}

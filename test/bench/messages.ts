/** Messages and members for the bench. */
import { systemClock, timeOrderedIds } from '@cmbs/shared';
import { layerMixin, MEMBER_KIND, MESSAGE, MESSAGE_KIND, messageFrame } from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';
import type { Product } from './programs';

/** About 200 bytes and no call, like a report of a sensor. */
const CONTENT = {
  sensor: 'building-4/floor-2/room-17',
  at: '2030-01-31T12:00:00Z',
  readings: [21.5, 21.6, 21.4, 21.9, 22.1, 22.0],
  unit: 'celsius',
  note: 'calibrated in december, within two tenths of a degree',
};

export type Flag = 'true' | 'false';

export function messageEntity(receiver: string, storable: Flag): unknown {
  const message = {
    cmbs_layer: 'l1',
    executable: 'false',
    storable,
    message_content: CONTENT,
    l1_socket_receiver_member: receiver,
  };
  return { kind: MESSAGE_KIND, mixins: [layerMixin('l1')], attributes: { cmbs: { message } } };
}

const TOPIC = 'building-4.floor-2';

export function messageOnTopic(): unknown {
  const message = {
    cmbs_layer: 'l32',
    executable: 'false',
    storable: 'true',
    message_content: CONTENT,
    topics: [TOPIC],
  };
  return { kind: MESSAGE_KIND, mixins: [layerMixin('l32')], attributes: { cmbs: { message } } };
}

/** Creates a local member and starts one of its layers; returns the member's path. */
async function startedMember(product: Product, layer: 'l1' | 'l32', more: object): Promise<string> {
  const member = { local: 'true', state: 'active', ...more };
  const path = await product.create('/cmbs/member/', {
    kind: MEMBER_KIND,
    mixins: [],
    attributes: { cmbs: { member } },
  });
  await product.act(path, `start_${layer}`);
  return path;
}

export interface Listening {
  readonly socket: string;
  readonly path: string;
}

/** Creates a member that listens on L1. */
export async function listeningMember(product: Product, port: number): Promise<Listening> {
  const socket = `tcp://127.0.0.1:${port}`;
  return { socket, path: await startedMember(product, 'l1', { l1_socket: socket }) };
}

/** Creates a member that takes {@link messageOnTopic} and {@link topicFrames}. */
export async function subscribedMember(product: Product, port: number): Promise<Listening> {
  const socket = `tcp://127.0.0.1:${port}`;
  return { socket, path: await startedMember(product, 'l32', { l32_socket: socket, topics: [TOPIC] }) };
}

/** Frames to a member on L1. */
export const frames = (receiver: string, storable: Flag): (() => string) =>
  framesOf('l1', { [MESSAGE.storable]: storable, [MESSAGE.receiver]: receiver });

/** Frames to a member on L1 whose content is a call. */
export const calls = (receiver: string, method: string, params: readonly unknown[]): (() => string) =>
  framesOf(
    'l1',
    { [MESSAGE.storable]: 'false', [MESSAGE.receiver]: receiver, [MESSAGE.executable]: 'true' },
    { method, params, id: 1 },
  );

/** Frames on a topic, as a member of another deployment sends them. */
export const topicFrames = (): (() => string) =>
  framesOf('l32', { [MESSAGE.storable]: 'true', [MESSAGE.topics]: [TOPIC] });

/** Frames as the outbox sends them, each for another message and another send. */
function framesOf(layer: 'l1' | 'l32', attributes: Entity['attributes'], content: object = CONTENT): () => string {
  const newId = timeOrderedIds(systemClock);
  const [id, sendId] = [newId(), newId()];
  const text = messageFrame(
    {
      id,
      mixins: [layerMixin(layer)],
      attributes: {
        [MESSAGE.layer]: layer,
        [MESSAGE.executable]: 'false',
        [MESSAGE.sendable]: 'true',
        ...attributes,
      },
      rawJson: { [MESSAGE.content]: JSON.stringify(content) },
    },
    {
      pathHistory: ['http://127.0.0.1:8090/cmbs/member/bench'],
      transfer: { v: 1, send_id: sendId, origin: { deployment: newId(), revision: 1 } },
    },
  );
  const parts = text.split(new RegExp(`(${id}|${sendId})`));
  return () => parts.map((part) => (part === id || part === sendId ? newId() : part)).join('');
}

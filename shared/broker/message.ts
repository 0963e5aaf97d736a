/** Messages: what their entities mean and what has to hold before one may be sent. */
import { CmbsError, toCmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { MAX_RECEIVERS } from './limits';
import { MAX_TOPICS, MESSAGE_TTL_MS } from '../limits';
import type { Entity } from '../occi';
import { lenientTime, parseRfc3339 } from '../rfc3339';
import { type AddressSchemes, ZEROMQ_SCHEMES } from './addresses';
import { DEAD_LETTER_MIXIN, layerMixin, MESSAGE } from './cmbs';
import { LAYERS, parseLayer, type Layer } from './layers';
import { isTrue, stringList } from './member';
import { checkRoom } from './message-rules';
import { parseTopic } from '../bus';
import { messageFrame, parseFrame } from './wire';

const EMPTY_CONTENT = /^\s*(?:""|\{\s*\})?\s*$/;

/** `""`, `{}` or absent: on L1 a discovery request (layers.md, L1 on the wire). */
export const isEmptyContent = (text: string | undefined): boolean =>
  text === undefined || EMPTY_CONTENT.test(text);

/** The one layer whose mixin the message has. */
export function layerOf(message: Pick<Entity, 'mixins'>): Layer | undefined {
  return LAYERS.find((layer) => message.mixins.includes(layerMixin(layer)));
}

export const providersOf = (message: Entity): readonly string[] =>
  stringList(message.attributes[MESSAGE.providers]);
export const topicsOf = (message: Entity): readonly string[] => stringList(message.attributes[MESSAGE.topics]);

export function expiryOf(message: Entity, queuedAt: number): number {
  const given = message.attributes[MESSAGE.expiresAt];
  const expiry = typeof given === 'string' ? lenientTime(given) : NaN;
  // A copy that came over a socket was not checked; what is no time says nothing.
  return Number.isNaN(expiry) ? queuedAt + MESSAGE_TTL_MS : expiry;
}

/** Checks and defaults beyond the categories, for the provider. */
export function prepareMessage(
  next: Entity,
  before: Entity | undefined,
  schemes: AddressSchemes = ZEROMQ_SCHEMES,
): Entity {
  const attributes: Record<string, Json> = { ...next.attributes };
  const layers = LAYERS.filter((layer) => next.mixins.includes(layerMixin(layer)));
  if (layers.length > 1) throw refuse(`A message has one layer, not ${layers.join(' and ')}.`);
  const named = attributes[MESSAGE.layer];
  const asked = typeof named === 'string' ? parseLayer(named) : undefined;
  if (asked !== undefined) attributes[MESSAGE.layer] = asked;
  const [mixin] = layers;
  if (mixin !== undefined) {
    if (asked !== undefined && asked !== mixin) {
      throw refuse(`${MESSAGE.layer} says ${asked}, but the message has the mixin of ${mixin}.`);
    }
    attributes[MESSAGE.layer] = mixin;
  }
  for (const name of [MESSAGE.providers, MESSAGE.topics, MESSAGE.pathHistory]) {
    const value = attributes[name];
    if (value === undefined) continue;
    if (Array.isArray(value) && value.some((one) => typeof one !== 'string')) {
      throw refuse(`${name} takes a list of strings.`);
    }
    attributes[name] = stringList(value);
  }
  const topics = stringList(attributes[MESSAGE.topics]);
  topics.forEach(parseTopic);
  if (topics.length > MAX_TOPICS) throw refuse(`A message names ${MAX_TOPICS} topics at most.`);
  if (stringList(attributes[MESSAGE.providers]).length > MAX_RECEIVERS) {
    throw refuse(`A message names ${MAX_RECEIVERS} providers at most.`);
  }
  const receiver = attributes[MESSAGE.receiver];
  if (typeof receiver === 'string' && receiver !== '' && receiver !== before?.attributes[MESSAGE.receiver]) {
    schemes.parse(receiver);
  }
  const expiry = attributes[MESSAGE.expiresAt];
  // An earlier release took days that no month has.
  const isNew = expiry !== before?.attributes[MESSAGE.expiresAt];
  if (typeof expiry === 'string' && expiry !== '' && isNew && parseRfc3339(expiry) === undefined) {
    throw refuse(`${MESSAGE.expiresAt} takes an RFC 3339 time, for example 2030-01-31T12:00:00Z.`);
  }
  if (before === undefined) attributes[MESSAGE.delivery] ??= { state: 'created' };
  const prepared = { ...keptIfRevived(next, before), attributes };
  checkMessage(prepared);
  return prepared;
}

/** A dead letter is deleted after a while. A message from which a client takes the mixin off stays like any other. */
function keptIfRevived(next: Entity, before: Entity | undefined): Entity {
  const isRevived =
    before?.mixins.includes(DEAD_LETTER_MIXIN) === true && !next.mixins.includes(DEAD_LETTER_MIXIN);
  if (!isRevived) return next;
  const { expiresAt: _gone, ...staying } = next;
  return staying;
}

/**
 * Asks of a message what its receivers will ask of its frame; gives the bytes of that, about.
 * @throws CmbsError `bad_attribute` that names the attribute, `too_large`
 */
export function checkMessage(message: Entity): number {
  const pathHistory = stringList(message.attributes[MESSAGE.pathHistory]);
  const frame = messageFrame(message, { pathHistory, transfer: { v: 1 } });
  checkRoom(frame);
  try {
    parseFrame(frame);
  } catch (thrown) {
    const error = toCmbsError(thrown);
    throw error.code === 'bad_request' ? new CmbsError('bad_attribute', error.message, { cause: thrown }) : error;
  }
  return Buffer.byteLength(frame);
}

const refuse = (message: string): CmbsError => new CmbsError('bad_attribute', message);

/** Why the message cannot be sent on the layer now; undefined when it can. */
export function whyNotSent(message: Entity, layer: Layer): string | undefined {
  if (!isTrue(message.attributes[MESSAGE.sendable])) return 'the message is not sendable';
  const named = message.attributes[MESSAGE.layer];
  if (named !== layer) return `its cmbs_layer is ${typeof named === 'string' ? named : 'not set'}`;
  return undefined;
}

export type OutboundState =
  'created' | 'queued' | 'sending' | 'delivered' | 'published' | 'partial' | 'failed' | 'expired';

export function outboundState(message: Entity): OutboundState {
  const delivery = message.attributes[MESSAGE.delivery] as JsonObject | undefined;
  return (delivery?.state as OutboundState | undefined) ?? 'created';
}

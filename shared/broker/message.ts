/** Messages: reading their attributes, and the rules that hold before a message can be sent. */
import { CmbsError, toCmbsError } from '../errors';
import type { Json } from '../json';
import { MAX_RECEIVERS } from './limits';
import { MAX_TOPICS, MESSAGE_TTL_MS } from '../limits';
import type { Entity, Path } from '../occi';
import { lenientTime, parseRfc3339 } from '../rfc3339';
import { ZEROMQ_SCHEMES } from './addresses';
import { DEAD_LETTER_MIXIN, layerMixin, MESSAGE } from './cmbs';
import type { DeliveryCounts, OutboundState } from './delivery';
import type { Layer, Layers } from './layer-definition';
import { isTrue, type MemberRules, stringList } from './member';
import { parseTopic } from '../bus';
import { checkedFrame } from './wire';

const EMPTY_CONTENT = /^\s*(?:""|\{\s*\})?\s*$/;

/** `""`, `{}` or absent: on L1 a discovery request (docs/wire.md). */
export const isEmptyContent = (text: string | undefined): boolean =>
  text === undefined || EMPTY_CONTENT.test(text);

/** The layer whose mixin the message has. */
export function layerOf({ mixins }: Pick<Entity, 'mixins'>, { names }: Layers): Layer | undefined {
  return names.find((layer) => mixins.includes(layerMixin(layer)));
}

export const providersOf = (message: Entity): readonly string[] =>
  stringList(message.attributes[MESSAGE.providers]);
export const topicsOf = (message: Entity): readonly string[] => stringList(message.attributes[MESSAGE.topics]);

export function expiryOf(message: Entity, queuedAt: number): number {
  const given = message.attributes[MESSAGE.expiresAt];
  const expiry = typeof given === 'string' ? lenientTime(given) : NaN;
  // The copy of a message that came over a socket is not checked: a text that is no time does not count.
  return Number.isNaN(expiry) ? queuedAt + MESSAGE_TTL_MS : expiry;
}

/**
 * Checks and defaults beyond the categories, for the provider.
 * @throws CmbsError `bad_attribute`, `too_large`
 */
export function prepareMessage(
  next: Entity,
  before: Entity | undefined,
  { layers, schemes = ZEROMQ_SCHEMES }: MemberRules,
): Entity {
  const attributes: Record<string, Json> = { ...next.attributes };
  const mixins = layers.names.filter((layer) => next.mixins.includes(layerMixin(layer)));
  if (mixins.length > 1) throw refuse(`A message has one layer, not ${mixins.join(' and ')}.`);
  const named = attributes[MESSAGE.layer];
  const asked = typeof named === 'string' ? layers.parse(named) : undefined;
  if (asked !== undefined) attributes[MESSAGE.layer] = asked;
  const [mixin] = mixins;
  if (mixin !== undefined) {
    if (asked !== undefined && asked !== mixin) {
      throw refuse(`${MESSAGE.layer} says ${asked}, but the message has the mixin of ${mixin}.`);
    }
    attributes[MESSAGE.layer] = mixin;
  }
  for (const name of [MESSAGE.providers, MESSAGE.topics, MESSAGE.pathHistory]) {
    const value = attributes[name];
    if (value === undefined) continue;
    if (Array.isArray(value) && value.some((item) => typeof item !== 'string')) {
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
  // Earlier releases accepted days that no month has; such a value may stay.
  const isNew = expiry !== before?.attributes[MESSAGE.expiresAt];
  if (typeof expiry === 'string' && expiry !== '' && isNew && parseRfc3339(expiry) === undefined) {
    throw refuse(`${MESSAGE.expiresAt} takes an RFC 3339 time, for example 2030-01-31T12:00:00Z.`);
  }
  if (before === undefined) attributes[MESSAGE.delivery] ??= { state: 'created' };
  const prepared = { ...withoutExpiryIfRevived(next, before), attributes };
  checkMessage(prepared);
  return prepared;
}

/** A dead letter expires. Once a client removes its mixin, the message stays like any other. */
function withoutExpiryIfRevived(next: Entity, before: Entity | undefined): Entity {
  const isRevived =
    before?.mixins.includes(DEAD_LETTER_MIXIN) === true && !next.mixins.includes(DEAD_LETTER_MIXIN);
  if (!isRevived) return next;
  const { expiresAt: _gone, ...staying } = next;
  return staying;
}

/**
 * Checks the frame of a message as its receivers will. Returns the bytes of the frame, approximately.
 * @throws CmbsError `bad_attribute` that names the attribute, `too_large`
 */
export function checkMessage(message: Entity): number {
  const pathHistory = stringList(message.attributes[MESSAGE.pathHistory]);
  try {
    return Buffer.byteLength(checkedFrame(message, { pathHistory, transfer: { v: 1 } }));
  } catch (thrown) {
    const error = toCmbsError(thrown);
    throw error.code === 'bad_request' ? new CmbsError('bad_attribute', error.message, { cause: thrown }) : error;
  }
}

const refuse = (message: string): CmbsError => new CmbsError('bad_attribute', message);

/** Why the message cannot be sent on the layer now; undefined when it can. */
export function whyNotSent(message: Entity, layer: Layer): string | undefined {
  if (!isTrue(message.attributes[MESSAGE.sendable])) return 'the message is not sendable';
  const named = message.attributes[MESSAGE.layer];
  if (named !== layer) return `its cmbs_layer is ${typeof named === 'string' ? named : 'not set'}`;
  return undefined;
}

/** What a message shows of its outbound message. */
export interface ShownDelivery {
  readonly state?: OutboundState;
  /** Id of the outbound message; absent before the message is sent. */
  readonly send_id?: string;
  /** Path of the member that sent the message. */
  readonly from?: Path;
  readonly reason?: string;
  readonly counts?: DeliveryCounts;
}

/** The message's `delivery`; empty for a message that was never sent. Only the broker writes the attribute. */
export const shownDelivery = (message: Pick<Entity, 'attributes'>): ShownDelivery =>
  (message.attributes[MESSAGE.delivery] ?? {}) as ShownDelivery;

export const outboundState = (message: Entity): OutboundState => shownDelivery(message).state ?? 'created';

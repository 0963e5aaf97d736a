/** What a message shows of its outbound message: `delivery`, `result`, and the mixin of a dead letter. */
import type { Clock } from '../clock';
import type { JsonObject } from '../json';
import { type CategoryRegistry, type Entity, stringifyJson } from '../occi';
import { DEAD_LETTER_MIXIN, MESSAGE } from './cmbs';
import { countsOf, isGivenUp, isOpen, reasonOf, stateOf } from './delivery';
import type { Layers } from './layer-definition';
import type { OutboundMessage } from './outbound-record';

/** Milliseconds for which a dead letter is kept: 30 days. */
const DEAD_LETTER_TTL_MS = 30 * 24 * 60 * 60 * 1000;

/** What writing the state of an outbound message into its message needs. */
export interface DeliveryContext {
  readonly registry: CategoryRegistry;
  readonly clock: Pick<Clock, 'now'>;
  readonly layers: Layers;
}

function deliveryOf(outbound: OutboundMessage, now: number): JsonObject {
  const attempts = Math.max(0, ...outbound.receivers.map((receiver) => receiver.attempts));
  const reason = reasonOf(outbound);
  return {
    state: stateOf(outbound, outbound.holder !== undefined),
    send_id: outbound.id,
    from: outbound.from,
    attempts,
    queued_at: new Date(outbound.createdAt).toISOString(),
    expires_at: new Date(outbound.expiresAt).toISOString(),
    updated_at: new Date(now).toISOString(),
    ...(reason === undefined ? {} : { reason }),
    counts: { ...countsOf(outbound) },
    receivers: outbound.receivers.map(({ name, state, attempts: tries, reason: why, at }) => ({
      name,
      state,
      attempts: tries,
      ...(why === undefined ? {} : { reason: why }),
      ...(at === undefined ? {} : { at: new Date(at).toISOString() }),
    })),
  };
}

/** The message with the state of its outbound message: a dead letter once that was given up. */
export function withDelivery(
  message: Entity,
  outbound: OutboundMessage,
  { clock, layers }: Pick<DeliveryContext, 'clock' | 'layers'>,
): Entity {
  const now = clock.now();
  const isSettled = !outbound.receivers.some(isOpen);
  const isDeadLetter = isSettled && isGivenUp(stateOf(outbound, false));
  const others = message.mixins.filter((id) => id !== DEAD_LETTER_MIXIN);
  const { expiresAt: _kept, ...staying } = message;
  // Undefined when a program with more layers queued the message.
  const layer = layers.find(outbound.layer);
  const isBegun = outbound.receivers.some(({ state }) => state !== 'queued');
  const hasResult = layer !== undefined && (isSettled || (layer.tellsPartialResult && isBegun));
  return {
    ...staying,
    ...(isDeadLetter ? { expiresAt: now + DEAD_LETTER_TTL_MS } : {}),
    mixins: isDeadLetter ? [...others, DEAD_LETTER_MIXIN] : others,
    attributes: { ...message.attributes, [MESSAGE.delivery]: deliveryOf(outbound, now) },
    rawJson: hasResult
      ? { ...message.rawJson, [MESSAGE.result]: stringifyJson(layer.result(outbound.receivers)) }
      : message.rawJson,
    updatedAt: now,
  };
}

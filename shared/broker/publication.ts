/**
 * Messages on the topic bus. A published message is the message entity as JSON, with attributes that make it a
 * CloudEvent in binary mode for any subscriber. A delivery may come from any program that publishes on the topic.
 */
import type { BusDelivery, BusMessage } from '../bus';
import { isJsonObject, type Json } from '../json';
import { MAX_JSON_DEPTH } from '../limits';
import { nestsWithin, type Path, RawJson, stringifyJson } from '../occi';
import { idAt, layerMixin, MESSAGE_KIND } from './cmbs';
import { shortDigest } from './digest';
import type { Layer } from './layer-definition';
import { checkSize } from './message-rules';
import { parseFrame, type WireMessage } from './wire';

/** Media type of a message entity in the original's form. */
const MESSAGE_TYPE = 'application/occi+json';
/** CloudEvents `type` of a published message. */
export const EVENT_TYPE = 'org.houssem.cmbs.message';

/** One message on one topic. */
export interface Publication {
  readonly layer: Layer;
  readonly topic: string;
  /** Path of the message. */
  readonly message: Path;
  readonly sendId: string;
  /** URI of the member that sends. */
  readonly sender: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** The message entity as JSON text. */
  readonly frame: string;
  readonly orderingKey: string | undefined;
  readonly traceparent: string | undefined;
}

/**
 * Attributes: `id`, `layer`, `topic`, `sender`, `send_id`, `content_type`, `traceparent` for readers of this product,
 * and the same as CloudEvents 1.0 (Pub/Sub protocol binding §3.1.3; distributed tracing extension).
 */
export function busMessageOf(publication: Publication): BusMessage {
  const { layer, topic, message, sendId, sender, at, frame, orderingKey, traceparent } = publication;
  const id = idAt(message);
  return {
    data: frame,
    attributes: {
      id,
      layer,
      topic,
      sender,
      send_id: sendId,
      content_type: MESSAGE_TYPE,
      'content-type': MESSAGE_TYPE,
      'ce-specversion': '1.0',
      'ce-type': EVENT_TYPE,
      // Source and id together are unique (CloudEvents §3.1): a message that is sent again is another event.
      'ce-source': sender,
      'ce-id': `${id}/${sendId}`,
      'ce-subject': topic,
      'ce-time': new Date(at).toISOString(),
      ...(traceparent === undefined ? {} : { traceparent, 'ce-traceparent': traceparent }),
    },
    ...(orderingKey === undefined || orderingKey === '' ? {} : { orderingKey }),
  };
}

/**
 * The message of a delivery. A message entity is accepted as it is; anything else that another program published
 * becomes the content of a message, JSON as JSON and other text as a string. Its ids then come from those of the bus, so
 * that a redelivery is recognised.
 * @throws CmbsError `bad_request` for a message entity that is broken, `too_large`
 */
export function messageOfDelivery(layer: Layer, delivery: BusDelivery): WireMessage {
  const { data, attributes } = delivery.message;
  checkSize(data);
  const json = jsonOf(data);
  const isEntity = isJsonObject(json) && json.kind === MESSAGE_KIND;
  const message = parseFrame(isEntity ? data : wrapped(layer, delivery, json !== undefined));
  const traceparent = message.transfer.traceparent ?? attributes.traceparent;
  return {
    ...message,
    transfer: {
      ...message.transfer,
      send_id: message.transfer.send_id ?? attributes.send_id ?? deliveryId(layer, delivery),
      ...(traceparent === undefined ? {} : { traceparent }),
    },
  };
}

function jsonOf(text: string): Json | undefined {
  if (!nestsWithin(text, MAX_JSON_DEPTH)) return undefined;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined; // text can be content as well
  }
}

/** Pub/Sub's identifiers are unique only within one topic. */
const deliveryId = (layer: Layer, { topic, id }: BusDelivery): string => shortDigest(layer, topic, id);

/** A message entity around data of another program. It is not executable: its publisher did not allow that. */
function wrapped(layer: Layer, delivery: BusDelivery, isJson: boolean): string {
  const { topic, message } = delivery;
  const { sender } = message.attributes;
  return stringifyJson({
    kind: MESSAGE_KIND,
    mixins: [layerMixin(layer)],
    attributes: {
      cmbs: {
        message: {
          cmbs_layer: layer,
          executable: 'false',
          sendable: 'true',
          storable: 'true',
          topics: [topic],
          path_history: sender === undefined ? [] : [sender],
          headers: { ...message.attributes },
          message_content: isJson ? new RawJson(message.data) : message.data,
        },
      },
    },
    id: `published-${deliveryId(layer, delivery)}`,
    title: '',
    summary: '',
  });
}

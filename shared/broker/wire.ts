/** Frames on the sockets: the JSON of the original program with one additional attribute (docs/wire.md). */
import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { CmbsError, type ErrorCode } from '../errors';
import { isJsonObject, type Json, type JsonObject } from '../json';
import { MAX_JSON_DEPTH } from '../limits';
import {
  checkId,
  CORE_SUMMARY,
  CORE_TITLE,
  type Entity,
  type JsonOutputObject,
  nestsWithin,
  RawJson,
  sourceOf,
  stringifyJson,
} from '../occi';
import { lenientTime } from '../rfc3339';
import { mayBeInexact, parseExactJson, type ExactJson } from '../exact-json';
import { layerMixin, MESSAGE, MESSAGE_KIND, MESSAGES } from './cmbs';
import type { Layers } from './layer-definition';
import { isTrue, stringList } from './member';
import { checkForm, checkRoom, checkSize, originSchema } from './message-rules';

/** Most bytes of a reply: the answer to the largest frame, and a list of sockets. */
export const MAX_REPLY_BYTES = 2 * 1024 * 1024;

/** The attribute that CMBS adds to a frame. Peers may ignore it. */
export interface Transfer {
  readonly v: 1;
  /** The same for every automatic retry; receivers deduplicate by message id, send id and sender. */
  readonly send_id?: string;
  readonly origin?: {
    readonly deployment: string;
    readonly revision: number;
    /** URI of the described member; in replies only. */
    readonly uri?: string | undefined;
  };
  /** `deployment/member` of each member that the message passed; detects loops, since URLs may change. */
  readonly hops?: readonly string[];
  /** Ids of the intended receivers, if the sender knows them; any other member at their address refuses the message. */
  readonly to?: readonly string[];
  /** With a proof: the addresses that the frame is for, where their members are not known. */
  readonly addresses?: readonly string[];
  readonly content_type?: string;
  readonly traceparent?: string;
  /** With a proof: path of the access token of the request that sent the message, which limits what the frame may do. */
  readonly token?: string;
  /** With a proof: when it was made, in milliseconds since the epoch. */
  readonly sealed_at?: number;
  /** Proves that a member of the receiving deployment sent the frame (`frame-proof.ts`). */
  readonly proof?: string;
}

/** Content type of a discovery request, which leaves no receipt. */
export const DISCOVERY_CONTENT = 'application/vnd.cmbs.discovery+json';

const TRANSFER = 'transfer';
const PREFIX = 'cmbs.message.';

export interface FrameOptions {
  /** JSON text that replaces the message's own content. */
  readonly content?: string;
  readonly pathHistory: readonly string[];
  readonly transfer: Transfer;
}

type FramedMessage = Pick<Entity, 'id' | 'mixins' | 'attributes' | 'rawJson'>;

/** The frame of a message, as JSON text: nested attributes, the content as it was written, no delivery state. */
export const messageFrame = (message: FramedMessage, options: FrameOptions): string =>
  stringifyJson(frameEntity(message, options));

/**
 * Checks the frame of a message as {@link parseFrame} of its receivers will, and returns the frame.
 * @throws CmbsError `bad_request`, `too_large`
 */
export function checkedFrame(message: FramedMessage, options: FrameOptions): string {
  const entity = frameEntity(message, options);
  const frame = stringifyJson(entity);
  checkRoom(frame);
  checkDepth(frame, 'The frame');
  checkId(checkForm(entity).id);
  return frame;
}

function frameEntity(message: FramedMessage, { content, pathHistory, transfer }: FrameOptions): JsonOutputObject {
  const fields: Record<string, JsonOutputObject[string]> = {};
  for (const [name, value] of Object.entries(message.attributes)) {
    if (name.startsWith(PREFIX) && name !== MESSAGE.delivery) fields[name.slice(PREFIX.length)] = value;
  }
  fields.path_history = pathHistory;
  fields.message_content = new RawJson(content ?? message.rawJson[MESSAGE.content] ?? '""');
  fields.result = '';
  fields[TRANSFER] = transfer as unknown as JsonObject;
  return {
    kind: MESSAGE_KIND,
    mixins: message.mixins,
    attributes: { cmbs: { message: fields } },
    actions: [],
    id: message.id,
    title: message.attributes[CORE_TITLE] ?? '',
    summary: message.attributes[CORE_SUMMARY] ?? '',
    links: [],
  };
}

/** A message as it arrived. */
export interface WireMessage {
  readonly id: string;
  /** In the sender's spelling. */
  readonly layer: string | undefined;
  readonly executable: boolean;
  readonly storable: boolean;
  readonly pathHistory: readonly string[];
  readonly topics: readonly string[];
  readonly providers: readonly string[];
  readonly transfer: Transfer;
  readonly orderingKey: string | undefined;
  /** Milliseconds since the epoch; null for a message without an expiry. */
  readonly expiresAt: number | null;
  /** The frame's own text. */
  readonly text: string;
  /** The parsed entity; {@link contentText} and {@link entityOf} read what only some messages need. */
  readonly json: JsonObject;
}

const CONTENT_PATH = ['attributes', 'cmbs', 'message', 'message_content'];

/**
 * Decodes JSON text. Bytes that are not UTF-8 would be stored altered, and deeply nested JSON would exhaust the stack.
 * @throws CmbsError `bad_request`
 */
function textOf(bytes: Buffer | string, what: string): string {
  if (typeof bytes !== 'string' && !isUtf8(bytes)) {
    throw new CmbsError('bad_request', `${what} is not UTF-8; send JSON in that encoding.`);
  }
  const text = bytes.toString();
  checkDepth(text, what);
  return text;
}

function checkDepth(text: string, what: string): void {
  if (nestsWithin(text, MAX_JSON_DEPTH)) return;
  throw new CmbsError('bad_request', `${what} nests JSON deeper than ${MAX_JSON_DEPTH} levels; send it flatter.`);
}

/**
 * Parses and checks a frame.
 * @throws CmbsError `bad_request` for bytes that are not JSON or JSON that is not a message; `too_large`
 */
export function parseFrame(bytes: Buffer | string): WireMessage {
  checkSize(bytes);
  const source = textOf(bytes, 'The frame');
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch (cause) {
    throw new CmbsError('bad_request', 'The frame is not JSON; send a message entity.', { cause });
  }
  const data = checkForm(json);
  const fields = data.attributes.cmbs.message;
  return {
    id: checkId(data.id),
    layer: fields.cmbs_layer,
    executable: fields.executable === undefined || isTrue(fields.executable),
    storable: fields.storable === undefined || isTrue(fields.storable),
    pathHistory: stringList(fields.path_history),
    topics: stringList(fields.topics),
    providers: stringList(fields.providers),
    transfer: (fields.transfer as Transfer | undefined) ?? { v: 1 },
    orderingKey: fields.ordering_key,
    expiresAt: timeOf(fields.expires_at),
    text: source,
    json: json as JsonObject,
  };
}

/** Milliseconds since the epoch; null for anything but a time. */
function timeOf(text: Json | undefined): number | null {
  const time = typeof text === 'string' && text !== '' ? lenientTime(text) : NaN;
  return Number.isNaN(time) ? null : time;
}

/** Expiry of the message in an accepted frame, in milliseconds since the epoch; null for a message without an expiry. */
export const expiryOfFrame = (frame: string): number | null =>
  timeOf(fieldsOf({ json: JSON.parse(frame) as JsonObject }).expires_at);

/**
 * URI of the member that sent the message. The path history may begin before that: a member that sends a message which it
 * received keeps the earlier path. Members that forward a message add themselves to hops and path history, so the number
 * of hops tells which part of the path belongs to this send.
 */
export function senderUri({
  transfer,
  pathHistory,
}: Pick<WireMessage, 'transfer' | 'pathHistory'>): string | undefined {
  const hops = Math.max(1, transfer.hops?.length ?? 0);
  return pathHistory.at(-hops) ?? pathHistory[0];
}

const fieldsOf = (message: Pick<WireMessage, 'json'>): JsonObject =>
  (((message.json.attributes as JsonObject).cmbs as JsonObject).message ?? {}) as JsonObject;

/** JSON text of the content, byte for byte as it arrived. */
export function contentText(message: WireMessage): string {
  if (fieldsOf(message).message_content === undefined) return '""';
  return sourceOf(message.text, CONTENT_PATH) ?? JSON.stringify(fieldsOf(message).message_content);
}

export const contentOf = (message: WireMessage): Json => fieldsOf(message).message_content ?? '';

/** The content, with numbers kept as they were written. */
export function exactContentOf(message: WireMessage): ExactJson {
  const content = contentOf(message);
  if (!mayBeInexact(content)) return content;
  return parseExactJson(contentText(message));
}

/** Fields that are not attributes of the stored copy. */
const NOT_KEPT = new Set(['message_content', 'result', TRANSFER, 'delivery']);

/** The copy of a message that a receiver stores, without fields that no category declares. */
export function entityOf(
  message: WireMessage,
  isDeclared: (name: string) => boolean,
  layers: Layers,
  now: number,
): Entity {
  const attributes: Record<string, Json> = {};
  for (const [key, value] of Object.entries(fieldsOf(message))) {
    if (!NOT_KEPT.has(key) && isDeclared(PREFIX + key)) attributes[PREFIX + key] = value;
  }
  attributes[MESSAGE.pathHistory] = message.pathHistory;
  attributes[MESSAGE.delivery] = { state: 'delivered' };
  const { title, summary } = message.json;
  if (typeof title === 'string' && title !== '') attributes[CORE_TITLE] = title;
  if (typeof summary === 'string' && summary !== '') attributes[CORE_SUMMARY] = summary;
  const mixins = message.json.mixins as readonly string[] | undefined;
  const named = message.layer === undefined ? undefined : layers.parse(message.layer);
  const layer = named ?? layers.names.find((name) => mixins?.includes(layerMixin(name)) === true);
  return {
    path: MESSAGES + message.id,
    id: message.id,
    kind: MESSAGE_KIND,
    mixins: layer === undefined ? [] : [layerMixin(layer)],
    attributes,
    rawJson: { [MESSAGE.content]: contentText(message) },
    owner: 'received',
    createdAt: now,
    updatedAt: now,
    isLinked: false,
  };
}

/** An error reply on a socket. */
export function errorReply(error: { readonly code: ErrorCode; readonly message: string }): string {
  return JSON.stringify({ error: { code: error.code, message: error.message } });
}

/** A parsed reply. */
export type Reply =
  | { readonly kind: 'answer'; readonly text: string; readonly json: JsonObject }
  | { readonly kind: 'error'; readonly code: string; readonly message: string };

const errorSchema = z.looseObject({
  error: z.looseObject({ code: z.string().max(100), message: z.string().max(4096) }),
});

/** @throws CmbsError `bad_request` for a reply that is too large or not a JSON object */
export function parseReply(bytes: Buffer): Reply {
  if (bytes.length > MAX_REPLY_BYTES) {
    throw new CmbsError(
      'bad_request',
      `The peer's answer has more than ${MAX_REPLY_BYTES} bytes; it is not kept.`,
    );
  }
  const source = textOf(bytes, "The peer's answer");
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch (cause) {
    throw new CmbsError('bad_request', 'The peer answered with something that is not JSON.', { cause });
  }
  const failed = errorSchema.safeParse(json);
  if (failed.success) return { kind: 'error', ...failed.data.error };
  if (!isJsonObject(json))
    throw new CmbsError('bad_request', 'The peer answered with something that is not an object.');
  return { kind: 'answer', text: source, json };
}

const replyOrigin = z.looseObject({ transfer: z.looseObject({ origin: originSchema }) });

/** The origin of the member description in a reply; undefined where the reply has no valid origin. */
export function originOf(reply: JsonObject): Transfer['origin'] {
  return replyOrigin.safeParse(reply).data?.transfer.origin;
}

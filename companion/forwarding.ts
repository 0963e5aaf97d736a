/**
 * Federation of topics: what arrives on a member's topic socket goes to the local bus, and on to the remote members
 * that want it and have not seen it (docs/layers.md).
 */
import { ANONYMOUS, CmbsError, isJsonObject, type Json, type JsonObject } from '@cmbs/shared';
import { parseTopic, type TopicLayer } from '@cmbs/shared/bus';
import {
  addressesOf,
  assertQueueRoom,
  checkSize,
  contentText,
  type Delivery,
  isLocal,
  meantBy,
  MemberIndex,
  MESSAGES,
  nextSequence,
  oldReceiptId,
  type OutboundMessage,
  putOutbound,
  receiptId,
  resourceOf,
  socketOf,
  topicResource,
  type Transfer,
  wants,
  type WireMessage,
} from '@cmbs/shared/broker';
import { MAX_HOPS, MAX_TOPICS, MESSAGE_TTL_MS, RECEIPT_TTL_MS } from '@cmbs/shared/limits';
import { type Entity, type JsonOutputObject, RawJson, stringifyJson } from '@cmbs/shared/occi';
import type { Environment } from './environment';
import { KeyedSequence } from './keyed-sequence';

/** (message id, send id, sender) of what was passed on here. */
const FORWARDED = 'forwarded';

export class Forwarding {
  readonly #environment: Environment;
  readonly #sequence = new KeyedSequence();

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /**
   * Durable when resolved: the outbound message that publishes and passes on is in the outbox. Messages of one sender with one
   * ordering key are queued in the order of these calls, whichever member they come through.
   */
  passOn(member: Entity, layer: TopicLayer, message: WireMessage): Promise<'forwarded' | 'duplicate'> {
    const { orderingKey = '' } = message;
    if (orderingKey === '') return this.#queue(member, layer, message);
    const group = JSON.stringify([senderOf(message), layer, orderingKey]);
    return this.#sequence.run(group, () => this.#queue(member, layer, message));
  }

  async #queue(member: Entity, layer: TopicLayer, message: WireMessage): Promise<'forwarded' | 'duplicate'> {
    const { store, clock, order, newId, deployment, members, counters, uriOf, queueLimit, layers, authorize } =
      this.#environment;
    const hops = message.transfer.hops ?? [];
    const here = `${deployment}/${member.id}`;
    // What passed any member of this deployment is on its bus already.
    const wasHere = hops.some((hop) => hop.startsWith(`${deployment}/`));
    if (wasHere || message.pathHistory.includes(uriOf(member.path))) return 'duplicate';
    const topics = [...new Set(message.topics.map(parseTopic))];
    if (topics.length > MAX_TOPICS) {
      throw new CmbsError('bad_attribute', `A message names ${MAX_TOPICS} topics at most, not ${topics.length}.`);
    }
    if (hops.length >= MAX_HOPS) {
      counters.add('cmbs_dropped', { reason: 'too many hops', layer });
      throw new CmbsError('conflict', `The message passed ${MAX_HOPS} members already, which is the most.`);
    }
    // Nothing proves who sent the frame.
    await authorize(ANONYMOUS, 'message.forward', resourceOf(member));
    for (const topic of topics) await authorize(ANONYMOUS, 'topic.publish', topicResource(topic));
    const now = clock.now();
    const wireId = message.transfer.send_id ?? newId();
    const seenIds = [receiptId(message, wireId), oldReceiptId(message, wireId)] as const;
    const visited = new Set([...hops, here].map((hop) => hop.slice(hop.indexOf('/') + 1)));
    const known = [...members.all()];
    const index = layers.of(layer).selectsProviders === true ? new MemberIndex(known, uriOf) : undefined;
    const chosen = index === undefined ? undefined : new Set(message.providers.flatMap((one) => index.named(one)));
    const isListed = (one: Entity): boolean =>
      chosen === undefined || message.providers.length === 0 || chosen.has(one);
    const onward = known.filter(
      (one) => !isLocal(one) && !visited.has(one.id) && isListed(one) && wants(one, topics),
    );
    const queued = { state: 'queued', attempts: 0 } as const;
    const receivers: Delivery[] = [
      ...topics.map((topic) => ({
        name: topic,
        via: 'bus' as const,
        ...queued,
      })),
      ...onward.flatMap((one) => {
        const address = socketOf(one, layer);
        return address === undefined
          ? []
          : [{ ...queued, name: one.path, via: 'request' as const, address, member: one.path }];
      }),
    ];
    const frame = onwardFrame(message, { send_id: wireId, hops: [...hops, here], ...meantBy(receivers) }, [
      ...message.pathHistory,
      uriOf(member.path),
    ]);
    const send: OutboundMessage = {
      id: newId(),
      wireId,
      message: MESSAGES + message.id,
      layer,
      from: member.path,
      principal: ANONYMOUS,
      createdAt: now,
      orderedAt: order.now(),
      sequence: nextSequence(),
      expiresAt: message.expiresAt ?? now + MESSAGE_TTL_MS,
      receivers,
      frame,
      bytes: Buffer.byteLength(frame),
      ...(message.orderingKey === undefined ? {} : { orderingKey: message.orderingKey }),
      sender: senderOf(message),
    };
    try {
      // Refused, the message stays with the member that passed it here and comes again.
      await assertQueueRoom(store, addressesOf(layer, receivers), queueLimit);
    } catch (error) {
      const seen = await store.getAll(FORWARDED, seenIds);
      if (seen.some((doc) => doc !== undefined)) return 'duplicate';
      throw error;
    }
    return store.transact(async (tx) => {
      if ((await tx.getAll(FORWARDED, seenIds)).some((seen) => seen !== undefined)) return 'duplicate';
      tx.put(FORWARDED, seenIds[0], {}, { expiresAt: now + RECEIPT_TTL_MS });
      putOutbound(tx, send);
      return 'forwarded';
    });
  }
}

/** The member that a message began at: its first hop, or for a peer without hops the first of its path. */
function senderOf({ transfer, pathHistory }: WireMessage): string {
  return transfer.hops?.[0] ?? pathHistory[0] ?? '';
}

/** The frame with this member in its path; the content keeps its own bytes. */
function onwardFrame(
  message: WireMessage,
  own: Pick<Transfer, 'send_id' | 'hops' | 'to'>,
  pathHistory: readonly string[],
): string {
  const attributes = message.json.attributes as JsonObject;
  const cmbs = attributes.cmbs as JsonObject;
  const fields = cmbs.message as JsonObject;
  const { to: _ofThePassage, ...transfer } = isJsonObject(fields.transfer) ? fields.transfer : { v: 1 };
  const next: JsonOutputObject = {
    ...(message.json as Readonly<Record<string, Json>>),
    attributes: {
      cmbs: {
        message: {
          ...(fields as Readonly<Record<string, Json>>),
          path_history: pathHistory,
          message_content: new RawJson(contentText(message)),
          transfer: { ...transfer, ...own },
        },
      },
    },
  };
  const frame = stringifyJson(next);
  checkSize(frame);
  return frame;
}

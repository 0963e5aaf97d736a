/**
 * Federation of topics: a message that arrives on a member's topic socket goes to the local bus, and on to the remote
 * members that want it and have not seen it (docs/layers.md).
 */
import {
  ANONYMOUS,
  type Authorize,
  CmbsError,
  isJsonObject,
  type Clock,
  type Counters,
  type Json,
  type JsonObject,
  type NewId,
} from '@cmbs/shared';
import { parseTopic, type TopicLayer } from '@cmbs/shared/bus';
import {
  addressesOf,
  assertQueueRoom,
  checkSize,
  contentText,
  type Delivery,
  isLocal,
  type Layers,
  meantBy,
  MemberLookup,
  membersThatMaySubscribe,
  MESSAGES,
  nextSequence,
  oldReceiptId,
  type OrderClock,
  type OutboundMessage,
  putOutbound,
  receiptId,
  resourceOf,
  socketOf,
  topicResource,
  type Transfer,
  type WireMessage,
} from '@cmbs/shared/broker';
import { MAX_HOPS, MAX_TOPICS, MESSAGE_TTL_MS, RECEIPT_TTL_MS } from '@cmbs/shared/limits';
import { type Entity, type JsonOutputObject, RawJson, stringifyJson } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';
import { KeyedSequence } from './keyed-sequence';
import type { ShardLease } from './shard-lease';

/** Receipts of messages that were passed on here: (message id, send id, sender). */
const FORWARDED = 'forwarded';

/** What forwarding needs of its companion. */
export interface ForwardingEnvironment {
  readonly store: Pick<Store, 'count' | 'get' | 'getAll' | 'query' | 'transact'>;
  readonly layers: Layers;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly order: OrderClock;
  readonly newId: NewId;
  readonly shard: Pick<ShardLease, 'of'>;
  readonly counters: Counters;
  /** Identifies this deployment in hops and origins (docs/wire.md). */
  readonly deployment: string;
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
  /** Outbound messages that may wait for one address. */
  readonly queueLimit: number;
}

export class Forwarding {
  readonly #environment: ForwardingEnvironment;
  readonly #sequence = new KeyedSequence();

  constructor(environment: ForwardingEnvironment) {
    this.#environment = environment;
  }

  /**
   * Durable when resolved: the outbox has the outbound message that publishes and passes on. Messages of one sender with
   * one ordering key are queued in the order of these calls, whichever member they come through.
   * @throws CmbsError `bad_attribute` for too many topics, `conflict` after too many hops, `queue_full`, and the errors of
   *   `authorize`
   */
  passOn(member: Entity, layer: TopicLayer, message: WireMessage): Promise<'forwarded' | 'duplicate'> {
    const { orderingKey = '' } = message;
    if (orderingKey === '') return this.#queue(member, layer, message);
    const group = JSON.stringify([senderOf(message), layer, orderingKey]);
    return this.#sequence.run(group, () => this.#queue(member, layer, message));
  }

  async #queue(member: Entity, layer: TopicLayer, message: WireMessage): Promise<'forwarded' | 'duplicate'> {
    const { store, clock, order, newId, deployment, counters, uriOf, queueLimit, authorize } = this.#environment;
    const hops = message.transfer.hops ?? [];
    const here = `${deployment}/${member.id}`;
    // Nothing proves which principal sent the frame. Decided before anything, since the reply describes the member.
    await authorize(ANONYMOUS, 'message.forward', resourceOf(member));
    // A message that passed any member of this deployment is on its bus already.
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
    for (const topic of topics) await authorize(ANONYMOUS, 'topic.publish', topicResource(topic));
    const now = clock.now();
    const wireId = message.transfer.send_id ?? newId();
    const seenIds = [receiptId(message, wireId), oldReceiptId(message, wireId)] as const;
    const receivers = await this.#receivers(layer, message, topics, [...hops, here]);
    const frame = onwardFrame(message, { send_id: wireId, hops: [...hops, here], ...meantBy(receivers) }, [
      ...message.pathHistory,
      uriOf(member.path),
    ]);
    const outbound: OutboundMessage = {
      id: newId(),
      wireId,
      message: MESSAGES + message.id,
      layer,
      from: member.path,
      shard: this.#environment.shard.of(member),
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
      // If this refuses the message, the peer keeps it and sends it again.
      await assertQueueRoom(store, addressesOf(layer, receivers), queueLimit);
    } catch (error) {
      const seen = await store.getAll(FORWARDED, seenIds);
      if (seen.some((doc) => doc !== undefined)) return 'duplicate';
      throw error;
    }
    return store.transact(async (tx) => {
      if ((await tx.getAll(FORWARDED, seenIds)).some((seen) => seen !== undefined)) return 'duplicate';
      tx.put(FORWARDED, seenIds[0], {}, { expiresAt: now + RECEIPT_TTL_MS });
      putOutbound(tx, outbound);
      return 'forwarded';
    });
  }

  /** The topics of the local bus, and the remote members that want the message and have not seen it. */
  async #receivers(
    layer: TopicLayer,
    message: WireMessage,
    topics: readonly string[],
    hops: readonly string[],
  ): Promise<readonly Delivery[]> {
    const queued = { state: 'queued', attempts: 0 } as const;
    const visited = new Set(hops.map((hop) => hop.slice(hop.indexOf('/') + 1)));
    const { authorize } = this.#environment;
    const wanting = await membersThatMaySubscribe(authorize, await this.#wanting(layer, message, topics), topics);
    const onward = wanting.filter((member) => !isLocal(member) && !visited.has(member.id));
    return [
      ...topics.map((topic): Delivery => ({ ...queued, name: topic, via: 'bus' })),
      ...onward.flatMap((member): Delivery[] => {
        const address = socketOf(member, layer);
        if (address === undefined) return [];
        return [{ ...queued, name: member.path, via: 'request', address, member: member.path }];
      }),
    ];
  }

  /** The members that want the topics and that the message may mean, as they are now. */
  async #wanting(layer: TopicLayer, message: WireMessage, topics: readonly string[]): Promise<readonly Entity[]> {
    const { store, clock, uriOf, layers } = this.#environment;
    const isSelective = layers.of(layer).selectsProviders === true && message.providers.length > 0;
    const lookup = new MemberLookup({ store, clock, uriOf });
    const [wanting, named] = await Promise.all([
      lookup.wanting(topics),
      isSelective ? lookup.named(message.providers) : undefined,
    ]);
    if (named === undefined) return wanting;
    const chosen = new Set(named.flat().map(({ path }) => path));
    return wanting.filter(({ path }) => chosen.has(path));
  }
}

/** The member that first sent a message: its first hop, or for a peer without hops the first of its path. */
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
  const {
    to: _ofThisHop,
    addresses: _ofThisHopToo,
    token: _ofItsSender,
    sealed_at: _ofTheEarlierProof,
    proof: _ofTheEarlierText,
    ...transfer
  } = isJsonObject(fields.transfer) ? fields.transfer : { v: 1 };
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

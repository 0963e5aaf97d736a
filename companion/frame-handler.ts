/** Answers the frames that arrive at a member's sockets. */
import { CmbsError, type Counters, type Log, type Principal, toCmbsError } from '@cmbs/shared';
import type { BusDelivery, TopicLayer } from '@cmbs/shared/bus';
import {
  contentOf,
  describe,
  describesMember,
  errorReply,
  type FrameProofs,
  type InboundHandler,
  isLocal,
  isSuspended,
  type Layer,
  type Layers,
  MEMBERS,
  parseFrame,
  socketOf,
  type WireMessage,
} from '@cmbs/shared/broker';
import type { Entity, Path } from '@cmbs/shared/occi';
import type { Forwarding } from './forwarding';
import type { Members } from './members';
import type { ShardLease } from './shard-lease';

/** Senders that are looked up at the same time, for messages that wait for them. Others are noticed a little later. */
const MAX_HEARD_AT_ONCE = 16;

/** What the frame handler needs of its companion. */
export interface FrameHandlerEnvironment {
  readonly members: Pick<Members, 'get' | 'find' | 'l1Sockets'>;
  readonly shard: Pick<ShardLease, 'isCurrent'>;
  readonly layers: Layers;
  readonly log: Log;
  readonly counters: Counters;
  /** Identifies this deployment in hops and origins (docs/wire.md). */
  readonly deployment: string;
  /** Tells which member of this deployment sent a frame; undefined where everybody may do everything. */
  readonly proofs: FrameProofs | undefined;
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
}

/** Messages that wait for peers. */
export interface WaitingMessages {
  /** Whether there may be some. */
  readonly areSome: () => boolean;
  /** A frame came from a remote member with this address. */
  readonly heard: (address: string) => void;
}

/** Takes messages for local members. */
type Inbound = Pick<InboundHandler, 'handle' | 'handleBusDelivery' | 'registerFrom'>;

export class FrameHandler {
  readonly #environment: FrameHandlerEnvironment;
  readonly #inbound: Inbound;
  readonly #forwarding: Pick<Forwarding, 'passOn'>;
  readonly #waiting: WaitingMessages;
  readonly #hearing = new Set<Path>();
  readonly #replyPrefix = new Map<
    Path,
    { readonly member: Entity; readonly sockets: readonly string[]; readonly text: string }
  >();

  constructor(
    environment: FrameHandlerEnvironment,
    inbound: Inbound,
    forwarding: Pick<Forwarding, 'passOn'>,
    waiting: WaitingMessages,
  ) {
    this.#waiting = waiting;
    this.#environment = environment;
    this.#inbound = inbound;
    this.#forwarding = forwarding;
  }

  /** The reply to one request frame. Never rejects: a refusal is an error reply, and nothing is stored. */
  async reply(memberPath: Path, layer: Layer, bytes: Buffer): Promise<string> {
    const { counters } = this.#environment;
    try {
      const message = parseFrame(bytes);
      this.#hear(message);
      const member = this.#meant(memberPath, layer, message);
      const answer = await this.#inbound.handle(member, layer, message, this.#senderOf(message, member, layer));
      counters.add('cmbs_received', { layer, outcome: 'accepted' });
      return await this.#replyOf(member, message, answer);
    } catch (thrown) {
      return this.#refusal(thrown, memberPath, layer);
    }
  }

  /** The member that sent the frame, if it is proved. */
  #senderOf(message: WireMessage, { id, ...member }: Entity, layer: Layer): { readonly principal?: Principal } {
    const principal = this.#environment.proofs?.senderOf(message, { id, address: socketOf(member, layer) });
    return principal === undefined ? {} : { principal };
  }

  #refusal(thrown: unknown, memberPath: Path, layer: Layer): string {
    const { log, counters } = this.#environment;
    const error = toCmbsError(thrown);
    counters.add('cmbs_received', { layer, outcome: error.code });
    if (error.code === 'internal') {
      log.error('frame not handled', { member: memberPath, layer, cause: thrown });
    }
    return errorReply(error);
  }

  /** One frame without a reply (L2). Rejects when it is not taken. */
  async handleBroadcast(memberPath: Path, layer: Layer, bytes: Buffer): Promise<void> {
    const message = parseFrame(bytes);
    this.#hear(message);
    const member = this.#meant(memberPath, layer, message);
    await this.#inbound.handle(member, layer, message, this.#senderOf(message, member, layer));
    this.#environment.counters.add('cmbs_received', { layer, outcome: 'accepted' });
  }

  /** A delivery of the bus. Rejects when it is not taken; the error says whether it is worth trying again. */
  async handleBusDelivery(memberPath: Path, layer: TopicLayer, delivery: BusDelivery): Promise<void> {
    await this.#inbound.handleBusDelivery(this.#member(memberPath), layer, delivery);
  }

  /** The reply to a frame on a topic socket: goes to the local bus when it has topics, else to the member itself. */
  async replyFederated(memberPath: Path, layer: TopicLayer, bytes: Buffer): Promise<string> {
    const { counters } = this.#environment;
    try {
      const message = parseFrame(bytes);
      this.#hear(message);
      if (message.topics.length === 0) return await this.reply(memberPath, layer, bytes);
      const member = this.#meant(memberPath, layer, message);
      // Before anything is awaited, so that the message gets its place in the order of its key.
      const passed = this.#forwarding.passOn(member, layer, message);
      await Promise.all([passed, this.#inbound.registerFrom(member, message)]);
      const how = await passed;
      counters.add('cmbs_received', { layer, outcome: how });
      return await this.#replyOf(member, message, undefined);
    } catch (thrown) {
      return this.#refusal(thrown, memberPath, layer);
    }
  }

  /** A peer that sends is reachable: messages that wait for the peer may go. */
  #hear({ transfer }: WireMessage): void {
    const hop = transfer.hops?.at(-1);
    if (hop === undefined) return;
    const [deployment, path] = [hop.slice(0, hop.indexOf('/')), MEMBERS + hop.slice(hop.indexOf('/') + 1)];
    if (deployment === this.#environment.deployment || !this.#waiting.areSome()) return;
    if (this.#hearing.has(path) || this.#hearing.size >= MAX_HEARD_AT_ONCE) return;
    this.#hearing.add(path);
    this.#hearFrom(path)
      .catch((error: unknown) => this.#environment.log.warn('sender not read', { member: path, cause: error }))
      .finally(() => this.#hearing.delete(path));
  }

  async #hearFrom(path: Path): Promise<void> {
    const { members, layers } = this.#environment;
    const member = await members.find(path);
    if (member === undefined || isLocal(member)) return;
    for (const layer of layers.names) {
      const address = socketOf(member, layer);
      if (address !== undefined) this.#waiting.heard(address);
    }
  }

  /** The member at the socket. @throws CmbsError `misdirected` when the message is for another member */
  #meant(path: Path, layer: Layer, { transfer: { to = [] } }: WireMessage): Entity {
    const member = this.#member(path);
    if (to.length === 0 || to.includes(member.id)) return member;
    // Nothing is decided for the sender yet, which may not know of the member.
    const name = this.#environment.proofs === undefined ? member.id : 'Another member';
    throw new CmbsError(
      'misdirected',
      `${name} answers at ${socketOf(member, layer) ?? 'this address'}, not ${to.join(' or ')}; nothing was taken.`,
    );
  }

  #member(path: Path): Entity {
    const { shard, members } = this.#environment;
    // A process that stood still may wake up with sockets that another companion has by now.
    if (!shard.isCurrent())
      throw new CmbsError('unavailable', 'The member is served by another companion now; try again.');
    const member = members.get(path);
    if (member === undefined) throw new CmbsError('unavailable', 'The member is not here any more.');
    if (isSuspended(member)) throw new CmbsError('unavailable', 'The member is suspended; try again later.');
    return member;
  }

  /** The reply: a description of the receiver, the sockets that it knows, and the answer of a call. */
  async #replyOf(member: Entity, message: WireMessage, answer: string | undefined): Promise<string> {
    const { members, deployment, uriOf, layers } = this.#environment;
    const sockets = await members.l1Sockets(describesMember(contentOf(message)));
    let prefix = this.#replyPrefix.get(member.path);
    if (prefix?.member !== member || prefix.sockets !== sockets) {
      const head = JSON.stringify({
        member_description: describe(member, layers),
        sockets_l1: sockets,
        transfer: { v: 1, origin: { deployment, revision: member.updatedAt, uri: uriOf(member.path) } },
      }).slice(0, -1);
      prefix = { member, sockets, text: head };
      this.#replyPrefix.set(member.path, prefix);
    }
    return answer === undefined ? `${prefix.text}}` : `${prefix.text},"result":${answer}}`;
  }
}

/** Answers the frames that arrive at a member's sockets. */
import { CmbsError, toCmbsError } from '@cmbs/shared';
import type { BusDelivery, TopicLayer } from '@cmbs/shared/bus';
import {
  describe,
  errorReply,
  type InboundHandler,
  isLocal,
  isSuspended,
  type Layer,
  MEMBERS,
  parseFrame,
  socketOf,
  type WireMessage,
} from '@cmbs/shared/broker';
import type { Entity, Path } from '@cmbs/shared/occi';
import type { Environment } from './environment';
import type { Forwarding } from './forwarding';

/** L1 sockets that a reply lists. */
const MAX_SOCKETS_LISTED = 1000;

export class FrameHandler {
  readonly #environment: Environment;
  readonly #inbound: InboundHandler;
  readonly #forwarding: Forwarding;
  readonly #heard: (address: string) => void;
  readonly #replyPrefix = new Map<Path, { readonly version: number; readonly text: string }>();

  /** @param heard is told of each address of a remote member that something came from */
  constructor(
    environment: Environment,
    inbound: InboundHandler,
    forwarding: Forwarding,
    heard: (address: string) => void,
  ) {
    this.#heard = heard;
    this.#environment = environment;
    this.#inbound = inbound;
    this.#forwarding = forwarding;
  }

  /** The reply to one request frame. Never rejects: what is wrong is said in an error reply, and nothing is stored. */
  async reply(memberPath: Path, layer: Layer, bytes: Buffer): Promise<string> {
    const { counters } = this.#environment;
    try {
      const message = parseFrame(bytes);
      this.#hear(message);
      const member = this.#meant(memberPath, layer, message);
      const answer = await this.#inbound.handle(member, layer, message);
      counters.add('cmbs_received', { layer, outcome: 'accepted' });
      return this.#replyOf(member, answer);
    } catch (thrown) {
      return this.#refusal(thrown, memberPath, layer);
    }
  }

  #refusal(thrown: unknown, memberPath: Path, layer: Layer): string {
    const { log, counters } = this.#environment;
    const error = toCmbsError(thrown);
    counters.add('cmbs_received', { layer, outcome: error.code });
    if (error.code === 'internal') {
      log.error('receiving failed', { member: memberPath, layer, cause: thrown });
    }
    return errorReply(error);
  }

  /** One frame without a reply (L2). Rejects when it is not taken. */
  async handleBroadcast(memberPath: Path, layer: Layer, bytes: Buffer): Promise<void> {
    const message = parseFrame(bytes);
    this.#hear(message);
    await this.#inbound.handle(this.#meant(memberPath, layer, message), layer, message);
    this.#environment.counters.add('cmbs_received', { layer, outcome: 'accepted' });
  }

  /** From the bus. Rejects so that it is offered again, or given up where that cannot help. */
  async handleBusDelivery(memberPath: Path, layer: TopicLayer, delivery: BusDelivery): Promise<void> {
    await this.#inbound.handleBusDelivery(this.#member(memberPath), layer, delivery);
  }

  /** From a federated socket: to the local bus when it has topics, else to the member itself. */
  async replyFederated(memberPath: Path, layer: TopicLayer, bytes: Buffer): Promise<string> {
    const { counters } = this.#environment;
    try {
      const message = parseFrame(bytes);
      this.#hear(message);
      if (message.topics.length === 0) return await this.reply(memberPath, layer, bytes);
      const member = this.#meant(memberPath, layer, message);
      // Takes its place in the order of its key before anything is waited for.
      const passed = this.#forwarding.passOn(member, layer, message);
      await Promise.all([passed, this.#inbound.registerFrom(member, message)]);
      const how = await passed;
      counters.add('cmbs_received', { layer, outcome: how });
      return this.#replyOf(member, undefined);
    } catch (thrown) {
      return this.#refusal(thrown, memberPath, layer);
    }
  }

  /** A peer that sends is reachable: messages that wait for it may go. */
  #hear({ transfer }: WireMessage): void {
    const hop = transfer.hops?.at(-1);
    if (hop === undefined) return;
    const member = this.#environment.members.get(MEMBERS + hop.slice(hop.indexOf('/') + 1));
    if (member === undefined || isLocal(member)) return;
    for (const layer of this.#environment.layers.names) {
      const address = socketOf(member, layer);
      if (address !== undefined) this.#heard(address);
    }
  }

  /** The member, where the message is for it: its sender may know another one by this address. */
  #meant(path: Path, layer: Layer, { transfer: { to = [] } }: WireMessage): Entity {
    const member = this.#member(path);
    if (to.length === 0 || to.includes(member.id)) return member;
    throw new CmbsError(
      'misdirected',
      `${member.id} answers at ${socketOf(member, layer) ?? 'this address'}, not ${to.join(' or ')}; nothing was taken.`,
    );
  }

  #member(path: Path): Entity {
    const { shard, members } = this.#environment;
    // A process that stood still may wake up with sockets that are another one's by now.
    if (!shard.isCurrent()) throw new CmbsError('unavailable', 'The member is held elsewhere now; try again.');
    const member = members.get(path);
    if (member === undefined) throw new CmbsError('unavailable', 'The member is not here any more.');
    if (isSuspended(member)) throw new CmbsError('unavailable', 'The member is suspended; try again later.');
    return member;
  }

  /** The reply's own text: who the receiver is, whom it knows, and what a call answered. */
  #replyOf(member: Entity, answer: string | undefined): string {
    const { members, deployment, uriOf, layers } = this.#environment;
    let prefix = this.#replyPrefix.get(member.path);
    if (prefix?.version !== members.version) {
      const head = JSON.stringify({
        member_description: describe(member, layers),
        sockets_l1: members.l1Sockets().slice(0, MAX_SOCKETS_LISTED),
        transfer: { v: 1, origin: { deployment, revision: member.updatedAt, uri: uriOf(member.path) } },
      }).slice(0, -1);
      prefix = { version: members.version, text: head };
      this.#replyPrefix.set(member.path, prefix);
    }
    return answer === undefined ? `${prefix.text}}` : `${prefix.text},"result":${answer}}`;
  }
}

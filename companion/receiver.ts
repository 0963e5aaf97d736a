/**
 * What happens to a frame that arrives for a member: parsed, receipt recorded (which deduplicates), stored, executed
 * or passed on as its flags say, then answered (layers.md, Receiving). All layers and the bus come through here.
 */
import { CmbsError, toCmbsError } from '@cmbs/shared';
import type { TopicLayer } from '@cmbs/shared/bus/bus';
import { MEMBER_KIND, MESSAGE_KIND } from '@cmbs/shared/broker/cmbs';
import {
  inboxOf,
  receiptId,
  receiptOf,
  receiptOptions,
  receiptValue,
  type Receipt,
} from '@cmbs/shared/broker/inbox';
import type { Layer } from '@cmbs/shared/broker/layers';
import { describe, isNamed, isSuspended, wants } from '@cmbs/shared/broker/member';
import {
  contentOf,
  DISCOVERY_CONTENT,
  entityOf,
  errorReply,
  parseFrame,
  type WireMessage,
} from '@cmbs/shared/broker/wire';
import {
  LATE_RECEIPT_MS,
  MAX_COMMIT_WRITES,
  MAX_SOCKETS_LISTED,
  MAX_UNWRITTEN_RECEIPTS,
} from '@cmbs/shared/limits';
import { readEntity, writeEntity } from '@cmbs/shared/occi/entity-store';
import type { Entity, Path } from '@cmbs/shared/occi/model';
import { answerOf, parseCall, type Call } from '@cmbs/shared/services/call';
import { Fault, FAULT } from '@cmbs/shared/services/fault';
import { registryOf, type Environment } from './environment';
import type { Execution } from './execution';
import type { Forwarding } from './forwarding';
import type { Learning } from './learn';

interface InboxSize {
  count: number;
  readonly checkedAt: number;
}

/** When a frame came, for the order in the inbox: taken before anything is waited for. */
interface Arrival {
  readonly at: number;
  readonly sequence: string;
}

export interface ReceiverParts {
  readonly environment: Environment;
  readonly learning: Learning;
  readonly execution: Execution;
  readonly forwarding: Forwarding;
}

export class Receiver {
  readonly #environment: Environment;
  readonly #learning: Learning;
  readonly #execution: Execution;
  readonly #forwarding: Forwarding;
  /** Receipts of messages that may not be stored, on their way to the inbox after the reply. */
  #unwritten = 0;
  /** Writes of those that wait for others to share their commit. */
  readonly #writeSoon: (() => void)[] = [];
  #cancelWriting: (() => void) | undefined;
  /** Arrivals that wait until one of them is written, the first first. */
  readonly #waitForRoom: (() => void)[] = [];
  readonly #waitForAll: (() => void)[] = [];
  /**
   * Entries of each inbox, counted once and then kept by what this process adds. All that arrive meanwhile wait for
   * the same count, so that none overtakes another.
   */
  readonly #inboxSizes = new Map<string, Promise<InboxSize>>();
  #sequence = 0;
  #lastArrival = 0;
  #replyPrefix = new Map<Path, { readonly version: number; readonly text: string }>();

  constructor({ environment, learning, execution, forwarding }: ReceiverParts) {
    this.#environment = environment;
    this.#learning = learning;
    this.#execution = execution;
    this.#forwarding = forwarding;
  }

  /** The reply to one request frame. Never rejects: what is wrong is said in an error reply, and nothing is stored. */
  async reply(memberPath: Path, layer: Layer, bytes: Buffer): Promise<string> {
    const { counters } = this.#environment;
    try {
      const message = parseFrame(bytes);
      const member = this.#member(memberPath);
      const answer = await this.#receive(member, layer, message);
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
      log.error('receiving failed', { member: memberPath, layer, cause: String(thrown) });
    }
    return errorReply(error);
  }

  /** One frame for which there is nobody to answer (L2, the bus). Rejects so that the bus offers it again. */
  async take(memberPath: Path, layer: Layer, bytes: Buffer | string): Promise<void> {
    const message = parseFrame(bytes);
    await this.#receive(this.#member(memberPath), layer, message);
    this.#environment.counters.add('cmbs_received', { layer, outcome: 'accepted' });
  }

  /** Waits until what was answered before it was written is written. */
  async flush(): Promise<void> {
    this.#writeNow();
    if (this.#unwritten > 0) await new Promise<void>((resolve) => this.#waitForAll.push(resolve));
  }

  #member(path: Path): Entity {
    const member = this.#environment.members.get(path);
    if (member === undefined) throw new CmbsError('unavailable', 'The member is not here any more.');
    if (isSuspended(member)) throw new CmbsError('unavailable', 'The member is suspended; try again later.');
    return member;
  }

  /** The reply's own text: who the receiver is, whom it knows, and what a call answered. */
  #replyOf(member: Entity, answer: string | undefined): string {
    const { members, deployment } = this.#environment;
    let prefix = this.#replyPrefix.get(member.path);
    if (prefix?.version !== members.version) {
      const head = JSON.stringify({
        member_description: describe(member),
        sockets_l1: members.l1Sockets().slice(0, MAX_SOCKETS_LISTED),
        transfer: { v: 1, origin: { deployment, revision: member.updatedAt } },
      }).slice(0, -1);
      prefix = { version: members.version, text: head };
      this.#replyPrefix.set(member.path, prefix);
    }
    return answer === undefined ? `${prefix.text}}` : `${prefix.text},"result":${answer}}`;
  }

  /** Resolves with the JSON text of a call's answer, if there was a call. */
  async #receive(member: Entity, layer: Layer, message: WireMessage): Promise<string | undefined> {
    const { clock, counters } = this.#environment;
    const arrival = this.#arrival();
    const { transfer } = message;
    if (message.expiresAt !== undefined && message.expiresAt <= clock.now()) {
      counters.add('cmbs_dropped', { reason: 'expired', layer });
      throw new CmbsError('conflict', 'The message has expired.');
    }
    const content = contentOf(message);
    if (isDescription(content)) await this.#learning.learn(content, transfer.origin, member.id);
    if (transfer.content_type === DISCOVERY_CONTENT) return undefined;
    const call = message.executable ? parseCall(content) : undefined;
    if (call !== undefined) return this.#execute(member, layer, message, arrival, call);
    if (!message.storable) {
      await this.#recordLater(member, layer, message, arrival);
      return undefined;
    }
    await this.#record(member, layer, message, arrival);
    return undefined;
  }

  /** From a federated socket: to the local bus when it has topics, else to the member itself. */
  async replyFederated(memberPath: Path, layer: TopicLayer, bytes: Buffer): Promise<string> {
    const { counters } = this.#environment;
    try {
      const message = parseFrame(bytes);
      if (message.topics.length === 0) return await this.reply(memberPath, layer, bytes);
      const member = this.#member(memberPath);
      const content = contentOf(message);
      if (isDescription(content)) await this.#learning.learn(content, message.transfer.origin, member.id);
      const how = await this.#forwarding.passOn(member, layer, message);
      counters.add('cmbs_received', { layer, outcome: how });
      return this.#replyOf(member, undefined);
    } catch (thrown) {
      return this.#refusal(thrown, memberPath, layer);
    }
  }

  /** From the bus: only what the member wants, checked again here since filters are an optimisation. */
  async takeFromBus(memberPath: Path, layer: TopicLayer, topic: string, data: string): Promise<void> {
    const member = this.#member(memberPath);
    const message = parseFrame(data);
    if (!wants(member, [topic])) return;
    if (layer === 'l4' && message.providers.length > 0 && !message.providers.some((one) => isNamed(member, one)))
      return;
    await this.take(memberPath, layer, data);
  }

  #receipt(
    layer: Layer,
    message: WireMessage,
    arrival: Arrival,
    state: Receipt['state'],
  ): { id: string; receipt: Receipt } {
    const { newId } = this.#environment;
    const sendId = message.transfer.send_id;
    const sender = message.pathHistory.at(-1);
    return {
      // Without a send id (an original peer, which never retries by itself) each arrival is a new send.
      id: receiptId(message.id, sendId ?? newId()),
      receipt: {
        messageId: message.id,
        ...(sendId === undefined ? {} : { sendId }),
        layer,
        ...(sender === undefined ? {} : { sender }),
        frame: message.text,
        state,
        receivedAt: arrival.at,
      },
    };
  }

  #arrival(): Arrival {
    this.#sequence = (this.#sequence + 1) % 1_000_000_000;
    // A clock that is set back must not put what comes now before what came already.
    this.#lastArrival = Math.max(this.#lastArrival, this.#environment.clock.now());
    return { at: this.#lastArrival, sequence: this.#sequence.toString().padStart(9, '0') };
  }

  async #refuseWhenFull(inbox: string): Promise<void> {
    const { clock, inboxLimit } = this.#environment;
    const counted = this.#inboxSizes.get(inbox) ?? this.#countInbox(inbox);
    let size = await counted;
    // Programs take entries away meanwhile; a full inbox is counted again, by one of all that wait, to be believed.
    if (size.count >= inboxLimit && clock.now() - size.checkedAt > 1000) {
      const newer = this.#inboxSizes.get(inbox);
      size = await (newer === undefined || newer === counted ? this.#countInbox(inbox) : newer);
    }
    if (size.count >= inboxLimit) {
      throw new CmbsError('queue_full', "The receiver's inbox is full; try again later.");
    }
    size.count += 1;
  }

  #countInbox(inbox: string): Promise<InboxSize> {
    const { store, clock, inboxLimit } = this.#environment;
    const counting = store
      .count({ collection: inbox, by: 'order' }, inboxLimit)
      .then((count): InboxSize => ({ count, checkedAt: clock.now() }));
    this.#inboxSizes.set(inbox, counting);
    // A count that failed is no count; the next arrival tries again.
    counting.catch(() => {
      if (this.#inboxSizes.get(inbox) === counting) this.#inboxSizes.delete(inbox);
    });
    return counting;
  }

  async #record(member: Entity, layer: Layer, message: WireMessage, arrival: Arrival): Promise<void> {
    const inbox = inboxOf(member.id);
    await this.#refuseWhenFull(inbox);
    const { id, receipt } = this.#receipt(layer, message, arrival, 'received');
    const options = receiptOptions(receipt, arrival.sequence);
    const { store, clock } = this.#environment;
    const registry = await registryOf(this.#environment);
    await store.transact(async (tx) => {
      const earlier = await tx.get(inbox, id);
      if (earlier !== undefined) return;
      const copy = entityOf(message, (name) => isDeclared(name, message, registry), clock.now());
      const there = await readEntity(tx, copy.path);
      tx.put(inbox, id, receiptValue(receipt), options);
      // What is there under that id is never overwritten: a member that sends to itself keeps its message.
      if (there === undefined) writeEntity(tx, copy, undefined, registry);
    });
  }

  /** A message that may not be stored is answered first: its sender gave up durability (README, guarantees). */
  async #recordLater(member: Entity, layer: Layer, message: WireMessage, arrival: Arrival): Promise<void> {
    const inbox = inboxOf(member.id);
    await this.#refuseWhenFull(inbox);
    while (this.#unwritten >= MAX_UNWRITTEN_RECEIPTS) {
      await new Promise<void>((resolve) => this.#waitForRoom.push(resolve));
    }
    const { id, receipt } = this.#receipt(layer, message, arrival, 'received');
    const { store, log, counters, clock } = this.#environment;
    this.#unwritten += 1;
    this.#writeSoon.push(() => {
      store.create(inbox, id, receiptValue(receipt), receiptOptions(receipt, arrival.sequence)).then(
        () => this.#written(),
        (error: unknown) => {
          counters.add('cmbs_dropped', { reason: 'not written', layer });
          log.error('receipt lost', { member: member.path, message: message.id, cause: String(error) });
          this.#written();
        },
      );
    });
    if (this.#writeSoon.length >= MAX_COMMIT_WRITES) this.#writeNow();
    else this.#cancelWriting ??= clock.after(LATE_RECEIPT_MS, () => this.#writeNow());
  }

  /** What is written together shares one commit. */
  #writeNow(): void {
    this.#cancelWriting?.();
    this.#cancelWriting = undefined;
    for (const write of this.#writeSoon.splice(0)) write();
  }

  #written(): void {
    this.#unwritten -= 1;
    this.#waitForRoom.shift()?.();
    if (this.#unwritten === 0) for (const resolve of this.#waitForAll.splice(0)) resolve();
  }

  async #execute(
    member: Entity,
    layer: Layer,
    message: WireMessage,
    arrival: Arrival,
    call: Call,
  ): Promise<string> {
    const inbox = inboxOf(member.id);
    await this.#refuseWhenFull(inbox);
    const { id, receipt } = this.#receipt(layer, message, arrival, 'executing');
    const runId = `${member.id}/${id}`;
    const underWay = this.#execution.underWay(runId);
    if (underWay !== undefined) return underWay;
    const options = receiptOptions(receipt, arrival.sequence);
    const { store, clock } = this.#environment;
    const registry = await registryOf(this.#environment);
    const begun = await store.transact(async (tx) => {
      const earlier = await tx.get(inbox, id);
      if (earlier !== undefined) return { earlier: receiptOf(earlier) };
      const copy = entityOf(message, (name) => isDeclared(name, message, registry), clock.now());
      const there = await readEntity(tx, copy.path);
      const kept = message.storable && there === undefined;
      const target = { inbox, receipt: id, ...(kept ? { message: copy.path } : {}) };
      tx.put(inbox, id, receiptValue(receipt), options);
      if (kept) writeEntity(tx, copy, undefined, registry);
      this.#execution.begin(tx, runId, call, target);
      return { target };
    });
    if (begun.target !== undefined)
      return this.#execution.run(runId, call, begun.target, receipt.sender ?? 'unknown');
    if (begun.earlier.answer !== undefined) return begun.earlier.answer;
    const meanwhile = this.#execution.underWay(runId);
    if (meanwhile !== undefined) return meanwhile;
    return JSON.stringify(
      answerOf(call, new Fault(FAULT.outcomeUnknown, 'The outcome of this call is unknown; it is not run again.')),
    );
  }
}

/** Looks like one; {@link Learning} reads it. */
function isDescription(content: unknown): boolean {
  return typeof content === 'object' && content !== null && 'kind' in content && content.kind === MEMBER_KIND;
}

function isDeclared(
  name: string,
  message: WireMessage,
  registry: Awaited<ReturnType<typeof registryOf>>,
): boolean {
  const named = (message.json.mixins as readonly string[] | undefined) ?? [];
  // What is not known has no attributes, and names from outside should not become keys of a cache.
  const mixins = named.filter((id) => registry.mixin(id) !== undefined);
  return Object.hasOwn(registry.specs(MESSAGE_KIND, mixins), name);
}

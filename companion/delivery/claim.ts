/**
 * Decides whether an outbound message may go out, and claims it: the mark of the companion that is sending the message.
 * Most messages have their outcome within milliseconds, so a claim is written only for a message that takes longer.
 */
import { ANONYMOUS, CmbsError } from '@cmbs/shared';
import {
  deleteOrphan,
  MEMBER_KIND,
  type OutboundMessage,
  putOutbound,
  readOutbound,
  registryOf,
  membersThatMaySubscribe,
  resourceOf,
  type StoredOutboundMessage,
  topicResource,
  writeOutbound,
} from '@cmbs/shared/broker';
import { type Entity, readEntity } from '@cmbs/shared/occi';
import type { DeliveryEnvironment } from './environment';
import { leaseLost, type InFlightMessage, type QueueItem } from './in-flight-message';
import type { OutgoingFrames } from './outgoing-frames';
import type { Replies } from './replies';
import { isOpenFor, type Settlement } from './settlement';

/** Milliseconds after which the claim of a message is written, and the message shows that it is being sent. */
export const CLAIM_AFTER_MS = 250;

type ClaimEnvironment = Pick<
  DeliveryEnvironment,
  'store' | 'clock' | 'log' | 'shard' | 'categories' | 'layers' | 'authorize' | 'members'
>;

export interface ClaimsParts {
  readonly environment: ClaimEnvironment;
  readonly frames: Pick<OutgoingFrames, 'of'>;
  readonly replies: Pick<Replies, 'isTooMuchFor'>;
  readonly settlement: Pick<Settlement, 'settle' | 'expire' | 'drop'>;
}

export class Claims {
  readonly #parts: ClaimsParts;

  constructor(parts: ClaimsParts) {
    this.#parts = parts;
  }

  /**
   * The frame of an item that may go out now. Undefined when nothing is to be sent: the delivery is settled,
   * cancelled, expired, or waits for another address.
   */
  async prepare(item: QueueItem, isFailing: boolean): Promise<Buffer | undefined> {
    const { environment, frames, replies, settlement } = this.#parts;
    const message = item.message;
    if (!environment.shard.isCurrent()) throw leaseLost();
    if (!mayGo(item)) return undefined;
    if (message.outbound.expiresAt <= environment.clock.now()) {
      settlement.expire(message);
      return undefined;
    }
    let frame: Buffer | undefined;
    try {
      frame = await frames.of(message, isFailing, () => this.#read(message));
    } catch (error) {
      // This message cannot be sent, or its principal may not send any more; the others of its queue can go.
      if (!(error instanceof CmbsError) || error.retryable) throw error;
      settlement.settle(item, { state: 'failed', reason: error.message });
      return undefined;
    }
    if (message.isDropped || message.receiver(item)?.address !== item.address) return undefined;
    if (frame !== undefined && !(await this.#mayHave(item))) {
      settlement.settle(item, { state: 'failed', reason: 'the owner of the member may not have these topics' });
      return undefined;
    }
    if (!isOpenFor(item)) {
      message.stopTrying(item.key);
      return undefined;
    }
    if (frame === undefined) {
      await deleteOrphan(environment.store, message.outbound.id);
      settlement.drop(message);
      return undefined;
    }
    return replies.isTooMuchFor(item) ? undefined : frame;
  }

  /**
   * Reads a message that is to go out; undefined when the store no longer has it, or another companion has its member.
   * @throws CmbsError `unavailable` when a later companion has claimed the message; `forbidden` when its principal may not
   *   send any more
   */
  async #read(message: InFlightMessage): Promise<StoredOutboundMessage | undefined> {
    const { environment, settlement } = this.#parts;
    const { store, clock, shard, members } = environment;
    const current = await readOutbound(store, message.outbound.id);
    if (current === undefined) {
      settlement.drop(message);
      return undefined;
    }
    const { from, holder } = current.outbound;
    const member = shard.servesAll
      ? (members.get(from) ?? (await members.refresh(from)))
      : (await readEntity(store, from))?.entity;
    // The member may have moved to another shard, whose companion has the message as well.
    if (!shard.servesAll && !shard.serves(member)) {
      settlement.drop(message, { outcome: 'queued', reason: 'another companion has the member' });
      return undefined;
    }
    this.#assertFirst(holder);
    await this.#decide(current, member);
    // The message may have been read before its last outcomes were written.
    message.follow(current.outbound);
    if (message.trying.size > 0) {
      message.claim ??= { cancel: clock.after(CLAIM_AFTER_MS, () => this.#write(message)), writing: undefined };
    }
    return current;
  }

  /**
   * Decides again whether the message may go out: rules may have changed since it was queued.
   * @throws CmbsError `forbidden`, `not_found`, `unauthenticated`
   */
  async #decide({ outbound, message }: StoredOutboundMessage, from: Entity | undefined): Promise<void> {
    const { authorize } = this.#parts.environment;
    // Release 1.0 stored no principal.
    const { principal = ANONYMOUS, frame, receivers } = outbound;
    const member = from === undefined ? { path: outbound.from, kind: MEMBER_KIND } : resourceOf(from);
    if (frame !== undefined) {
      // The message is an entity of another deployment; here the member that passes it on is what rules name.
      await authorize(principal, 'message.forward', member);
    } else {
      const resource = message === undefined ? { path: outbound.message } : resourceOf(message.entity);
      await authorize(principal, 'message.deliver', resource);
      // Without the member, no frame is made.
      const isItself = principal.kind === 'member' && principal.name === outbound.from;
      if (from !== undefined && !isItself) await authorize(principal, 'message.send_as', member);
    }
    for (const { via, name } of receivers) {
      if (via === 'bus') await authorize(principal, 'topic.publish', topicResource(name));
    }
  }

  /** Whether the owner of a member of another deployment may still have the topics that the member gets directly. */
  async #mayHave({ message, key }: QueueItem): Promise<boolean> {
    const { authorize, members } = this.#parts.environment;
    const { receivers } = message.outbound;
    const topics = receivers.filter(({ via }) => via === 'bus').map(({ name }) => name);
    const path = message.receiver({ key })?.member;
    if (topics.length === 0 || path === undefined) return true;
    const member = await members.find(path);
    return member === undefined || (await membersThatMaySubscribe(authorize, [member], topics)).length > 0;
  }

  /** @throws CmbsError when a later companion of this shard has the claim: this one has lost its lease, perhaps unnoticed */
  #assertFirst(holder: string | undefined): void {
    if (holder !== undefined && this.#parts.environment.shard.isOutrunBy(holder)) throw leaseLost();
  }

  #write(message: InFlightMessage): void {
    if (message.claim === undefined) return;
    // Outcomes that are about to be written bring the claim with them. A companion without its lease writes nothing.
    if (message.flushing || !this.#parts.environment.shard.isCurrent()) {
      message.claim = undefined;
      return;
    }
    message.claim.writing = this.#claim(message).catch((error: unknown) => {
      // The message goes out all the same; it shows that it is queued.
      this.#parts.environment.log.warn('claim not written', { send: message.outbound.id, cause: error });
    });
  }

  async #claim(message: InFlightMessage): Promise<void> {
    const { store, clock, shard, layers } = this.#parts.environment;
    const registry = await registryOf(this.#parts.environment);
    await store.transact(async (tx) => {
      const current = await readOutbound(tx, message.outbound.id);
      if (current === undefined) return;
      this.#assertFirst(current.outbound.holder);
      const claimed: OutboundMessage = { ...current.outbound, holder: shard.name };
      if (current.message === undefined) putOutbound(tx, claimed);
      else writeOutbound(tx, claimed, current.message, { registry, clock, layers });
    });
  }
}

/** Whether the message is still this companion's, and the delivery has no outcome. */
const mayGo = (item: QueueItem): boolean => !item.message.isDropped && isOpenFor(item);

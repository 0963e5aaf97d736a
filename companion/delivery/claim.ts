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
  resourceOf,
  type StoredOutboundMessage,
  writeOutbound,
} from '@cmbs/shared/broker';
import { readEntity } from '@cmbs/shared/occi';
import type { DeliveryEnvironment } from './environment';
import { leaseLost, type InFlightMessage, type QueueItem } from './in-flight-message';
import type { OutgoingFrames } from './outgoing-frames';
import type { Replies } from './replies';
import { isOpenFor, type Settlement } from './settlement';

/** Milliseconds after which the claim of a message is written, and the message shows that it is being sent. */
export const CLAIM_AFTER_MS = 250;

type ClaimEnvironment = Pick<
  DeliveryEnvironment,
  'store' | 'clock' | 'log' | 'shard' | 'categories' | 'layers' | 'authorize'
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
    const { store, clock, shard, authorize } = environment;
    const current = await readOutbound(store, message.outbound.id);
    if (current === undefined) {
      settlement.drop(message);
      return undefined;
    }
    const { from, holder, frame, principal = ANONYMOUS } = current.outbound;
    const isPassedOn = frame !== undefined;
    const member = shard.servesAll && !isPassedOn ? undefined : (await readEntity(store, from))?.entity;
    // The member may have moved to another shard, whose companion has the message as well.
    if (!shard.servesAll && !shard.serves(member)) {
      settlement.drop(message, { outcome: 'queued', reason: 'another companion has the member' });
      return undefined;
    }
    this.#assertFirst(holder);
    // Decided again: rules may have changed since the message was queued. Release 1.0 stored no principal.
    if (isPassedOn) {
      // The message is an entity of another deployment; here the member that passes it on is what rules name.
      const resource = member === undefined ? { path: from, kind: MEMBER_KIND } : resourceOf(member);
      await authorize(principal, 'message.forward', resource);
    } else {
      const entity = current.message?.entity;
      const resource = entity === undefined ? { path: current.outbound.message } : resourceOf(entity);
      await authorize(principal, 'message.deliver', resource);
    }
    // The message may have been read before its last outcomes were written.
    message.follow(current.outbound);
    if (message.trying.size > 0) {
      message.claim ??= { cancel: clock.after(CLAIM_AFTER_MS, () => this.#write(message)), writing: undefined };
    }
    return current;
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

/** Claims outbound messages in the store: only the companion that holds the claim may put a message on a socket. */
import { ANONYMOUS, CmbsError } from '@cmbs/shared';
import {
  deleteOrphan,
  type OutboundMessage,
  putOutbound,
  readOutbound,
  registryOf,
  resourceOf,
  writeOutbound,
} from '@cmbs/shared/broker';
import { readEntity } from '@cmbs/shared/occi';
import type { DeliveryEnvironment } from './environment';
import { leaseLost, type InFlightMessage, type QueueItem } from './in-flight-message';
import type { OutgoingFrames } from './outgoing-frames';
import type { Replies } from './replies';
import { isOpenFor, type Settlement } from './settlement';

type ClaimEnvironment = Pick<
  DeliveryEnvironment,
  'store' | 'clock' | 'shard' | 'categories' | 'layers' | 'authorize'
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
   * The frame of an item, once its message is claimed. Undefined when nothing is to be sent: the delivery is settled,
   * cancelled, expired, or waits for another address.
   */
  async prepare(item: QueueItem, isFailing: boolean): Promise<Buffer | undefined> {
    const { environment, frames, replies, settlement } = this.#parts;
    const message = item.message;
    if (!environment.shard.isCurrent()) throw leaseLost();
    if (!isOpenFor(item)) return undefined;
    if (message.outbound.expiresAt <= environment.clock.now()) {
      settlement.expire(message);
      return undefined;
    }
    message.claiming ??= this.#claim(message);
    try {
      if (!(await message.claiming)) return undefined;
    } catch (error) {
      // The principal may not send any more.
      if (!(error instanceof CmbsError) || error.code !== 'forbidden') throw error;
      settlement.settle(item, { state: 'failed', reason: error.message });
      return undefined;
    }
    if (message.receiver(item)?.address !== item.address) return undefined;
    if (!isOpenFor(item)) {
      message.trying.delete(item.key);
      return undefined;
    }
    let frame: Buffer | undefined;
    try {
      frame = await frames.of(message, isFailing);
    } catch (error) {
      // This message cannot be sent; the others of its queue can.
      if (!(error instanceof CmbsError) || error.retryable) throw error;
      settlement.settle(item, { state: 'failed', reason: error.message });
      return undefined;
    }
    if (frame !== undefined && replies.isTooMuchFor(item)) return undefined;
    if (frame === undefined) {
      await deleteOrphan(environment.store, message.outbound.id);
      settlement.drop(message);
    }
    return frame;
  }

  async #claim(message: InFlightMessage): Promise<boolean> {
    const { environment, settlement } = this.#parts;
    const claimed = await claim(environment, message);
    if (claimed === 'gone') settlement.drop(message);
    if (claimed === 'moved') {
      settlement.drop(message, { outcome: 'queued', reason: 'another companion has the member' });
    }
    return claimed === 'claimed';
  }
}

/**
 * `gone`: the store no longer has the message. `moved`: another companion has its member.
 * @throws CmbsError `unavailable` when a later companion has claimed the message
 */
async function claim(
  environment: ClaimEnvironment,
  message: InFlightMessage,
): Promise<'claimed' | 'gone' | 'moved'> {
  const { store, clock, shard, layers, authorize } = environment;
  const registry = await registryOf(environment);
  let found: OutboundMessage | undefined;
  try {
    const outcome = await store.transact(async (tx) => {
      const current = await readOutbound(tx, message.outbound.id);
      if (current === undefined) return 'gone';
      // The member may have moved to another shard, whose companion has the message as well.
      if (!shard.servesAll && !shard.serves((await readEntity(tx, current.outbound.from))?.entity)) return 'moved';
      // A later companion of this shard has claimed the message: this one has lost its lease, perhaps unnoticed.
      if (current.outbound.holder !== undefined && shard.isOutrunBy(current.outbound.holder)) throw leaseLost();
      // Decided again: rules may have changed since the message was queued. Release 1.0 stored no principal.
      const resource =
        current.message === undefined ? { path: current.outbound.message } : resourceOf(current.message.entity);
      await authorize(current.outbound.principal ?? ANONYMOUS, 'message.deliver', resource);
      found = current.outbound;
      const claimed: OutboundMessage = { ...current.outbound, holder: shard.name };
      if (current.message === undefined) putOutbound(tx, claimed);
      else writeOutbound(tx, claimed, current.message, { registry, clock, layers });
      return 'claimed';
    });
    // The message may have been read before its last outcomes were written.
    if (found !== undefined) message.follow(found);
    return outcome;
  } catch (error) {
    message.claiming = undefined;
    throw error;
  }
}

/**
 * Corrects the shard of outbound messages, by which companions find their messages. A message has the shard that its
 * sending member had when the message was queued. It may be wrong for a message that release 1.0 queued, and when a member
 * or the shards of the deployment have changed since.
 */
import {
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  outboundMessageOf,
  putOutbound,
  SHARD_FIELD,
} from '@cmbs/shared/broker';
import { MAX_READ_CHARS } from '../limits';
import type { DeliveryEnvironment } from './environment';
import { UNKNOWN_BYTES } from './in-flight-message';

const PAGE = 1000;
/** Messages that are counted, to see whether all are in the only shard. */
const MAX_COUNTED = 1_000_000;
/**
 * Milliseconds after the start in which functions of release 1.0 may still queue messages without a shard, during an
 * upgrade.
 */
const UPGRADE_MS = 60 * 60_000;

type ShardsEnvironment = Pick<DeliveryEnvironment, 'store' | 'clock' | 'shard' | 'members'>;

export class MessageShards {
  readonly #environment: ShardsEnvironment;
  readonly #startedAt: number;
  /** Some may be wrong, as at the start. */
  #mayBeWrong = true;

  constructor(environment: ShardsEnvironment) {
    this.#environment = environment;
    this.#startedAt = environment.clock.now();
  }

  /** A member has come to this shard. */
  expectWrong(): void {
    this.#mayBeWrong = true;
  }

  /**
   * Corrects all messages if some may be wrong. One companion that serves all members counts them first; several read
   * all messages.
   */
  async correct(isStopped: () => boolean): Promise<void> {
    const { clock, shard } = this.#environment;
    if (!this.#mayBeWrong && clock.now() - this.#startedAt > UPGRADE_MS) return;
    this.#mayBeWrong = false;
    try {
      if (shard.servesAll && (await this.#areAllCounted())) return;
      await this.#correctAll(isStopped);
    } catch (error) {
      this.#mayBeWrong = true;
      throw error;
    }
  }

  async #areAllCounted(): Promise<boolean> {
    const { store, shard } = this.#environment;
    const where = [{ field: SHARD_FIELD, value: shard.shard }];
    const own = await store.count({ collection: OUTBOUND_MESSAGES, where }, MAX_COUNTED);
    return own >= (await store.count({ collection: OUTBOUND_MESSAGES }, MAX_COUNTED));
  }

  async #correctAll(isStopped: () => boolean): Promise<void> {
    for (let after: string | undefined, isMore = true; isMore && !isStopped(); isMore = after !== undefined) {
      const page = await this.#environment.store.query({
        collection: OUTBOUND_MESSAGES,
        limit: PAGE,
        maxChars: MAX_READ_CHARS,
        ...(after === undefined ? {} : { after }),
      });
      for (const outbound of page.docs.map(outboundMessageOf)) {
        const shard = await this.#shardOf(outbound);
        // Release 1.0 stored no bytes either.
        if (outbound.shard !== shard || outbound.bytes === undefined) await this.#write(outbound.id, shard);
      }
      after = page.next;
    }
  }

  async #shardOf({ from }: OutboundMessage): Promise<string> {
    const { members, shard } = this.#environment;
    return shard.of(shard.servesAll ? undefined : (members.get(from) ?? (await members.refresh(from))));
  }

  async #write(id: string, shard: string): Promise<void> {
    await this.#environment.store.transact(async (tx) => {
      const doc = await tx.get(OUTBOUND_MESSAGES, id);
      if (doc === undefined) return;
      const outbound = outboundMessageOf(doc);
      putOutbound(tx, { ...outbound, shard, bytes: outbound.bytes ?? outbound.frame?.length ?? UNKNOWN_BYTES });
    });
  }
}

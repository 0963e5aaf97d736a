/**
 * Corrects the shard of outbound messages, by which companions find their messages. A message has the shard that its
 * sending member had when the message was queued. It is wrong for a message that release 1.0 queued, and when a member or
 * the shards of the deployment have changed since.
 */
import {
  areSomeWithout,
  OUTBOUND_MESSAGES,
  outboundMessageOf,
  putOutbound,
  SHARD_FIELD,
} from '@cmbs/shared/broker';
import { readEntity } from '@cmbs/shared/occi';
import { MAX_READ_CHARS } from '../limits';
import type { DeliveryEnvironment } from './environment';
import { UNKNOWN_BYTES } from './in-flight-message';

const PAGE = 1000;

/** Messages that are given to other shards between two scans; the next scan gives more. */
const MAX_GIVEN = 10_000;

type ShardsEnvironment = Pick<DeliveryEnvironment, 'store' | 'shard' | 'members'>;

export class MessageShards {
  readonly #environment: ShardsEnvironment;
  /** Members may have moved, as before the start. */
  #mayHaveMoved = true;
  /** Messages that were given to another shard since the last {@link correct}. */
  readonly #given = new Set<string>();

  constructor(environment: ShardsEnvironment) {
    this.#environment = environment;
  }

  /** A member has come to this shard. */
  memberCame(): void {
    this.#mayHaveMoved = true;
  }

  /**
   * Reads all messages and corrects them, if a member may have moved or some have no shard. Functions of release 1.0 queue
   * messages without one.
   */
  async correct(isStopped: () => boolean): Promise<void> {
    const mayHaveMoved = this.#mayHaveMoved && !this.#environment.shard.servesAll;
    this.#mayHaveMoved = false;
    this.#given.clear();
    try {
      const { store, shard } = this.#environment;
      const terms = shard.shards.map((value) => ({ field: SHARD_FIELD, value }));
      if (mayHaveMoved || (await areSomeWithout(store, { collection: OUTBOUND_MESSAGES }, terms)))
        await this.#correctAll(isStopped);
    } catch (error) {
      this.#mayHaveMoved = true;
      throw error;
    }
  }

  /**
   * Gives a message that was found here to the shard of its member, once between two scans: while companions run with
   * different settings of the shards, each would give the message back to the other without end.
   */
  async give(id: string): Promise<void> {
    if (this.#given.has(id) || this.#given.size >= MAX_GIVEN) return;
    this.#given.add(id);
    await this.correctOne(id);
  }

  /** Writes the shard of a message again, as its sending member is now. */
  async correctOne(id: string): Promise<void> {
    const { store, shard } = this.#environment;
    await store.transact(async (tx) => {
      const doc = await tx.get(OUTBOUND_MESSAGES, id);
      if (doc === undefined) return;
      const outbound = outboundMessageOf(doc);
      const { bytes = outbound.frame?.length ?? UNKNOWN_BYTES } = outbound;
      const now = shard.of(shard.servesAll ? undefined : (await readEntity(tx, outbound.from))?.entity);
      // Release 1.0 stored no bytes either.
      if (outbound.shard === now && outbound.bytes !== undefined) return;
      putOutbound(tx, { ...outbound, shard: now, bytes });
    });
  }

  async #correctAll(isStopped: () => boolean): Promise<void> {
    const { store, shard, members } = this.#environment;
    for (let after: string | undefined, isMore = true; isMore && !isStopped(); isMore = after !== undefined) {
      const page = await store.query({
        collection: OUTBOUND_MESSAGES,
        limit: PAGE,
        maxChars: MAX_READ_CHARS,
        ...(after === undefined ? {} : { after }),
      });
      for (const { id, from, shard: stored, bytes } of page.docs.map(outboundMessageOf)) {
        const now = shard.of(shard.servesAll ? undefined : await members.find(from));
        if (stored !== now || bytes === undefined) await this.correctOne(id);
      }
      after = page.next;
    }
  }
}

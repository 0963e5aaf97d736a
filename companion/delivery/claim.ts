/** The claim of an outbound message in the store: only who holds it puts it on a socket. */
import { type OutboundMessage, putOutbound, readOutbound, registryOf, writeOutbound } from '@cmbs/shared/broker';
import { readEntity } from '@cmbs/shared/occi';
import type { Environment } from '../environment';
import { leaseLost, type InFlightMessage } from './in-flight-message';

/** `gone`: it is in the store no more. `moved`: its member belongs to another companion. Rejects when that has claimed it. */
export async function claim(
  environment: Pick<Environment, 'store' | 'clock' | 'shard' | 'categories'>,
  held: InFlightMessage,
): Promise<'claimed' | 'gone' | 'moved'> {
  const { store, clock, shard } = environment;
  const registry = await registryOf(environment);
  let found: OutboundMessage | undefined;
  try {
    const claimed = await store.transact(async (tx) => {
      const current = await readOutbound(tx, held.outbound.id);
      if (current === undefined) return 'gone';
      // Its member's sockets may have moved to another shard, whose companion has the send as well.
      if (!shard.servesAll && !shard.serves((await readEntity(tx, current.send.from))?.entity)) return 'moved';
      // A later companion has claimed it; this one's time is over, whether or not it knows.
      if (current.send.holder !== undefined && shard.isOutrunBy(current.send.holder)) throw leaseLost();
      found = current.send;
      const send: OutboundMessage = { ...current.send, holder: shard.name };
      if (current.message === undefined) putOutbound(tx, send);
      else writeOutbound(tx, send, current.message, registry, clock);
      return 'claimed';
    });
    // It may have been read before its last outcomes were written.
    if (found !== undefined) held.follow(found);
    return claimed;
  } catch (error) {
    held.claiming = undefined;
    throw error;
  }
}

/** The claim of an outbound message in the store: only who holds it puts it on a socket. */
import { registryOf } from '@cmbs/shared/broker/context';
import { putSend, readSend, writeSend, type Send } from '@cmbs/shared/broker/send';
import { readEntity } from '@cmbs/shared/occi/entity-store';
import type { Environment } from './environment';
import { heldElsewhere, type HeldSend } from './held-send';

/** `gone`: it is in the store no more. `moved`: its member belongs to another companion. Rejects when that has claimed it. */
export async function claim(
  environment: Pick<Environment, 'store' | 'clock' | 'shard' | 'categories'>,
  held: HeldSend,
): Promise<'claimed' | 'gone' | 'moved'> {
  const { store, clock, shard } = environment;
  const registry = await registryOf(environment);
  let found: Send | undefined;
  try {
    const claimed = await store.transact(async (tx) => {
      const current = await readSend(tx, held.send.id);
      if (current === undefined) return 'gone';
      // Its member's sockets may have moved to another shard, whose companion has the send as well.
      if (!shard.servesAll && !shard.serves((await readEntity(tx, current.send.from))?.entity)) return 'moved';
      // A later companion has claimed it; this one's time is over, whether or not it knows.
      if (current.send.holder !== undefined && shard.isOutrunBy(current.send.holder)) throw heldElsewhere();
      found = current.send;
      const send: Send = { ...current.send, holder: shard.name };
      if (current.message === undefined) putSend(tx, send);
      else writeSend(tx, send, current.message, registry, clock);
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

/** Fills the data directory of a product that is stopped, by the same writes as those of messages that arrive. */
import { allowAll, ANONYMOUS, silentCounters, silentLog, systemClock, timeOrderedIds } from '@cmbs/shared';
import { CMBS_EXTENSION, layersOf, MEMBERS, OrderClock, parseFrame } from '@cmbs/shared/broker';
import { Categories, readEntity } from '@cmbs/shared/occi';
import { deploymentId } from '@cmbs/shared/store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { receiptFor, type Arrival } from '../../shared/broker/arrival';
import { Deduplication } from '../../shared/broker/deduplication';
import { ReceiptWriter } from '../../shared/broker/receipt-writer';
import { orderKey } from '../../shared/clock';
import { frames } from './messages';

/** Messages that are written at the same time, and so share commits. */
const TOGETHER = 500;

/** Ids that {@link fill} returns at most. */
const SAMPLE = 1000;

/**
 * Puts `count` messages into a member's inbox, each with the copy that a receiver keeps: as many entries as entities.
 * Returns ids of messages from the whole inbox.
 */
export async function fill(directory: string, memberId: string, count: number): Promise<readonly string[]> {
  const clock = systemClock;
  const store = await openSqliteStore({ directory, clock, log: silentLog });
  const categories = new Categories(store, [CMBS_EXTENSION]);
  try {
    const newId = timeOrderedIds(clock);
    const order = await OrderClock.open(clock, { store, log: silentLog });
    const member = (await readEntity(store, MEMBERS + memberId))?.entity;
    if (member === undefined) throw new Error(`no member ${memberId}`);
    const context = {
      store,
      categories,
      layers: layersOf(),
      authorize: allowAll,
      clock,
      newId,
      log: silentLog,
      counters: silentCounters,
      deployment: await deploymentId(store, newId),
      inboxLimit: Infinity,
      inboxBytes: Infinity,
    };
    const receipts = new ReceiptWriter(context, new Deduplication(context));
    const frame = frames('tcp://127.0.0.1:1', 'true');
    const every = Math.ceil(count / SAMPLE);
    const sample: string[] = [];
    let begun = 0;
    const one = async (): Promise<void> => {
      while (begun < count) {
        begun += 1;
        const arrival: Arrival = {
          member,
          layer: 'l1',
          message: parseFrame(frame()),
          principal: ANONYMOUS,
          at: clock.now(),
          order: orderKey(order.now(), begun.toString().padStart(9, '0')),
        };
        if (begun % every === 0) sample.push(arrival.message.id);
        await receipts.record(arrival, receiptFor(arrival, 'received', newId));
      }
    };
    await Promise.all(Array.from({ length: TOGETHER }, one));
    await order.close();
    return sample;
  } finally {
    categories.close();
    await store.close();
  }
}

/** How an inbox passes entries that readers have leased, on every engine of the store. */
import { allowAll, ANONYMOUS, newId, systemClock, type Clock } from '@cmbs/shared';
import { orderKey } from '../../shared/clock';
import { CMBS_EXTENSION, Inbox, type InboxPage, type Owner } from '@cmbs/shared/broker';
import { Categories } from '@cmbs/shared/occi';
import { inboxOf, receiptOf } from '../../shared/broker/receipt';
import { writeEntity } from '../../shared/occi/entity-store';
import { ALICE } from '../fixtures/alice';
import { countedStore } from '../integration/counted-store';
import type { OpenedStore } from './store-contract';

const OWNER: Owner = ALICE;
const COLLECTION = inboxOf(ALICE.id);
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Documents that a read of one entry may read, however many entries are leased: about a page of each kind. */
const FEW_READS = 15;
/** Entries written in one transaction. */
const WRITTEN_TOGETHER = 200;

/** @param crowd leased entries that are to be passed */
export function inboxContract(name: string, open: () => Promise<OpenedStore>, crowd: number): void {
  describe(`the inbox contract, ${name}`, () => {
    let opened: OpenedStore;
    let counted: ReturnType<typeof countedStore>;
    let inbox: Inbox;
    let clock: Clock;
    /** By how much the wall clock is wrong, in milliseconds. */
    let skew: number;

    beforeEach(async () => {
      opened = await open();
      counted = countedStore(opened.store);
      skew = 0;
      clock = { ...systemClock, now: () => opened.now() + skew, elapsed: () => opened.now() };
      inbox = new Inbox(counted.store, clock, newId, allowAll);
      const categories = new Categories(opened.store, [CMBS_EXTENSION]);
      const { registry } = await categories.current();
      await opened.store.transact(async (tx) => writeEntity(tx, ALICE, undefined, registry));
      categories.close();
    });
    afterEach(() => opened.close());

    const idOf = (number: number): string => `e${String(number).padStart(6, '0')}`;
    const orderOf = (number: number): string => orderKey(1_700_000_000_000, idOf(number));

    async function arrive(from: number, to = from, more: object = {}): Promise<void> {
      for (let at = from; at <= to; at += WRITTEN_TOGETHER) {
        await opened.store.transact(async (tx) => {
          for (let number = at; number <= Math.min(to, at + WRITTEN_TOGETHER - 1); number += 1) {
            const receipt = {
              messageId: `m${number}`,
              layer: 'l1',
              frame: '{}',
              state: 'received',
              receivedAt: 1,
            };
            const options = { order: orderOf(number), expiresAt: opened.now() + 30 * DAY_MS };
            tx.put(COLLECTION, idOf(number), { ...receipt, expiresAt: null, ...more }, options);
          }
        });
      }
    }

    const read = (limit: number, leaseMs = MINUTE_MS, cursor?: string): Promise<InboxPage> =>
      inbox.read(ANONYMOUS, OWNER, { limit, leaseMs, ...(cursor === undefined ? {} : { cursor }) });
    const numbersOn = ({ entries }: InboxPage): readonly number[] => entries.map(({ id }) => Number(id.slice(1)));
    const readNumbers = async (limit: number, leaseMs?: number): Promise<readonly number[]> =>
      numbersOn(await read(limit, leaseMs));
    const range = (from: number, to: number): readonly number[] =>
      Array.from({ length: to - from + 1 }, (_, at) => from + at);

    /** Leases the entries as a process of release 1.0 does: the order stays. */
    async function leaseAsBefore(from: number, to: number, until: number): Promise<void> {
      await opened.store.transact(async (tx) => {
        const docs = await tx.getAll(COLLECTION, range(from, to).map(idOf));
        for (const doc of docs) {
          if (doc?.order === undefined || doc.expiresAt === undefined) throw new Error('no such entry');
          const value = { ...doc.value, leasedUntil: until, lease: 'of another process' };
          tx.put(COLLECTION, doc.id, value, { order: doc.order, expiresAt: doc.expiresAt });
        }
      });
    }

    it('passes leased entries without reading them', async () => {
      await arrive(1, crowd);
      for (let at = 1; at <= crowd; at += 100) {
        expect(await readNumbers(100)).toEqual(range(at, Math.min(crowd, at + 99)));
      }
      for (const leaseMs of [0, MINUTE_MS]) {
        let empty: InboxPage | undefined;
        expect(await counted.readsOf(async () => (empty = await read(1, leaseMs)))).toBeLessThan(FEW_READS);
        expect(empty).toMatchObject({ entries: [], leased: crowd, leaseEndsInMs: MINUTE_MS });
        expect(empty?.next).toBeUndefined();
      }
      await arrive(crowd + 1, crowd + 2);
      let page: InboxPage | undefined;
      expect(await counted.readsOf(async () => (page = await read(1)))).toBeLessThan(FEW_READS);
      expect(page).toMatchObject({ leased: crowd });
      expect(page === undefined ? [] : numbersOn(page)).toEqual([crowd + 1]);
      expect(numbersOn(await read(5, MINUTE_MS, page?.next))).toEqual([crowd + 2]);
    });

    it('offers entries again in the order of their arrival when their lease ends', async () => {
      await arrive(1, 30);
      expect(await readNumbers(25)).toEqual(range(1, 25));
      opened.advance(MINUTE_MS);
      expect(await readNumbers(3)).toEqual([1, 2, 3]);
      expect(await readNumbers(24)).toEqual(range(4, 27));
      expect(await readNumbers(24)).toEqual([28, 29, 30]);
      opened.advance(MINUTE_MS);
      expect(await readNumbers(100)).toEqual(range(1, 30));
    });

    it('offers entries before others when their lease ends, those first whose lease ended first', async () => {
      await arrive(1, 4);
      expect(await readNumbers(1, 2 * MINUTE_MS)).toEqual([1]);
      expect(await readNumbers(1, MINUTE_MS)).toEqual([2]);
      opened.advance(MINUTE_MS);
      expect(await readNumbers(1, MINUTE_MS)).toEqual([2]);
      opened.advance(2 * MINUTE_MS);
      // A page is in the order of arrival.
      expect(await readNumbers(3, MINUTE_MS)).toEqual([1, 2, 3]);
      opened.advance(MINUTE_MS);
      for (const number of [1, 2, 3, 4]) expect(await readNumbers(1, MINUTE_MS)).toEqual([number]);
    });

    it('shows each entry once to a reader that only looks, page by page', async () => {
      await arrive(1, 40);
      await readNumbers(15, MINUTE_MS);
      await readNumbers(13, 5 * MINUTE_MS);
      opened.advance(MINUTE_MS);
      const seen: number[] = [];
      let cursor: string | undefined;
      do {
        const page = await read(4, 0, cursor);
        seen.push(...numbersOn(page));
        cursor = page.next;
      } while (cursor !== undefined && seen.length < 100);
      expect(seen).toEqual([...range(1, 15), ...range(29, 40)]);
    });

    it('does not offer what a process of release 1.0 has leased, and offers the rest', async () => {
      await arrive(1, 6);
      const until = opened.now() + 3 * MINUTE_MS;
      await leaseAsBefore(1, 2, until);
      expect(await readNumbers(2, MINUTE_MS)).toEqual([3, 4]);
      opened.advance(MINUTE_MS);
      await leaseAsBefore(3, 3, until);
      const page = await read(9, MINUTE_MS);
      expect([numbersOn(page), page.leased]).toEqual([[4, 5, 6], 3]);
      opened.advance(2 * MINUTE_MS);
      expect(await readNumbers(9, MINUTE_MS)).toEqual(range(1, 6));
    });

    it('offers entries again in time when the wall clock was set back or forward', async () => {
      await arrive(1, 2);
      expect(await readNumbers(2, MINUTE_MS)).toEqual([1, 2]);
      skew = -DAY_MS;
      expect(await readNumbers(2, MINUTE_MS)).toEqual([]);
      opened.advance(MINUTE_MS);
      expect(await readNumbers(2, MINUTE_MS)).toEqual([1, 2]);
      skew = DAY_MS;
      expect(await readNumbers(2, MINUTE_MS)).toEqual([]);
      opened.advance(MINUTE_MS);
      expect(await readNumbers(2, MINUTE_MS)).toEqual([1, 2]);
    });

    it('keeps the acknowledged entries out, whether or not their lease has ended', async () => {
      await arrive(1, 5);
      const { entries } = await read(4, MINUTE_MS);
      const ids = entries.map(({ id, lease }) => ({ id, ...(lease === undefined ? {} : { lease }) }));
      await inbox.acknowledge(ANONYMOUS, OWNER, ids.slice(0, 2));
      opened.advance(MINUTE_MS);
      await inbox.acknowledge(ANONYMOUS, OWNER, ids.slice(2, 3));
      expect(await readNumbers(9)).toEqual([4, 5]);
      const kept = await opened.store.get(COLLECTION, idOf(1));
      expect(kept === undefined ? undefined : receiptOf(kept)).toMatchObject({ acknowledged: true });
    });
  });
}

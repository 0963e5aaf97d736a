/** Properties of the Firestore engine only: its number of calls, counting, paging, and the layout of documents. */
import { ADDRESS_FIELD, OUTBOUND_MESSAGES } from '@cmbs/shared/broker';
import type { Store } from '@cmbs/shared/store';
import { eventually } from '../e2e/harness';
import { GrpcProxy } from './grpc-proxy';
import { describeOnEmulators } from './support';
import { openTemporaryFirestore, type TemporaryFirestore } from './temporary-firestore';

const INBOX = 'inbox:016ad860-2a9a-504f-8861-aeafd0b2ae29';

/** Documents that the test writes in one transaction. */
const AT_ONCE = 250;

describeOnEmulators('The Firestore engine', ({ firestore }) => {
  let proxy: GrpcProxy;
  let opened: TemporaryFirestore;
  let store: Store;

  beforeEach(async () => {
    proxy = await GrpcProxy.listen(firestore);
    opened = await openTemporaryFirestore(proxy.host);
    store = opened.store;
  });
  afterEach(async () => {
    await opened.close();
    await proxy.close();
  });

  /** The calls that an operation makes. */
  const callsOf = async (work: () => Promise<unknown>): Promise<readonly string[]> => {
    const before = proxy.calls.length;
    await work();
    return proxy.calls.slice(before);
  };
  const fill = async (
    collection: string,
    count: number,
    options: (n: number) => Parameters<Store['create']>[3],
  ): Promise<void> => {
    for (let made = 0; made < count; made += AT_ONCE) {
      await store.transact(async (tx) => {
        for (let n = made; n < Math.min(made + AT_ONCE, count); n += 1) {
          tx.put(collection, `id-${String(n).padStart(5, '0')}`, { n }, options(n));
        }
      });
    }
  };

  describe('with as few calls as possible', () => {
    it('sends nothing before its first use', () => {
      expect(proxy.calls).toEqual([]);
    });

    it('reads with one call', async () => {
      expect(await callsOf(() => store.get('things', 'a'))).toEqual(['BatchGetDocuments']);
      expect(await callsOf(() => store.getAll('things', ['a', 'b']))).toEqual(['BatchGetDocuments']);
      expect(await callsOf(() => store.query({ collection: 'things', limit: 5 }))).toEqual(['RunQuery']);
    });

    it('creates with one call, and reads the document if it already exists', async () => {
      expect(await callsOf(() => store.create('things', 'a', {}))).toEqual(['Commit']);
      expect(await callsOf(() => store.create('things', 'a', {}))).toEqual(['Commit', 'BatchGetDocuments']);
    });

    it('reads and changes a document with two calls', async () => {
      const changing = store.transact.bind(store, async (tx) => {
        const doc = await tx.get('things', 'a');
        tx.put('things', 'a', { n: Number(doc?.value.n ?? 0) + 1 });
      });
      expect(await callsOf(changing)).toEqual(['BatchGetDocuments', 'Commit']);
    });

    it('ends a transaction that only reads without a further call', async () => {
      const reading = store.transact.bind(store, (tx) => tx.getAll('things', ['a', 'b']));
      expect(await callsOf(reading)).toEqual(['BatchGetDocuments']);
    });

    it('checks all unchanged documents of a transaction in one call', async () => {
      const changing = store.transact.bind(store, async (tx) => {
        await tx.getAll('things', ['a', 'b', 'c']);
        tx.put('things', 'c', {});
      });
      expect(await callsOf(changing)).toEqual(['BatchGetDocuments', 'BatchGetDocuments', 'Commit']);
    });

    it('does not send the deletion of an absent document', async () => {
      const deleting = store.transact.bind(store, async (tx) => {
        await tx.get('things', 'a');
        tx.delete('things', 'a');
      });
      expect(await callsOf(deleting)).toEqual(['BatchGetDocuments']);
    });
  });

  describe('counts', () => {
    const expiring = (n: number): { readonly expiresAt: number } => ({
      expiresAt: opened.now() + (n % 3 === 0 ? 1000 : 60_000),
    });

    it('a few documents by reading them', async () => {
      await fill('sends', 5, () => ({}));
      expect(await callsOf(() => store.count({ collection: 'sends' }, 10_000))).toEqual(['RunQuery']);
    });

    it('many documents without reading them, excluding expired ones', async () => {
      await fill('sends', 300, (n) => (n < 150 ? {} : expiring(n)));
      opened.advance(2000);
      const calls = await callsOf(async () => {
        expect(await store.count({ collection: 'sends' }, 10_000)).toBe(250);
      });
      expect(calls).toEqual(['RunQuery', 'RunAggregationQuery', 'RunAggregationQuery']);
      expect(await store.count({ collection: 'sends' }, 200)).toBe(200);
      expect(await store.count({ collection: 'sends', prefix: 'id-0001' }, 200)).toBe(10);
    });

    it('an inbox by order, excluding acknowledged entries', async () => {
      await fill(INBOX, 300, (n) => ({
        ...expiring(n),
        ...(n < 240 ? { order: String(n).padStart(5, '0') } : {}),
      }));
      opened.advance(2000);
      const calls = await callsOf(async () => {
        expect(await store.count({ collection: INBOX, by: 'order' }, 100_000)).toBe(160);
      });
      expect(calls).toEqual(['RunQuery', 'RunAggregationQuery', 'RunAggregationQuery']);
    });

    it('documents with an index entry by the index when none of them expires, and by reading otherwise', async () => {
      const index = { address: ['tcp://127.0.0.1:5010'] };
      const where = [{ field: 'address', value: 'tcp://127.0.0.1:5010' }];
      await fill('sends', 150, () => ({ index }));
      const byIndex = await callsOf(async () => {
        expect(await store.count({ collection: 'sends', where }, 10_000)).toBe(150);
      });
      expect(byIndex).toEqual(['RunQuery', 'RunAggregationQuery', 'RunAggregationQuery']);
      await store.create('sends', 'expiring', {}, { index, expiresAt: opened.now() + 1000 });
      expect(await store.count({ collection: 'sends', where }, 10_000)).toBe(151);
      opened.advance(2000);
      expect(await store.count({ collection: 'sends', where }, 10_000)).toBe(150);
    });
  });

  describe('while paging', () => {
    it('reads more documents than one call returns, and skips expired ones', async () => {
      await fill('things', 2500, (n) =>
        n % 2 === 0 ? { order: String(99_999 - n) } : { order: 'x', expiresAt: opened.now() + 1000 },
      );
      opened.advance(2000);
      const page = await store.query({ collection: 'things', limit: 1200 });
      expect(page.docs.map(({ value }) => value.n)).toEqual(Array.from({ length: 1200 }, (_, n) => 2 * n));
      const rest = await store.query({ collection: 'things', limit: 1200, after: page.next! });
      expect(rest.docs).toHaveLength(50);
      expect(rest.next).toBeUndefined();
      const byOrder = await store.query({ collection: 'things', by: 'order', limit: 3, prefix: 'id-024' });
      expect(byOrder.docs.map(({ value }) => value.n)).toEqual([2498, 2496, 2494]);
    });

    it('ends a page that is large enough', async () => {
      const text = 'x'.repeat(200_000);
      await Promise.all(Array.from({ length: 40 }, (_, n) => store.create('things', String(n + 10), { text })));
      const calls = await callsOf(async () => {
        const page = await store.query({ collection: 'things', limit: 10_000, maxChars: 1_000_000 });
        expect(page.docs).toHaveLength(5);
        expect(page.next).toBeDefined();
      });
      expect(calls).toEqual(['RunQuery']);
      await eventually(
        () => proxy.cancelled,
        (count) => count === 1,
        'the call is cancelled',
      );
      // Besides the documents that were used, some were under way.
      expect(proxy.messagesOf('RunQuery')).toBeLessThan(20);
    });

    it('repeats a call whose answer did not begin', async () => {
      await fill('things', 1500, () => ({}));
      proxy.inject('RunQuery', { kind: 'answer', status: 14 });
      const page = await store.query({ collection: 'things', limit: 5000 });
      expect(page.docs).toHaveLength(1500);
    });

    it.each(['id', 'order'] as const)(
      'continues by %s where an answer broke off, and reads nothing twice',
      async (by) => {
        // Many documents have the same order, so the position of a page includes the id.
        await fill('things', 300, (n) => ({ order: String(n % 10) }));
        const placeOf = (n: number): number => (by === 'id' ? n : (n % 10) * 300 + n);
        const expected = Array.from({ length: 300 }, (_, n) => n).sort((a, b) => placeOf(a) - placeOf(b));
        const before = proxy.messagesOf('RunQuery');
        for (const after of [115, 1, 70]) proxy.inject('RunQuery', { kind: 'breakOff', after });
        const calls = await callsOf(async () => {
          const page = await store.query({ collection: 'things', by, limit: 500 });
          expect(page.docs.map(({ value }) => value.n)).toEqual(expected);
        });
        expect(calls).toEqual(['RunQuery', 'RunQuery', 'RunQuery', 'RunQuery']);
        expect(proxy.messagesOf('RunQuery') - before).toBe(expected.length);
      },
    );
  });

  it('reads the outbound messages for one address in order, and no others', async () => {
    const address = (n: number): string => `tcp://10.0.0.1:${5010 + (n % 100)}`;
    await fill(OUTBOUND_MESSAGES, 400, (n) => ({
      order: String(99_999 - n),
      index: { [ADDRESS_FIELD]: [address(n), `${address(n)}/also`] },
    }));
    const where = [{ field: ADDRESS_FIELD, value: address(7) }];
    const before = proxy.messagesOf('RunQuery');
    const first = await store.query({ collection: OUTBOUND_MESSAGES, where, by: 'order', limit: 3 });
    expect(first.docs.map(({ value }) => value.n)).toEqual([307, 207, 107]);
    const rest = await store.query({
      collection: OUTBOUND_MESSAGES,
      where,
      by: 'order',
      limit: 3,
      after: first.next!,
    });
    expect(rest).toMatchObject({ docs: [{ value: { n: 7 } }] });
    expect(rest.next).toBeUndefined();
    const upTo = await store.query({ collection: OUTBOUND_MESSAGES, where, by: 'order', limit: 9, upTo: '99800' });
    expect(upTo.docs.map(({ value }) => value.n)).toEqual([307, 207]);
    const both = [...where, { field: ADDRESS_FIELD, value: `${address(7)}/also` }];
    expect(
      (await store.query({ collection: OUTBOUND_MESSAGES, where: both, by: 'order', limit: 9 })).docs,
    ).toHaveLength(4);
    expect(await store.count({ collection: OUTBOUND_MESSAGES, where, by: 'order' }, 3)).toBe(3);
    // One message per document, and a last one when there are fewer documents than requested.
    expect(proxy.messagesOf('RunQuery') - before).toBeLessThan(30);
  });

  it('no longer finds an outbound message that has left the address, even within a transaction', async () => {
    const where = [{ field: ADDRESS_FIELD, value: 'tcp://10.0.0.1:5010' }];
    const index = { [ADDRESS_FIELD]: ['tcp://10.0.0.1:5010', 'tcp://10.0.0.1:5020'] };
    await store.create(OUTBOUND_MESSAGES, 'a', {}, { order: '1', index });
    let runs = 0;
    const found = await store.transact(async (tx) => {
      const { docs } = await tx.query({ collection: OUTBOUND_MESSAGES, where, by: 'order', limit: 5 });
      if (++runs === 1) {
        await store.transact((other) => {
          other.put(
            OUTBOUND_MESSAGES,
            'a',
            {},
            { order: '1', index: { [ADDRESS_FIELD]: ['tcp://10.0.0.1:5020'] } },
          );
          return Promise.resolve();
        });
      }
      tx.put('things', 'seen', { count: docs.length });
      return docs.length;
    });
    expect([found, runs]).toEqual([0, 2]);
  });

  it('reads one snapshot in a transaction, with every kind of read', async () => {
    const other = await openTemporaryFirestore(firestore, { projectId: opened.projectId });
    const move = (n: number): Promise<void> =>
      other.store.transact(async (tx) => {
        for (const id of ['a', 'b', 'c']) tx.put('things', id, { n });
      });
    try {
      await move(1);
      const seen = await store.transact(async (tx) => {
        const first = await tx.get('things', 'a');
        await move(2);
        const [second] = await tx.getAll('things', ['b']);
        await move(3);
        const { docs } = await tx.query({ collection: 'things', limit: 10 });
        return [first, second, ...docs].map((doc) => doc?.value.n);
      });
      expect(seen).toEqual([1, 1, 1, 1, 1]);
    } finally {
      await other.close();
    }
  });

  it('repeats a transaction when a document that it read expires before the commit', async () => {
    await store.create('things', 'lease', {}, { expiresAt: opened.now() + 1000 });
    let runs = 0;
    await store.transact(async (tx) => {
      const lease = await tx.get('things', 'lease');
      if (++runs === 1) opened.advance(1000);
      tx.put('things', 'seen', { held: lease !== undefined });
    });
    expect(runs).toBe(2);
    expect((await store.get('things', 'seen'))?.value).toEqual({ held: false });
  });

  it('removes expired documents in inboxes too', async () => {
    await fill(INBOX, 3, () => ({ expiresAt: opened.now() + 1000 }));
    opened.advance(1000);
    expect(await store.sweep(100)).toBe(3);
  });

  it('refuses to read by an order for which the layout has no index', async () => {
    await expect(store.query({ collection: 'entities', by: 'order', limit: 1 })).rejects.toThrow(
      'store/firestore/layout.ts',
    );
    expect(() => store.watch({ collection: 'sends', newest: true }, () => undefined)).toThrow(
      'store/firestore/layout.ts',
    );
  });

  it('keeps two databases of one project apart', async () => {
    const other = await openTemporaryFirestore(firestore, { projectId: opened.projectId, databaseId: 'second' });
    try {
      await other.store.create('things', 'a', {});
      expect(await store.get('things', 'a')).toBeUndefined();
      expect(await other.store.get('things', 'a')).toBeDefined();
    } finally {
      await other.close();
    }
  });
});

/**
 * What every engine of `Store` must do. An engine's test file calls {@link storeContract} with a
 * way to open it; nothing here knows which engine it is.
 */
import { type JsonObject } from '@cmbs/shared';
import type { Change, PutOptions, Query, WatchScope } from '../../shared/store/store';
import type { Store } from '@cmbs/shared/store';
import { CmbsError } from '@cmbs/shared';
import { PATIENCE_MS } from '../patience';

export interface OpenedStore {
  readonly store: Store;
  /** Moves the clock of the store ahead, in milliseconds. */
  advance(ms: number): void;
  now(): number;
  /** Closes the store and opens it again with the same data. */
  reopen(): Promise<Store>;
  /** Closes the store and removes its data. */
  close(): Promise<void>;
}

/** Behaviour that the interface leaves to the engine. */
export interface EngineTraits {
  /**
   * Each read of a transaction returns the latest state, and the transaction runs again when its reads are inconsistent;
   * or all reads return the state of one moment. Either way the outcome is that of some serial order.
   */
  readonly readsAt: 'the latest' | 'one moment';
}

const PLAIN: EngineTraits = { readsAt: 'the latest' };

export function storeContract(
  name: string,
  open: () => Promise<OpenedStore>,
  { readsAt }: EngineTraits = PLAIN,
): void {
  describe(`the store contract, ${name}`, () => {
    let opened: OpenedStore;
    let store: Store;

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(() => opened.close());

    const put = (id: string, value: JsonObject = {}, options = {}, collection = 'things'): Promise<void> =>
      store.transact(async (tx) => tx.put(collection, id, value, options));
    const ids = async (query: Omit<Query, 'collection' | 'limit'> & { limit?: number }): Promise<string[]> =>
      (await store.query({ collection: 'things', limit: 100, ...query })).docs.map(({ id }) => id);
    const walk = async (query: Omit<Query, 'collection'>): Promise<string[]> => {
      const found: string[] = [];
      let after: string | undefined;
      do {
        const page = await store.query({
          collection: 'things',
          ...query,
          ...(after === undefined ? {} : { after }),
        });
        expect(page.docs.length).toBeLessThanOrEqual(query.limit);
        found.push(...page.docs.map(({ id }) => id));
        after = page.next;
      } while (after !== undefined);
      return found;
    };

    describe('documents', () => {
      it('returns a document as it was put, with its order and expiry', async () => {
        const value = { text: 'grüße\u0000\ud83d\ude00', n: 1.5, list: [1, [2, null]], deep: { a: { b: true } } };
        const expiresAt = opened.now() + 60_000;
        await put('a', value, { order: '0001', expiresAt });
        expect(await store.get('things', 'a')).toEqual({ id: 'a', revision: 1, value, order: '0001', expiresAt });
      });

      it('returns undefined for a document that was never put', async () => {
        expect(await store.get('things', 'a')).toBeUndefined();
        await put('b');
        expect(await store.get('things', 'a')).toBeUndefined();
        expect(await store.get('others', 'b')).toBeUndefined();
      });

      it('returns several documents in the order of the ids, with undefined for absent ones', async () => {
        await put('a', { n: 1 });
        await put('b', { n: 2 });
        const docs = await store.getAll('things', ['b', 'x', 'a']);
        expect(docs.map((doc) => doc?.value)).toEqual([{ n: 2 }, undefined, { n: 1 }]);
      });

      it('counts one revision per write and starts again after a deletion', async () => {
        await put('a');
        await put('a', { n: 2 });
        expect((await store.get('things', 'a'))?.revision).toBe(2);
        await store.transact(async (tx) => tx.delete('things', 'a'));
        expect(await store.get('things', 'a')).toBeUndefined();
        await put('a');
        expect((await store.get('things', 'a'))?.revision).toBe(1);
      });

      it('drops the order, the expiry and the index entries that a later write does not repeat', async () => {
        await put('a', {}, { order: '1', expiresAt: opened.now() + 1000, index: { colour: ['red'] } });
        await put('a', {});
        opened.advance(2000);
        expect(await store.get('things', 'a')).toEqual({ id: 'a', revision: 2, value: {} });
        expect(await ids({ where: [{ field: 'colour', value: 'red' }] })).toEqual([]);
        expect(await ids({ by: 'order' })).toEqual([]);
      });

      it('does not change when the caller changes the value after the write', async () => {
        const value = { list: [1] };
        await put('a', value);
        value.list.push(2);
        expect((await store.get('things', 'a'))?.value).toEqual({ list: [1] });
      });

      it('refuses an empty id', async () => {
        await expect(put('')).rejects.toMatchObject({ code: 'bad_request' });
      });
    });

    describe('transactions', () => {
      it('apply all writes or none', async () => {
        const failing = store.transact(async (tx) => {
          tx.put('things', 'a', {});
          tx.put('others', 'b', {});
          throw new CmbsError('forbidden', 'No.');
        });
        await expect(failing).rejects.toMatchObject({ code: 'forbidden' });
        expect(await store.get('things', 'a')).toBeUndefined();
        expect(await store.get('others', 'b')).toBeUndefined();
      });

      it('resolve with the result of the body, with or without writes', async () => {
        expect(await store.transact(async () => 7)).toBe(7);
        expect(
          await store.transact(async (tx) => {
            tx.put('things', 'a', {});
            return 8;
          }),
        ).toBe(8);
      });

      it('lose no update among many that change the same document', async () => {
        await put('counter', { n: 0 });
        await Promise.all(
          Array.from({ length: 25 }, () =>
            store.transact(async (tx) => {
              const n = Number((await tx.get('things', 'counter'))?.value.n);
              tx.put('things', 'counter', { n: n + 1 });
            }),
          ),
        );
        expect(await store.get('things', 'counter')).toMatchObject({ revision: 26, value: { n: 25 } });
      });

      it('are never partly visible to a reader', async () => {
        const move = (by: number): Promise<void> =>
          store.transact(async (tx) => {
            tx.put('things', 'left', { n: by });
            tx.put('things', 'right', { n: -by });
          });
        await move(0);
        const writers = Array.from({ length: 10 }, (_, i) => move(i));
        const readers = Array.from({ length: 10 }, () =>
          store.transact(async (tx) => {
            const left = await tx.get('things', 'left');
            const right = await tx.get('things', 'right');
            return Number(left?.value.n) + Number(right?.value.n);
          }),
        );
        expect(await Promise.all(readers)).toEqual(Array(10).fill(0));
        await Promise.all(writers);
      });

      it('discard the writes of an earlier run of the body', async () => {
        await put('seen', { n: 0 });
        let runs = 0;
        await store.transact(async (tx) => {
          const n = Number((await tx.get('things', 'seen'))?.value.n);
          runs++;
          if (runs === 1) await put('seen', { n: 1 });
          tx.put('things', `from-${n}`, {});
        });
        expect(runs).toBe(2);
        expect(await ids({ prefix: 'from-' })).toEqual(['from-1']);
      });

      it('run again when an absent document has appeared', async () => {
        const seen: boolean[] = [];
        await store.transact(async (tx) => {
          const there = (await tx.get('things', 'a')) !== undefined;
          seen.push(there);
          if (!there) await put('a');
          tx.put('things', 'b', { there });
        });
        expect(seen).toEqual([false, true]);
        expect((await store.get('things', 'b'))?.value).toEqual({ there: true });
      });

      it('run again when the body throws because of inconsistent reads', async () => {
        await put('x', { n: 1 });
        await put('y', { n: 1 });
        let runs = 0;
        const result = await store.transact(async (tx) => {
          const x = await tx.get('things', 'x');
          if (++runs === 1) {
            await store.transact(async (other) => {
              other.put('things', 'x', { n: 2 });
              other.put('things', 'y', { n: 2 });
            });
          }
          const y = await tx.get('things', 'y');
          if (x?.value.n !== y?.value.n) throw new Error('torn');
          return y?.value.n;
        });
        const isAnew = readsAt === 'the latest';
        expect({ result, runs }).toEqual(isAnew ? { result: 2, runs: 2 } : { result: 1, runs: 1 });
      });

      it('refuse a read after a write', async () => {
        const reading = store.transact(async (tx) => {
          tx.put('things', 'a', {});
          await tx.get('things', 'a');
        });
        await expect(reading).rejects.toThrow(/reads before it writes/);
        const querying = store.transact(async (tx) => {
          tx.delete('things', 'a');
          await tx.query({ collection: 'things', limit: 1 });
        });
        await expect(querying).rejects.toThrow(/reads before it writes/);
        expect(await store.get('things', 'a')).toBeUndefined();
      });

      it('keep a name unique when the body looks it up by a query', async () => {
        const claim = (id: string): Promise<boolean> =>
          store.transact(async (tx) => {
            const page = await tx.query({
              collection: 'things',
              where: [{ field: 'name', value: 'wanted' }],
              limit: 1,
            });
            if (page.docs.length > 0) return false;
            tx.put('things', id, {}, { index: { name: ['wanted'] } });
            return true;
          });
        const results = await Promise.all(['a', 'b', 'c', 'd'].map(claim));
        expect(results.filter(Boolean)).toHaveLength(1);
        expect(await ids({ where: [{ field: 'name', value: 'wanted' }] })).toHaveLength(1);
      });

      it('run again when a document comes into the range of their query', async () => {
        await put('a', {}, { order: '1' });
        const counts: number[] = [];
        await store.transact(async (tx) => {
          const { docs } = await tx.query({ collection: 'things', by: 'order', above: '1', limit: 10 });
          counts.push(docs.length);
          if (counts.length === 1) await put('a', {}, { order: '2' });
          tx.put('others', 'count', { n: docs.length });
        });
        expect(counts).toEqual([0, 1]);
      });

      it('run again when a document leaves the result of their query', async () => {
        await put('a', {}, { index: { colour: ['red'] } });
        const counts: number[] = [];
        await store.transact(async (tx) => {
          const query = { collection: 'things', where: [{ field: 'colour', value: 'red' }], limit: 10 };
          const { docs } = await tx.query(query);
          counts.push(docs.length);
          if (counts.length === 1) await put('a', {}, { index: { colour: ['blue'] } });
          tx.put('others', 'count', { n: docs.length });
        });
        expect(counts).toEqual([1, 0]);
      });

      it('accept many concurrent changes of a document and a deletion among them', async () => {
        await put('n-050', {});
        await store.transact(async (tx) => {
          for (let i = 0; i < 100; i++) tx.put('things', `n-${String(i).padStart(3, '0')}`, { i });
          tx.delete('things', 'n-050');
        });
        expect(await store.count({ collection: 'things', prefix: 'n-' }, 1000)).toBe(99);
      });

      it('write nothing when they are aborted before they start', async () => {
        const signal = AbortSignal.abort();
        const aborted = store.transact(async (tx) => tx.put('things', 'a', {}), { signal });
        await expect(aborted).rejects.toMatchObject({ code: 'deadline_exceeded' });
        await expect(store.create('things', 'a', {}, { signal })).rejects.toMatchObject({
          code: 'deadline_exceeded',
        });
        await expect(store.get('things', 'a', { signal })).rejects.toMatchObject({ code: 'deadline_exceeded' });
        expect(await store.get('things', 'a')).toBeUndefined();
      });

      it('stop waiting for a body when they are aborted, and write nothing', async () => {
        const controller = new AbortController();
        const aborted = store.transact(
          async (tx) => {
            controller.abort();
            tx.put('things', 'a', {});
            await new Promise<void>(() => undefined);
          },
          { signal: controller.signal },
        );
        await expect(aborted).rejects.toMatchObject({ code: 'deadline_exceeded' });
        expect(await store.get('things', 'a')).toBeUndefined();
      });
    });

    describe('create', () => {
      it('writes once among several concurrent callers', async () => {
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, i) => store.create('things', 'a', { i }, { order: String(i) })),
        );
        expect(results.filter(Boolean)).toHaveLength(1);
        const winner = results.indexOf(true);
        expect(await store.get('things', 'a')).toEqual({
          id: 'a',
          revision: 1,
          value: { i: winner },
          order: String(winner),
        });
      });

      it('writes many different documents at the same time, with their index entries', async () => {
        const results = await Promise.all(
          Array.from({ length: 100 }, (_, i) =>
            store.create('things', `id-${i}`, { i }, { index: { parity: [i % 2 === 0 ? 'even' : 'odd'] } }),
          ),
        );
        expect(results).toEqual(Array(100).fill(true));
        expect(await ids({ where: [{ field: 'parity', value: 'odd' }] })).toHaveLength(50);
      });

      it('replaces an expired document completely', async () => {
        await put('a', { old: true }, { expiresAt: opened.now() + 1000, index: { colour: ['red'] }, order: '1' });
        await put('a', { old: 2 }, { expiresAt: opened.now() + 1000, index: { colour: ['red'] }, order: '1' });
        opened.advance(1000);
        expect(await store.create('things', 'a', { old: false }, { index: { colour: ['blue'] } })).toBe(true);
        expect(await store.get('things', 'a')).toEqual({ id: 'a', revision: 1, value: { old: false } });
        expect(await ids({ where: [{ field: 'colour', value: 'red' }] })).toEqual([]);
        expect(await ids({ where: [{ field: 'colour', value: 'blue' }] })).toEqual(['a']);
      });
    });

    describe('queries', () => {
      it('list a collection by id, page by page, each document once', async () => {
        const all = Array.from({ length: 23 }, (_, i) => `id-${String(i).padStart(2, '0')}`);
        await Promise.all([...all].reverse().map((id) => store.create('things', id, {})));
        await store.create('others', 'id-99', {});
        expect(await walk({ limit: 5 })).toEqual(all);
        expect(await walk({ limit: 23 })).toEqual(all);
        expect(await walk({ limit: 1000 })).toEqual(all);
      });

      it('end a page with the document that fills it, and continue after it', async () => {
        await store.transact((tx) => {
          for (let n = 0; n < 6; n += 1) tx.put('things', `t${n}`, { text: 'x'.repeat(1000) });
          return Promise.resolve();
        });
        const pages: string[][] = [];
        let after: string | undefined;
        do {
          const page = await store.query({
            collection: 'things',
            limit: 100,
            maxChars: 1500,
            ...(after === undefined ? {} : { after }),
          });
          pages.push(page.docs.map(({ id }) => id));
          after = page.next;
        } while (after !== undefined);
        expect(pages).toEqual([
          ['t0', 't1'],
          ['t2', 't3'],
          ['t4', 't5'],
        ]);
      });

      it('list by order, then by id, without the documents that have no order', async () => {
        await put('c', {}, { order: '2' });
        await put('b', {}, { order: '1' });
        await put('a', {}, { order: '2' });
        await put('d', {});
        await put('e', {}, { order: '10' });
        expect(await ids({ by: 'order' })).toEqual(['b', 'e', 'a', 'c']);
        expect(await walk({ by: 'order', limit: 1 })).toEqual(['b', 'e', 'a', 'c']);
        expect(await ids({ by: 'order', upTo: '10' })).toEqual(['b', 'e']);
        expect(await ids({ by: 'order', above: '1' })).toEqual(['e', 'a', 'c']);
        expect(await walk({ by: 'order', above: '1', limit: 1 })).toEqual(['e', 'a', 'c']);
        expect(await ids({ by: 'order', above: '1', upTo: '10' })).toEqual(['e']);
        expect(await store.count({ collection: 'things', by: 'order', above: '1' }, 9)).toBe(3);
        expect(await store.count({ collection: 'things', by: 'order', above: '1', upTo: '10' }, 9)).toBe(1);
        expect(await store.count({ collection: 'things', by: 'order', above: '1' }, 2)).toBe(2);
      });

      it('find ids by their prefix only', async () => {
        for (const id of ['a', 'a/1', 'a/2', 'a0', 'b/1', 'a/\u{10ffff}']) await put(id, {}, { order: '1' });
        expect(await ids({ prefix: 'a/' })).toEqual(['a/1', 'a/2', 'a/\u{10ffff}']);
        expect(await walk({ prefix: 'a/', limit: 1 })).toEqual(['a/1', 'a/2', 'a/\u{10ffff}']);
        expect(await ids({ prefix: 'a/', by: 'order' })).toEqual(['a/1', 'a/2', 'a/\u{10ffff}']);
        expect(await ids({ prefix: 'z' })).toEqual([]);
      });

      it('filter by every term, in each order, page by page', async () => {
        for (let i = 0; i < 30; i++) {
          await put(
            `id-${String(i).padStart(2, '0')}`,
            {},
            {
              order: String(99 - i),
              index: { two: [String(i % 2)], three: [String(i % 3), 'any'], none: [] },
            },
          );
        }
        const where = [
          { field: 'two', value: '0' },
          { field: 'three', value: '0' },
        ];
        const expected = ['id-00', 'id-06', 'id-12', 'id-18', 'id-24'];
        expect(await walk({ where, limit: 2 })).toEqual(expected);
        expect(await walk({ where: [...where].reverse(), limit: 2 })).toEqual(expected);
        expect(await walk({ where, by: 'order', limit: 2 })).toEqual([...expected].reverse());
        expect(await walk({ where, by: 'order', upTo: '87', limit: 2 })).toEqual(['id-24', 'id-18', 'id-12']);
        expect(await walk({ where, by: 'order', above: '87', limit: 2 })).toEqual(['id-06', 'id-00']);
        expect(await walk({ where, prefix: 'id-1', limit: 2 })).toEqual(['id-12', 'id-18']);
        expect(await walk({ where: [...where, { field: 'three', value: 'any' }], limit: 3 })).toEqual(expected);
        expect(await ids({ where: [...where, { field: 'three', value: 'other' }] })).toEqual([]);
        expect(await ids({ where: [...where, { field: 'unknown', value: '0' }] })).toEqual([]);
        expect(await store.count({ collection: 'things', where }, 100)).toBe(5);
        expect(await store.count({ collection: 'things', where }, 3)).toBe(3);
      });

      it('compare index values exactly, with any characters in them', async () => {
        const values = [
          '',
          ' ',
          'a',
          'A',
          'a\u0000',
          'a\u0000b',
          '\u0001"x"',
          'x\ud800',
          'x\ud801',
          '\u{1f600}',
          '"',
        ];
        await Promise.all(
          values.map((value, i) => store.create('things', `v${i}`, {}, { index: { f: [value, value] } })),
        );
        for (const [i, value] of values.entries()) {
          expect(await ids({ where: [{ field: 'f', value }] })).toEqual([`v${i}`]);
        }
      });

      it('reflect each write of a document', async () => {
        await put('a', {}, { order: '1', index: { colour: ['red', 'blue'] } });
        await put('a', {}, { order: '2', index: { colour: ['blue', 'green'] } });
        expect(await ids({ where: [{ field: 'colour', value: 'red' }] })).toEqual([]);
        expect(await ids({ where: [{ field: 'colour', value: 'green' }], by: 'order' })).toEqual(['a']);
        expect(await ids({ where: [{ field: 'colour', value: 'green' }], by: 'order', upTo: '1' })).toEqual([]);
        await store.transact(async (tx) => tx.delete('things', 'a'));
        expect(await ids({ where: [{ field: 'colour', value: 'blue' }] })).toEqual([]);
        expect(await ids({ where: [{ field: 'colour', value: 'blue' }], by: 'order' })).toEqual([]);
      });

      it('answer a repeated query with every write in between', async () => {
        const asked: readonly Omit<Query, 'collection' | 'limit'>[] = ['red', 'green'].flatMap((value) => {
          const where = [
            { field: 'kind', value: 'lamp' },
            { field: 'colour', value },
          ];
          return [{ where }, { where: [...where].reverse() }, { where, by: 'order' }, { where, prefix: 'b' }];
        });
        const shown = async (): Promise<readonly string[]> => {
          const pages = await Promise.all(
            asked.map((query) => store.query({ collection: 'things', limit: 2, ...query })),
          );
          return pages.map(({ docs, next }) => {
            const found = docs.map(({ id, value }) => `${id}${JSON.stringify(value.n)}`).join(' ');
            return next === undefined ? found : `${found} …`;
          });
        };
        const lamp = (colour: string, order: string): PutOptions => ({
          order,
          index: { kind: ['lamp'], colour: [colour] },
        });
        const nothing = ['', '', '', ''];
        const steps: readonly (readonly [() => Promise<unknown>, readonly string[]])[] = [
          [async () => undefined, [...nothing, ...nothing]],
          [() => put('a', { n: 1 }, lamp('red', '2')), ['a1', 'a1', 'a1', '', ...nothing]],
          [
            () => store.create('things', 'b', { n: 1 }, lamp('red', '1')),
            ['a1 b1', 'a1 b1', 'b1 a1', 'b1', ...nothing],
          ],
          [() => put('a', { n: 2 }, lamp('red', '2')), ['a2 b1', 'a2 b1', 'b1 a2', 'b1', ...nothing]],
          [() => put('a', { n: 2 }, lamp('red', '0')), ['a2 b1', 'a2 b1', 'a2 b1', 'b1', ...nothing]],
          [() => put('c', { n: 1 }, lamp('red', '3')), ['a2 b1 …', 'a2 b1 …', 'a2 b1 …', 'b1', ...nothing]],
          [() => put('b', { n: 2 }, lamp('green', '1')), ['a2 c1', 'a2 c1', 'a2 c1', '', 'b2', 'b2', 'b2', 'b2']],
          [
            () => put('a', { n: 3 }, { index: { kind: ['lamp'] } }),
            ['c1', 'c1', 'c1', '', 'b2', 'b2', 'b2', 'b2'],
          ],
          [
            () => put('c', { n: 2 }, { ...lamp('red', '3'), expiresAt: opened.now() + 60_000 }),
            ['c2', 'c2', 'c2', '', 'b2', 'b2', 'b2', 'b2'],
          ],
          [async () => opened.advance(60_001), [...nothing, 'b2', 'b2', 'b2', 'b2']],
          [() => store.transact(async (tx) => tx.delete('things', 'b')), [...nothing, ...nothing]],
        ];
        for (const [write, expected] of steps) {
          await write();
          expect(await shown()).toEqual(expected);
          expect(await shown()).toEqual(expected);
        }
      });

      it('keep repeated queries with other bounds apart', async () => {
        for (const n of ['1', '2', '3']) await put(n, {}, { order: n, index: { colour: ['red'] } });
        const where = [{ field: 'colour', value: 'red' }];
        for (let time = 0; time < 2; time++) {
          expect(await ids({ where, by: 'order' })).toEqual(['1', '2', '3']);
          expect(await ids({ where, by: 'order', upTo: '2' })).toEqual(['1', '2']);
          expect(await ids({ where, by: 'order', above: '2' })).toEqual(['3']);
          expect(await ids({ where, by: 'order', above: '1', upTo: '2' })).toEqual(['2']);
        }
      });

      it('find a document by its last write when several arrive together', async () => {
        const colours = ['red', 'green', 'blue', 'white'];
        // Each write has another set of colours, so that each drops, keeps and adds some.
        const writes = [0b0011, 0b0110, 0b1100, 0b1001, 0b0000, 0b1111, 0b0101];
        for (const order of [undefined, '1']) {
          await Promise.all(
            writes.map((bits, i) => {
              const colour = colours.filter((_, at) => (bits >> at) % 2 === 1);
              const options = {
                index: { colour },
                ...(order === undefined ? {} : { order: order + String(i % 2) }),
              };
              if (i === 0) return store.create('things', 'a', { colour }, options);
              if (bits === 0) return store.transact(async (tx) => tx.delete('things', 'a'));
              return put('a', { colour }, options);
            }),
          );
          const last = ((await store.get('things', 'a'))?.value.colour ?? []) as readonly string[];
          const found: string[] = [];
          for (const value of colours) {
            const where = [{ field: 'colour', value }];
            const by = await ids({ where, by: 'order' });
            expect(by).toEqual(order === undefined ? [] : await ids({ where }));
            if ((await ids({ where })).includes('a')) found.push(value);
          }
          expect(found).toEqual(last);
        }
      });

      it('return cursors that stay valid while documents are created and deleted', async () => {
        for (const id of ['a', 'b', 'c', 'd']) await put(id);
        const first = await store.query({ collection: 'things', limit: 2 });
        await store.transact(async (tx) => tx.delete('things', 'b'));
        await put('aa');
        await put('bb');
        const rest = await store.query({ collection: 'things', limit: 10, after: first.next ?? '' });
        expect(rest.docs.map(({ id }) => id)).toEqual(['bb', 'c', 'd']);
      });

      it.each(['', 'nonsense', '!!!', Buffer.from('[1]').toString('base64url'), 'eyJhIjoxfQ'])(
        'refuse the cursor %j',
        async (after) => {
          await put('a');
          await expect(store.query({ collection: 'things', limit: 1, after })).rejects.toMatchObject({
            code: 'bad_request',
          });
        },
      );

      it.each([0, -1, 1.5, 10_001, Number.NaN])('refuse the limit %d', async (limit) => {
        await expect(store.query({ collection: 'things', limit })).rejects.toMatchObject({ code: 'bad_request' });
      });

      it('refuse a cursor that belongs to another order', async () => {
        await put('a', {}, { order: '1' });
        await put('b', {}, { order: '2' });
        const { next } = await store.query({ collection: 'things', limit: 1 });
        const mixed = store.query({ collection: 'things', limit: 1, by: 'order', after: next ?? '' });
        await expect(mixed).rejects.toMatchObject({ code: 'bad_request' });
      });
    });

    describe('expiry', () => {
      it('hides a document from its expiry on', async () => {
        await put('a', {}, { expiresAt: opened.now() + 1000, order: '1', index: { colour: ['red'] } });
        opened.advance(999);
        expect(await store.get('things', 'a')).toBeDefined();
        expect(await ids({})).toEqual(['a']);
        opened.advance(1);
        expect(await store.get('things', 'a')).toBeUndefined();
        expect(await store.getAll('things', ['a'])).toEqual([undefined]);
        expect(await ids({})).toEqual([]);
        expect(await ids({ by: 'order' })).toEqual([]);
        expect(await ids({ where: [{ field: 'colour', value: 'red' }] })).toEqual([]);
        expect(await store.count({ collection: 'things' }, 10)).toBe(0);
        expect(await store.transact(async (tx) => tx.get('things', 'a'))).toBeUndefined();
      });

      it('excludes expired documents and documents without an order from a measurement', async () => {
        const order = { order: 'o' };
        await put('a', { text: 'ä' }, order);
        await put('b', { text: 'b' }, { ...order, expiresAt: opened.now() + 1000 });
        await put('c', { text: 'c' });
        const both = { count: 2, bytes: '{"text":"ä"}{"text":"b"}'.length + 1 };
        expect(await store.measure('things', 10)).toEqual(both);
        expect((await store.measure('things', 1)).count).toBe(1);
        opened.advance(1000);
        expect(await store.measure('things', 10)).toEqual({ count: 1, bytes: '{"text":"ä"}'.length + 1 });
        expect(await store.measure('nothing', 10)).toEqual({ count: 0, bytes: 0 });
      });

      it('starts at revision 1 when an expired document is put again', async () => {
        await put('a', {}, { expiresAt: opened.now() + 1000 });
        await put('a', {}, { expiresAt: opened.now() + 1000 });
        opened.advance(1000);
        await put('a', { again: true });
        expect(await store.get('things', 'a')).toEqual({ id: 'a', revision: 1, value: { again: true } });
      });

      it('removes expired documents, at most as many as the limit', async () => {
        await Promise.all(
          Array.from({ length: 10 }, (_, i) =>
            store.create('things', `x${i}`, {}, { expiresAt: opened.now() + 1000, index: { f: ['v'] } }),
          ),
        );
        await put('stays', {}, { expiresAt: opened.now() + 5000 });
        expect(await store.sweep(100)).toBe(0);
        opened.advance(1000);
        expect(await store.sweep(4)).toBe(4);
        expect(await store.sweep(100)).toBe(6);
        expect(await store.sweep(100)).toBe(0);
        expect(await ids({})).toEqual(['stays']);
      });
    });

    describe('watching', () => {
      const collect = async (
        scope: WatchScope,
      ): Promise<{ seen: Change[]; until: (n: number) => Promise<void>; end: () => void }> => {
        const seen: Change[] = [];
        let check = (): void => undefined;
        const watch = store.watch(scope, (changes) => {
          seen.push(...changes);
          check();
        });
        const until = (n: number): Promise<void> =>
          new Promise((resolve, reject) => {
            const timer = setTimeout(() => reject(new Error(`saw ${seen.length} of ${n} changes`)), PATIENCE_MS);
            check = () => {
              if (seen.length < n) return;
              clearTimeout(timer);
              resolve();
            };
            check();
          });
        await watch.ready;
        return { seen, until, end: () => watch.end() };
      };

      it('reports each change of the collection in commit order, and no change of other collections', async () => {
        await put('before');
        const { seen, until, end } = await collect({ collection: 'things' });
        await put('a');
        await until(1);
        await put('a', { n: 2 });
        await until(2);
        await put('z', {}, {}, 'others');
        await store.create('things', 'b', {});
        await store.create('things', 'b', {});
        await until(3);
        await store.transact(async (tx) => tx.delete('things', 'a'));
        await store.transact(async (tx) => tx.delete('things', 'never-there'));
        await until(4);
        end();
        expect(seen).toEqual([
          { collection: 'things', id: 'a', deleted: false },
          { collection: 'things', id: 'a', deleted: false },
          { collection: 'things', id: 'b', deleted: false },
          { collection: 'things', id: 'a', deleted: true },
        ]);
      });

      it('reports the last state of a document that changes quickly', async () => {
        const { seen, until, end } = await collect({ collection: 'things' });
        await Promise.all(Array.from({ length: 20 }, (_, i) => put(`a${i % 4}`, { i })));
        await put('last');
        await store.transact(async (tx) => tx.delete('things', 'a0'));
        while (!seen.some(({ id, deleted }) => id === 'a0' && deleted)) await until(seen.length + 1);
        await put('end');
        while (seen.at(-1)?.id !== 'end') await until(seen.length + 1);
        end();
        expect(new Set(seen.map(({ id }) => id))).toEqual(new Set(['a0', 'a1', 'a2', 'a3', 'last', 'end']));
        expect(seen.filter(({ id }) => id === 'a0').at(-1)?.deleted).toBe(true);
      });

      it('reports only ids with the prefix of the scope', async () => {
        const { seen, until, end } = await collect({ collection: 'things', prefix: 'b/' });
        await put('a/1');
        await put('b/1');
        await put('b0');
        await put('b/2');
        await until(2);
        end();
        expect(seen.map(({ id }) => id)).toEqual(['b/1', 'b/2']);
      });

      it('reports only documents with the index entry of the scope, and as deleted when they lose it', async () => {
        const red = { index: { colour: ['red', 'round'] } };
        await put('before', {}, red);
        const where = { field: 'colour', value: 'red' };
        const { seen, until, end } = await collect({ collection: 'things', where });
        await put('blue', {}, { index: { colour: ['blue'], other: ['red'] } });
        await put('none');
        await store.create('things', 'red', {}, red);
        await until(1);
        await put('blue', {}, red);
        await until(2);
        await put('red', {}, { index: { colour: ['blue'] } });
        await until(3);
        await put('red', { n: 2 });
        await store.transact(async (tx) => tx.delete('things', 'red'));
        await store.transact(async (tx) => tx.delete('things', 'before'));
        await until(4);
        end();
        expect(seen).toEqual([
          { collection: 'things', id: 'red', deleted: false },
          { collection: 'things', id: 'blue', deleted: false },
          { collection: 'things', id: 'red', deleted: true },
          { collection: 'things', id: 'before', deleted: true },
        ]);
      });

      it('reports only the document whose id the scope has', async () => {
        const { seen, until, end } = await collect({ collection: 'things', id: 'a/1' });
        await put('a/1x');
        await put('a/1');
        // Changes in quick succession may be reported as one.
        await until(1);
        await put('a');
        await store.transact(async (tx) => tx.delete('things', 'a/1'));
        await until(2);
        end();
        expect(seen).toEqual([
          { collection: 'things', id: 'a/1', deleted: false },
          { collection: 'things', id: 'a/1', deleted: true },
        ]);
      });

      it('reports the last document by order when the scope is the newest', async () => {
        await put('old', {}, { order: '5' });
        const { seen, until, end } = await collect({ collection: 'things', newest: true });
        await put('new', {}, { order: '6' });
        await until(1);
        end();
        expect(seen[0]).toEqual({ collection: 'things', id: 'new', deleted: false });
      });

      it('ends only one of two watches with the same listener', async () => {
        const { seen, until, end } = await collect({ collection: 'things' });
        const other = await collect({ collection: 'things' });
        await put('a');
        await until(1);
        end();
        await put('b');
        await other.until(2);
        other.end();
        expect(seen.map(({ id }) => id)).toEqual(['a']);
      });

      it('continues for other listeners when one throws', async () => {
        const failing = store.watch({ collection: 'things' }, () => {
          throw new Error('a listener of the test fails');
        });
        const { seen, until, end } = await collect({ collection: 'things' });
        await put('a');
        await until(1);
        failing.end();
        end();
        expect(seen).toHaveLength(1);
      });
    });

    describe('across a restart', () => {
      it('keeps documents, revisions, orders, entries and expiries', async () => {
        const expiresAt = opened.now() + 5000;
        await put('a', { n: 1 }, { order: '1', index: { colour: ['red'] }, expiresAt });
        await put('a', { n: 2 }, { order: '1', index: { colour: ['red'] }, expiresAt });
        store = await opened.reopen();
        expect(await store.get('things', 'a')).toEqual({
          id: 'a',
          revision: 2,
          value: { n: 2 },
          order: '1',
          expiresAt,
        });
        expect(await ids({ where: [{ field: 'colour', value: 'red' }], by: 'order' })).toEqual(['a']);
        expect(await store.create('things', 'a', {})).toBe(false);
        expect(await store.create('things', 'b', {}, { index: { colour: ['red'] } })).toBe(true);
        expect(await ids({ where: [{ field: 'colour', value: 'red' }] })).toEqual(['a', 'b']);
      });

      it('accepts a cursor from before the restart', async () => {
        await put('a');
        await put('b');
        const { next } = await store.query({ collection: 'things', limit: 1 });
        store = await opened.reopen();
        expect(await ids({ after: next ?? '' })).toEqual(['b']);
      });
    });

    it('is unavailable after it is closed, and may be closed twice', async () => {
      await Promise.all([store.close(), store.close()]);
      await expect(put('a')).rejects.toMatchObject({ code: 'unavailable' });
      await expect(store.get('things', 'a')).rejects.toMatchObject({ code: 'unavailable' });
      await expect(store.create('things', 'a', {})).rejects.toMatchObject({ code: 'unavailable' });
    });

    it('finishes operations in flight when it is closed', async () => {
      const writes = Promise.all(Array.from({ length: 50 }, (_, i) => store.create('things', `w${i}`, {})));
      await store.close();
      expect(await writes).toEqual(Array(50).fill(true));
      store = await opened.reopen();
      expect(await store.count({ collection: 'things' }, 100)).toBe(50);
    });
  });
}

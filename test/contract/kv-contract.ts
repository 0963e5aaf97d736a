/** What key-value databases do, on every engine of the store. */
import { CmbsError, newId, systemClock } from '@cmbs/shared';
import { ExactNumber } from '@cmbs/shared/exact-json';
import { KeyValues, type Value } from '@cmbs/shared/services';
import type { Store } from '@cmbs/shared/store';
import type { Database } from '../../shared/services/kv/database';
import type { KeyValueLimits } from '../../shared/services/kv/limits';
import { callerScope, moduleScope, type Scope, scopeNamed } from '../../shared/services/kv/places';
import fc from '../property';
import { extent } from '../extent';
import type { OpenedStore } from './store-contract';

const WEATHER = moduleScope('weather');
const ALICE = callerScope({ kind: 'user', name: 'alice' });

/** A struct with a member of any name, such as `__proto__`. */
const struct = (...members: readonly (readonly [string, Value])[]): Value => Object.fromEntries(members);

export function keyValueContract(engine: string, open: () => Promise<OpenedStore>): void {
  describe(`key-value databases on ${engine}`, () => {
    let opened: OpenedStore;
    let kv: KeyValues;

    const onStore = (store: Store, limits: Partial<KeyValueLimits> = {}): KeyValues =>
      new KeyValues({ store, newId, clock: systemClock, limits });
    const on = <T>(
      work: (database: Database) => Promise<T>,
      name = 'cities',
      scope: Scope = WEATHER,
    ): Promise<T> => kv.use(scope, name, work);
    const codeOf = (work: Promise<unknown>): Promise<unknown> =>
      work.then(
        (value) => value,
        (error: unknown) => (error instanceof CmbsError ? error.code : error),
      );

    beforeEach(async () => {
      opened = await open();
      kv = onStore(opened.store);
    });
    afterEach(() => opened.close());

    it('returns every value as it was written, also after the store was opened again', async () => {
      const values: readonly Value[] = [
        null,
        true,
        'text with \ud800 and \u0000 and ä',
        '',
        -0,
        1.5e300,
        Number.MAX_SAFE_INTEGER,
        new ExactNumber('12345678901234567890'),
        new ExactNumber('3.0'),
        Uint8Array.from([0, 255, 10]),
        new Uint8Array(),
        new Date('2026-11-28T06:00:00.123Z'),
        new Date(-8.64e15),
        [],
        [[null], [new Date(0)]],
        struct(),
        struct(['__proto__', struct(['constructor', 1])], ['toString', [Uint8Array.from([1])]]),
        // Members that look like marks of the encoding.
        struct(['$b', 'not bytes']),
        struct(['$s', struct(['$n', '1'])]),
        struct(['$d', 5], ['other', new Date(5)]),
      ];
      for (const [at, value] of values.entries()) await on((db) => db.put(`value ${at}`, value));
      kv = onStore(await opened.reopen());
      const { entries } = await on((db) => db.list());
      const read = new Map(entries.map(({ key, value }) => [key, value]));
      for (const [at, value] of values.entries()) {
        expect(read.get(`value ${at}`)).toStrictEqual(value);
        expect((await on((db) => db.get(`value ${at}`)))?.value).toStrictEqual(value);
      }
      const proto = read.get('value 16') as Readonly<Record<string, Value>>;
      expect(Object.getOwnPropertyNames(proto)).toEqual(['__proto__', 'toString']);
    });

    it('tells a stored null from an entry that does not exist', async () => {
      expect(await on((db) => db.get('a'))).toBeUndefined();
      await on((db) => db.put('a', null));
      expect(await on((db) => db.get('a'))).toMatchObject({ key: 'a', value: null });
      expect(await on((db) => db.delete('a'))).toBe(true);
      expect(await on((db) => db.delete('a'))).toBe(false);
      expect(await on((db) => db.get('a'))).toBeUndefined();
    });

    it('lists by prefix in the order of the code points, in pages', async () => {
      const keys = ['a', 'a.b', 'a/b', 'a/c', 'ab', 'b', '_', '__x__', 'ä', '\ufffd', '\u{1f600}', '.', '..', '~'];
      for (const key of keys) await on((db) => db.put(key, key));
      const sorted = [...keys].sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
      const pages: string[][] = [];
      let after: string | undefined;
      do {
        const page = await on((db) => db.list({ limit: 5, ...(after === undefined ? {} : { after }) }));
        pages.push(page.entries.map(({ key }) => key));
        after = page.next;
      } while (after !== undefined);
      expect(pages.flat()).toEqual(sorted);
      expect(pages.map(({ length }) => length)).toEqual([5, 5, 4]);
      const some = await on((db) => db.list({ prefix: 'a' }));
      expect(some.entries.map(({ key }) => key)).toEqual(sorted.filter((key) => key.startsWith('a')));
      expect((await on((db) => db.list({ prefix: 'a/', after: 'a/b' }))).entries.map(({ key }) => key)).toEqual([
        'a/c',
      ]);
      expect(await codeOf(on((db) => db.list({ prefix: 'a', after: 'b' })))).toBe('bad_request');
      expect(await codeOf(on((db) => db.list({ limit: 1001 })))).toBe('bad_request');
    });

    it('ends a page early when its values are large', async () => {
      for (const key of ['a', 'b', 'c']) await on((db) => db.put(key, 'x'.repeat(400_000)));
      const { entries, next } = await on((db) => db.list());
      expect([entries.length, next]).toEqual([2, 'b']);
    });

    it('writes only with the right revision, also when an entry was deleted and made again', async () => {
      const first = await on((db) => db.put('a', 1, { revision: '' }));
      expect(await codeOf(on((db) => db.put('a', 2, { revision: '' })))).toBe('precondition_failed');
      const second = await on((db) => db.put('a', 2, { revision: first }));
      expect(await codeOf(on((db) => db.put('a', 3, { revision: first })))).toBe('precondition_failed');
      expect((await on((db) => db.get('a')))?.revision).toBe(second);
      expect(await codeOf(on((db) => db.delete('a', { revision: first })))).toBe('precondition_failed');
      await on((db) => db.delete('a', { revision: second }));
      await on((db) => db.put('a', 1));
      expect(await codeOf(on((db) => db.put('a', 3, { revision: first })))).toBe('precondition_failed');
    });

    it('commits all writes of a transaction, or none', async () => {
      const a = await on((db) => db.put('a', 1));
      const reads = [
        { key: 'a', revision: a },
        { key: 'b', revision: '' },
      ];
      const writes = [{ key: 'a' }, { key: 'b', value: 2 }];
      const done = await on((db) => db.commit({ reads, writes }));
      expect(done).toEqual(['', (await on((db) => db.get('b')))?.revision]);
      expect(await on((db) => db.get('a'))).toBeUndefined();
      expect(await on((db) => db.commit({ reads, writes: [{ key: 'c', value: 1 }] }))).toBeUndefined();
      expect(await on((db) => db.get('c'))).toBeUndefined();
      const twice = { reads: [], writes: [{ key: 'c', value: 1 }, { key: 'c' }] };
      expect(await codeOf(on((db) => db.commit(twice)))).toBe('bad_request');
      const many = Array.from({ length: 65 }, (_, at) => ({ key: `key ${at}`, value: at }));
      expect(await codeOf(on((db) => db.commit({ reads: [], writes: many })))).toBe('bad_request');
      const most = many.slice(1);
      expect(await on((db) => db.commit({ reads: [], writes: most }))).toHaveLength(64);
      expect(await on((db) => db.size())).toEqual({ entries: 65, bytes: 65 * 1024 });
      const large = Array.from({ length: 6 }, (_, at) => ({ key: `key ${at}`, value: 'x'.repeat(900_000) }));
      expect(await codeOf(on((db) => db.commit({ reads: [], writes: large })))).toBe('too_large');
      expect(await on((db) => db.commit({ reads: [], writes: large.slice(0, 4) }))).toHaveLength(4);
    });

    it('increments exactly, and refuses what it cannot add', async () => {
      expect(await on((db) => db.increment('n', 5n))).toBe(5);
      expect(await on((db) => db.increment('n', -7n))).toBe(-2);
      expect(await on((db) => db.increment('n', 2n ** 62n))).toEqual(new ExactNumber(String(2n ** 62n - 2n)));
      expect(await on((db) => db.increment('n', 2n ** 62n + 1n))).toEqual(new ExactNumber(String(2n ** 63n - 1n)));
      expect(await codeOf(on((db) => db.increment('n', 1n)))).toBe('conflict');
      await on((db) => db.put('n', 1.5));
      expect(await codeOf(on((db) => db.increment('n', 1n)))).toBe('conflict');
      await on((db) => db.put('n', 'one'));
      expect(await codeOf(on((db) => db.increment('n', 1n)))).toBe('conflict');
    });

    it('loses no increment of many at the same time, and gives each its own sum', async () => {
      const other = onStore(opened.store);
      const sums = await Promise.all(
        Array.from({ length: 60 }, (_, at) =>
          (at % 2 === 0 ? kv : other).use(WEATHER, 'cities', (db) => db.increment('n', 1n)),
        ),
      );
      expect([...sums].sort((one, next) => Number(one) - Number(next))).toEqual(
        Array.from({ length: 60 }, (_, at) => at + 1),
      );
      expect([kv.inUse, other.inUse]).toEqual([0, 0]);
    });

    it('has one handle of a database in a process', async () => {
      await on(async (outer) => {
        expect(await on(async (inner) => inner === outer && kv.inUse === 1)).toBe(true);
        expect(await on(async (inner) => inner !== outer && kv.inUse === 2, 'other')).toBe(true);
      });
      expect(kv.inUse).toBe(0);
    });

    it('keeps modules, callers, databases and parts apart', async () => {
      const places: readonly (readonly [Scope, string, string | undefined])[] = [
        [WEATHER, 'cities', undefined],
        [WEATHER, 'cities', 'user:alice'],
        [WEATHER, 'cities', 'user:bob'],
        [WEATHER, 'other', undefined],
        [moduleScope('weather2'), 'cities', undefined],
        [ALICE, 'cities', undefined],
        [callerScope({ kind: 'member', name: 'alice' }), 'cities', undefined],
        [callerScope({ kind: 'anonymous', name: 'anonymous' }), 'cities', undefined],
        [callerScope({ kind: 'user', name: 'a/b' }), 'cities', undefined],
      ];
      const options = (of: string | undefined) => (of === undefined ? {} : { of });
      for (const [at, [scope, name, of]] of places.entries())
        await on((db) => db.put('key', at, options(of)), name, scope);
      for (const [at, [scope, name, of]] of places.entries()) {
        const { entries } = await on((db) => db.list(options(of)), name, scope);
        expect(entries.map(({ key, value }) => [key, value])).toEqual([['key', at]]);
      }
      // A token counts as its user.
      expect(callerScope({ kind: 'user', name: 'alice', token: '/cmbs/access/token/1' })).toEqual(ALICE);
      const { entries } = await on((db) => db.listAll());
      expect(entries.map(({ value, of }) => [value, of]).sort()).toEqual(
        [
          [0, undefined],
          [1, 'user:alice'],
          [2, 'user:bob'],
        ].sort(),
      );
    });

    it('bounds keys, values, names and databases', async () => {
      kv = onStore(opened.store, { databases: 2 });
      await on((db) => db.put('k'.repeat(512), 1));
      await on((db) => db.put('/'.repeat(512), 1, { of: 'user:alice' }));
      for (const key of ['', 'k'.repeat(513), 'ä'.repeat(257), 'a\0b', '\ud800']) {
        expect(await codeOf(on((db) => db.put(key, 1)))).toBe('bad_request');
      }
      await on((db) => db.put('large', 'x'.repeat(999_998)));
      expect(await codeOf(on((db) => db.put('large', 'x'.repeat(999_999))))).toBe('too_large');
      expect(await codeOf(on((db) => db.put('large', new Uint8Array(2_000_000))))).toBe('too_large');
      let deep: Value = 1;
      for (let level = 0; level < 129; level++) deep = [deep];
      for (const value of [deep, NaN, new Date(NaN), new ExactNumber('1,2')]) {
        expect(await codeOf(on((db) => db.put('a', value)))).toBe('bad_request');
      }
      for (const name of ['', '1', 'a/b', 'a.b', `a${'b'.repeat(64)}`, '__proto__']) {
        expect(await codeOf(on((db) => db.put('a', 1), name))).toBe('bad_request');
      }
      await on((db) => db.put('a', 1), 'second');
      expect(await codeOf(on((db) => db.put('a', 1), 'third'))).toBe('storage_full');
      expect(await codeOf(kv.register(WEATHER, ['third']))).toBe('storage_full');
      await kv.register(WEATHER, ['second', 'cities']);
      expect(await kv.databases(WEATHER)).toEqual(['cities', 'second']);
      await on((db) => db.drop(), 'second');
      await kv.register(WEATHER, ['third']);
      expect(await kv.databases(WEATHER)).toEqual(['cities', 'third']);
      expect(await kv.databases(ALICE)).toEqual([]);
    });

    it('bounds what a module has, and takes more when something was deleted', async () => {
      kv = onStore(opened.store, { moduleUnits: 100, callerUnits: 10 });
      const fill = async (scope: Scope, name: string, value: Value): Promise<number> => {
        for (let at = 0; ; at++) {
          const code = await codeOf(on((db) => db.put(`key ${at}`, value), name, scope));
          if (code === 'storage_full') return at;
        }
      };
      const most = await fill(WEATHER, 'cities', 'x');
      // Some units are set aside for accounts that have room left.
      expect(most).toBeGreaterThan(50);
      expect(most).toBeLessThanOrEqual(100);
      expect(await on((db) => db.size())).toEqual({ entries: most, bytes: most * 1024 });
      // What an entry has already can be written again, and a counter can go on.
      await on((db) => db.put('key 0', 7));
      expect(await on((db) => db.increment('key 0', 1n))).toBe(8);
      expect(await codeOf(on((db) => db.put('key 0', 'x'.repeat(60_000))))).toBe('storage_full');
      expect(await codeOf(on((db) => db.put('a', 1), 'other'))).toBe('storage_full');
      // Others have their own bound.
      expect(await fill(ALICE, 'cities', 'x')).toBeLessThanOrEqual(10);
      for (let at = 0; at < most; at++) await on((db) => db.delete(`key ${at}`));
      expect(await on((db) => db.size())).toEqual({ entries: 0, bytes: 0 });
      await on((db) => db.put('key 0', 'x'.repeat(20_000)));
      expect(await on((db) => db.drop())).toEqual({ deleted: 1, done: true });
      expect(await kv.allDatabases(undefined)).toMatchObject({ scopes: [{ scope: 'user:alice' }] });
      // Everything was given back.
      expect(await fill(WEATHER, 'cities', 'x'.repeat(30_000))).toBeGreaterThanOrEqual(2);
    });

    it('has exact sizes after any changes', async () => {
      kv = onStore(opened.store, { moduleUnits: 300 });
      const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
      const change = fc.oneof(
        fc.record({ is: fc.constant('put' as const), key, chars: fc.integer({ min: 0, max: 60_000 }) }),
        fc.record({ is: fc.constant('delete' as const), key, chars: fc.constant(0) }),
        fc.record({ is: fc.constant('commit' as const), key, chars: fc.integer({ min: 0, max: 5000 }) }),
      );
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(change, { maxLength: 12 }), async (changes) => {
          const name = `run${(run += 1)}`;
          const units = new Map<string, number>();
          for (const { is, key: at, chars } of changes) {
            const value = 'x'.repeat(chars);
            const charged = Math.ceil((at.length + 2 + chars) / 1024);
            const commit = { reads: [], writes: [{ key: at, value }, { key: 'a' }].slice(0, at === 'a' ? 1 : 2) };
            const work =
              is === 'put'
                ? on((db) => db.put(at, value), name)
                : is === 'delete'
                  ? on((db) => db.delete(at), name)
                  : on((db) => db.commit(commit), name);
            if ((await codeOf(work)) === 'storage_full') continue;
            if (is === 'delete' || (is === 'commit' && at !== 'a')) units.delete(is === 'delete' ? at : 'a');
            if (is !== 'delete') units.set(at, charged);
          }
          const bytes = [...units.values()].reduce((sum, unit) => sum + unit * 1024, 0);
          expect(await on((db) => db.size(), name)).toEqual({ entries: units.size, bytes });
          expect(await on((db) => db.drop(), name)).toEqual({ deleted: units.size, done: true });
          expect(await kv.allDatabases(undefined)).toEqual({ scopes: [] });
        }),
        { numRuns: extent(10, 100) },
      );
    });

    it('deletes a large database in several calls, with what is written meanwhile', async () => {
      const writes = (from: number) =>
        Array.from({ length: 64 }, (_, at) => ({ key: `key ${from + at}`, value: at }));
      for (let from = 0; from < 192; from += 64) await on((db) => db.commit({ reads: [], writes: writes(from) }));
      await on((db) => db.put('mine', 1, { of: 'user:alice' }));
      await on((db) => db.put('kept', 1), 'cities2');
      const hasty = onStore(opened.store, { dropMs: 0 });
      expect(await hasty.use(WEATHER, 'cities', (db) => db.drop())).toEqual({ deleted: 100, done: false });
      expect((await on((db) => db.size())).entries).toBe(93);
      await on((db) => db.put('new', 1));
      expect(await on((db) => db.drop())).toEqual({ deleted: 94, done: true });
      expect((await on((db) => db.list())).entries).toEqual([]);
      expect(await kv.databases(WEATHER)).toEqual(['cities2']);
      expect(await on((db) => db.drop(), 'never')).toEqual({ deleted: 0, done: true });
      expect((await on((db) => db.get('kept'), 'cities2'))?.value).toBe(1);
    });

    it('shows administrators the databases of all, in pages', async () => {
      const names = Array.from({ length: 101 }, (_, at) => `user:user ${at}`);
      await Promise.all(names.map((name) => kv.register(scopeNamed(name), ['b', 'a'])));
      const first = await kv.allDatabases(undefined);
      const second = await kv.allDatabases(first.next);
      expect([first.scopes.length, second.scopes.length, second.next]).toEqual([100, 1, undefined]);
      expect([...first.scopes, ...second.scopes].map(({ scope }) => scope).sort()).toEqual([...names].sort());
      expect(second.scopes[0]).toMatchObject({ databases: ['a', 'b'], reservedBytes: 0 });
    });
  });
}

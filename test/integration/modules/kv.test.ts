/** Key-value databases of modules in worker threads, over the embedded store. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newId, type Principal, systemClock } from '@cmbs/shared';
import { ExactNumber } from '@cmbs/shared/exact-json';
import { FAULT, KeyValues, type Value } from '@cmbs/shared/services';
import { keyValueFunctions } from '@cmbs/shared/services/builtin';
import { moduleScope } from '../../../shared/services/kv/places';
import { openTemporaryStore, type TemporaryStore } from '../../contract/temporary-store';
import { moduleOf, Modules, WorkerProgram } from './support';

const ALICE: Principal = { kind: 'user', name: 'alice' };
const BOB: Principal = { kind: 'user', name: 'bob' };
const ANONYMOUS: Principal = { kind: 'anonymous', name: 'anonymous' };

let worker: WorkerProgram;
let opened: TemporaryStore;
let keyValues: KeyValues;
let modules: Modules;

beforeAll(() => {
  worker = new WorkerProgram();
});
afterAll(() => worker.remove());
beforeEach(async () => {
  opened = await openTemporaryStore();
  keyValues = new KeyValues({ store: opened.store, newId, clock: systemClock });
  modules = new Modules(worker);
});
afterEach(async () => {
  await modules.close();
  await opened.close();
});

const open = (): Promise<void> => modules.open({ functions: keyValueFunctions(keyValues) });
/** A method that passes its arguments to a function of `context.kv`. */
const passing = (name: string): string => `({ kv }, args) => kv.${name}(...args)`;

describe('the key-value databases of a module', () => {
  it('keep any value, as the module gave it', async () => {
    modules.write(
      'keeps/index.mjs',
      moduleOf({
        put: passing('put'),
        get: `async ({ kv }, [key]) => (await kv.get('values', key))?.value ?? null`,
        all: passing('list'),
      }),
    );
    await open();
    const value: Value = Object.fromEntries<Value>([
      ['__proto__', [new Date(0), Uint8Array.from([1, 2])]],
      ['n', new ExactNumber('12345678901234567890')],
      ['$b', null],
    ]);
    await modules.call('keeps.put', ['values', 'a', value]);
    expect(await modules.call('keeps.get', ['a'])).toStrictEqual(value);
    expect(await modules.call('keeps.get', ['none'])).toBeNull();
    expect(await modules.call('keeps.all', ['values'])).toMatchObject({ entries: [{ key: 'a' }], next: null });
  });

  it.each([
    [
      'increments',
      `async ({ kv }, [n]) => { for (let i = 0; i < n; i++) await kv.increment('counters', 'n'); }`,
      200,
    ],
    [
      'increments that do not wait for each other',
      `async ({ kv }, [n]) => {
        const hundred = () => Promise.all(Array.from({ length: 100 }, () => kv.increment('counters', 'n')));
        for (let i = 0; i < n; i += 100) await hundred();
      }`,
      10_000,
    ],
    [
      'transactions',
      `async ({ kv }, [n]) => {
        for (let i = 0; i < n; i++) {
          await kv.transact('counters', async (tx) => {
            const count = (await tx.get('n'))?.value ?? 0;
            tx.put('n', count + 1);
          });
        }
      }`,
      150,
    ],
  ])('lose no update of two threads that make %s of one counter', async (_what, add, times) => {
    modules.write('counts/index.mjs', moduleOf({ add, get: passing('get') }));
    // Another worker for the same databases, as there is when a version replaces another while calls go on.
    const other = new Modules(worker);
    other.write('counts/index.mjs', moduleOf({ add, get: passing('get') }));
    await open();
    await other.open({ functions: keyValueFunctions(keyValues) });
    await Promise.all([modules.call('counts.add', [times]), other.call('counts.add', [times])]);
    expect(await modules.call('counts.get', ['counters', 'n'])).toMatchObject({ value: 2 * times });
    await other.close();
  });

  it('let transactions through while others increment the same entry all the time', async () => {
    const source = moduleOf({
      increment: `async ({ kv }, [loops, n]) => {
        const loop = async () => { for (let i = 0; i < n; i++) await kv.increment('counters', 'n'); };
        await Promise.all(Array.from({ length: loops }, loop));
      }`,
      transact: `async ({ kv }, [n]) => {
        for (let i = 0; i < n; i++) {
          await kv.transact('counters', async (tx) => {
            tx.put('n', ((await tx.get('n'))?.value ?? 0) + 1);
          });
        }
      }`,
      refused: `async ({ kv }) => {
        await kv.commit('counters', { reads: [{ key: 'n', revision: 'other' }], writes: [] });
        return kv.increment('counters', 'n');
      }`,
    });
    const other = new Modules(worker);
    for (const host of [modules, other]) host.write('mixed/index.mjs', source);
    await open();
    await other.open({ functions: keyValueFunctions(keyValues) });
    await Promise.all([modules.call('mixed.increment', [4, 200]), other.call('mixed.transact', [30])]);
    // A transaction that does not run again holds nobody up for long.
    expect(await modules.call('mixed.refused')).toBe(831);
    await other.close();
  });

  it('are reached by their module alone, also in startup and after a reload', async () => {
    const source = moduleOf(
      { put: passing('put'), get: passing('get'), databases: passing('databases') },
      `export const startup = async (server) => {
         await server.kv.register(['data', 'empty']);
         await server.kv.increment('data', 'starts');
       };`,
    );
    modules.write('one/index.mjs', source);
    modules.write('two/index.mjs', source);
    await open();
    await modules.call('one.put', ['data', 'a', 1]);
    expect(await modules.call('two.get', ['data', 'a'])).toBeNull();
    expect(await modules.call('two.databases')).toEqual(['data', 'empty']);
    // The module of another name that asks for them by any name does not get them.
    for (const name of ['module:one/data', 'one/data', '../one/data']) {
      expect((await modules.fault('two.get', [name, 'a'])).data).toEqual({ code: 'bad_request' });
    }
    writeFileSync(join(modules.directory, 'one/index.mjs'), `${source}\nexport const version = '2';`);
    await modules.logged(({ fields }) => fields.version === '2', 'the new version is started');
    expect(await modules.call('one.get', ['data', 'a'])).toMatchObject({ value: 1 });
    expect(await modules.call('one.get', ['data', 'starts'])).toMatchObject({ value: 2 });
    expect(keyValues.inUse).toBe(0);
  });

  it('keep the data of one caller, or of one session, from the others', async () => {
    modules.write(
      'notes/index.mjs',
      moduleOf({
        put: passing('put'),
        get: passing('get'),
        list: passing('list'),
        increment: passing('increment'),
      }),
    );
    await open();
    const as = (principal: Principal, session?: string) => ({
      principal,
      ...(session === undefined ? {} : { session }),
    });
    const mine = { mine: true };
    await modules.call('notes.put', ['notes', 'a', 'common']);
    await modules.call('notes.put', ['notes', 'a', 'of alice', mine], as(ALICE));
    await modules.call('notes.put', ['notes', 'a', 'of bob', mine], as(BOB));
    await modules.call('notes.put', ['notes', 'a', 'of nobody', mine], as(ANONYMOUS));
    await modules.call('notes.put', ['notes', 'a', 'of s1', { mine: 'session' }], as(ALICE, 's1'));
    const read = async (options: Value, more: object): Promise<unknown> =>
      ((await modules.call('notes.get', ['notes', 'a', options], more)) as { value?: unknown } | null)?.value;
    expect(await read({}, as(BOB))).toBe('common');
    expect(await read(mine, as(ALICE))).toBe('of alice');
    expect(await read(mine, as({ ...ALICE, token: '/cmbs/access/token/1' }))).toBe('of alice');
    expect(await read(mine, as(BOB))).toBe('of bob');
    expect(await read(mine, as(ANONYMOUS))).toBe('of nobody');
    expect(await read(mine, as({ kind: 'member', name: 'alice' }))).toBeUndefined();
    expect(await read({ mine: 'session' }, as(BOB, 's1'))).toBe('of s1');
    expect(await read({ mine: 'session' }, as(ALICE, 's2'))).toBeUndefined();
    expect((await modules.fault('notes.get', ['notes', 'a', { mine: 'session' }])).data).toEqual({
      code: 'bad_request',
    });
    expect(await modules.call('notes.list', ['notes', mine], as(BOB))).toMatchObject({
      entries: [{ value: 'of bob' }],
    });
    expect(await modules.call('notes.increment', ['notes', 'n', 2, mine], as(BOB))).toBe(2);
    expect((await keyValues.use(moduleScope('notes'), 'notes', (db) => db.listAll())).entries).toHaveLength(6);
  });

  it('say what is wrong with a call', async () => {
    modules.write(
      'asks/index.mjs',
      moduleOf({
        ask: `({ kv }, [name, ...args]) => kv[name](...args)`,
        names: `({ kv }) => Object.keys(kv).sort()`,
      }),
    );
    await open();
    for (const args of [
      ['get', 'data'],
      ['get', 'data', 1],
      ['get', 1, 'a'],
      ['get', 'data', 'a', { of: 'user:bob' }],
      ['get', 'data', 'a', { mine: 'bob' }],
      ['put', 'data', 'a'],
      ['put', 'data', 'a', 1, { revision: 1 }],
      ['increment', 'data', 'a', 1.5],
      ['increment', 'data', 'a', '1'],
      ['increment', 'data', 'a', new ExactNumber('9223372036854775808')],
      ['list', 'data', { limit: '1' }],
      ['commit', 'data', { reads: [], writes: [{ key: 1 }] }],
      ['register', 'data'],
    ] as const) {
      expect([args, (await modules.fault('asks.ask', args)).code]).toEqual([args, FAULT.invalidParams]);
    }
    expect((await modules.fault('asks.ask', ['put', 'data', 'a', 'x'.repeat(1_000_001)])).data).toEqual({
      code: 'too_large',
    });
    expect((await modules.fault('asks.ask', ['put', 'data', '', 1])).data).toEqual({ code: 'bad_request' });
    expect(await modules.call('asks.names')).toEqual([
      'commit',
      'databases',
      'delete',
      'drop',
      'get',
      'increment',
      'list',
      'put',
      'register',
      'size',
      'transact',
    ]);
  });
});

describe('a transaction of a module', () => {
  const transactions = moduleOf({
    /** Another transaction changes the entry during the first run. */
    again: `async ({ kv }) => {
      let runs = 0;
      await kv.put('data', 'a', 1);
      const result = await kv.transact('data', async (tx) => {
        const { value } = await tx.get('a');
        runs += 1;
        if (runs === 1) await kv.put('data', 'a', 10);
        tx.put('a', value + 1);
        tx.put('b', value);
        return value;
      });
      return [runs, result, (await kv.get('data', 'a')).value, (await kv.get('data', 'b')).value];
    }`,
    /** One that inserts a key that was read as absent. */
    absent: `async ({ kv }) => {
      let runs = 0;
      await kv.transact('data', async (tx) => {
        runs += 1;
        const found = await tx.get('new');
        if (found === null) await kv.put('data', 'new', 'first');
        tx.put('new', found === null ? 'lost' : found.value + ', second');
      });
      return [runs, (await kv.get('data', 'new')).value];
    }`,
    /** Reads that never were true at one time lead to an error in the first run. */
    torn: `async ({ kv }) => {
      let runs = 0;
      await kv.put('data', 'x', 1); await kv.put('data', 'y', 1);
      return kv.transact('data', async (tx) => {
        runs += 1;
        const x = (await tx.get('x')).value;
        if (runs === 1) { await kv.put('data', 'x', 2); await kv.put('data', 'y', 2); }
        const y = (await tx.get('y')).value;
        if (x !== y) throw new Error('torn');
        tx.delete('x');
        return [runs, x, y];
      });
    }`,
    throws: `async ({ kv, Fault }) => {
      await kv.put('data', 'kept', 1);
      await kv.transact('data', async (tx) => {
        await tx.get('kept');
        tx.delete('kept');
        throw new Fault(7, 'No.');
      }).catch((error) => { if (error.code !== 7) throw error; });
      return (await kv.get('data', 'kept')).value;
    }`,
    late: `async ({ kv }) => kv.transact('data', async (tx) => { tx.put('a', 1); await tx.get('b'); })`,
    escaped: `async ({ kv }) => {
      let kept;
      await kv.transact('data', (tx) => { kept = tx; });
      try { kept.put('a', 1); } catch (error) { return error.message; }
    }`,
    never: `async ({ kv }) => {
      let runs = 0;
      await kv.transact('data', async (tx) => {
        runs += 1;
        await tx.get('busy');
        const revision = (await kv.get('data', 'busy'))?.revision ?? '';
        await kv.put('data', 'busy', runs, { revision });
        tx.put('busy', -1);
      }).catch(async (error) => { await kv.put('data', 'code', error.code); });
      return [runs, (await kv.get('data', 'busy')).value, (await kv.get('data', 'code')).value];
    }`,
    mine: `async ({ kv }) => {
      await kv.transact('data', (tx) => tx.put('own', 1), { mine: true });
      return [await kv.get('data', 'own'), (await kv.get('data', 'own', { mine: true })).value];
    }`,
  });

  beforeEach(async () => {
    modules.write('tx/index.mjs', transactions);
    await open();
  });

  it.each([
    ['runs again when an entry has changed', 'again', [2, 10, 11, 10]],
    ['runs again when an entry was made that did not exist', 'absent', [2, 'first, second']],
    ['runs again when an error follows from entries of different times', 'torn', [2, 2, 2]],
    ['writes nothing when it throws', 'throws', 1],
    [
      'refuses to be used when it has ended',
      'escaped',
      'The transaction has ended; await every call inside its function.',
    ],
    ['ends after many conflicts', 'never', [30, 30, FAULT.refused]],
    ['has the entries of the caller, when it asks for them', 'mine', [null, 1]],
  ])('%s', async (_what, method, result) => {
    expect(await modules.call(`tx.${method}`)).toEqual(result);
  });

  it('refuses to read after a write', async () => {
    expect((await modules.fault('tx.late')).code).toBe(FAULT.internalError);
    await modules.logged(({ fields }) => String(fields.cause).includes('reads before it writes'), 'the cause');
  });
});

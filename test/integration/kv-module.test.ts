/** The built-in module `kv`, with the access rules of a closed deployment. */
import { ANONYMOUS, newId, type Principal, silentLog, systemClock } from '@cmbs/shared';
import { openAccess } from '@cmbs/shared/access';
import { Fault, FAULT, KeyValues, type Services, standardServices, type Value } from '@cmbs/shared/services';
import { keyValueModule } from '@cmbs/shared/services/builtin';
import { moduleScope } from '../../shared/services/kv/places';
import { ACCESS, ClosedDeployment } from './access-support';

let here: ClosedDeployment;
let root: Principal;
let alice: Principal;
let bob: Principal;
let keyValues: KeyValues;
let services: Services;

beforeEach(async () => {
  here = await ClosedDeployment.open();
  [root, alice, bob] = [await here.user('root'), await here.user('alice'), await here.user('bob')];
  keyValues = new KeyValues({ store: here.counted.store, newId, clock: systemClock });
  const { access } = here;
  services = standardServices({ clock: systemClock, newId, authorize: access.authorize });
  services.register(
    keyValueModule({ keyValues, isAdministrator: (principal) => access.isAdministrator(principal) }),
  );
});
afterEach(() => here.close());

/** The result of a call, or what its fault says. */
const call = (principal: Principal, method: string, ...args: readonly Value[]): Promise<unknown> =>
  services
    .call(`kv.${method}`, args, { principal, signal: new AbortController().signal, log: silentLog })
    .catch((error: unknown) => {
      if (!(error instanceof Fault)) throw error;
      return (error.data as { readonly code?: string } | undefined)?.code ?? error.code;
    });

it('gives each caller databases of its own', async () => {
  const revision = await call(alice, 'put', 'notes', 'a', 'of alice');
  expect(await call(alice, 'get', 'notes', 'a')).toEqual({ key: 'a', value: 'of alice', revision });
  expect(await call(bob, 'get', 'notes', 'a')).toBe('not_found');
  expect(await call(bob, 'databases')).toEqual([]);
  expect(await call(bob, 'put', 'notes', 'a', ['of bob'])).toEqual(expect.any(String));
  expect(await call(alice, 'put_if', 'notes', 'a', 'changed', revision as string)).toEqual(expect.any(String));
  expect(await call(alice, 'put_if', 'notes', 'a', 'lost', revision as string)).toBe('precondition_failed');
  expect(await call(alice, 'put_if', 'notes', 'b', 1, '')).toEqual(expect.any(String));
  expect(await call(alice, 'increment', 'notes', 'b')).toBe(2);
  expect(await call(alice, 'increment', 'notes', 'b', 40)).toBe(42);
  expect(await call(alice, 'list', 'notes')).toMatchObject({
    entries: [
      { key: 'a', value: 'changed' },
      { key: 'b', value: 42 },
    ],
    next: '',
  });
  expect(await call(alice, 'list', 'notes', '', '', 1)).toMatchObject({ entries: [{ key: 'a' }], next: 'a' });
  expect(await call(alice, 'list', 'notes', '', 'a', 0)).toMatchObject({ entries: [{ key: 'b' }], next: '' });
  expect(await call(alice, 'list', 'notes', 'x')).toEqual({ entries: [], next: '' });
  expect(await call(alice, 'size', 'notes')).toEqual({ entries: 2, bytes: 2048 });
  expect(await call(alice, 'delete', 'notes', 'a', 'other')).toBe('precondition_failed');
  expect(await call(alice, 'delete', 'notes', 'a')).toBe(true);
  expect(await call(alice, 'delete', 'notes', 'a')).toBe(false);
  expect(await call(alice, 'drop', 'notes')).toEqual({ deleted: 1, done: true });
  expect(await call(alice, 'databases')).toEqual([]);
  expect(await call(bob, 'get', 'notes', 'a')).toMatchObject({ value: ['of bob'] });
});

it('gives an access token the databases of its user, within the limits of the token', async () => {
  await here.put(alice, '/cmbs/access/token/reads', `${ACCESS}token`, {
    'cmbs.access.token.targets': ['method:kv.get'],
  });
  const token: Principal = { ...alice, token: '/cmbs/access/token/reads' };
  await call(alice, 'put', 'notes', 'a', 1);
  expect(await call(token, 'get', 'notes', 'a')).toMatchObject({ value: 1 });
  expect(await call(token, 'put', 'notes', 'a', 2)).toBe('forbidden');
});

it('refuses callers without credentials, who share their databases where everything is open', async () => {
  expect(await call(ANONYMOUS, 'databases')).toBe('unauthenticated');
  const open = openAccess(here.counted.store, systemClock);
  services = standardServices({ clock: systemClock, newId, authorize: open.authorize });
  services.register(
    keyValueModule({ keyValues, isAdministrator: (principal) => open.isAdministrator(principal) }),
  );
  await call(ANONYMOUS, 'put', 'notes', 'a', 1);
  expect(await call(ANONYMOUS, 'databases')).toEqual(['notes']);
  expect(await call(ANONYMOUS, 'all_databases')).toMatchObject({ owners: [{ owner: 'anonymous' }] });
});

it('shows administrators the databases of all, and lets them delete these', async () => {
  await call(alice, 'put', 'notes', 'a', 1);
  await keyValues.use(moduleScope('gone'), 'data', async (database) => {
    await database.put('common', 1);
    await database.put('own', 2, { of: 'user:alice' });
  });
  // Whatever a rule says of all methods.
  await here.rule(root, 'all', 'method:kv', { allow: ['known'] });
  const asked: readonly (readonly [string, ...Value[]])[] = [
    ['all_databases'],
    ['size_any', 'user:alice', 'notes'],
    ['list_any', 'user:alice', 'notes'],
    ['drop_any', 'user:alice', 'notes'],
  ];
  for (const [method, ...args] of asked) expect(await call(bob, method, ...args)).toBe('forbidden');

  const { owners } = (await call(root, 'all_databases')) as {
    readonly owners: readonly { readonly owner: string }[];
  };
  expect([...owners].sort((one, other) => one.owner.localeCompare(other.owner))).toEqual([
    { owner: 'module:gone', databases: ['data'], reserved_bytes: expect.any(Number) as number },
    { owner: 'user:alice', databases: ['notes'], reserved_bytes: expect.any(Number) as number },
  ]);
  expect(await call(root, 'size_any', 'module:gone', 'data')).toEqual({ entries: 2, bytes: 2048 });
  const first = (await call(root, 'list_any', 'module:gone', 'data', '', 1)) as { readonly next: string };
  expect(first).toMatchObject({ entries: [{ key: 'common', value: 1 }] });
  expect(await call(root, 'list_any', 'module:gone', 'data', first.next, 1)).toMatchObject({
    entries: [{ key: 'own', value: 2, of: 'user:alice' }],
  });
  expect(await call(root, 'list_any', 'user:alice', 'notes')).toMatchObject({ entries: [{ key: 'a' }], next: '' });
  expect(await call(root, 'drop_any', 'module:gone', 'data')).toEqual({ deleted: 2, done: true });
  expect(await call(root, 'drop_any', 'user:alice', 'notes')).toEqual({ deleted: 1, done: true });
  expect(await call(root, 'all_databases')).toEqual({ owners: [], next: '' });
  expect(await call(alice, 'databases')).toEqual([]);
});

it('refuses wrong arguments', async () => {
  const wrong: readonly (readonly [string, ...Value[]])[] = [
    ['databases', 1],
    ['get', 'notes'],
    ['get', 'notes', 1],
    ['get', 'notes', 'a', 'b'],
    ['put', 'notes', 'a'],
    ['put_if', 'notes', 'a', 1],
    ['delete', 'notes', 'a', 1],
    ['increment', 'notes', 'a', 'b'],
    ['increment', 'notes', 'a', 1.5],
    ['list', 'notes', 1],
    ['drop'],
  ];
  for (const [method, ...args] of wrong) {
    expect([method, args, await call(alice, method, ...args)]).toEqual([method, args, FAULT.invalidParams]);
  }
  for (const [method, ...args] of [
    ['get', '../notes', 'a'],
    ['get', 'notes', ''],
    ['list', 'notes', '', '', 1001],
    ['list', 'notes', 'b', 'a'],
  ] as const) {
    expect([method, args, await call(alice, method, ...args)]).toEqual([method, args, 'bad_request']);
  }
});

it('describes every method', () => {
  const methods = services.list().filter(({ name }) => name.startsWith('kv.'));
  expect(methods).toHaveLength(13);
  for (const { name, flags } of methods) {
    expect([name, flags.callers]).toEqual([name, /all_|_any/.test(name) ? 'administrators' : 'known']);
  }
});

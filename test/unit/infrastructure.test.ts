import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allowAll, CmbsError, newId, SYSTEM, systemClock, type ErrorCode, type Json } from '@cmbs/shared';
import {
  Actions,
  Categories,
  Entities,
  type Entity,
  infrastructure,
  type Requester,
  splitCategoryId,
} from '@cmbs/shared/occi';
import { INFRASTRUCTURE_PROVIDER } from '../../shared/occi/infrastructure';
import type { Draft } from '../../shared/occi/drafts';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Store } from '@cmbs/shared/store';
import { notEmpty } from '../not-empty';

const INFRA = 'http://schemas.ogf.org/occi/infrastructure#';
const SIZES = 'http://schemas.ogf.org/occi/infrastructure/compute/template/1.1#';
const IP_INTERFACE = 'http://schemas.ogf.org/occi/infrastructure/networkinterface#ipnetworkinterface';
const IP_NETWORK = 'http://schemas.ogf.org/occi/infrastructure/network#ipnetwork';

const requester: Requester = {
  principal: { kind: 'user', name: 'tester' },
  pathHere: ({ path }: { readonly path: string }) => path,
};
const caller = { principal: requester.principal, waitMs: 0, signal: new AbortController().signal };

let directory: string;
let store: Store;
let categories: Categories;
let entities: Entities;
let actions: Actions;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-infrastructure-'));
  store = await openSqliteStore({ directory, clock: systemClock });
  categories = new Categories(store, [
    infrastructure({ store, clock: systemClock, categories: () => categories }),
  ]);
  entities = new Entities({ store, categories, clock: systemClock, newId, authorize: allowAll });
  actions = new Actions(categories, entities, allowAll);
});

afterAll(async () => {
  categories.close();
  await store.close();
  await rm(directory, { recursive: true });
});

interface Wanted {
  readonly mixins?: readonly string[];
  readonly values?: Readonly<Record<string, Json>>;
}

const draft = (term: string, { mixins = [], values = {} }: Wanted): Draft => ({
  kind: INFRA + term,
  mixins,
  values,
  rawJson: {},
  links: [],
});

async function create(term: string, wanted: Wanted = {}): Promise<Entity> {
  const {
    paths: [path],
  } = await entities.create([draft(term, wanted)], '/', requester);
  return (await entities.read(path!, SYSTEM)).entity;
}

async function link(term: string, wanted: Wanted = {}): Promise<Entity> {
  const [source, target] = [
    await create('compute'),
    await (term === 'storagelink' ? create('storage', { values: { 'occi.storage.size': 1 } }) : create('network')),
  ];
  const ends = { 'occi.core.source': source.path, 'occi.core.target': target.path };
  return create(term, { ...wanted, values: { ...ends, ...wanted.values } });
}

async function act(entity: Entity, term: string, values: Readonly<Record<string, Json>> = {}): Promise<Entity> {
  await actions.actOn(entity.path, { term, input: { values }, caller }, () => undefined);
  return (await entities.read(entity.path, SYSTEM)).entity;
}

async function applicable(entity: Entity): Promise<readonly (string | undefined)[]> {
  const view = await entities.view((await entities.read(entity.path, SYSTEM)).entity, SYSTEM);
  return view.actions.map((id) => splitCategoryId(id)?.term);
}

async function refusal(running: Promise<unknown>): Promise<ErrorCode> {
  const outcome = await running.then(
    () => new Error('It was not refused.'),
    (thrown: unknown) => thrown,
  );
  if (!(outcome instanceof CmbsError)) throw outcome;
  return outcome.code;
}

describe('the definitions of OCCI Infrastructure', () => {
  it('refer only to categories that exist', async () => {
    const { registry } = await categories.current();
    for (const category of notEmpty(registry.all)) {
      if (category.class === 'action') continue;
      for (const id of category.actions) expect(registry.action(id)).toBeDefined();
      if (category.class === 'mixin') {
        for (const id of category.depends) expect(registry.mixin(id)).toBeDefined();
        for (const id of category.applies) expect(registry.kind(id)).toBeDefined();
      }
    }
  });

  it.each([
    [`${INFRA}compute`, '/compute/'],
    [`${INFRA}network`, '/network/'],
    [`${INFRA}storage`, '/storage/'],
    [`${INFRA}storagelink`, '/storagelink/'],
    [`${INFRA}networkinterface`, '/networkinterface/'],
    [`${INFRA}os_tpl`, '/os_tpl/'],
    [`${INFRA}resource_tpl`, '/resource_tpl/'],
    [IP_NETWORK, '/network/ipnetwork/'],
    [IP_INTERFACE, '/networkinterface/ipnetworkinterface/'],
    [`${SIZES}medium`, '/resource_tpl/medium/'],
  ])('have %s at %s', async (id, location) => {
    expect((await categories.current()).registry.find(id)).toMatchObject({ location, origin: 'extension' });
  });

  it('bind every kind to the same provider', async () => {
    const snapshot = await categories.current();
    for (const term of ['compute', 'network', 'storage', 'storagelink', 'networkinterface']) {
      expect(snapshot.providerOf(INFRA + term)?.name).toBe(INFRASTRUCTURE_PROVIDER);
    }
  });
});

describe('a compute', () => {
  it('starts inactive', async () => {
    const made = await create('compute');
    expect(made.attributes['occi.compute.state']).toBe('inactive');
    expect(await applicable(made)).toEqual(['start', 'save']);
  });

  it('changes its state as the standard says', async () => {
    let one = await create('compute');
    for (const [term, state, next] of [
      ['start', 'active', ['stop', 'restart', 'suspend', 'save']],
      ['restart', 'active', ['stop', 'restart', 'suspend', 'save']],
      ['suspend', 'suspended', ['start', 'save']],
      ['save', 'suspended', ['start', 'save']],
      ['start', 'active', ['stop', 'restart', 'suspend', 'save']],
      ['stop', 'inactive', ['start', 'save']],
    ] as const) {
      one = await act(one, term);
      expect([term, one.attributes['occi.compute.state']]).toEqual([term, state]);
      expect(await applicable(one)).toEqual(next);
    }
  });

  it.each(['stop', 'restart', 'suspend'])('refuses to %s while it is inactive', async (term) => {
    expect(await refusal(act(await create('compute'), term))).toBe('conflict');
  });

  it('starts once if two requests start it at the same time', async () => {
    const one = await create('compute');
    const outcomes = await Promise.allSettled([act(one, 'start'), act(one, 'start')]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const rejected = outcomes.find((outcome) => outcome.status === 'rejected');
    expect(rejected?.reason).toMatchObject({ code: 'conflict' });
  });

  it('accepts the methods of the standard and no others', async () => {
    const one = await act(await create('compute'), 'start');
    expect(await refusal(act(one, 'stop', { method: 'kick' }))).toBe('bad_attribute');
    expect((await act(one, 'stop', { method: 'graceful' })).attributes['occi.compute.state']).toBe('inactive');
  });

  it.each<[string, Json]>([
    ['occi.compute.state', 'active'],
    ['occi.compute.state.message', 'fine'],
    ['occi.compute.architecture', 'z80'],
    ['occi.compute.cores', 'two'],
    ['occi.compute.cores', 1.5],
    ['occi.compute.cores', 0],
    ['occi.compute.memory', -1],
  ])('cannot be made with %s = %j', async (name, value) => {
    expect(await refusal(create('compute', { values: { [name]: value } }))).toBe('bad_attribute');
  });

  it('accepts the state that it has', async () => {
    const made = await create('compute', { values: { 'occi.compute.state': 'inactive' } });
    expect(made.attributes['occi.compute.state']).toBe('inactive');
  });

  it.each([
    ['small', 1, 1],
    ['medium', 2, 2],
    ['large', 4, 4],
  ])('of size %s has %i cores and %i GB', async (size, cores, memory) => {
    const { attributes } = await create('compute', { mixins: [SIZES + size] });
    expect([attributes['occi.compute.cores'], attributes['occi.compute.memory']]).toEqual([cores, memory]);
  });

  it('of a size keeps the cores that the client gives', async () => {
    const made = await create('compute', { mixins: [`${SIZES}medium`], values: { 'occi.compute.cores': 3 } });
    expect(made.attributes).toMatchObject({ 'occi.compute.cores': 3, 'occi.compute.memory': 2 });
  });

  it('accepts user data once and only once', async () => {
    const mixins = ['http://schemas.ogf.org/occi/infrastructure/compute#user_data'];
    const values = { 'occi.compute.userdata': 'hello' };
    expect(await refusal(create('compute', { mixins }))).toBe('bad_attribute');
    const made = await create('compute', { mixins, values });
    const change = (text: string): Promise<unknown> =>
      entities.update(
        made.path,
        () => ({ mixins: [], values: { 'occi.compute.userdata': text }, rawJson: {}, links: [] }),
        requester,
      );
    expect(await refusal(change('other'))).toBe('bad_attribute');
    await change('hello');
    expect((await entities.read(made.path, SYSTEM)).entity.attributes).toMatchObject(values);
  });

  it('cannot have an IP network', async () => {
    expect(await refusal(create('compute', { mixins: [IP_NETWORK] }))).toBe('bad_request');
  });
});

describe('a network', () => {
  it('goes up and down', async () => {
    const made = await create('network', {
      mixins: [IP_NETWORK],
      values: { 'occi.network.address': '10.0.0.0/8' },
    });
    expect(made.attributes['occi.network.state']).toBe('inactive');
    expect(await applicable(made)).toEqual(['up']);
    expect(await refusal(act(made, 'down'))).toBe('conflict');
    expect((await act(made, 'up')).attributes['occi.network.state']).toBe('active');
    expect(await applicable(made)).toEqual(['down']);
    expect((await act(made, 'down')).attributes['occi.network.state']).toBe('inactive');
  });

  it.each<[string, Json]>([
    ['occi.network.vlan', 4096],
    ['occi.network.vlan', 1.5],
    ['occi.network.address', 'near'],
    ['occi.network.allocation', 'random'],
  ])('cannot be made with %s = %j', async (name, value) => {
    const wanted = { mixins: [IP_NETWORK], values: { [name]: value } };
    expect(await refusal(create('network', wanted))).toBe('bad_attribute');
  });
});

describe('a storage', () => {
  const made = (): Promise<Entity> => create('storage', { values: { 'occi.storage.size': 2.5 } });

  it('needs a size', async () => {
    expect(await refusal(create('storage'))).toBe('bad_attribute');
  });

  it('changes its state as the standard says', async () => {
    let one = await made();
    expect(one.attributes['occi.storage.state']).toBe('offline');
    expect(await applicable(one)).toEqual(['online']);
    for (const [term, state] of [
      ['online', 'online'],
      ['backup', 'online'],
      ['snapshot', 'online'],
      ['offline', 'offline'],
    ] as const) {
      one = await act(one, term);
      expect([term, one.attributes['occi.storage.state']]).toEqual([term, state]);
    }
    expect(await refusal(act(one, 'backup'))).toBe('conflict');
  });

  it('is resized to the requested size', async () => {
    const one = await act(await made(), 'online');
    expect(await refusal(act(one, 'resize'))).toBe('bad_attribute');
    expect(await refusal(act(one, 'resize', { size: 0 }))).toBe('bad_attribute');
    expect((await act(one, 'resize', { size: 10 })).attributes).toMatchObject({
      'occi.storage.size': 10,
      'occi.storage.state': 'online',
    });
  });
});

describe('a storage link', () => {
  it('gets a device id when the client gives none', async () => {
    const { attributes } = await link('storagelink');
    expect(attributes['occi.storagelink.deviceid']).toMatch(/^\/dev\/./);
    expect(attributes['occi.storagelink.state']).toBe('active');
  });

  it('keeps the device id of the client', async () => {
    const { attributes } = await link('storagelink', { values: { 'occi.storagelink.deviceid': '/dev/vdb' } });
    expect(attributes['occi.storagelink.deviceid']).toBe('/dev/vdb');
  });
});

describe('a network interface', () => {
  it('gets a MAC address and a device name of its own', async () => {
    const [one, other] = [await link('networkinterface'), await link('networkinterface')];
    expect(one.attributes['occi.networkinterface.mac']).toMatch(/^02(:[0-9a-f]{2}){5}$/);
    expect(one.attributes['occi.networkinterface.interface']).toMatch(/^enx02[0-9a-f]{10}$/);
    expect(one.attributes['occi.networkinterface.mac']).not.toBe(other.attributes['occi.networkinterface.mac']);
    expect(one.attributes['occi.networkinterface.state']).toBe('active');
  });

  it("accepts the client's device name at creation only", async () => {
    const made = await link('networkinterface', { values: { 'occi.networkinterface.interface': 'eth0' } });
    const rename = entities.update(
      made.path,
      () => ({ mixins: [], values: { 'occi.networkinterface.interface': 'eth1' }, rawJson: {}, links: [] }),
      requester,
    );
    expect(await refusal(rename)).toBe('bad_attribute');
    expect((await entities.read(made.path, SYSTEM)).entity.attributes['occi.networkinterface.interface']).toBe(
      'eth0',
    );
  });

  it('keeps its device when it is replaced without one', async () => {
    const before = await link('networkinterface');
    const ends = ['occi.core.source', 'occi.core.target'].map((name) => [name, before.attributes[name] as Json]);
    await entities.put(
      before.path,
      () => draft('networkinterface', { values: Object.fromEntries(ends) as Record<string, Json> }),
      requester,
    );
    expect((await entities.read(before.path, SYSTEM)).entity.attributes).toEqual(before.attributes);
  });

  it('with IP gets an address unless it is static', async () => {
    const dynamic = await link('networkinterface', { mixins: [IP_INTERFACE] });
    expect(dynamic.attributes).toMatchObject({
      'occi.networkinterface.address': expect.stringMatching(/^10\.\d+\.\d+\.\d+$/) as string,
      'occi.networkinterface.allocation': 'dynamic',
    });
    const values = { 'occi.networkinterface.allocation': 'static' };
    expect(await refusal(link('networkinterface', { mixins: [IP_INTERFACE], values }))).toBe('bad_attribute');
  });

  it.each(['02:00:00:00:00', '02-00-00-00-00-00', 'zz:00:00:00:00:00'])(
    'refuses the MAC address %s',
    async (mac) => {
      expect(await refusal(link('networkinterface', { values: { 'occi.networkinterface.mac': mac } }))).toBe(
        'bad_attribute',
      );
    },
  );
});

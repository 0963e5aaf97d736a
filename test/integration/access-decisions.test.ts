/** What decisions read and keep: bounded, whatever rules name. */
import { SYSTEM, systemClock, type JsonObject, type Principal } from '@cmbs/shared';
import { type Access, ACCESS_CATEGORIES, accessOf } from '@cmbs/shared/access';
import { Categories, type Entity } from '@cmbs/shared/occi';
import { KeptMap } from '../../shared/access/kept';
import { writeEntity } from '../../shared/occi/entity-store';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { countedStore } from './counted-store';

const ACCESS = 'http://houssem.org/cmbs/access#';
/** A user whom an issuer names, who is not in the store. */
const CAROL: Principal = { kind: 'user', name: 'issuer.example/carol' };
const MESSAGE = { path: '/cmbs/message/m', kind: 'http://houssem.org/cmbs#message', mixins: [], owner: 'alice' };

let temporary: TemporaryStore;
let counted: ReturnType<typeof countedStore>;
let access: Access;

async function put(kind: 'rule' | 'group', id: string, attributes: JsonObject): Promise<void> {
  const categories = new Categories(temporary.store, [ACCESS_CATEGORIES]);
  const { registry } = await categories.current();
  categories.close();
  const entity: Entity = {
    path: `/cmbs/access/${kind}/${id}`,
    id,
    kind: ACCESS + kind,
    mixins: [],
    attributes: attributes,
    rawJson: {},
    owner: 'root',
    createdBy: SYSTEM,
    createdAt: 1,
    updatedAt: 1,
  };
  await temporary.store.transact(async (tx) => writeEntity(tx, entity, undefined, registry));
  access.forget();
}

beforeEach(async () => {
  temporary = await openTemporaryStore();
  counted = countedStore(temporary.store);
  access = accessOf({
    store: counted.store,
    clock: systemClock,
    isClosed: true,
    administrators: [],
    memberKind: 'http://houssem.org/cmbs#member',
    unauthenticated: () => new Error('unauthenticated') as never,
  });
});
afterEach(() => temporary.close());

const maySee = (): Promise<boolean> => access.visibility.maySee(CAROL, MESSAGE);

it('read no group that the caller is not in, however many a rule names', async () => {
  const others = Array.from({ length: 300 }, (_, at) => `group:g${at}`);
  await put('group', 'mine', { 'cmbs.access.group.members': [`user:${CAROL.name}`] });
  await put('rule', 'many', {
    'cmbs.access.rule.target': `entity:${MESSAGE.path}`,
    'cmbs.access.rule.allow': [...others, 'group:mine'],
  });
  const reads = await counted.readsOf(async () => {
    expect(await maySee()).toBe(true);
  });
  expect(reads).toBeLessThan(20);
});

it('count groups in a circle, which an earlier state may have, once each', async () => {
  await put('group', 'one', {
    'cmbs.access.group.members': [`user:${CAROL.name}`],
    'cmbs.access.group.parent': 'two',
  });
  await put('group', 'two', { 'cmbs.access.group.parent': 'one' });
  await put('rule', 'r', {
    'cmbs.access.rule.target': `entity:${MESSAGE.path}`,
    'cmbs.access.rule.allow': ['group:two'],
  });
  expect(await maySee()).toBe(true);
});

it('are kept within a bound of characters, and not at all when rules changed meanwhile', () => {
  const kept = new KeptMap<string>({ clock: { now: () => 0 }, maxChars: 10_000, charsOf: (text) => text.length });
  for (let at = 0; at < 100; at++) kept.add(String(at), { value: 'x'.repeat(1000), until: 1 }, kept.generation);
  const known = Array.from({ length: 100 }, (_, at) => kept.get(String(at))).filter((one) => one !== undefined);
  expect(known.length).toBeGreaterThan(5);
  expect(known.length).toBeLessThan(11);
  const { generation } = kept;
  kept.forget();
  kept.add('late', { value: 'x', until: 1 }, generation);
  expect(kept.get('late')).toBeUndefined();
});

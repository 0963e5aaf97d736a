/** Registration of members that peers describe: unverified members share a limit, in number and in characters. */
import {
  allowAll,
  ANONYMOUS,
  newId,
  silentLog,
  TOPIC_BUS,
  type Counters,
  type Json,
  type Principal,
} from '@cmbs/shared';
import { Categories, CORE_SOURCE, CORE_TARGET, writeEntity } from '@cmbs/shared/occi';
import {
  CMBS_EXTENSION,
  layersOf,
  MEMBER_KIND,
  MemberRegistration,
  NEIGHBOR_KIND,
  NEIGHBORS,
  ONLY_SHARD,
  type RegistrationResult,
} from '@cmbs/shared/broker';
import { allMembers } from '../../shared/broker/member';
import { Members } from '../../companion/members';
import { wholeDeployment } from '../../companion/shard-lease';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const LIMITS = { unverified: 5, unverifiedChars: 2000, members: 8 };
const layers = layersOf();

let temporary: TemporaryStore;
let categories: Categories;
let members: Members;
let registration: MemberRegistration;
let counted: string[];
beforeEach(async () => {
  temporary = await openTemporaryStore();
  const { store, clock } = temporary;
  categories = new Categories(store, [CMBS_EXTENSION]);
  members = await Members.load({
    store,
    categories,
    layers,
    clock,
    newId,
    log: silentLog,
    shard: wholeDeployment(newId),
  });
  counted = [];
  const counters: Counters = { add: (name) => void counted.push(name) };
  registration = new MemberRegistration(
    {
      store,
      categories,
      layers,
      authorize: allowAll,
      clock,
      newId,
      log: silentLog,
      counters,
      members,
      shardOf: () => ONLY_SHARD,
      discovery: 'open',
    },
    LIMITS,
  );
});
afterEach(async () => {
  members.close();
  categories.close();
  await temporary.close();
});

const address = (id: string): string => `tcp://127.0.0.1:${id.length + 1000}`;

/** Registers a member, a millisecond after the previous one. */
function register(id: string, summary = '', asked?: string, principal?: Principal): Promise<RegistrationResult> {
  temporary.advance(1);
  const description: Json = {
    kind: MEMBER_KIND,
    id,
    summary,
    attributes: { cmbs: { member: { l1_socket: address(id) } } },
  };
  return registration.register(description, undefined, 'asking', asked === undefined ? {} : { asked }, principal);
}

const ids = async (): Promise<readonly string[]> =>
  (await allMembers(temporary.store)).map(({ entity: { id } }) => id).toSorted();

test('the member described longest ago is removed and counted beyond the maximum number of unverified members', async () => {
  for (const id of ['a', 'b', 'c', 'd', 'e']) await register(id);
  await register('a');
  expect(await register('f')).toMatchObject({ outcome: 'stored' });
  expect(await ids()).toEqual(['a', 'c', 'd', 'e', 'f']);
  expect(counted).toEqual(['cmbs_members_removed']);
});

test('as many members as needed are removed beyond the limit of characters, and too large a description is refused', async () => {
  for (const id of ['a', 'b', 'c', 'd']) await register(id);
  expect(await register('large', 'x'.repeat(1750))).toMatchObject({ outcome: 'stored' });
  expect(await ids()).toEqual(['c', 'd', 'large']);
  expect(await register('larger', 'x'.repeat(2000))).toMatchObject({ outcome: 'refused' });
});

test.each([
  ['topics', Array.from({ length: 257 }, (_, index) => `t.${index}`)],
  ['neighbors_socket', Array.from({ length: 257 }, (_, index) => `tcp://h:${index + 1}`)],
  ['topics', Array.from({ length: 200 }, (_, index) => `${'long.'.repeat(20)}${index}`)],
])('a description with too much in its %s is not kept', async (name, list) => {
  const description: Json = { kind: MEMBER_KIND, id: 'large', attributes: { cmbs: { member: { [name]: list } } } };
  expect(await registration.register(description, undefined, 'asking')).toEqual({ outcome: 'too large' });
  expect(counted).toEqual(['cmbs_members_refused']);
});

test('concurrent registrations stay within the limits', async () => {
  await Promise.all(Array.from({ length: 40 }, (_, index) => register(`stranger-${index}`)));
  expect((await ids()).length).toBeLessThanOrEqual(LIMITS.unverified);
  expect(await register('honest')).toMatchObject({ outcome: 'stored' });
});

test('a member that answered is not removed, and is registered even if unverified members use all the room', async () => {
  await register('answers', '', address('answers'));
  for (const id of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) await register(id);
  expect(await ids()).toEqual(['answers', 'c', 'd', 'e', 'f', 'g']);
  for (const id of ['x', 'yy', 'zzz'])
    expect(await register(id, '', address(id))).toMatchObject({ outcome: 'stored' });
  expect(await ids()).toEqual(['answers', 'd', 'e', 'f', 'g', 'x', 'yy', 'zzz']);
});

test('no member is removed when all have answered', async () => {
  for (let index = 1; index <= LIMITS.members; index += 1)
    await register('x'.repeat(index), '', address('x'.repeat(index)));
  expect(await register('late')).toEqual({ outcome: 'refused' });
  expect(counted).toEqual(['cmbs_members_refused']);
});

test('a registered member stores the principal that described it first', async () => {
  await register('a');
  await register('b', '', undefined, TOPIC_BUS);
  await register('b', 'changed', address('b'));
  expect((await members.find('/cmbs/member/a'))?.createdBy).toEqual(ANONYMOUS);
  expect((await members.find('/cmbs/member/b'))?.attributes).toMatchObject({ 'occi.core.summary': 'changed' });
  expect((await members.find('/cmbs/member/b'))?.createdBy).toEqual(TOPIC_BUS);
});

test('the target of a link is not removed', async () => {
  await register('linked');
  const { registry } = await categories.current();
  await temporary.store.transact((tx) => {
    const link = {
      path: `${NEIGHBORS}link`,
      id: 'link',
      kind: NEIGHBOR_KIND,
      mixins: [],
      attributes: { [CORE_SOURCE]: '/cmbs/member/alice', [CORE_TARGET]: '/cmbs/member/linked' },
      rawJson: {},
      owner: 'anybody',
      createdAt: 1,
      updatedAt: 1,
    };
    writeEntity(tx, link, undefined, registry);
    return Promise.resolve();
  });
  for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) await register(id);
  expect(await ids()).toEqual(['c', 'd', 'e', 'f', 'linked']);
});

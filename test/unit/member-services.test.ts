/** Members as records of services: which of them a query reads. */
import { CmbsError, type Principal } from '@cmbs/shared';
import { layersOf, MEMBER_KIND, MemberServices } from '@cmbs/shared/broker';
import type { Entities, Entity } from '@cmbs/shared/occi';
import type { ServiceQuery } from '@cmbs/shared/services/builtin';

const ALICE: Principal = { kind: 'user', name: 'alice' };

const member = (id: string, more: Partial<Entity> = {}): Entity => ({
  path: `/cmbs/member/${id}`,
  id,
  kind: MEMBER_KIND,
  mixins: [],
  owner: 'alice',
  rawJson: {},
  createdAt: 0,
  updatedAt: 0,
  ...more,
  attributes: { 'cmbs.member.l1_socket': 'tcp://192.0.2.1:5010', ...more.attributes },
});

const unverified = member('claimed', { owner: 'discovery', internal: { learnt: { isVerified: false } } });
const verified = member('answered', {
  owner: 'discovery',
  internal: { learnt: { isVerified: true, uri: 'https://there/cmbs/member/answered' } },
});

let reads: string[];
function serving(...members: readonly Entity[]): MemberServices {
  reads = [];
  type Port = Pick<Entities, 'read' | 'openCollection' | 'list'>;
  const entities = {
    read: (path: string) => {
      reads.push(path);
      const entity = members.find((one) => one.path === path);
      return entity === undefined
        ? Promise.reject(new CmbsError('not_found', 'There is nothing.'))
        : Promise.resolve({ entity });
    },
    openCollection: (path: string) => {
      reads.push(path);
      return Promise.resolve({});
    },
    list: () => Promise.resolve({ entities: members.map((entity) => ({ entity })) }),
  } as unknown as Port;
  return new MemberServices({
    entities,
    layers: layersOf(),
    clock: { now: () => 0 },
    uriOf: (path) => `https://here${path}`,
  });
}
const find = async (from: MemberServices, query: Partial<ServiceQuery>) => {
  const { records } = await from.find(ALICE, { limit: 100, ...query });
  return records;
};

it('leaves out members that never answered', async () => {
  const members = serving(unverified, verified);
  expect((await find(members, {})).map(({ name }) => name)).toEqual(['answered']);
  expect(await find(members, { name: 'claimed' })).toEqual([]);
  expect(await find(members, { name: 'answered' })).toMatchObject([
    {
      provider_dn: '',
      site: '',
      endpoint: [{ uri: 'tcp://192.0.2.1:5010', encoding: 'l1' }],
      item: [
        { key: 'kind', value: 'member' },
        { key: 'local', value: 'false' },
        { key: 'uri', value: 'https://there/cmbs/member/answered' },
      ],
    },
  ]);
});

it('reads one entity for a name, and none for what no member can match', async () => {
  const members = serving(verified);
  await find(members, { name: 'answered' });
  expect(reads).toEqual(['/cmbs/member/answered']);
  reads = [];
  for (const query of [
    { vo: 'cms' },
    { site: 'https://elsewhere' },
    { provider_dn: 'user:alice' },
    { item: { key: 'kind', value: 'module' } },
    { item: { key: 'constructor', value: 'x' } },
    { name: 'no/segment' },
    { name: '..' },
  ]) {
    expect([query, await find(members, query)]).toEqual([query, []]);
  }
  expect(reads).toEqual([]);
});

it('says that a store does not answer, and does not take that for an absent member', async () => {
  const entities = { read: () => Promise.reject(new CmbsError('unavailable', 'The store does not answer.')) };
  const members = new MemberServices({
    entities: entities as unknown as Pick<Entities, 'read' | 'openCollection' | 'list'>,
    layers: layersOf(),
    clock: { now: () => 0 },
    uriOf: (path) => path,
  });
  await expect(find(members, { name: 'a' })).rejects.toMatchObject({ code: 'unavailable' });
});

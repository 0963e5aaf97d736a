/** The links that the discovery of a member creates. */
import { newId, silentLog, systemClock, type Principal } from '@cmbs/shared';
import { CMBS_EXTENSION, layersOf, MEMBER, MEMBER_KIND, MEMBERS, NEIGHBORS } from '@cmbs/shared/broker';
import { Categories, type Entity, readEntity, writeEntity } from '@cmbs/shared/occi';
import { Discovery } from '../../companion/discovery';
import { openTemporaryStore } from '../contract/temporary-store';

const ALICE: Principal = { kind: 'user', name: 'alice' };

test('a link to a neighbour stores the principal that asked for the discovery', async () => {
  const temporary = await openTemporaryStore();
  const { store } = temporary;
  const categories = new Categories(store, [CMBS_EXTENSION]);
  try {
    const member = (id: string): Entity => ({
      path: MEMBERS + id,
      id,
      kind: MEMBER_KIND,
      mixins: [],
      attributes: { [MEMBER.local]: 'true', [MEMBER.neighbors]: ['tcp://127.0.0.1:2000'] },
      rawJson: {},
      owner: 'nobody',
      createdAt: 1,
      updatedAt: 1,
    });
    const asking = member('asking');
    const neighbor = member('neighbor');
    const { registry } = await categories.current();
    await store.transact(async (tx) => {
      await Promise.resolve();
      for (const one of [asking, neighbor]) writeEntity(tx, one, undefined, registry);
    });
    const discovery = new Discovery(
      {
        exchanges: {
          connectForRequests: () => ({
            state: 'up',
            onState: () => () => undefined,
            connectNow: () => 'up',
            request: () => Promise.resolve(Buffer.from('{"member_description":{}}')),
            close: () => Promise.resolve(),
          }),
        },
        members: { find: () => Promise.resolve(undefined) },
        layers: layersOf(),
        store,
        categories,
        clock: systemClock,
        newId,
        log: silentLog,
        deployment: 'here',
        uriOf: (path) => `http://here${path}`,
      },
      { register: () => Promise.resolve({ outcome: 'stored', member: neighbor.path }) },
    );
    const { found } = await discovery.check(asking, {
      principal: ALICE,
      signal: new AbortController().signal,
    });
    expect(found).toEqual([{ socket: 'tcp://127.0.0.1:2000', member: neighbor.path }]);
    const link = await readEntity(store, `${NEIGHBORS}asking~neighbor`);
    expect(link?.entity).toMatchObject({ owner: 'nobody', createdBy: ALICE });
  } finally {
    categories.close();
    await temporary.close();
  }
});

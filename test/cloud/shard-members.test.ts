/** Firestore's calls of two companions: each reads the members of its shard, and is told of them, and of no others. */
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { silentLog } from '@cmbs/shared';
import { ask, frameOf } from '../e2e/broker-peers';
import type { Running } from '../e2e/engine';
import { Deployment, eventually, type LayerName } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { cloudEnvironment, configOf, type EnvironmentVariables } from './deployment';
import { decoded } from './firestore-messages';
import { GrpcProxy } from './grpc-proxy';
import { CompanionProgram } from './processes';
import { describeOnEmulators } from './support';

const HOSTS = { main: '127.0.0.1', eu: '127.0.0.2' } as const;
type ShardName = keyof typeof HOSTS;
const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];
/** Members of each sort; those of the shard `eu` are few. */
const MANY = 20;

describeOnEmulators('with two shards and many members', (hosts) => {
  const companions: CompanionProgram[] = [];
  const proxies: GrpcProxy[] = [];
  /** Ids of members whose entities or desired states a companion reads or is told of. */
  const seen: Record<ShardName, Set<string>> = { main: new Set(), eu: new Set() };
  let settings: EnvironmentVariables;
  let here: Deployment;
  const of: Record<ShardName | 'remote', string[]> = { main: [], eu: [], remote: [] };

  const note = (shard: ShardName, names: readonly (string | undefined)[]): void => {
    for (const name of names) {
      const [, id] =
        /\/(?:entities|desired-layers)\/.*(?:\.1|%2F|\/)((?:main|eu|remote)-\d+)$/.exec(name ?? '') ?? [];
      if (id !== undefined) seen[shard].add(id);
    }
  };

  async function startCompanion(shard: ShardName): Promise<CompanionProgram> {
    const proxy = await GrpcProxy.listen(hosts.firestore);
    proxies.push(proxy);
    proxy.observe('BatchGetDocuments', (message) => {
      note(shard, (decoded('BatchGetDocumentsRequest', message) as { documents?: string[] }).documents ?? []);
    });
    proxy.observeAnswers('RunQuery', (message) => {
      const { document } = decoded('RunQueryResponse', message) as {
        document?: { name: string; fields?: object };
      };
      // To count documents, the engine reads a hundred at most, without their values.
      if (document?.fields !== undefined && 'value' in document.fields) note(shard, [document.name]);
    });
    const told = new Set<string>();
    proxy.observeAnswers('Listen', (message) => {
      const { documentChange } = decoded('ListenResponse', message) as {
        documentChange?: { document?: { name: string; updateTime: unknown } };
      };
      const { name = '', updateTime } = documentChange?.document ?? {};
      const version = `${name} ${JSON.stringify(updateTime)}`;
      // The emulator sends documents again after unrelated writes.
      if (!told.has(version)) note(shard, [name]);
      told.add(version);
    });
    const own = { CMBS_SHARD: shard, CMBS_LOG: 'info', FIRESTORE_EMULATOR_HOST: proxy.host };
    const companion = await CompanionProgram.start({ ...settings, ...own });
    companions.push(companion);
    await companion.holding();
    return companion;
  }

  async function create(sort: ShardName | 'remote', n: number): Promise<void> {
    const id = `${sort}-${n}`;
    const host = sort === 'remote' ? HOSTS.main : HOSTS[sort];
    const sockets: [string, string][] = [];
    for (const layer of LAYERS) sockets.push([`cmbs.member.${layer}_socket`, `tcp://${host}:${await freePort()}`]);
    const attributes = {
      ...Object.fromEntries(sockets),
      'cmbs.member.local': String(sort !== 'remote'),
      ...(sort === 'remote' ? {} : { 'cmbs.member.start': ['l1'] }),
    };
    const kind = 'http://houssem.org/cmbs#member';
    await here.must(201, here.request('PUT', `/cmbs/member/${id}`, { kind, attributes }));
    of[sort].push(id);
  }

  /** Members of others that the companion of the shard `eu` has read. */
  const others = (): readonly string[] => [...seen.eu].filter((id) => !of.eu.includes(id));

  beforeAll(async () => {
    const engine = async (): Promise<Running> => {
      settings = await cloudEnvironment(hosts, { CMBS_SHARDS: `main=*,eu=${HOSTS.eu}` });
      const functions = await startCloudFunctions({ config: configOf(settings), log: silentLog });
      return {
        url: functions.url,
        close: async () => {
          await functions.close();
          await Promise.all(companions.map((one) => one.stop()));
        },
      };
    };
    here = await Deployment.start({ engine });
    for (let n = 0; n < MANY; n += 1) for (const sort of ['main', 'remote'] as const) await create(sort, n);
    for (let n = 0; n < 3; n += 1) await create('eu', n);
  });
  afterAll(async () => {
    await here.close();
    for (const proxy of proxies) await proxy.close();
  });

  test('a companion that starts reads the members of its shard only', async () => {
    const eu = await startCompanion('eu');
    const socketsOpen = async (): Promise<number> => {
      const text = await (await fetch(`${eu.url}/metrics`)).text();
      return Number(/^cmbs_sockets_open\{layer="l1"\} (\d+)$/m.exec(text)?.[1]);
    };
    await eventually(socketsOpen, (open) => open === of.eu.length, 'the sockets of its members are open');
    expect([...seen.eu].sort()).toEqual(of.eu);
  });

  test('a companion is told of changes in its shard only, also of started layers', async () => {
    await startCompanion('main');
    for (const shard of ['main', 'eu'] as const) seen[shard].clear();
    for (const id of ['remote-0', 'main-1', 'eu-2']) {
      await here.change(`/cmbs/member/${id}`, { 'cmbs.member.topics': ['changed'] });
    }
    for (const id of ['main-1', 'eu-2']) await here.must(200, here.act(`/cmbs/member/${id}`, 'start_l31'));
    await eventually(
      () => [...seen.main, ...seen.eu],
      (ids) => ['main-1', 'eu-2'].every((id) => ids.includes(id)),
      'the companions are told',
    );
    expect({ main: [...seen.main], eu: [...seen.eu] }).toEqual({ main: ['main-1'], eu: ['eu-2'] });
  });

  test('a reply lists the sockets of all members, and reads the others once for several replies', async () => {
    seen.eu.clear();
    const { attributes } = await here.get('/cmbs/member/eu-0');
    const socket = attributes['cmbs.member.l1_socket'] as string;
    const { sockets_l1: sockets } = await ask(socket, frameOf('m1'));
    expect(sockets).toHaveLength(2 * MANY + of.eu.length);
    expect(others()).toHaveLength(2 * MANY);
    seen.eu.clear();
    for (const id of ['m2', 'm3']) expect((await ask(socket, frameOf(id))).sockets_l1).toEqual(sockets);
    expect(others()).toEqual([]);
  });

  test('a message reads its receiver in another shard, and no other member', async () => {
    seen.eu.clear();
    const sent = await here.must(
      200,
      here.send('l31', { from: 'eu-0', providers: ['main-1'], content: 'across' }),
    );
    expect(sent.delivery.state).toBe('delivered');
    expect(others()).toEqual(['main-1']);
  });
});

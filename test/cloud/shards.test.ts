/** A deployment of two shards: each member's sockets are at its shard's address, held by that shard's companion. */
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { silentLog } from '@cmbs/shared';
import type { Running } from '../e2e/engine';
import { contentOf, eventually, Fleet, type Deployment, type LayerName, type Member } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { isListening } from './balancer';
import { cloudEnvironment, configOf } from './deployment';
import { decoded } from './firestore-messages';
import { GrpcProxy } from './grpc-proxy';
import { CompanionProgram } from './processes';
import { describeOnEmulators } from './support';

const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];
const HOSTS = { main: '127.0.0.1', eu: '127.0.0.2' } as const;
type ShardName = keyof typeof HOSTS;

describeOnEmulators('with two shards', (hosts) => {
  const fleet = new Fleet();
  const companions = new Map<ShardName, CompanionProgram>();
  const proxies: GrpcProxy[] = [];
  /** Outbound messages of which Firestore's watches have told each companion. */
  const told: Record<ShardName, Set<string>> = { main: new Set(), eu: new Set() };
  let here: Deployment;
  let alice: Member;
  let bob: Member;

  const socketsAt = async (shard: ShardName): Promise<Record<LayerName, string>> =>
    Object.fromEntries(
      await Promise.all(LAYERS.map(async (layer) => [layer, `tcp://${HOSTS[shard]}:${await freePort()}`])),
    ) as Record<LayerName, string>;
  const portOf = (socket: string): number => Number(new URL(socket).port);
  const queuedIn = async (shard: ShardName): Promise<number> => {
    const text = await (await fetch(`${companions.get(shard)?.url}/metrics`)).text();
    return Number(/^cmbs_messages_queued (\d+)$/m.exec(text)?.[1]);
  };

  beforeAll(async () => {
    const engine = async (): Promise<Running> => {
      const settings = await cloudEnvironment(hosts, { CMBS_SHARDS: `main=*,eu=${HOSTS.eu}` });
      const functions = await startCloudFunctions({ config: configOf(settings), log: silentLog });
      for (const shard of ['main', 'eu'] as const) {
        const proxy = await GrpcProxy.listen(hosts.firestore);
        proxies.push(proxy);
        proxy.observeAnswers('Listen', (message) => {
          const { documentChange } = decoded('ListenResponse', message) as {
            documentChange?: { document?: { name: string } };
          };
          const { name = '' } = documentChange?.document ?? {};
          if (name.includes('/sends/')) told[shard].add(name);
        });
        const own = { CMBS_SHARD: shard, CMBS_LOG: 'info', FIRESTORE_EMULATOR_HOST: proxy.host };
        companions.set(shard, await CompanionProgram.start({ ...settings, ...own }));
      }
      await Promise.all([...companions.values()].map((one) => one.holding()));
      return {
        url: functions.url,
        close: async () => {
          await functions.close();
          await Promise.all([...companions.values()].map((one) => one.stop()));
        },
      };
    };
    here = await fleet.start({ engine });
    alice = await here.member({
      title: 'alice',
      topics: ['shared'],
      sockets: await socketsAt('main'),
      start: LAYERS,
    });
    bob = await here.member({ title: 'bob', topics: ['shared'], sockets: await socketsAt('eu'), start: LAYERS });
  });
  afterAll(async () => {
    await fleet.close();
    for (const proxy of proxies) await proxy.close();
  });

  test('each companion opens the sockets of its own members', async () => {
    await here.must(200, here.get('/readyz'));
    for (const [member, shard] of [
      [alice, 'main'],
      [bob, 'eu'],
    ] as const) {
      expect(await isListening(HOSTS[shard], portOf(member.sockets.l1))).toBe(true);
      const text = await (await fetch(`${companions.get(shard)?.url}/metrics`)).text();
      expect(text).toMatch(/^cmbs_sockets_open\{layer="l1"\} 1$/m);
    }
  });

  test.each<[LayerName, object]>([
    ['l1', {}],
    ['l31', { providers: ['alice'] }],
    ['l32', { topics: ['shared'] }],
    ['l4', { topics: ['shared'], providers: ['alice'] }],
  ])('%s carries each message once from one shard to the other', async (layer, options) => {
    const content = `${layer} to alice`;
    const to = layer === 'l1' ? { to: alice.sockets.l1 } : options;
    const sent = await here.must(200, here.send(layer, { from: bob.id, content, ...to }));
    expect(sent.delivery.state).toMatch(/^(?:sent|delivered)$/);
    await eventually(
      async () => (await here.inbox(alice)).filter((entry) => contentOf(entry) === content),
      ({ length }) => length > 0,
      'alice receives the message',
    );
    expect((await here.inbox(alice)).filter((entry) => contentOf(entry) === content)).toHaveLength(1);
  });

  test('each companion is told of the outbound messages of its own shard only', async () => {
    for (const shard of ['main', 'eu'] as const) told[shard].clear();
    for (const { from, to } of [
      { from: alice, to: bob },
      { from: bob, to: alice },
      { from: bob, to: alice },
    ]) {
      await here.must(200, here.send('l1', { from: from.id, to: to.sockets.l1, content: 'counted' }));
    }
    await eventually(
      () => [told.main.size, told.eu.size],
      ([main, eu]) => main === 1 && eu === 2,
      'each companion is told of its messages',
    );
    expect([...told.main].filter((name) => told.eu.has(name))).toEqual([]);
  });

  test('a member that moves to the other shard takes its queued messages along', async () => {
    const late = await here.member({ title: 'late', sockets: await socketsAt('main') });
    const sent = await here.send('l1', {
      to: late.sockets.l1,
      from: bob.id,
      content: 'on the move',
      prefer: 'wait=2',
    });
    expect(sent.status).toBe(202);
    expect(await queuedIn('eu')).toBe(1);
    const moved = await socketsAt('main');
    await here.change(
      bob.path,
      Object.fromEntries(LAYERS.map((layer) => [`cmbs.member.${layer}_socket`, moved[layer]])),
    );
    await eventually(
      () =>
        Promise.all([isListening(HOSTS.main, portOf(moved.l1)), isListening(HOSTS.eu, portOf(bob.sockets.l1))]),
      ([atNew, atOld]) => atNew && !atOld,
      'the sockets of the member are at the new address only',
    );
    await here.must(200, here.act(late.path, 'start_l1'));
    await here.reaches(sent.path, 'delivered');
    expect((await here.inbox(late)).map(contentOf)).toEqual(['on the move']);
    await eventually(
      () => queuedIn('eu'),
      (queued) => queued === 0,
      'the former companion has no queued messages',
    );
    expect((await here.delivery(sent.path)).attempts).toBe(1);
  });

  test('the other shard works while one has no companion', async () => {
    await companions.get('eu')?.stop();
    const { status } = await here.get('/readyz');
    expect(status).toBe(503);
    await here.must(200, here.send('l1', { to: alice.sockets.l1, from: alice.id, content: 'at home' }));
  });
});

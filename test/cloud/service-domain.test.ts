/** Methods that run in companions of two shards use the broker and the entities, there and in the other shard. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { silentLog, type Json, type JsonObject } from '@cmbs/shared';
import { startCloudCompanion } from '../../companion/cloud';
import {
  contentOf,
  eventually,
  Fleet,
  type Deployment,
  type LayerName,
  type Member,
  unique,
} from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { moduleOf, WorkerProgram, writeModule } from '../integration/modules/support';
import { cloudEnvironment, configOf } from './deployment';
import { GrpcProxy } from './grpc-proxy';
import { PATIENT_LIMITS } from './patient-limits';
import { describeOnEmulators } from './support';

const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];
const HOSTS = { main: '127.0.0.1', eu: '127.0.0.2' } as const;

const RELAY = moduleOf(
  {
    send: '({ broker }, [message]) => broker.send(message)',
    read: '({ broker }, args) => broker.read(...args)',
    begun: '() => begun',
  },
  `let begun;
export const startup = async ({ entities }) => {
  const { entities: found } = await entities.list('/cmbs/member/');
  begun = found.length;
};`,
);

/** Calls a method in the companion of the member. */
async function called(
  here: Deployment,
  member: Member,
  method: string,
  ...params: readonly Json[]
): Promise<Json | undefined> {
  const path = await here.message('l1', { content: { method, params, id: 1 }, executable: true });
  const { result } = await here.must(200, here.act(path, 'execute', { from: member.id }));
  if (result.error !== undefined) throw new Error(JSON.stringify(result.error));
  return result.result;
}

describeOnEmulators('methods in companions', (hosts) => {
  const fleet = new Fleet();
  const directory = mkdtempSync(join(tmpdir(), 'cmbs-modules-'));
  const worker = new WorkerProgram();
  let here: Deployment;
  let alice: Member;
  let bob: Member;

  const socketsAt = async (shard: keyof typeof HOSTS): Promise<Record<LayerName, string>> =>
    Object.fromEntries(
      await Promise.all(LAYERS.map(async (layer) => [layer, `tcp://${HOSTS[shard]}:${await freePort()}`])),
    ) as Record<LayerName, string>;

  beforeAll(async () => {
    writeModule(directory, 'relay', RELAY);
    here = await fleet.start({
      engine: async ({ log }) => {
        const settings = await cloudEnvironment(hosts, { CMBS_SHARDS: `main=*,eu=${HOSTS.eu}` });
        const functions = await startCloudFunctions({ config: configOf(settings), log, limits: PATIENT_LIMITS });
        const companions = await Promise.all(
          (['main', 'eu'] as const).map(async (shard) => {
            const companion = await startCloudCompanion({
              config: configOf({
                ...settings,
                CMBS_SHARD: shard,
                CMBS_CONTROL_PORT: String(await freePort()),
                CMBS_MODULES_DIR: directory,
                CMBS_MODULE_ERRORS: 'fatal',
              }),
              log,
              modules: { workerFile: worker.path },
              limits: PATIENT_LIMITS,
            });
            await companion.holding();
            return companion;
          }),
        );
        return {
          url: functions.url,
          close: async () => {
            await functions.close();
            await Promise.all(companions.map((companion) => companion.close()));
          },
        };
      },
    });
    alice = await here.member({ title: 'alice', sockets: await socketsAt('main'), start: LAYERS });
    bob = await here.member({ title: 'bob', topics: ['news.*'], sockets: await socketsAt('eu'), start: LAYERS });
  }, 120_000);
  afterAll(async () => {
    await fleet.close();
    worker.remove();
    rmSync(directory, { recursive: true });
  });

  const call = (member: Member, method: string, ...params: readonly Json[]): Promise<Json | undefined> =>
    called(here, member, method, ...params);

  test('the startup of a module reads entities before the companion holds its shard', async () => {
    expect(await call(alice, 'relay.begun')).toBe(0);
  });

  test.each(['message', 'relay'])(
    '%s.send sends for members of the own shard and of the other one',
    async (module) => {
      const sends: readonly (readonly [Member, Member])[] = [
        [alice, bob],
        [bob, alice],
      ];
      for (const runner of [alice, bob]) {
        for (const [from, to] of sends) {
          const content = unique(`${runner.id} for ${from.id}`);
          const message = { layer: 'l1', content, from: from.id, receiver: to.sockets.l1, wait: 20 };
          const sent = (await call(runner, `${module}.send`, message)) as JsonObject;
          expect(sent).toMatchObject({ is_open: false, delivery: { state: 'delivered', from: from.path } });
          const inbox = await here.inbox(to);
          expect(inbox.map(contentOf)).toContain(content);
        }
      }
    },
  );

  test('a method publishes on a topic, and another one waits for the message', async () => {
    const content = unique('news');
    const sent = await call(alice, 'message.send', {
      layer: 'l32',
      content,
      from: alice.id,
      topics: ['news.today'],
    });
    expect(sent).toMatchObject({ delivery: { receivers: [{ name: 'news.today', state: 'delivered' }] } });
    await eventually(
      async () => {
        const page = (await call(bob, 'relay.read', bob.id, { wait: 5, lease: 0 })) as JsonObject;
        return JSON.stringify(page.entries);
      },
      (entries) => entries.includes(content),
      'bob has the news',
    );
  });

  test('a method creates a member, whose layers the companion of its shard opens', async () => {
    const id = unique('carol');
    const attributes = {
      'cmbs.member.l1_socket': `tcp://${HOSTS.eu}:${await freePort()}`,
      'cmbs.member.start': ['l1'],
    };
    const created = { kind: 'http://houssem.org/cmbs#member', id, attributes };
    const opened = moduleOf({
      open: `async ({ entities }, [member]) => {
        const { location } = await entities.create(member);
        return (await entities.get(location)).attributes['cmbs.member.layers'];
      }`,
    });
    writeModule(directory, 'opener', opened);
    expect(await call(alice, 'opener.open', created)).toMatchObject({ l1: { state: 'started' } });
  });
});

describeOnEmulators('a companion that starts while Firestore does not answer', (hosts) => {
  test('refuses the domain to its modules until Firestore answers', async () => {
    const fleet = new Fleet();
    const directory = mkdtempSync(join(tmpdir(), 'cmbs-modules-'));
    const worker = fleet.using(new WorkerProgram(), (one) => one.remove());
    const proxy = fleet.using(await GrpcProxy.listen(hosts.firestore), (one) => one.close());
    const begun = `let begun;
export const startup = async ({ entities, broker }) => {
  const codeOf = ({ data }) => data.code;
  begun = [await entities.list('/cmbs/member/').catch(codeOf), await broker.read('alice').catch(codeOf)];
};`;
    writeModule(
      directory,
      'relay',
      moduleOf({ begun: '() => begun', get: '({ entities }, [path]) => entities.get(path)' }, begun),
    );
    try {
      const here = await fleet.start({
        engine: async () => {
          const settings = await cloudEnvironment(hosts);
          const functions = await startCloudFunctions({
            config: configOf(settings),
            log: silentLog,
            limits: PATIENT_LIMITS,
          });
          await proxy.refuse();
          const companion = await startCloudCompanion({
            config: configOf({ ...settings, CMBS_MODULES_DIR: directory, FIRESTORE_EMULATOR_HOST: proxy.host }),
            log: silentLog,
            modules: { workerFile: worker.path },
            limits: PATIENT_LIMITS,
          });
          await proxy.accept();
          await companion.holding();
          return {
            url: functions.url,
            close: async () => {
              await functions.close();
              await companion.close();
            },
          };
        },
      });
      const alice = await here.member();
      const call = (method: string, ...params: readonly Json[]): Promise<Json | undefined> =>
        called(here, alice, method, ...params);
      expect(await call('relay.begun')).toEqual(['unavailable', 'unavailable']);
      expect(await call('relay.get', alice.path)).toMatchObject({ location: alice.path });
    } finally {
      await fleet.close();
      rmSync(directory, { recursive: true });
    }
  }, 120_000);
});

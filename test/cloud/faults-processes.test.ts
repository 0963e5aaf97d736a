/** A deployment when one of its parts or the emulators end. */
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { restartableEmulator, type RestartableEmulator } from '@cmbs/emulator/emulators';
import { silentLog } from '@cmbs/shared';
import { LEASE_LIMITS } from '@cmbs/shared/broker';
import { contentOf, eventually, Fleet, type Member } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { cloudEngine, cloudEnvironment, configOf, type EnvironmentVariables } from './deployment';
import { GrpcProxy } from './grpc-proxy';
import { Outside } from './outside';
import { CompanionProgram, Program } from './processes';
import { describeOnEmulators, itRestartsEmulators } from './support';

describeOnEmulators('a function killed', (hosts) => {
  test('between storing and publishing a message leaves the message to the companion', async () => {
    const fleet = new Fleet();
    const pubsub = await GrpcProxy.listen(hosts.pubsub);
    let functions: Program | undefined;
    try {
      const cloud = cloudEngine(hosts);
      let settings: EnvironmentVariables = {};
      const here = await fleet.start({
        engine: async (options) => {
          const running = await cloud.engine(options);
          settings = { ...options.env };
          return running;
        },
        env: await cloudEnvironment(hosts),
      });
      const alice = await here.member({ title: 'alice' });
      const bob = await here.member({ title: 'bob', topics: ['killed'], start: ['l32'] });
      await here.must(200, here.send('l32', { from: alice.id, topics: ['killed'], content: 'first' }));
      const port = await freePort();
      functions = new Program('local/cloud.js', ['--only', 'functions'], {
        ...settings,
        PORT: String(port),
        CMBS_PUBLIC_URL: here.url,
        PUBSUB_EMULATOR_HOST: pubsub.host,
      });
      const url = `http://127.0.0.1:${port}`;
      await functions.answers(`${url}/healthz`, 200);

      pubsub.inject('Publish', { kind: 'silence' }, 100);
      const path = await here.message('l32', { topics: ['killed'], content: 'interrupted' });
      const asked = here.act(url + path, 'send_l32', { from: alice.id }).catch((error: unknown) => error);
      await eventually(
        () => pubsub.callsOf('Publish'),
        (calls) => calls > 0,
        'the function publishes',
      );
      await functions.kill();
      expect(await asked).toMatchObject({ message: 'fetch failed' });

      const entries = await here.receives(bob, 2);
      expect(entries.map(contentOf)).toEqual(['first', 'interrupted']);
      await here.reaches(path, 'delivered');
    } finally {
      await functions?.kill();
      await fleet.close();
      await pubsub.close();
    }
  });
});

describeOnEmulators('a stopping companion', (hosts) => {
  test('ends in time although neither Firestore nor Pub/Sub answers', async () => {
    const firestore = await GrpcProxy.listen(hosts.firestore);
    const pubsub = await GrpcProxy.listen(hosts.pubsub);
    const fleet = new Fleet();
    let companion: CompanionProgram | undefined;
    try {
      const settings = await cloudEnvironment({ firestore: firestore.host, pubsub: pubsub.host });
      const here = await fleet.start({
        engine: () => startCloudFunctions({ config: configOf(settings), log: silentLog }),
      });
      companion = await CompanionProgram.start(settings);
      await companion.holding();
      const member = await here.member({ topics: ['last'], start: ['l1', 'l32'] });
      await here.must(200, here.send('l32', { topics: ['last'], content: 'first' }));
      await here.receives(member, 1);
      for (const method of ['Commit', 'BatchGetDocuments', 'RunQuery', 'Rollback']) {
        firestore.inject(method, { kind: 'silence' }, 10_000);
      }
      for (const method of ['Acknowledge', 'ModifyAckDeadline', 'Publish']) {
        pubsub.inject(method, { kind: 'silence' }, 10_000);
      }
      const outside = fleet.using(new Outside(hosts, settings.GOOGLE_CLOUD_PROJECT ?? ''), (one) => one.close());
      await outside.publish('cmbs.l32.last', 'cannot be taken');
      expect(await companion.stop()).toBeLessThan(10_000);
      expect(await companion.ended).toEqual({ code: 0, signal: null });
    } finally {
      firestore.heal();
      pubsub.heal();
      await companion?.kill();
      await fleet.close();
      await Promise.all([firestore.close(), pubsub.close()]);
    }
  });
});

describeOnEmulators('a deployment whose emulators restart without data', () => {
  let firestore: RestartableEmulator;
  let pubsub: RestartableEmulator;
  afterEach(() => Promise.all([firestore.stop(), pubsub.stop()]));

  itRestartsEmulators('reports clear errors, and works when the data are created again', async () => {
    firestore = await restartableEmulator('firestore');
    pubsub = await restartableEmulator('pubsub');
    await Promise.all([firestore.start(), pubsub.start()]);
    const fleet = new Fleet();
    try {
      const engine = cloudEngine({ firestore: firestore.host, pubsub: pubsub.host }).engine;
      const here = await fleet.start({ engine });
      const fill = async (): Promise<readonly [Member, Member]> => [
        await here.member({ title: 'alice' }),
        await here.member({ title: 'bob', topics: ['again'], start: ['l1', 'l32'] }),
      ];
      const exchange = async ([alice, bob]: readonly [Member, Member]): Promise<void> => {
        const direct = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content: 'direct' });
        await here.reaches(direct.path, 'delivered');
        const published = await here.send('l32', { topics: ['again'], from: alice.id, content: 'published' });
        await here.reaches(published.path, 'delivered');
        expect((await here.receives(bob, 2)).map(contentOf).sort()).toEqual(['direct', 'published']);
      };
      const before = await fill();
      await exchange(before);

      await Promise.all([firestore.restart(), pubsub.restart()]);
      const gone = await eventually(
        () => here.get(before[1].path),
        ({ status }) => status !== 503,
        'Firestore answers again',
      );
      expect(gone.status).toBe(404);
      expect((await here.get('/-/')).status).toBe(200);
      await eventually(
        async () => (await here.get('/readyz')).status,
        (status) => status === 200,
        'a companion holds the shard again',
        LEASE_LIMITS.ttlMs * 3,
      );
      await exchange(await fill());
      here.faults.splice(0);
    } finally {
      await fleet.close();
    }
  });
});

/** What is too large for Firestore, what is too much for one request, and what is too much for one member. */
import { readFileSync } from 'node:fs';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { silentLog, type JsonObject } from '@cmbs/shared';
import { MAX_BATCH_ENTITIES, STEPS_BUDGET_MS } from '../../shared/occi/limits';
import type { Running } from '../e2e/engine';
import { eventually, Fleet, MESSAGE, skewedClock, unique, type Deployment, type Member } from '../e2e/harness';
import { cloudEnvironment, configOf } from './deployment';
import { GrpcProxy } from './grpc-proxy';
import { Outside } from './outside';
import { PATIENT_LIMITS } from './patient-limits';
import { CompanionProgram } from './processes';
import { describeOnEmulators, uniqueProject } from './support';

const MIB = 1024 * 1024;

const messageWith = (content: string, more: JsonObject = {}): JsonObject => ({
  kind: MESSAGE,
  attributes: { 'cmbs.message.message_content': content },
  ...more,
});

/** Characters of content that a message may have: a mebibyte, less what is reserved for its frame, and its other attributes. */
const LARGEST = MIB - 17 * 1024;

describeOnEmulators('functions without a companion', (hosts) => {
  const fleet = new Fleet();
  const clock = skewedClock();
  let firestore: GrpcProxy;
  let here: Deployment;

  beforeAll(async () => {
    firestore = await GrpcProxy.listen(hosts.firestore);
    const settings = await cloudEnvironment(
      { ...hosts, firestore: firestore.host },
      { CMBS_MAX_BODY_BYTES: String(16 * MIB) },
    );
    const engine = (): Promise<Running> =>
      startCloudFunctions({ config: configOf(settings), log: silentLog, clock, limits: PATIENT_LIMITS }).then(
        (running) => ({
          ...running,
          metrics: [`${running.url}/metrics`],
        }),
      );
    here = await fleet.start({ engine });
  });
  afterEach(() => firestore.heal());
  afterAll(async () => {
    await fleet.close();
    await firestore.close();
  });

  const paths = async (): Promise<readonly unknown[]> => {
    const { text } = await here.request('GET', '/cmbs/message/?number=5', undefined, { Accept: 'text/uri-list' });
    return text.split(/\r?\n/).filter((line) => line !== '');
  };

  test('take what fits into a document of Firestore, and refuse more before anything is written', async () => {
    const fits = `/cmbs/message/${unique('fits')}`;
    const content = 'x'.repeat(LARGEST);
    await here.must(201, here.request('PUT', fits, messageWith(content)));
    expect((await here.get(fits)).attributes['cmbs.message.message_content']).toBe(content);
    const before = firestore.callsOf('Commit');
    const large = `/cmbs/message/${unique('large')}`;
    const refused = await here.request('PUT', large, messageWith('x'.repeat(MIB + 1)));
    expect([refused.status, refused.error]).toEqual([413, expect.stringMatching(/bytes/)]);
    expect(firestore.callsOf('Commit')).toBe(before);
    expect((await here.get(large)).status).toBe(404);
    // Three bytes a character: it is bytes that count.
    expect((await here.request('PUT', large, messageWith('東'.repeat(MIB / 2)))).status).toBe(413);
    await here.must(200, here.request('DELETE', fits));
  });

  test('refuse a batch beyond a transaction of Firestore as a whole', async () => {
    const ids = Array.from({ length: 12 }, () => unique('batch'));
    const resources = ids.map((id) => messageWith('x'.repeat(LARGEST), { id }));
    const refused = await here.request('POST', '/cmbs/message/', { resources });
    expect([refused.status, refused.error]).toEqual([413, expect.stringMatching(/bytes/)]);
    expect(await paths()).toEqual([]);
  });

  test('delete a large collection in steps, and say how far it is', async () => {
    const total = 2 * MAX_BATCH_ENTITIES + 100;
    for (let made = 0; made < total;) {
      const number = Math.min(MAX_BATCH_ENTITIES, total - made);
      const resources = Array.from({ length: number }, () => messageWith('x', { id: unique('many') }));
      await here.must(201, here.request('POST', '/cmbs/message/', { resources }));
      made += number;
    }
    firestore.inject('Commit', { kind: 'delay', ms: 300 }, 1);
    const before = firestore.callsOf('Commit');
    const deleting = here.request('DELETE', '/cmbs/message/');
    await Promise.race([
      deleting.then(({ status, text }) => {
        throw new Error(`answered before the first step: ${status} ${text}`);
      }),
      eventually(
        () => firestore.callsOf('Commit'),
        (calls) => calls > before,
        'the first step is under way',
      ),
    ]);
    // The time of a request is over when this step is.
    clock.forward(STEPS_BUDGET_MS);
    const partly = await deleting;
    expect([partly.status, partly.headers.get('x-occi-reason'), partly.headers.get('retry-after')]).toEqual([
      202,
      `${MAX_BATCH_ENTITIES} entities are deleted and there are more; repeat the request to go on.`,
      '0',
    ]);
    expect((await paths()).length).toBe(5);
    expect((await here.request('DELETE', '/cmbs/message/')).status).toBe(200);
    expect(await paths()).toEqual([]);
  }, 240_000);
});

/**
 * What is published to the member: many times what may wait in the companion (`STREAM_BYTES`), in messages of which
 * the hundred that the emulator sends at once are not much.
 */
const FLOOD = 1200;
const MESSAGE_BYTES = 250_000;
/** Of them on each of many topics: by itself, a topic has less than may wait of one. */
const A_TOPIC = 20;

const isLinux = process.platform === 'linux';
if (!isLinux) console.warn('skipped: a process shows its memory under /proc on Linux only');

describeOnEmulators('a member that does not read', (hosts) => {
  const fleet = new Fleet();
  afterAll(() => fleet.close());

  /** Bytes of memory that the process had at most. */
  const peak = (pid: number): number => {
    const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kib) * 1024;
  };

  interface Started {
    readonly here: Deployment;
    readonly outside: Outside;
    /** Bytes that the companion's memory has grown at most, since the first call. */
    readonly growth: () => number;
  }

  const start = async (): Promise<Started> => {
    const projectId = uniqueProject();
    let companion: CompanionProgram | undefined;
    const engine = async (): Promise<Running> => {
      const settings = await cloudEnvironment(hosts, { GOOGLE_CLOUD_PROJECT: projectId, CMBS_INBOX_LIMIT: '5' });
      const functions = await startCloudFunctions({
        config: configOf(settings),
        log: silentLog,
        limits: PATIENT_LIMITS,
      });
      companion = await CompanionProgram.start(settings);
      await companion.holding();
      const program = companion;
      return {
        url: functions.url,
        close: async () => {
          await functions.close();
          await program.kill();
        },
      };
    };
    const here = await fleet.start({ engine });
    let before: number | undefined;
    return {
      here,
      outside: fleet.using(new Outside(hosts, projectId), (one) => one.close()),
      growth: () => {
        const now = peak(companion?.pid ?? NaN);
        before ??= now;
        return now - before;
      },
    };
  };

  /** What is read makes room, and the next ones come. */
  const readAndGoOn = async (here: Deployment, slow: Member): Promise<void> => {
    const entries = (await here.inbox(slow)).map(({ id }) => id);
    await here.must(200, here.request('DELETE', `${slow.path}/inbox/`, { entries }));
    await here.receives(slow, 5);
    // The emulator keeps what nobody acknowledges in its memory.
    await here.must(200, here.request('DELETE', slow.path));
  };

  (isLinux ? test : test.skip)(
    "does not grow the companion's memory, and holds up nobody else",
    async () => {
      const { here, outside, growth } = await start();
      const slow = await here.member({ topics: ['flood'], start: ['l32'] });
      const quick = await here.member({ topics: ['trickle'], start: ['l32'] });
      await outside.publish('cmbs.l32.flood', 'x'.repeat(MESSAGE_BYTES));
      await here.receives(slow, 1);

      growth();
      // Many times what may wait in the companion.
      const published = Array.from({ length: FLOOD }, (_, at) =>
        outside.publish('cmbs.l32.flood', `${at} ${'x'.repeat(MESSAGE_BYTES)}`),
      );
      await Promise.all(published);
      await here.receives(slow, 5);
      const mark = unique('mark');
      await outside.publish('cmbs.l32.trickle', mark);
      await here.receives(quick, 1);
      // What is tried again and again leaves garbage; it is not what was published.
      expect(growth()).toBeLessThan((FLOOD * MESSAGE_BYTES * 2) / 3);
      await readAndGoOn(here, slow);
    },
    180_000,
  );

  (isLinux ? test : test.skip)(
    'does so on many topics of one pattern no more than on one',
    async () => {
      const { here, outside, growth } = await start();
      const topics = Array.from({ length: FLOOD / A_TOPIC }, (_, at) => `sensors.${at}`);
      const slow = await here.member({ topics: ['sensors.*'], start: ['l32'] });
      const quick = await here.member({ topics: ['trickle'], start: ['l32'] });
      // The first use from inside makes the topic.
      for (const topic of topics) {
        await here.must(200, here.send('l32', { from: quick.id, topics: [topic], content: 'first' }));
      }
      await here.receives(slow, 5);

      growth();
      for (let round = 0; round < A_TOPIC; round += 1) {
        await Promise.all(
          topics.map((topic) => outside.publish(`cmbs.l32.${topic}`, `${round} ${'x'.repeat(MESSAGE_BYTES)}`)),
        );
      }
      await outside.publish('cmbs.l32.trickle', unique('mark'));
      await here.receives(quick, 1);
      expect(growth()).toBeLessThan((FLOOD * MESSAGE_BYTES) / 2);
      await readAndGoOn(here, slow);
    },
    180_000,
  );
});

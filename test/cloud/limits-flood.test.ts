/** Too many messages for one member do not grow the companion's memory. */
import { readFileSync } from 'node:fs';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { silentLog } from '@cmbs/shared';
import type { Running } from '../e2e/engine';
import { Fleet, unique, type Deployment, type Member } from '../e2e/harness';
import { cloudEnvironment, configOf } from './deployment';
import { Outside } from './outside';
import { PATIENT_LIMITS } from './patient-limits';
import { CompanionProgram } from './processes';
import { describeOnEmulators, uniqueProject } from './support';
import { itNeeding } from '../skipping';

/**
 * Messages published to the member: many times the bytes that may wait in the companion (`STREAM_BYTES`). The hundred
 * messages that the emulator sends at once are a small part of them.
 */
const FLOOD = 1200;
const MESSAGE_BYTES = 250_000;
/** Messages on each of many topics: fewer than may wait for one topic. */
const A_TOPIC = 20;

const itOnLinux = itNeeding(
  process.platform === 'linux' ? undefined : 'a process shows its memory under /proc on Linux only',
);

describeOnEmulators('a member that does not read', (hosts) => {
  const fleet = new Fleet();
  afterAll(() => fleet.close());

  /** Peak memory of the process in bytes. */
  const peak = (pid: number): number => {
    const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kib) * 1024;
  };

  interface Started {
    readonly here: Deployment;
    readonly outside: Outside;
    /** Bytes by which the companion's peak memory has grown since the first call. */
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

  /** Acknowledges the entries, which makes room for the next messages. */
  const readAndGoOn = async (here: Deployment, slow: Member): Promise<void> => {
    const entries = (await here.inbox(slow)).map(({ id }) => id);
    await here.must(200, here.request('DELETE', `${slow.path}/inbox/`, { entries }));
    await here.receives(slow, 5);
    // The emulator keeps unacknowledged messages in memory.
    await here.must(200, here.request('DELETE', slow.path));
  };

  itOnLinux(
    "neither grows the companion's memory nor delays other members",
    async () => {
      const { here, outside, growth } = await start();
      const slow = await here.member({ topics: ['flood'], start: ['l32'] });
      const quick = await here.member({ topics: ['trickle'], start: ['l32'] });
      await outside.publish('cmbs.l32.flood', 'x'.repeat(MESSAGE_BYTES));
      await here.receives(slow, 1);

      growth();
      // Many times the bytes that may wait in the companion.
      const published = Array.from({ length: FLOOD }, (_, at) =>
        outside.publish('cmbs.l32.flood', `${at} ${'x'.repeat(MESSAGE_BYTES)}`),
      );
      await Promise.all(published);
      await here.receives(slow, 5);
      const mark = unique('mark');
      await outside.publish('cmbs.l32.trickle', mark);
      await here.receives(quick, 1);
      // Repeated attempts leave some garbage, but less than the published bytes.
      expect(growth()).toBeLessThan((FLOOD * MESSAGE_BYTES * 2) / 3);
      await readAndGoOn(here, slow);
    },
    180_000,
  );

  itOnLinux(
    'needs no more memory for many topics of one pattern than for one topic',
    async () => {
      const { here, outside, growth } = await start();
      const topics = Array.from({ length: FLOOD / A_TOPIC }, (_, at) => `sensors.${at}`);
      const slow = await here.member({ topics: ['sensors.*'], start: ['l32'] });
      const quick = await here.member({ topics: ['trickle'], start: ['l32'] });
      // The first message from the deployment creates the topic.
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

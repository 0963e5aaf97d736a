/** Data that are too large for Firestore, and work that is too much for one request. */
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { silentLog, type JsonObject } from '@cmbs/shared';
import { MAX_BATCH_ENTITIES, STEPS_BUDGET_MS } from '../../shared/occi/limits';
import type { Running } from '../e2e/engine';
import { eventually, Fleet, MESSAGE, skewedClock, unique, type Deployment } from '../e2e/harness';
import { cloudEnvironment, configOf } from './deployment';
import { GrpcProxy } from './grpc-proxy';
import { PATIENT_LIMITS } from './patient-limits';
import { describeOnEmulators } from './support';
import { extent } from '../extent';

/** Creating the thousands of entities for several steps takes the emulator most of a minute. */
const DELETION_STEP = extent(50, MAX_BATCH_ENTITIES);

const MIB = 1024 * 1024;

const messageWith = (content: string, more: JsonObject = {}): JsonObject => ({
  kind: MESSAGE,
  attributes: { 'cmbs.message.message_content': content },
  ...more,
});

/** Characters of content that fit: a mebibyte, less the reserve for the frame and the other attributes. */
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
      startCloudFunctions({
        config: configOf(settings),
        log: silentLog,
        clock,
        limits: { ...PATIENT_LIMITS, deletionStep: DELETION_STEP },
      }).then((running) => ({
        ...running,
        metrics: [`${running.url}/metrics`],
      }));
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

  test('accept a message that fits into a Firestore document, and refuse a larger one before writing', async () => {
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
    // Three bytes per character: the limit is in bytes.
    expect((await here.request('PUT', large, messageWith('東'.repeat(MIB / 2)))).status).toBe(413);
    await here.must(200, here.request('DELETE', fits));
  });

  test('refuse a batch as a whole when it exceeds a Firestore transaction', async () => {
    const ids = Array.from({ length: 12 }, () => unique('batch'));
    const resources = ids.map((id) => messageWith('x'.repeat(LARGEST), { id }));
    const refused = await here.request('POST', '/cmbs/message/', { resources });
    expect([refused.status, refused.error]).toEqual([413, expect.stringMatching(/bytes/)]);
    expect(await paths()).toEqual([]);
  });

  test('delete a large collection in steps, and report the progress', async () => {
    const total = 2 * DELETION_STEP + 100;
    for (let made = 0; made < total;) {
      const number = Math.min(DELETION_STEP, total - made);
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
    // This step uses up the time of the request.
    clock.forward(STEPS_BUDGET_MS);
    const partly = await deleting;
    expect([partly.status, partly.headers.get('x-occi-reason'), partly.headers.get('retry-after')]).toEqual([
      202,
      `${DELETION_STEP} entities are deleted and there may be more; repeat the request to continue.`,
      '0',
    ]);
    expect((await paths()).length).toBe(5);
    expect((await here.request('DELETE', '/cmbs/message/')).status).toBe(200);
    expect(await paths()).toEqual([]);
  }, 240_000);
});

/** A deployment during faults of Firestore. */
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { silentLog } from '@cmbs/shared';
import { LEASE_LIMITS } from '@cmbs/shared/broker';
import { FIRESTORE_LIMITS } from '../../shared/store/firestore/limits';
import { eventually, MEMBER, MESSAGE, unique } from '../e2e/harness';
import { cloudEnvironment, configOf } from './deployment';
import {
  ABORTED,
  describeFaults,
  MARGIN_MS,
  NOT_FOUND,
  PERMISSION_DENIED,
  timed,
  UNAVAILABLE,
} from './faulty-deployment';
import { itNightly } from '../skipping';

describeFaults('a deployment', (deployment, hosts) => {
  test.each([
    ['ABORTED', 'Commit', ABORTED],
    ['UNAVAILABLE', 'Commit', UNAVAILABLE],
    ['UNAVAILABLE', 'BatchGetDocuments', UNAVAILABLE],
    ['UNAVAILABLE', 'RunQuery', UNAVAILABLE],
  ])('recovers when Firestore answers %s to %s', async (_, method, status) => {
    const { firestore, here, alice, bob } = deployment.parts;
    firestore.inject(method, { kind: 'answer', status }, 3);
    const content = unique('content');
    const sent = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content });
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    expect(await deployment.count(content)).toBe(1);
    expect((await here.get('/cmbs/message/?number=3')).status).toBe(200);
  });

  itNightly('works while Firestore is slow', async () => {
    const { firestore, here, alice, bob } = deployment.parts;
    for (const method of ['Commit', 'BatchGetDocuments', 'RunQuery']) {
      firestore.inject(method, { kind: 'delay', ms: 300 }, 100);
    }
    const content = unique('content');
    const sent = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content });
    expect(sent.status).toBe(200);
    firestore.heal();
    await here.reaches(sent.path, 'delivered');
    expect(await deployment.count(content)).toBe(1);
  });

  test('does not commit twice when the answer to a commit is lost', async () => {
    const { firestore, here } = deployment.parts;
    for (const by of ['error', 'connection'] as const) {
      const path = `/cmbs/message/${unique('lost')}`;
      firestore.inject('Commit', { kind: 'lose', by });
      const created = await here.request('PUT', path, {
        kind: MESSAGE,
        attributes: { 'cmbs.message.message_content': 'once' },
      });
      expect(created.status).toBe(201);
      expect((await here.get(path)).status).toBe(200);
    }
  });

  test('reports in time that Firestore does not answer, and recovers', async () => {
    const { firestore, here, alice, bob } = deployment.parts;
    await firestore.refuse();
    const asked = await timed(
      Promise.all([
        here.get(bob.path),
        here.request('PUT', `/cmbs/message/${unique('no')}`, { kind: MESSAGE }),
        here.get('/readyz'),
        here.get('/healthz'),
      ]),
    );
    await firestore.accept();
    expect(asked.value.map(({ status }) => status)).toEqual([503, 503, 503, 200]);
    expect(asked.value[0].error).toMatch(/Firestore/);
    expect(asked.ms).toBeLessThan(MARGIN_MS);
    await eventually(
      async () => (await here.get('/readyz')).status,
      (status) => status === 200,
      'ready again',
      LEASE_LIMITS.ttlMs * 2,
    );
    const content = unique('content');
    const sent = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content });
    await here.reaches(sent.path, 'delivered');
  });

  itNightly('reports an unknown outcome for a write that Firestore does not confirm', async () => {
    const { firestore, here } = deployment.parts;
    firestore.inject('Commit', { kind: 'silence' }, 1000);
    const { value, ms } = await timed(here.request('PUT', `/cmbs/message/${unique('silent')}`, { kind: MESSAGE }));
    firestore.heal();
    expect([value.status, value.error]).toEqual([504, expect.stringMatching(/outcome unknown/)]);
    expect(ms).toBeLessThan(FIRESTORE_LIMITS.writeMs + MARGIN_MS);
    // The companion could not renew its lease during the fault, and has to acquire its shard again.
    await eventually(
      async () => (await here.get('/readyz')).status,
      (status) => status === 200,
      'ready again',
      LEASE_LIMITS.ttlMs * 3,
    );
  });

  test.each([
    ['the database does not exist', NOT_FOUND, 'The database (default) does not exist for project'],
    ['nobody may use it', PERMISSION_DENIED, 'Missing or insufficient permissions.'],
  ])('reports the reason when %s', async (_, status, message) => {
    const { firestore, here, bob } = deployment.parts;
    for (const method of ['Commit', 'BatchGetDocuments', 'RunQuery', 'BeginTransaction']) {
      firestore.inject(method, { kind: 'answer', status, message }, 1000);
    }
    const { value, ms } = await timed(here.get(bob.path));
    firestore.heal();
    expect(value.status).toBeGreaterThanOrEqual(500);
    expect(value.error).toMatch(/Firestore/);
    expect(ms).toBeLessThan(MARGIN_MS);
  });

  test('loses no change when two functions change one entity at once, and accepts one of two conditional writes', async () => {
    const { here } = deployment.parts;
    const settings = await cloudEnvironment(hosts, { GOOGLE_CLOUD_PROJECT: deployment.projectId });
    const other = await startCloudFunctions({ config: configOf(settings), log: silentLog });
    try {
      const urls = [here.url, other.url];
      const path = `/cmbs/member/${unique('both')}`;
      await here.must(201, here.request('PUT', path, { kind: MEMBER }));
      const names = Array.from({ length: 12 }, (_, i) => `http://example.org/tags#tag${i}`);
      await here.must(
        200,
        here.request('POST', '/-/', {
          mixins: names.map((id) => {
            const [scheme = '', term = ''] = id.split(/(?<=#)/);
            return { scheme, term, location: `/tags/${term}/` };
          }),
        }),
      );
      for (const url of urls) {
        await eventually(
          async () => (await here.get(`${url}/-/`)).text,
          (text) => names.every((id) => text.includes(`/tags/${id.slice(id.indexOf('#') + 1)}/`)),
          'both functions know the mixins',
        );
      }
      const tagged = await Promise.all(
        names.map((id, i) => here.request('POST', `${urls[i % 2]}${path}`, { kind: MEMBER, mixins: [id] })),
      );
      // None of the requests is conditional, so none is refused.
      expect(tagged.map(({ status }) => status)).toEqual(names.map(() => 200));
      const { json } = await here.get(path);
      expect(json.mixins).toEqual(expect.arrayContaining(names));
      const etag = (await here.get(path)).headers.get('etag') ?? '';
      const racing = await Promise.all(
        urls.map((url, i) =>
          here.request('PUT', url + path, { kind: MEMBER, title: `from ${i}` }, { 'If-Match': etag }),
        ),
      );
      expect(racing.map(({ status }) => status).sort()).toEqual([200, 412]);
    } finally {
      await other.close();
    }
  });
});

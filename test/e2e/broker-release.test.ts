/** Deleting and stopping members leaves nothing behind, even if a crash interrupts it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock } from '@cmbs/shared';
import { DESIRED, DUE_FIELD, dueIn, OUTBOUND_MESSAGES, outboundMessageOf, partOf } from '@cmbs/shared/broker';
import { SUBSCRIPTIONS } from '../../shared/bus/embedded/records';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Store } from '@cmbs/shared/store';
import { Deployment, freeSocket } from './harness';

let directory: string;
let here: Deployment;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-release-'));
  here = await Deployment.start({ env: { CMBS_DATA_DIR: directory } });
});
afterEach(async () => {
  await here.close();
  await rm(directory, { recursive: true });
});

/** Reads the stored data while no stack runs. */
async function inStore<T>(look: (store: Store) => Promise<T>): Promise<T> {
  const store = await openSqliteStore({ directory, clock: systemClock, log: silentLog });
  try {
    return await look(store);
  } finally {
    await store.close();
  }
}

const subscriptions = (): Promise<number> => inStore((store) => store.count({ collection: SUBSCRIPTIONS }, 100));
const desiredStates = (): Promise<number> => inStore((store) => store.count({ collection: DESIRED }, 100));

test('a started member is deleted under the ETag that it was read with', async () => {
  const member = await here.member({ start: ['l1', 'l32'] });
  const etag = (await here.get(member.path)).headers.get('etag') ?? '';
  expect((await here.request('DELETE', member.path, undefined, { 'If-Match': etag })).status).toBe(200);
  expect((await here.get(member.path)).status).toBe(404);
});

test('a member that does not match the ETag keeps its layers', async () => {
  const member = await here.member({ start: ['l1'] });
  expect((await here.request('DELETE', member.path, undefined, { 'If-Match': '"other"' })).status).toBe(412);
  expect(await here.layer(member, 'l1')).toEqual({ state: 'started', address: member.sockets.l1 });
});

test('a deleted member leaves no subscription and no desired state', async () => {
  const member = await here.member({ topics: ['news'], start: ['l32', 'l4'] });
  await here.must(200, here.request('DELETE', member.path));
  await here.down();
  expect(await subscriptions()).toBe(0);
  expect(await desiredStates()).toBe(0);
  await here.up();
});

test('a stop that a crash interrupted is finished at the next start', async () => {
  const member = await here.member({ topics: ['news'], start: ['l32', 'l4'] });
  await here.down();
  expect(await subscriptions()).toBe(2);
  await inStore((store) =>
    store.transact(async (tx) => tx.put(DESIRED, member.path, { l32: 'stopped', l4: 'started' })),
  );
  await here.up();
  await here.down();
  expect(await subscriptions()).toBe(1);
  await here.up();
});

test('a deletion that a crash interrupted leaves nothing after the next start', async () => {
  const member = await here.member({ topics: ['news'], start: ['l32'] });
  await here.down();
  await inStore((store) => store.transact(async (tx) => tx.delete('entities', member.path)));
  await here.up();
  await here.down();
  expect(await subscriptions()).toBe(0);
  expect(await desiredStates()).toBe(0);
  await here.up();
});

test('messages that an earlier release queued are found like messages that are queued now', async () => {
  const sender = await here.member({ title: 'alice' });
  await here.must(202, here.send('l1', { from: sender.id, to: await freeSocket(), prefer: 'respond-async' }));
  await here.down();
  await inStore((store) =>
    store.transact(async (tx) => {
      const { docs } = await tx.query({ collection: OUTBOUND_MESSAGES, by: 'order', limit: 1 });
      for (const { id, value, order } of docs) {
        const { bytes: _bytes, shard: _shard, ...earlier } = value;
        tx.put(OUTBOUND_MESSAGES, id, earlier, { order: order ?? '' });
      }
    }),
  );
  await here.up();
  await here.down();
  const found = await inStore(async (store) => {
    const { docs } = await store.query({ collection: OUTBOUND_MESSAGES, by: 'order', limit: 1 });
    const outbound = outboundMessageOf(docs[0]!);
    const due = dueIn(partOf(outbound)!, outbound.expiresAt);
    return store.count({ collection: OUTBOUND_MESSAGES, where: [{ field: DUE_FIELD, value: due }] }, 10);
  });
  expect(found).toBe(1);
  await here.up();
});

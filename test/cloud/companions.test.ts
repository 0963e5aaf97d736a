/** Two companions: which one holds the members' sockets when one is killed or stopped. */
import { Reply } from 'zeromq';
import { LEASE_POLL_MS } from '../../shared/broker/lease';
import { LEASE_LIMITS } from '@cmbs/shared/broker';
import { eventually, freeSocket } from '../e2e/harness';
import { describeTwoCompanions, SOME, SOON_MS, TAKEOVER_MS, type Host } from './companion-pair';
import { itNightly } from '../skipping';

/** Milliseconds that a container runtime waits between SIGTERM and SIGKILL. */
const STOP_MS = 10_000;

async function callsInFlight({ companion }: Host): Promise<number> {
  const answer = await fetch(`${companion.url}/metrics`, { signal: AbortSignal.timeout(SOON_MS) });
  return Number(/^cmbs_control_calls (\d+)$/m.exec(await answer.text())?.[1]);
}

describeTwoCompanions('with two companions', (pair) => {
  test('one companion holds the members, and the other stands by', async () => {
    const { here } = pair;
    const { holder, standby } = await pair.roles();
    const standing = await here.get(`${standby.companion.url}/readyz`);
    expect([standing.status, standing.json]).toEqual([503, { status: 'standby' }]);
    expect((await here.get(`${standby.companion.url}/healthz`)).status).toBe(200);
    expect(await pair.isListening(holder)).toBe(true);
    expect(await pair.isListening(standby)).toBe(false);
    expect((await here.get(`${holder.companion.url}/metrics`)).text).toContain('cmbs_shard_held 1');
    expect((await here.get(`${standby.companion.url}/metrics`)).text).toContain('cmbs_shard_held 0');
  });

  test('a killed companion is replaced in time, and every accepted message arrives exactly once', async () => {
    const { holder, standby } = await pair.roles();
    const watch = await pair.watchSocket(holder);
    const loading = pair.load();
    await loading.accepts(SOME);
    await holder.companion.kill();
    const took = await pair.takesOver(standby);
    await loading.accepts(SOME);
    const contents = await loading.end();
    await watch.handedOver(holder, standby);
    expect(took).toBeLessThan(TAKEOVER_MS);
    await pair.arrived(contents);
  }, 300_000);

  test('a companion that receives SIGTERM finishes its work in flight, and the other one takes over at once', async () => {
    const { here, alice, fleet } = pair;
    const { holder, standby } = await pair.roles();
    const address = await freeSocket();
    const peer = fleet.using(new Reply({ linger: 0 }), (socket) => socket.close());
    await peer.bind(address);
    const watch = await pair.watchSocket(holder);
    // After a takeover the load balancer needs a moment to see which companion is ready.
    const ready = async (): Promise<number> => (await here.get('/readyz')).status;
    await eventually(ready, (status) => status === 200, 'functions reach the holder', SOON_MS);
    const sending = here.send('l1', { to: address, from: alice.id, content: 'slow' });
    await peer.receive();
    // The companion may have found the message in the store before the function asked for it.
    await eventually(
      () => callsInFlight(holder),
      (calls) => calls === 1,
      'the function waits for the delivery',
      SOON_MS,
    );
    const stopping = holder.companion.stop();
    await holder.companion.logs('stopping');
    await peer.send(JSON.stringify({ result: 'late, and in time' }));
    const sent = await sending;
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    const took = await pair.takesOver(standby);
    expect(await stopping).toBeLessThan(STOP_MS);
    expect(await holder.companion.ended).toEqual({ code: 0, signal: null });
    await watch.handedOver(holder, standby);
    // The companion released its lease, so the other one does not wait for the expiry.
    expect(took).toBeLessThan(LEASE_LIMITS.ttlMs - LEASE_POLL_MS);
  }, 300_000);

  itNightly(
    'messages wait while neither companion runs, and are sent when one starts',
    async () => {
      const { here, alice, bob } = pair;
      const { holder, standby } = await pair.roles();
      await Promise.all([holder.companion.kill(), standby.companion.kill()]);
      const direct = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content: 'while away' });
      expect(direct.status).toBe(202);
      expect((await here.get('/readyz')).status).toBe(503);
      await here.must(200, here.send('l32', { topics: ['load.topic'], from: alice.id, content: 'published' }));
      await pair.restart(standby);
      await here.reaches(direct.path, 'delivered', TAKEOVER_MS * 2);
      await pair.arrived(['while away', 'published']);
    },
    300_000,
  );
});

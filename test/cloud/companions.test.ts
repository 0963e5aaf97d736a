/**
 * Two companions as processes of their own, each on a loopback address of its own, behind a load balancer that asks
 * them who is ready: who holds the members' sockets when one dies, stands still, or is told to stop.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Reply } from 'zeromq';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { LEASE_MARGIN_MS, LEASE_POLL_MS, LEASE_TTL_MS } from '@cmbs/shared/limits';
import type { Engine } from '../e2e/engine';
import { contentOf, eventually, Fleet, freeSocket, unique, type Deployment, type Member } from '../e2e/harness';
import { isListening, LoadBalancer, type Backend } from './balancer';
import { cloudEnvironment, configOf, type Environment } from './deployment';
import { CompanionProgram } from './processes';
import { describeOnEmulators } from './support';

/** What the README states: from the death of a companion until the other one holds its members. */
const TAKEOVER_MS = 20_000;
/** The container's patience. */
const STOP_MS = 10_000;

/**
 * What the one that died had in hand, Pub/Sub offers again when its lease has run out, 30 s later; the emulator may give
 * it to each of the streams that died first.
 */
const ARRIVAL_MS = 200_000;

class Host implements Backend {
  constructor(
    readonly host: string,
    public companion: CompanionProgram,
  ) {}

  async isReady(): Promise<boolean> {
    try {
      const { status } = await fetch(`${this.companion.url}/readyz`, { signal: AbortSignal.timeout(500) });
      return status === 200;
    } catch {
      return false;
    }
  }
}

describeOnEmulators('two companions', (hosts) => {
  const fleet = new Fleet();
  const machines: Host[] = [];
  let settings: Environment;
  let here: Deployment;
  let alice: Member;
  let bob: Member;

  const settingsOf = (host: string): Environment => ({
    ...settings,
    CMBS_BIND_HOST: host,
    CMBS_CONTROL_HOST: '127.0.0.1',
    CMBS_LOG: 'info',
  });
  const portOf = (socket: string): number => Number(new URL(socket).port);

  const engine: Engine = async ({ env, log }) => {
    settings = await cloudEnvironment(hosts, env);
    const functions = await startCloudFunctions({ config: configOf(settings), log });
    for (const host of ['127.0.0.2', '127.0.0.3']) {
      machines.push(new Host(host, await CompanionProgram.start(settingsOf(host))));
    }
    return {
      url: functions.url,
      close: async () => {
        await functions.close();
        await Promise.all(machines.map(({ companion }) => companion.kill()));
      },
    };
  };

  /** The one that holds the members, and the other. */
  async function roles(): Promise<{ readonly holder: Host; readonly standby: Host }> {
    const [first, second] = machines as [Host, Host];
    return eventually(
      async () => {
        const [a, b] = await Promise.all([first.isReady(), second.isReady()]);
        if (a === b) return undefined;
        return a ? { holder: first, standby: second } : { holder: second, standby: first };
      },
      (found) => found !== undefined,
      'one of them is ready',
      TAKEOVER_MS * 2,
    ) as Promise<{ holder: Host; standby: Host }>;
  }

  async function restart(machine: Host): Promise<void> {
    if (!machine.companion.isRunning) machine.companion = await CompanionProgram.start(settingsOf(machine.host));
  }

  /** Milliseconds until the member's socket answers on this machine. */
  async function takesOver(machine: Host): Promise<number> {
    const started = performance.now();
    await eventually(
      () => isListening(machine.host, portOf(bob.sockets.l1)),
      (isOpen) => isOpen,
      'the other one has opened the socket',
      TAKEOVER_MS * 3,
    );
    return performance.now() - started;
  }

  /** Looks all the time whether both have a member's socket open; tells how often that was seen. */
  function watchBoth(): () => Promise<number> {
    const over = new AbortController();
    let seen = 0;
    const watching = (async () => {
      while (!over.signal.aborted) {
        const open = await Promise.all(machines.map(({ host }) => isListening(host, portOf(bob.sockets.l1))));
        if (open.every(Boolean)) seen += 1;
        await pause(20);
      }
    })();
    fleet.using(over, () => over.abort());
    return async () => {
      over.abort();
      await watching;
      return seen;
    };
  }

  /** Sends on L1 and L3.2 until told to stop; gives the contents that were accepted. */
  function load(): () => Promise<readonly string[]> {
    const accepted: string[] = [];
    const refused: string[] = [];
    const over = new AbortController();
    fleet.using(over, () => over.abort());
    const one = async (layer: 'l1' | 'l32'): Promise<void> => {
      while (!over.signal.aborted) {
        const content = unique(layer);
        const to = layer === 'l1' ? { to: bob.sockets.l1 } : { topics: ['load.topic'] };
        const { status, text } = await here.send(layer, { from: alice.id, content, ...to });
        if (status === 200 || status === 202) accepted.push(content);
        else refused.push(`${status} ${text}`);
      }
    };
    const loading = Promise.all([one('l1'), one('l32')]);
    return async () => {
      over.abort();
      await loading;
      expect(refused).toEqual([]);
      return accepted;
    };
  }

  async function arrived(contents: readonly string[]): Promise<void> {
    const received = async () => (await here.inbox(bob)).map(contentOf);
    await eventually(
      async () => {
        const all = await received();
        return contents.filter((content) => !all.includes(content));
      },
      (missing) => missing.length === 0,
      'everything arrives; these are missing',
      ARRIVAL_MS,
    );
    // Once each.
    const relevant = (await received()).filter((content) => contents.includes(content as string));
    expect(relevant.sort()).toEqual([...contents].sort());
  }

  beforeAll(async () => {
    here = await fleet.start({ engine });
    alice = await here.member({ title: 'alice' });
    bob = await here.member({ title: 'bob', topics: ['load.*'] });
    for (const socket of [bob.sockets.l1]) {
      fleet.using(await LoadBalancer.listen(portOf(socket), () => machines), (one) => one.close());
    }
    await roles();
    await here.must(200, here.act(bob.path, 'start_l1'));
    await here.must(200, here.act(bob.path, 'start_l32'));
  }, 300_000);
  beforeEach(() => Promise.all(machines.map(restart)), 60_000);
  afterAll(() => fleet.close(), 60_000);

  test('one holds the members, the other stands by, alive', async () => {
    const { holder, standby } = await roles();
    const standing = await here.get(`${standby.companion.url}/readyz`);
    expect([standing.status, standing.json]).toEqual([503, { status: 'standby' }]);
    expect((await here.get(`${standby.companion.url}/healthz`)).status).toBe(200);
    expect(await isListening(holder.host, portOf(bob.sockets.l1))).toBe(true);
    expect(await isListening(standby.host, portOf(bob.sockets.l1))).toBe(false);
    expect((await here.get(`${holder.companion.url}/metrics`)).text).toContain('cmbs_shard_held 1');
    expect((await here.get(`${standby.companion.url}/metrics`)).text).toContain('cmbs_shard_held 0');
  });

  test('one that is killed is replaced in time, and nothing accepted is lost or comes twice', async () => {
    const { holder, standby } = await roles();
    const both = watchBoth();
    const stop = load();
    await pause(1500);
    await holder.companion.kill();
    const took = await takesOver(standby);
    await pause(1500);
    const contents = await stop();
    expect(await both()).toBe(0);
    expect(took).toBeLessThan(TAKEOVER_MS);
    await arrived(contents);
  }, 300_000);

  test('one that stood still finds that it is replaced, before it does anything', async () => {
    const { holder, standby } = await roles();
    const stop = load();
    await pause(500);
    holder.companion.signal('SIGSTOP');
    const took = await takesOver(standby);
    // Its kernel still has the port; the process finds out when it goes on.
    const both = watchListenersAfter(holder);
    holder.companion.signal('SIGCONT');
    await both;
    await pause(1000);
    const contents = await stop();
    expect(took).toBeLessThan(TAKEOVER_MS);
    await arrived(contents);
    expect(holder.companion.isRunning).toBe(true);
    expect((await here.get(`${holder.companion.url}/readyz`)).json).toEqual({ status: 'standby' });
  }, 300_000);

  /** Resolves when its sockets are closed. */
  function watchListenersAfter({ host }: Host): Promise<boolean> {
    return eventually(
      () => isListening(host, portOf(bob.sockets.l1)),
      (isOpen) => !isOpen,
      'the one that stood still closes its sockets',
      LEASE_MARGIN_MS,
    );
  }

  test('SIGTERM: what is in flight is finished, and the other one goes on at once', async () => {
    const { holder, standby } = await roles();
    const address = await freeSocket();
    const peer = fleet.using(new Reply({ linger: 0 }), (one) => one.close());
    await peer.bind(address);
    const both = watchBoth();
    const sending = here.send('l1', { to: address, from: alice.id, content: 'slow' });
    await peer.receive();
    const stopping = holder.companion.stop();
    await pause(2000);
    await peer.send(JSON.stringify({ result: 'late, and in time' }));
    const sent = await sending;
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    const took = await takesOver(standby);
    expect(await stopping).toBeLessThan(STOP_MS);
    expect(await holder.companion.ended).toEqual({ code: 0, signal: null });
    expect(await both()).toBe(0);
    // The lease is let go, so nobody waits for its time.
    expect(took).toBeLessThan(LEASE_TTL_MS - LEASE_POLL_MS);
  }, 300_000);

  test('with none of them sends wait, and go out when one is there', async () => {
    const { holder, standby } = await roles();
    await Promise.all([holder.companion.kill(), standby.companion.kill()]);
    const direct = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content: 'while away' });
    expect(direct.status).toBe(202);
    expect((await here.get('/readyz')).status).toBe(503);
    await here.must(200, here.send('l32', { topics: ['load.topic'], from: alice.id, content: 'published' }));
    await restart(standby);
    await here.reaches(direct.path, 'delivered', TAKEOVER_MS * 2);
    await arrived(['while away', 'published']);
  }, 300_000);
});

/**
 * Two companions as processes of their own, each on a loopback address of its own, behind a load balancer that asks
 * them who is ready: who holds the members' sockets when one dies, stands still, or is told to stop.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Reply } from 'zeromq';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import { LEASE_POLL_MS, LEASE_TTL_MS } from '@cmbs/shared/limits';
import type { Engine } from '../e2e/engine';
import { contentOf, eventually, Fleet, freeSocket, unique, type Deployment, type Member } from '../e2e/harness';
import { isGreeting, isListening, LoadBalancer, type Backend } from './balancer';
import { cloudEnvironment, configOf, type Environment } from './deployment';
import { GrpcProxy } from './grpc-proxy';
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

/** Milliseconds for what comes by itself, and soon, on a busy machine. */
const SOON_MS = 60_000;
/** Messages that show that sending goes on. */
const SOME = 20;

/** Hosts that have a socket open at one time. */
type Holders = readonly string[];

class Host implements Backend {
  constructor(
    readonly host: string,
    /** Its own way to Firestore. */
    readonly firestore: GrpcProxy,
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

  const settingsOf = ({ host, firestore }: Pick<Host, 'host' | 'firestore'>): Environment => ({
    ...settings,
    FIRESTORE_EMULATOR_HOST: firestore.host,
    CMBS_BIND_HOST: host,
    CMBS_CONTROL_HOST: '127.0.0.1',
    CMBS_LOG: 'info',
  });
  /** What a test began, and that goes on until it is aborted, or the test is over. */
  const begun: AbortController[] = [];
  const untilTheEnd = (): AbortController => {
    const over = new AbortController();
    begun.push(over);
    return over;
  };
  afterEach(() => begun.splice(0).forEach((over) => over.abort()));

  const portOf = (socket: string): number => Number(new URL(socket).port);

  const engine: Engine = async ({ env, log }) => {
    settings = await cloudEnvironment(hosts, env);
    const functions = await startCloudFunctions({ config: configOf(settings), log });
    for (const host of ['127.0.0.2', '127.0.0.3']) {
      const firestore = await GrpcProxy.listen(hosts.firestore);
      machines.push(new Host(host, firestore, await CompanionProgram.start(settingsOf({ host, firestore }))));
    }
    return {
      url: functions.url,
      close: async () => {
        await functions.close();
        await Promise.all(machines.map(({ companion }) => companion.kill()));
        await Promise.all(machines.map(({ firestore }) => firestore.close()));
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

  /** What an earlier test did to it. */
  async function mend({ firestore, companion }: Host): Promise<void> {
    firestore.heal();
    await firestore.accept();
    if (companion.isRunning) companion.signal('SIGCONT');
  }

  async function restart(machine: Host): Promise<void> {
    await mend(machine);
    if (!machine.companion.isRunning) machine.companion = await CompanionProgram.start(settingsOf(machine));
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

  interface Watch {
    /** Resolves when the other one has the socket; an error when ever both had it, or `from` not at first. */
    handedOver(from: Host, to: Host): Promise<void>;
  }

  /** Looks all the time, from now on, who has a member's socket open. */
  async function watchSocket(isOpen = isListening): Promise<Watch> {
    const over = untilTheEnd();
    /** Without repetitions. */
    const seen: Holders[] = [];
    const look = async (): Promise<void> => {
      const open = await Promise.all(machines.map(({ host }) => isOpen(host, portOf(bob.sockets.l1))));
      const holders = machines.map(({ host }) => host).filter((_, at) => open[at]);
      if (holders.join() !== seen.at(-1)?.join()) seen.push(holders);
    };
    await look();
    const watching = (async () => {
      while (!over.signal.aborted) {
        await pause(20);
        await look();
      }
    })();
    return {
      handedOver: async (from, to) => {
        await eventually(
          () => seen.at(-1),
          (holders) => holders?.includes(to.host) === true,
          `${to.host} has the socket`,
          SOON_MS,
        );
        over.abort();
        await watching;
        expect(seen.filter(({ length }) => length > 1)).toEqual([]);
        const held = seen.flat();
        expect([held[0], held.at(-1)]).toEqual([from.host, to.host]);
      },
    };
  }

  interface Load {
    /** Resolves when so many more were accepted. */
    accepts(more: number): Promise<void>;
    /** Ends it; gives the contents that were accepted. */
    end(): Promise<readonly string[]>;
  }

  /** Sends on L1 and L3.2 all the time. */
  function load(): Load {
    const accepted: string[] = [];
    const refused: string[] = [];
    const over = untilTheEnd();
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
    return {
      accepts: async (more) => {
        const wanted = accepted.length + more;
        await eventually(
          () => accepted.length,
          (count) => count >= wanted,
          `${more} more are accepted`,
          SOON_MS,
        );
      },
      end: async () => {
        over.abort();
        await loading;
        expect(refused).toEqual([]);
        return accepted;
      },
    };
  }

  /** Contents of all that bob has received so far; what was read is acknowledged, so that an inbox stays short. */
  const received: unknown[] = [];
  async function read(): Promise<readonly unknown[]> {
    for (;;) {
      const entries = await here.inbox(bob, 'lease=0&number=100');
      if (entries.length === 0) return received;
      await here.must(200, here.request('DELETE', `${bob.path}/inbox/`, { entries: entries.map(({ id }) => id) }));
      received.push(...entries.map(contentOf));
    }
  }

  async function arrived(contents: readonly string[]): Promise<void> {
    await eventually(
      async () => {
        const all = new Set(await read());
        return contents.filter((content) => !all.has(content));
      },
      (missing) => missing.length === 0,
      'everything arrives; these are missing',
      ARRIVAL_MS,
    );
    // Once each.
    const wanted = new Set<unknown>(contents);
    expect(received.filter((content) => wanted.has(content)).sort()).toEqual([...contents].sort());
  }

  beforeAll(async () => {
    here = await fleet.start({ engine });
    alice = await here.member({ title: 'alice' });
    bob = await here.member({ title: 'bob', topics: ['load.*'] });
    fleet.using(await LoadBalancer.listen(portOf(bob.sockets.l1), () => machines), (one) => one.close());
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
    const watch = await watchSocket();
    const loading = load();
    await loading.accepts(SOME);
    await holder.companion.kill();
    const took = await takesOver(standby);
    await loading.accepts(SOME);
    const contents = await loading.end();
    await watch.handedOver(holder, standby);
    expect(took).toBeLessThan(TAKEOVER_MS);
    await arrived(contents);
  }, 300_000);

  test('one that stood still finds that it is replaced, before it does anything', async () => {
    const { holder, standby } = await roles();
    const loading = load();
    await loading.accepts(SOME);
    // Its kernel still takes connections; it says nothing to them.
    const watch = await watchSocket(isGreeting);
    holder.companion.signal('SIGSTOP');
    const took = await takesOver(standby);
    await watch.handedOver(holder, standby);
    holder.companion.signal('SIGCONT');
    // The process finds out when it goes on.
    await eventually(
      () => isListening(holder.host, portOf(bob.sockets.l1)),
      (isOpen) => !isOpen,
      'the one that stood still closes its sockets',
      SOON_MS,
    );
    const watchOn = await watchSocket();
    await loading.accepts(SOME);
    const contents = await loading.end();
    await watchOn.handedOver(standby, standby);
    expect(took).toBeLessThan(TAKEOVER_MS);
    await arrived(contents);
    await standsBy(holder);
  }, 300_000);

  test.each<[string, (firestore: GrpcProxy) => unknown]>([
    ['refuses it', (firestore) => firestore.refuse()],
    ['says nothing to it', (firestore) => firestore.silence()],
  ])(
    'one whose Firestore %s lets go of the members before the other one takes them, and stands by afterwards',
    async (_, cutOff) => {
      const { holder, standby } = await roles();
      const watch = await watchSocket();
      const loading = load();
      await loading.accepts(SOME);
      await cutOff(holder.firestore);
      await takesOver(standby);
      await loading.accepts(SOME);
      await mend(holder);
      const contents = await loading.end();
      await standsBy(holder);
      await watch.handedOver(holder, standby);
      await arrived(contents);
    },
    300_000,
  );

  /** Alive, and not the one that holds the members. */
  async function standsBy({ companion }: Host): Promise<void> {
    expect(companion.isRunning).toBe(true);
    await eventually(
      async () => (await here.get(`${companion.url}/readyz`)).json.status,
      (status) => status === 'standby',
      'it stands by',
      SOON_MS,
    );
  }

  test('SIGTERM: what is in flight is finished, and the other one goes on at once', async () => {
    const { holder, standby } = await roles();
    const address = await freeSocket();
    const peer = fleet.using(new Reply({ linger: 0 }), (one) => one.close());
    await peer.bind(address);
    const watch = await watchSocket();
    const sending = here.send('l1', { to: address, from: alice.id, content: 'slow' });
    await peer.receive();
    const stopping = holder.companion.stop();
    await holder.companion.logs('stopping');
    await peer.send(JSON.stringify({ result: 'late, and in time' }));
    const sent = await sending;
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    const took = await takesOver(standby);
    expect(await stopping).toBeLessThan(STOP_MS);
    expect(await holder.companion.ended).toEqual({ code: 0, signal: null });
    await watch.handedOver(holder, standby);
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

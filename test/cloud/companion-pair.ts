/**
 * Two companions as child processes, each on its own loopback address, behind a load balancer that checks which one is
 * ready: for tests of which companion holds the members' sockets.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import type { Engine } from '../e2e/engine';
import { contentOf, eventually, Fleet, unique, type Deployment, type Member } from '../e2e/harness';
import { bundleProgram } from '../integration/bundled-program';
import { isListening, LoadBalancer, type Backend } from './balancer';
import { cloudEnvironment, configOf, type EnvironmentVariables } from './deployment';
import { GrpcProxy } from './grpc-proxy';
import { CompanionProgram } from './processes';
import { describeOnEmulators, type EmulatorHosts } from './support';

/** Milliseconds from the end of a companion until the other one holds its members, as in docs/guarantees.md. */
export const TAKEOVER_MS = 20_000;

/** Milliseconds for quick events on a busy machine. */
export const SOON_MS = 60_000;
/** Messages that show that sending continues. */
export const SOME = 20;
/** Milliseconds between two messages of a sender: without a pause the load takes the processors from the takeover. */
const LOAD_PAUSE_MS = 150;

/**
 * Pub/Sub redelivers the messages in flight of a dead companion when their leases expire; the emulator may first give
 * them to each of the dead streams.
 */
const ARRIVAL_MS = 200_000;

/** Hosts that have the socket open at the same time. */
type Holders = readonly string[];

export class Host implements Backend {
  constructor(
    readonly host: string,
    /** The companion's own connection to Firestore. */
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

export interface Watch {
  /** Resolves when `to` has the socket. Rejects if both ever had the socket, or `from` did not have it first. */
  handedOver(from: Host, to: Host): Promise<void>;
}

export interface Load {
  /** Resolves when this many more messages were accepted. */
  accepts(more: number): Promise<void>;
  /** Ends the load; resolves with the accepted contents. */
  end(): Promise<readonly string[]>;
}

/** The tests of one file on two companions, with two members whose layers L1 and L3.2 are started. */
export function describeTwoCompanions(name: string, tests: (pair: CompanionPair) => void): void {
  describeOnEmulators(name, (hosts) => {
    const pair = new CompanionPair(hosts);
    beforeAll(() => pair.start(), 300_000);
    beforeEach(() => pair.restore(), 60_000);
    afterEach(() => pair.endWhatTestsBegan());
    afterAll(() => pair.close(), 60_000);
    tests(pair);
  });
}

/** The test of a companion that loses Firestore. Each kind of loss has its own file, because a test takes a minute. */
export function testCutOff(
  pair: CompanionPair,
  how: string,
  cutOff: (firestore: GrpcProxy) => Promise<void> | void,
): void {
  test(`a companion ${how} releases its members before the other one takes over, and then stands by`, async () => {
    const { holder, standby } = await pair.roles();
    const watch = await pair.watchSocket(holder);
    const loading = pair.load();
    await loading.accepts(SOME);
    await cutOff(holder.firestore);
    await pair.takesOver(standby);
    await loading.accepts(SOME);
    await pair.mend(holder);
    const contents = await loading.end();
    await pair.standsBy(holder);
    await watch.handedOver(holder, standby);
    await pair.arrived(contents);
  }, 300_000);
}

export class CompanionPair {
  readonly fleet = new Fleet();
  readonly #hosts: EmulatorHosts;
  readonly #machines: Host[] = [];
  /** Background work of a test, which ends when it is aborted or the test is over. */
  readonly #begun: AbortController[] = [];
  /** Contents that bob has received so far. */
  readonly #received: unknown[] = [];
  #program = '';
  #settings: EnvironmentVariables = {};
  #started: { readonly here: Deployment; readonly alice: Member; readonly bob: Member } | undefined;

  constructor(hosts: EmulatorHosts) {
    this.#hosts = hosts;
  }

  get here(): Deployment {
    return this.#parts.here;
  }

  get alice(): Member {
    return this.#parts.alice;
  }

  get bob(): Member {
    return this.#parts.bob;
  }

  get #parts(): { readonly here: Deployment; readonly alice: Member; readonly bob: Member } {
    if (this.#started === undefined) throw new Error('the companions are not started');
    return this.#started;
  }

  async start(): Promise<void> {
    const program = this.fleet.using(bundleProgram('test/cloud/short-leases-companion.ts'), (one) => one.remove());
    this.#program = program.path;
    const here = await this.fleet.start({ engine: this.#engine });
    const alice = await here.member({ title: 'alice' });
    const bob = await here.member({ title: 'bob', topics: ['load.*'] });
    this.#started = { here, alice, bob };
    this.fleet.using(await LoadBalancer.listen(this.#port, () => this.#machines), (one) => one.close());
    await this.roles();
    await here.must(200, here.act(bob.path, 'start_l1'));
    await here.must(200, here.act(bob.path, 'start_l32'));
  }

  readonly #engine: Engine = async ({ env, log }) => {
    this.#settings = await cloudEnvironment(this.#hosts, env);
    const functions = await startCloudFunctions({ config: configOf(this.#settings), log });
    for (const host of ['127.0.0.2', '127.0.0.3']) {
      const firestore = await GrpcProxy.listen(this.#hosts.firestore);
      this.#machines.push(new Host(host, firestore, await this.#companion(host, firestore)));
    }
    return {
      url: functions.url,
      close: async () => {
        await functions.close();
        await Promise.all(this.#machines.map(({ companion }) => companion.kill()));
        await Promise.all(this.#machines.map(({ firestore }) => firestore.close()));
      },
    };
  };

  #companion(host: string, firestore: GrpcProxy): Promise<CompanionProgram> {
    const settings = {
      ...this.#settings,
      FIRESTORE_EMULATOR_HOST: firestore.host,
      CMBS_BIND_HOST: host,
      CMBS_CONTROL_HOST: '127.0.0.1',
      CMBS_LOG: 'info',
    };
    return CompanionProgram.start(settings, this.#program);
  }

  async close(): Promise<void> {
    await this.fleet.close();
  }

  /** The port of bob's socket on L1. */
  get #port(): number {
    return Number(new URL(this.bob.sockets.l1).port);
  }

  /** The companion that holds the members, and the other one. */
  async roles(): Promise<{ readonly holder: Host; readonly standby: Host }> {
    const [first, second] = this.#machines as [Host, Host];
    return eventually(
      async () => {
        const [a, b] = await Promise.all([first.isReady(), second.isReady()]);
        if (a === b) return undefined;
        return a ? { holder: first, standby: second } : { holder: second, standby: first };
      },
      (found) => found !== undefined,
      'one companion is ready',
      TAKEOVER_MS * 2,
    ) as Promise<{ holder: Host; standby: Host }>;
  }

  /** Ends the faults that a test injected into the companion's process and connection to Firestore. */
  async mend({ firestore, companion }: Host): Promise<void> {
    firestore.heal();
    await firestore.accept();
    if (companion.isRunning) companion.signal('SIGCONT');
  }

  async restart(machine: Host): Promise<void> {
    await this.mend(machine);
    if (!machine.companion.isRunning) machine.companion = await this.#companion(machine.host, machine.firestore);
  }

  async restore(): Promise<void> {
    await Promise.all(this.#machines.map((machine) => this.restart(machine)));
  }

  endWhatTestsBegan(): void {
    for (const over of this.#begun.splice(0)) over.abort();
  }

  #untilTheEnd(): AbortController {
    const over = new AbortController();
    this.#begun.push(over);
    return over;
  }

  isListening({ host }: Host): Promise<boolean> {
    return isListening(host, this.#port);
  }

  /** Resolves with the milliseconds until bob's socket answers on this host. */
  async takesOver(machine: Host): Promise<number> {
    const started = performance.now();
    await eventually(
      () => this.isListening(machine),
      (isOpen) => isOpen,
      'the other companion has opened the socket',
      TAKEOVER_MS * 3,
    );
    return performance.now() - started;
  }

  /** Resolves when the companion is alive and does not hold the members. */
  async standsBy({ companion }: Host): Promise<void> {
    expect(companion.isRunning).toBe(true);
    await eventually(
      async () => (await this.here.get(`${companion.url}/readyz`)).json.status,
      (status) => status === 'standby',
      'the companion stands by',
      SOON_MS,
    );
  }

  /** Watches continuously which hosts have bob's socket open, beginning when `holder` has it. */
  async watchSocket(holder: Host, isOpen = isListening): Promise<Watch> {
    const over = this.#untilTheEnd();
    /** The successive holders, without repetitions. */
    const seen: Holders[] = [];
    const look = async (): Promise<void> => {
      const open = await Promise.all(this.#machines.map(({ host }) => isOpen(host, this.#port)));
      const holders = this.#machines.map(({ host }) => host).filter((_, at) => open[at]);
      if (holders.join() !== seen.at(-1)?.join()) seen.push(holders);
    };
    await eventually(
      async () => {
        await look();
        return seen.flat();
      },
      (holders) => holders.includes(holder.host),
      `${holder.host} has the socket at first`,
      SOON_MS,
    );
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

  /** Sends continuously on L1 and L3.2. */
  load(): Load {
    const accepted: string[] = [];
    const refused: string[] = [];
    const over = this.#untilTheEnd();
    const send = async (layer: 'l1' | 'l32'): Promise<void> => {
      while (!over.signal.aborted) {
        const content = unique(layer);
        const to = layer === 'l1' ? { to: this.bob.sockets.l1 } : { topics: ['load.topic'] };
        const { status, text } = await this.here.send(layer, { from: this.alice.id, content, ...to });
        if (status === 200 || status === 202) accepted.push(content);
        else refused.push(`${status} ${text}`);
        await pause(LOAD_PAUSE_MS);
      }
    };
    const loading = Promise.all([send('l1'), send('l32')]);
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

  /** Reads and acknowledges entries, so that the inbox stays short. */
  async #read(): Promise<readonly unknown[]> {
    const { here, bob } = this;
    for (;;) {
      const entries = await here.inbox(bob, 'lease=0&number=100');
      if (entries.length === 0) return this.#received;
      await here.must(200, here.request('DELETE', `${bob.path}/inbox/`, { entries: entries.map(({ id }) => id) }));
      this.#received.push(...entries.map(contentOf));
    }
  }

  /** Resolves when bob has received all contents, once each. */
  async arrived(contents: readonly string[]): Promise<void> {
    await eventually(
      async () => {
        const all = new Set(await this.#read());
        return contents.filter((content) => !all.has(content));
      },
      (missing) => missing.length === 0,
      'all messages arrive; the missing ones are',
      ARRIVAL_MS,
    );
    const wanted = new Set<unknown>(contents);
    expect(this.#received.filter((content) => wanted.has(content)).sort()).toEqual([...contents].sort());
  }
}

/**
 * A companion on Google Cloud, or on its emulators: waits for the lease of its shard, serves the shard for as long as the
 * lease holds, and waits again. Its control endpoint answers all the while.
 */
import {
  aborted,
  backOff,
  CmbsError,
  newId,
  pause,
  systemClock,
  untilOr,
  type Authorize,
  type Clock,
  type Log,
} from '@cmbs/shared';
import {
  type Access,
  accessOf,
  ensureUser,
  type FirstAdministrator,
  firstAdministratorOf,
} from '@cmbs/shared/access';
import {
  acquireLease,
  companionDirectory,
  type Lease,
  LEASE_LIMITS,
  type LeaseLimits,
  MEMBER_KIND,
  MemberServices,
  OrderClock,
  Shards,
} from '@cmbs/shared/broker';
import type { Bus } from '@cmbs/shared/bus';
import type { PubsubBusLimits } from '@cmbs/shared/bus/pubsub';
import { pubsubBusOf } from '@cmbs/shared/bus/pubsub/connect';
import type { CloudConfig } from '@cmbs/shared/config';
import { type Domain, openDomain } from '@cmbs/shared/domain';
import { COMPANION_LOOK_MS, WATCH_FALLBACK_MS } from '@cmbs/shared/limits';
import type { IdentityTokens } from '@cmbs/shared/rpc';
import { httpRpc } from '@cmbs/shared/rpc/http';
import { identitiesOf } from '@cmbs/shared/rpc/identity';
import { inProcessRpc } from '@cmbs/shared/rpc/in-process';
import { BuiltInServices } from '@cmbs/shared/services/builtin';
import { type ModuleHost, openModules } from '@cmbs/shared/services/modules';
import { sitePolicyOf } from '@cmbs/shared/sites';
import { deploymentId, type Store } from '@cmbs/shared/store';
import { type FirestoreLimits, openFirestoreStore } from '@cmbs/shared/store/firestore';
import { cloudAddresses } from './address-policy';
import { CompanionAssembly, type CompanionAdditions } from './assembly';
import type { Companion } from './companion';
import { Control } from './control';
import { zeroMq } from './exchanges/zeromq';
import { type OpenFiles, openFiles } from './files';
import { BACKOFF_FIRST_MS, BACKOFF_MAX_MS } from './limits';
import { companionGauges } from './metrics';
import { ModuleAnnouncements } from './module-announcements';
import { runSchedules } from './schedules';
import { shardLease } from './shard-lease';
import { shardRpc } from './shard-rpc';

/** Milliseconds that a companion in a container gives to work in flight after SIGTERM, of ten seconds in all. */
const CONTAINER_DRAIN_MS = 4500;
/** Milliseconds of them for the bus, and for the store, to close when everything else is closed. */
const BUS_CLOSE_MS = 1000;
const STORE_CLOSE_MS = 500;

/** Milliseconds for which the start waits for the store, so that the `startup` of modules can use the domain. */
const DOMAIN_WAIT_MS = 5000;

/** Times of a lease, and of the calls that hold it. */
export interface CloudLeaseLimits extends LeaseLimits {
  /** Milliseconds that reading or renewing a lease may take: two calls that hang leave time for a third. */
  readonly callMs: number;
}
const CLOUD_LEASE_LIMITS: CloudLeaseLimits = { ...LEASE_LIMITS, callMs: 2000 };

/** Limits for tests; the defaults are beside the engines. */
export interface CloudCompanionLimits {
  readonly store?: Partial<FirestoreLimits>;
  readonly bus?: Partial<PubsubBusLimits>;
  readonly lease?: CloudLeaseLimits;
}

export interface CloudCompanionOptions extends CompanionAdditions {
  readonly config: CloudConfig;
  readonly log: Log;
  readonly clock?: Clock;
  readonly limits?: CloudCompanionLimits;
}

export interface CloudCompanion {
  /** URL of the control endpoint, without a slash at the end. */
  readonly url: string;
  /** Resolves when the companion holds its shard and is ready. */
  holding(): Promise<void>;
  /** Takes no more work, finishes the work in flight, and releases the shard: within ten seconds. Idempotent. */
  close(): Promise<void>;
}

/**
 * @throws CmbsError `conflict` when the control endpoint cannot listen; `bad_request` when the password of the first
 *   administrator, or the directory of modules, cannot be used
 */
export async function startCloudCompanion(options: CloudCompanionOptions): Promise<CloudCompanion> {
  const { config, clock = systemClock } = options;
  const administrator = firstAdministratorOf(config);
  // The services need the decisions before there is a store to read the rules from.
  const late: LateAccess = {};
  const access = (): Access => {
    if (late.access === undefined) throw new Error('The access rules are not assembled yet.');
    return late.access;
  };
  const { authorize = (...asked: Parameters<Authorize>) => access().authorize(...asked) } = options;
  const files = await openFiles({
    config,
    clock,
    authorize,
    visibility: () => access().visibility,
    limits: options.files,
  });
  const parts = { ...options, clock, late, administrator, authorize, opened: files };
  let companion: LeasedCompanion;
  try {
    companion = await assembled(parts);
  } catch (error) {
    await files?.close();
    throw error;
  }
  try {
    await companion.open();
  } catch (error) {
    await companion.close();
    throw error;
  }
  return companion;
}

/** The companion with its control endpoint, before it opens anything else. */
async function assembled(parts: Omit<LeasedParts, 'assembly' | 'control' | 'tokens'>): Promise<LeasedCompanion> {
  const { config, log, clock } = parts;
  const assembly = new CompanionAssembly({
    ...parts,
    newId,
    zeroMq: (layers) => zeroMq(cloudAddresses(config, layers)),
  });
  const { tokens, verifier } = identitiesOf(config.CMBS_IDENTITY_KEY, clock);
  const control = await Control.listen({
    host: config.CMBS_CONTROL_HOST,
    port: config.CMBS_CONTROL_PORT,
    verifier,
    expected: { audience: config.CMBS_CONTROL_AUDIENCE, accounts: config.CMBS_CONTROL_CALLERS },
    metrics: assembly.metrics,
    sites: sitePolicyOf(config, controlHosts(config)),
    clock,
    log,
  });
  try {
    return new LeasedCompanion({ ...parts, assembly, control, tokens });
  } catch (error) {
    // Such as a module of the program that has the name of a built-in one.
    await control.close();
    throw error;
  }
}

interface LateAccess {
  access?: Access;
}

interface LeasedParts extends CloudCompanionOptions {
  /** Gets the access rules of the store. */
  readonly late: LateAccess;
  /** Is made a user before the shard is served. */
  readonly administrator: FirstAdministrator | undefined;
  /** Names this program to the companions of other shards. */
  readonly tokens: IdentityTokens;
  readonly clock: Clock;
  readonly assembly: CompanionAssembly;
  readonly opened: OpenFiles | undefined;
  readonly control: Control;
}

/** A companion that runs while its process holds the lease. */
class LeasedCompanion implements CloudCompanion {
  readonly #parts: LeasedParts;
  readonly #leaseLimits: CloudLeaseLimits;
  readonly #shards: Shards;
  readonly #store: Store;
  /** A store of its own: a renewal must not wait behind the calls of a busy hour, nor for a call that hangs. */
  readonly #leases: Store;
  readonly #holder = newId();
  readonly #stop = new AbortController();
  readonly #access: Access;
  readonly #builtIn: BuiltInServices;
  readonly #order: OrderClock;
  /** For what methods publish: a method may run while no shard is held. */
  readonly #bus: Bus;
  #domain: Domain | undefined;
  #opening: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  #modules: ModuleHost | undefined;
  /** Callers of {@link holding}. */
  readonly #waiting: (() => void)[] = [];
  #current: Companion | undefined;
  #closed: Promise<void> | undefined;

  constructor(parts: LeasedParts) {
    this.#parts = parts;
    const { config, clock, log, limits = {}, assembly, opened, control } = parts;
    const { metrics } = assembly;
    this.#leaseLimits = limits.lease ?? CLOUD_LEASE_LIMITS;
    this.#shards = new Shards(config.CMBS_SHARDS, assembly.layers);
    const database = {
      projectId: config.GOOGLE_CLOUD_PROJECT,
      databaseId: config.CMBS_FIRESTORE_DATABASE,
      clock,
      log,
    };
    const { callMs } = this.#leaseLimits;
    this.#store = openFirestoreStore({ ...database, limits: { ...limits.store, closeMs: STORE_CLOSE_MS } });
    this.#access = accessOf({
      store: this.#store,
      clock,
      isClosed: config.CMBS_IDENTITIES.length > 0,
      administrators: config.CMBS_ADMINISTRATORS,
      memberKind: MEMBER_KIND,
      unauthenticated: () => new CmbsError('unauthenticated', 'This needs a known caller.'),
    });
    parts.late.access = this.#access;
    const { services, authorize } = assembly;
    this.#builtIn = new BuiltInServices({
      services,
      store: this.#store,
      clock,
      newId,
      authorize,
      isAdministrator: (principal) => this.#access.isAdministrator(principal),
      files: opened?.files,
    });
    this.#leases = openFirestoreStore({
      ...database,
      limits: { readMs: callMs, writeMs: callMs, closeMs: STORE_CLOSE_MS },
    });
    this.#order = OrderClock.ofProcess(clock);
    this.#bus = this.#openBus();
    metrics.gauge('cmbs_shard_held', () => (this.#current === undefined ? 0 : 1));
    metrics.gauge('cmbs_control_calls', () => control.callsInFlight);
    companionGauges(metrics, () => this.#current);
  }

  #openBus(): Bus {
    const { config, clock, log, assembly, limits = {} } = this.#parts;
    return pubsubBusOf(config, {
      store: this.#store,
      clock,
      log,
      counters: assembly.metrics,
      ...(limits.bus === undefined ? {} : { limits: limits.bus }),
    });
  }

  /** Opens the domain and starts the service modules, which a standby has too, and then waits for the lease. */
  async open(): Promise<void> {
    const { config, clock, log, assembly, modules } = this.#parts;
    this.#opening = this.#persist('the domain was not opened', () => this.#openDomain());
    // Without the store the companion starts all the same; modules are refused the domain until the store answers.
    await untilOr(this.#opening, clock, DOMAIN_WAIT_MS);
    this.#modules = await openModules(
      {
        config,
        folder: __dirname,
        services: assembly.services,
        functions: this.#builtIn.functions,
        groups: (principal) => this.#access.groups(principal),
        store: this.#store,
        clock,
        newId,
        log,
      },
      modules,
    );
    this.#running = this.#run();
  }

  /** Opens what methods use of the broker and the entities. */
  async #openDomain(): Promise<void> {
    const { config, clock, log, assembly, tokens } = this.#parts;
    const { layers, authorize, schemes } = assembly;
    const directory = companionDirectory(this.#store, this.#shards);
    const domain = openDomain(
      {
        store: this.#store,
        bus: this.#bus,
        rpc: shardRpc({
          own: inProcessRpc(() => this.#current, clock),
          others: httpRpc({ clock, tokens, audience: config.CMBS_CONTROL_AUDIENCE, directory }),
          isOwn: async (member, signal) =>
            this.#current !== undefined && (await directory.shardOf(member, signal)) === config.CMBS_SHARD,
        }),
        layers,
        schemes,
        access: this.#access,
        authorize,
        clock,
        order: this.#order,
        newId,
        log,
        counters: assembly.metrics,
        deployment: await deploymentId(this.#store, newId),
        uriOf: this.#uriOf,
        memberHosts: this.#shards.hosts,
        shardOf: (member) => this.#shards.of(member).name,
        freshness: { watch: true, maxAgeMs: WATCH_FALLBACK_MS, clock },
      },
      config,
    );
    this.#domain = domain;
    const members = new MemberServices({ entities: domain.entities, layers, clock, uriOf: this.#uriOf });
    this.#builtIn.open({ ports: domain.ports, members });
  }

  readonly #uriOf = (path: string): string => (this.#parts.config.CMBS_PUBLIC_URL ?? '') + path;

  get url(): string {
    return this.#parts.control.url;
  }

  async holding(): Promise<void> {
    if (this.#current === undefined) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    const { control, opened, clock } = this.#parts;
    control.stopTaking();
    this.#stop.abort();
    await this.#running;
    await control.close();
    await this.#modules?.close();
    await opened?.close();
    await this.#opening;
    this.#domain?.categories.close();
    await untilOr(this.#bus.close(), clock, BUS_CLOSE_MS);
    await Promise.all([this.#store.close(), this.#leases.close()]);
  }

  /** Serves one lease after the other. */
  async #run(): Promise<void> {
    const { config, clock, log, control } = this.#parts;
    const { CMBS_SHARD: shard, CMBS_CONTROL_URL: url = control.url } = config;
    const { signal } = this.#stop;
    await this.#opening;
    const domain = this.#domain;
    if (domain === undefined) return; // it stops
    await this.#ensureAdministrator(domain);
    for (let failures = 0; !signal.aborted;) {
      const lease = await acquireLease(
        { store: this.#leases, clock, log, shard, holder: this.#holder, url, limits: this.#leaseLimits },
        signal,
      );
      if (lease === undefined) return;
      try {
        await this.#serve(lease, domain);
        failures = 0;
      } catch (error) {
        log.error('the shard could not be served; trying again', { shard, cause: error });
        failures += 1;
        await lease.release();
      }
      // Another companion may succeed meanwhile.
      if (failures > 0) {
        await pause(clock, backOff(failures, BACKOFF_FIRST_MS, BACKOFF_MAX_MS, Math.random), signal);
      }
    }
  }

  /** Makes the first administrator a user, unless there is one. */
  async #ensureAdministrator({ categories }: Domain): Promise<void> {
    const { clock, administrator } = this.#parts;
    if (administrator === undefined) return;
    await this.#persist('the first administrator was not made a user', async () => {
      const { registry } = await categories.current();
      await ensureUser({ store: this.#store, registry, clock }, administrator.name, administrator.password);
    });
  }

  /** Tries again while the store does not answer. Resolves when the work is done, or the companion stops. */
  async #persist(failed: string, work: () => Promise<void>): Promise<void> {
    const { clock, log } = this.#parts;
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      try {
        await work();
        return;
      } catch (error) {
        failures += 1;
        log.error(`${failed}; trying again`, { cause: error });
      }
      await pause(clock, backOff(failures, BACKOFF_FIRST_MS, BACKOFF_MAX_MS, Math.random), signal);
    }
  }

  /** Runs a companion under one lease; resolves when the lease is over. */
  async #serve(lease: Lease, { categories }: Domain): Promise<void> {
    const { config, clock, assembly } = this.#parts;
    const bus = this.#openBus();
    const lost = new AbortController();
    void lease.lost.then(() => lost.abort());
    const over = AbortSignal.any([lost.signal, this.#stop.signal]);
    try {
      const starting = assembly.start({
        store: this.#store,
        bus,
        categories,
        order: this.#order,
        deployment: await deploymentId(this.#store, newId),
        uriOf: this.#uriOf,
        shard: shardLease(config.CMBS_SHARD, lease, this.#shards),
        lookAgainMs: COMPANION_LOOK_MS,
        over,
        drainMs: () => this.#drainMs(lease),
      });
      const companion = await starting.catch((error: unknown) => {
        if (over.aborted) return undefined;
        throw error;
      });
      if (companion !== undefined) await this.#serveWith(companion, lease, over);
    } finally {
      // The sockets are closed: the next companion may open them, even if the bus does not answer.
      await Promise.all([lease.release(), untilOr(bus.close(), clock, BUS_CLOSE_MS)]);
    }
  }

  /** When the lease is lost, the sockets must be closed before another companion opens them. */
  #drainMs(lease: Lease): number {
    return lease.isCurrent() ? CONTAINER_DRAIN_MS : this.#leaseLimits.marginMs / 2;
  }

  async #serveWith(companion: Companion, lease: Lease, over: AbortSignal): Promise<void> {
    const { config, clock, log, control, assembly, schedules } = this.#parts;
    // A companion of another shard may run schedules at the same time.
    const runner = runSchedules({
      store: this.#store,
      services: assembly.services,
      clock,
      newId,
      log,
      counters: assembly.metrics,
      isAlone: false,
      limits: schedules,
    });
    // A standby would only write the same records again.
    const announcements = ModuleAnnouncements.start({
      registry: this.#builtIn.registry,
      services: assembly.services,
      url: config.CMBS_PUBLIC_URL ?? '',
      clock,
      log,
    });
    try {
      this.#current = companion;
      control.serve(companion);
      for (const tell of this.#waiting.splice(0)) tell();
      log.info('the shard is served', { event: 'shard_served', shard: config.CMBS_SHARD, epoch: lease.epoch });
      await aborted(over);
    } finally {
      this.#current = undefined;
      control.serve(undefined);
      // A store that does not answer must not delay the end.
      const announced = untilOr(announcements.close(), clock, STORE_CLOSE_MS);
      await Promise.all([companion.close(), runner.close(this.#drainMs(lease)), announced]);
    }
  }
}

/** The host names of the control endpoint: where it listens, and where functions reach it. */
function controlHosts({ CMBS_CONTROL_HOST: host, CMBS_CONTROL_URL: url }: CloudConfig): readonly string[] {
  return url === undefined ? [host] : [host, new URL(url).hostname];
}

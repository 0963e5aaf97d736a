/** The whole product in one process: embedded store and bus, companion, gateway. `npm start`, the demo and tests run it. */
import { type Authorize, CmbsError, systemClock, timeOrderedIds, type Clock, type Log } from '@cmbs/shared';
import { canAdministrate, ensureUser, firstAdministratorOf } from '@cmbs/shared/access';
import { embeddedBus } from '@cmbs/shared/bus/embedded';
import type { Config } from '@cmbs/shared/config';
import { inProcessRpc } from '@cmbs/shared/rpc/in-process';
import { type BrokerOptions, MemberServices, OrderClock } from '@cmbs/shared/broker';
import { type Extension, type Rendering, Renderings } from '@cmbs/shared/occi';
import { BuiltInServices } from '@cmbs/shared/services/builtin';
import { openModules } from '@cmbs/shared/services/modules';
import { assertReachable, deploymentId, type Store } from '@cmbs/shared/store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import {
  type Companion,
  COMPANION_DRAIN_MS,
  type CompanionAdditions,
  CompanionAssembly,
  companionGauges,
  localAddresses,
  ModuleAnnouncements,
  openFiles,
  runSchedules,
  zeroMq,
} from '@cmbs/companion';
import { type ProgramAccess, programAccess } from '@cmbs/functions/access';
import type { App } from '@cmbs/functions/app';
import { assemble } from '@cmbs/functions/assemble';
import { ProgramSessions } from '@cmbs/functions/sessions';
import { openEndpoint } from './endpoint';

/** Milliseconds between two sweeps of expired documents, and documents that one transaction of a sweep removes. */
const SWEEP_INTERVAL_MS = 60_000;
const SWEEP_LIMIT = 500;

export interface Stack {
  /** URL of the OCCI endpoint, without a slash at the end. */
  readonly url: string;
  /** The functions, for another adapter beside the gateway. */
  readonly app: App;
  /** Stops within two seconds; requests and frames in flight are answered first. Idempotent. */
  close(): Promise<void>;
}

export interface StackOptions extends CompanionAdditions {
  readonly config: Config;
  readonly log: Log;
  readonly clock?: Clock;
  /** Extensions besides those of the product. */
  readonly extensions?: (options: BrokerOptions) => readonly Extension[];
  /** Renderings besides the built-in ones. */
  readonly renderings?: readonly Rendering[];
}

export async function startStack(options: StackOptions): Promise<Stack> {
  const { config, log, clock = systemClock, extensions, renderings = [] } = options;
  const administrator = firstAdministratorOf(config);
  const closing: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (let step = closing.pop(); step !== undefined; step = closing.pop()) {
      try {
        await step();
      } catch (error) {
        failures.push(error); // further steps close other resources, such as the store's lock
      }
    }
    if (failures.length > 0) throw failures[0];
  };
  const newId = timeOrderedIds(clock);
  // The companion's services need the decisions before there is a store to read the rules from.
  const late: { access?: ProgramAccess } = {};
  const byRules: Authorize = (...asked) => {
    if (late.access === undefined) throw new Error('The access rules are not assembled yet.');
    return late.access.access.authorize(...asked);
  };
  const sessions = ProgramSessions.of(config);
  try {
    const opened = await openFiles({
      config,
      clock,
      authorize: options.authorize ?? byRules,
      visibility: () => {
        if (late.access === undefined) throw new Error('The access rules are not assembled yet.');
        return late.access.access.visibility;
      },
      limits: options.files,
    });
    if (opened !== undefined) closing.push(() => opened.close());
    const assembly = new CompanionAssembly({
      authorize: byRules,
      ...options,
      clock,
      newId,
      sessions,
      zeroMq: (layers) => zeroMq(localAddresses(config, layers)),
    });
    const { layers, authorize, metrics, schemes } = assembly;
    const store = await openSqliteStore({
      directory: config.CMBS_DATA_DIR,
      clock,
      log,
      acceptDataLoss: config.CMBS_ACCEPT_DATA_LOSS,
    });
    closing.push(() => store.close());
    const programs = programAccess(config, { store, clock, log, counters: metrics });
    late.access = programs;
    const { access } = programs;
    const builtIn = new BuiltInServices({
      services: assembly.services,
      store,
      clock,
      newId,
      authorize,
      isAdministrator: (principal) => access.isAdministrator(principal),
      files: opened?.files,
    });
    const order = await OrderClock.open(clock, { store, log });
    closing.push(() => order.close());
    const bus = embeddedBus({ store, clock, newId, log, counters: metrics });
    closing.push(() => bus.close());
    // Requests may arrive while the companion is still opening its sockets.
    const ready: { companion?: Companion } = {};
    let base = config.CMBS_PUBLIC_URL ?? '';
    const deployment = await deploymentId(store, newId);
    const uriOf = (path: string): string => base + path;
    const app = assemble(
      {
        store,
        bus,
        rpc: inProcessRpc(() => ready.companion, clock),
        layers,
        services: assembly.services,
        // The store has a lock, so no other process uses it.
        isAlone: true,
        ...programs,
        authorize,
        clock,
        order,
        newId,
        log,
        counters: metrics,
        deployment,
        files: opened?.files,
        ...(extensions === undefined ? {} : { extensions }),
        uriOf,
        schemes,
        renderings: new Renderings(renderings),
        ready: async () => {
          if (ready.companion === undefined) throw new CmbsError('unavailable', 'The companion is not ready yet.');
          store.assertInPlace();
          await assertReachable(store);
        },
      },
      config,
    );
    sessions?.begin({ ...app, newId });
    closing.push(async () => app.categories.close());
    const members = new MemberServices({ entities: app.entities, layers, clock, uriOf });
    builtIn.open({ ports: app.ports, members });
    await app.categories.resume();
    if (administrator !== undefined) {
      const { registry } = await app.categories.current();
      await ensureUser({ store, registry, clock }, administrator.name, administrator.password);
    } else if (!(await canAdministrate(store, config))) {
      log.warn('no administrator can log in; set CMBS_ADMIN_PASSWORD_FILE', { names: config.CMBS_ADMINISTRATORS });
    }
    const modulesLoaded = assembly.services.loading();
    const endpoint = await openEndpoint(app, config, metrics, log);
    if (base === '') base = endpoint.url;
    const starting = async (): Promise<Companion> => {
      const modules = await openModules(
        {
          config,
          folder: __dirname,
          services: assembly.services,
          functions: builtIn.functions,
          groups: (principal) => access.groups(principal),
          store,
          clock,
          newId,
          log,
          esbuild: require.resolve('esbuild'),
        },
        options.modules,
      );
      modulesLoaded();
      if (modules !== undefined) closing.push(() => modules.close());
      return assembly.start({ store, bus, categories: app.categories, order, deployment, uriOf });
    };
    const started = await starting().catch(async (error: unknown) => {
      await endpoint.close(0);
      throw error;
    });
    ready.companion = started;
    const announcements = ModuleAnnouncements.start({
      registry: builtIn.registry,
      services: assembly.services,
      url: base,
      clock,
      log,
    });
    closing.push(() => announcements.close());
    companionGauges(metrics, () => started);
    const runner = runSchedules({
      store,
      services: assembly.services,
      clock,
      newId,
      log,
      counters: metrics,
      // The data directory has a lock.
      isAlone: true,
      limits: options.schedules,
    });
    // All at once: the companion answers requests that wait for a delivery.
    closing.push(async () => {
      await Promise.all([endpoint.close(), started.close(), runner.close(COMPANION_DRAIN_MS)]);
    });
    closing.push(sweeping(store, clock, log));
    let closed: Promise<void> | undefined;
    return { url: endpoint.url, app, close: () => (closed ??= close()) };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Removes expired documents at intervals; returns a function that stops the sweeps. */
function sweeping(store: Store, clock: Clock, log: Log): () => Promise<void> {
  let cancel = (): void => undefined;
  let current: Promise<void> = Promise.resolve();
  const sweep = async (): Promise<void> => {
    try {
      for (let removed = SWEEP_LIMIT; removed === SWEEP_LIMIT;) removed = await store.sweep(SWEEP_LIMIT);
    } catch (error) {
      log.warn('expired documents could not be removed; retrying', { cause: error });
    }
    plan();
  };
  const plan = (): void => {
    cancel = clock.after(SWEEP_INTERVAL_MS, () => void (current = sweep()));
  };
  plan();
  return async () => {
    cancel();
    await current;
    cancel();
  };
}

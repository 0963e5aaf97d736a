/**
 * The runtime of a function on Google Cloud, or on its emulators: Firestore, Pub/Sub, and the companion over HTTP. Each
 * is loaded and connected when a request first needs it, which keeps cold starts short.
 */
import { type Authorize, CmbsError, newId, systemClock, type Clock, type Counters, type Log } from '@cmbs/shared';
import {
  type AddressSchemes,
  companionDirectory,
  type LayerDefinition,
  layersOf,
  MemberServices,
  Shards,
} from '@cmbs/shared/broker';
import { type Bus, pushTargetOf } from '@cmbs/shared/bus';
import type { PubsubBusLimits } from '@cmbs/shared/bus/pubsub';
import type { CloudConfig } from '@cmbs/shared/config';
import { type Rendering, Renderings } from '@cmbs/shared/occi';
import { httpRpc } from '@cmbs/shared/rpc/http';
import { identitiesOf } from '@cmbs/shared/rpc/identity';
import { type Codec, codecsOf, type ServiceModule, standardServices } from '@cmbs/shared/services';
import { BuiltInServices } from '@cmbs/shared/services/builtin';
import { type ModuleHost, openModules } from '@cmbs/shared/services/modules';
import { sitePolicyOf } from '@cmbs/shared/sites';
import { assertReachable, deploymentId } from '@cmbs/shared/store';
import { type FirestoreLimits, openFirestoreStore } from '@cmbs/shared/store/firestore';
import { programAccess } from './access';
import { ProgramSessions } from './sessions';
import { assemble } from './assemble';
import type { PushOptions } from './push-handler';
import type { Runtime } from './runtime';

/** Milliseconds after which a function compares its copy of the categories with the store. */
export const CATEGORIES_MAX_AGE_MS = 2000;

/** Limits of the engines, for tests; the defaults are beside the engines. */
export interface CloudLimits {
  readonly store?: Partial<FirestoreLimits>;
  readonly bus?: Partial<PubsubBusLimits>;
  /** Milliseconds in which companions must answer whether they are ready. */
  readonly readyMs?: number;
  /** Entities that one step of a bulk deletion deletes. */
  readonly deletionStep?: number;
}

/** The configuration of a function, and the additions of its program. */
export interface CloudOptions {
  readonly config: CloudConfig;
  readonly log: Log;
  readonly clock?: Clock;
  readonly counters?: Counters;
  /** Who may do what, in place of the access rules. The companion needs the same. */
  readonly authorize?: Authorize;
  /** Layers besides the built-in ones; the companion needs the same. */
  readonly layers?: readonly LayerDefinition[];
  /** Forms of address that members may have, when the companion has exchanges besides ZeroMQ. */
  readonly schemes?: AddressSchemes;
  /** Renderings besides the built-in ones. */
  readonly renderings?: readonly Rendering[];
  /** Service modules besides the standard ones; the companion needs the same. */
  readonly services?: readonly ServiceModule[];
  /** Codecs besides JSON-RPC and XML-RPC, for pushed messages; the companion needs the same. */
  readonly codecs?: readonly Codec[];
  /** Absolute path of the folder with the modules that were built into the function; that of the program when absent. */
  readonly folder?: string;
  readonly limits?: CloudLimits;
}

/** A runtime with connections to close. */
export interface CloudRuntime extends Runtime {
  readonly publicUrl: string;
  close(): Promise<void>;
}

/**
 * Opens the runtime of a function.
 * @throws CmbsError `unavailable` when Firestore cannot be used
 */
export async function cloudRuntime({
  config,
  log,
  clock = systemClock,
  counters,
  authorize,
  layers: additional = [],
  schemes,
  renderings = [],
  services: modules = [],
  codecs = [],
  folder = __dirname,
  limits = {},
}: CloudOptions): Promise<CloudRuntime> {
  const layers = layersOf(additional);
  const shards = new Shards(config.CMBS_SHARDS, layers);
  const publicUrl = config.CMBS_PUBLIC_URL ?? '';
  const uriOf = (path: string): string => publicUrl + path;
  const store = openFirestoreStore({
    projectId: config.GOOGLE_CLOUD_PROJECT,
    databaseId: config.CMBS_FIRESTORE_DATABASE,
    clock,
    log,
    ...(limits.store === undefined ? {} : { limits: limits.store }),
  });
  const programs = programAccess(config, { store, clock, log, counters });
  const decide = authorize ?? programs.access.authorize;
  const { tokens, verifier } = identitiesOf(config.CMBS_IDENTITY_KEY, clock);
  const bus = lazyBus(async () => {
    const { pubsubBusOf } = await import('@cmbs/shared/bus/pubsub/connect');
    return pubsubBusOf(config, {
      store,
      clock,
      log,
      ...(counters === undefined ? {} : { counters }),
      ...(limits.bus === undefined ? {} : { limits: limits.bus }),
    });
  });
  const rpc = httpRpc({
    clock,
    tokens,
    audience: config.CMBS_CONTROL_AUDIENCE,
    directory: companionDirectory(store, shards),
    ...(limits.readyMs === undefined ? {} : { readyMs: limits.readyMs }),
  });
  const target = pushTargetOf(config);
  const { serviceAccount, audience } = target?.signed ?? {};
  const sessions = ProgramSessions.of(config);
  const services = standardServices({
    clock,
    newId,
    authorize: decide,
    log,
    debugFaults: config.CMBS_DEBUG_FAULTS,
    sessions,
    slowMs: config.CMBS_SLOW_CALL_MS,
  });
  // The companion runs the schedules.
  for (const module of modules) services.register(module);
  const builtIn = new BuiltInServices({
    services,
    store,
    clock,
    newId,
    authorize: decide,
    isAdministrator: (principal) => programs.access.isAdministrator(principal),
  });
  const push: PushOptions | undefined = target && {
    services,
    signed:
      serviceAccount === undefined || audience === undefined
        ? undefined
        : { verifier, expected: { audience, accounts: [serviceAccount] } },
  };
  let hosted: ModuleHost | undefined;
  try {
    const deployment = await deploymentId(store, newId);
    const app = assemble(
      {
        store,
        bus,
        rpc,
        layers,
        services,
        codecs: codecsOf(codecs),
        renderings: new Renderings(renderings),
        ...programs,
        authorize: decide,
        clock,
        log,
        ...(counters === undefined ? {} : { counters }),
        deployment,
        uriOf,
        memberHosts: shards.hosts,
        shardOf: (member) => shards.of(member).name,
        ...(schemes === undefined ? {} : { schemes }),
        ready: async () => {
          await assertReachable(store);
          await rpc.ready();
        },
        ...(limits.deletionStep === undefined ? {} : { deletionStep: limits.deletionStep }),
        // The platform freezes a function between requests, so a watch would report nothing.
        freshness: { watch: false, maxAgeMs: CATEGORIES_MAX_AGE_MS, clock },
        ...(push === undefined ? {} : { push }),
      },
      config,
    );
    sessions?.begin({ ...app, newId });
    const members = new MemberServices({ entities: app.entities, layers, clock, uriOf });
    builtIn.open({ ports: app.ports, members });
    hosted = await openModules({
      config: { ...config, CMBS_MODULES_DIR: undefined },
      folder,
      services,
      functions: builtIn.functions,
      groups: (principal) => programs.access.groups(principal),
      store,
      clock,
      newId,
      log,
    });
    return {
      app,
      publicUrl,
      trustedProxies: config.CMBS_TRUST_PROXY,
      maxBodyBytes: config.CMBS_MAX_BODY_BYTES,
      sites: sitePolicyOf(config, ownHosts(config)),
      close: async () => {
        app.categories.close();
        await hosted?.close();
        await bus.close();
        await store.close();
      },
    };
  } catch (error) {
    await hosted?.close();
    await store.close();
    throw error;
  }
}

/**
 * The host names of the function itself, besides that of the load balancer (`CMBS_PUBLIC_URL`). Cloud Run's front end
 * passes on requests for these names only, and no one else can make them resolve to another address.
 */
function ownHosts({
  service,
  GOOGLE_CLOUD_PROJECT: project,
  CMBS_PUSH_URL: pushUrl,
}: CloudConfig): readonly (string | RegExp)[] {
  const push = pushUrl === undefined ? [] : [new URL(pushUrl).hostname];
  if (service === undefined || !/^[a-z0-9-]+$/.test(service)) return push;
  return [
    ...push,
    new RegExp(`^(?:[a-z0-9-]+---)?${service}-[a-z0-9-]+(?:\\.[a-z0-9-]+)?\\.run\\.app$`),
    new RegExp(`^[a-z0-9-]+-${project.replaceAll('.', '\\.')}\\.cloudfunctions\\.net$`),
  ];
}

/** A bus that is made when it is first used. A function never consumes from it. */
function lazyBus(make: () => Promise<Bus>): Bus {
  let made: Promise<Bus> | undefined;
  const bus = (): Promise<Bus> => {
    made ??= make();
    made.catch(() => (made = undefined));
    return made;
  };
  return {
    publish: async (...what) => (await bus()).publish(...what),
    setSubscription: async (subscription) => (await bus()).setSubscription(subscription),
    removeSubscription: async (name) => (await bus()).removeSubscription(name),
    consume: () => {
      throw new CmbsError(
        'not_implemented',
        'A function consumes no topic messages; the companion consumes them, or Pub/Sub pushes them.',
      );
    },
    close: async () => {
      await (await made?.catch(() => undefined))?.close();
    },
  };
}

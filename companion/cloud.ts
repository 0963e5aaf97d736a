/**
 * A companion on Google Cloud, or on its emulators: it waits for its shard, holds it for as long as it can, and starts
 * again from the store when it gets it back. Its control endpoint answers all the while.
 */
import { aborted, backOff, newId, pause, systemClock, untilOr, type Clock, type Log } from '@cmbs/shared';
import { acquireLease, type Lease, type LayerDefinition, layersOf, Shards } from '@cmbs/shared/broker';
import type { PubsubBusLimits } from '@cmbs/shared/bus/pubsub';
import { pubsubBusOf } from '@cmbs/shared/bus/pubsub/connect';
import type { CloudConfig } from '@cmbs/shared/config';
import { passiveExtensionsOf } from '@cmbs/shared/extensions';
import { BACKOFF_FIRST_MS, BACKOFF_MAX_MS } from './limits';
import { COMPANION_LOOK_MS, LEASE_CALL_MS, LEASE_MARGIN_MS, WATCH_FALLBACK_MS } from '@cmbs/shared/limits';
import { identitiesOf } from '@cmbs/shared/rpc/identity';
import { Categories } from '@cmbs/shared/occi';
import type { Restarts } from '@cmbs/shared/restarts';
import { type ServiceModule, standardServices } from '@cmbs/shared/services';
import { sitePolicyOf } from '@cmbs/shared/sites';
import { deploymentId } from '@cmbs/shared/store';
import { type FirestoreLimits, openFirestoreStore } from '@cmbs/shared/store/firestore';
import { cloudAddresses } from './address-policy';
import { Companion } from './companion';
import type { DeliveryLimits } from './delivery/limits';
import { Control } from './control';
import { zeroMq } from './exchanges/zeromq';
import { shardLease } from './shard-lease';
import { companionGauges, prometheusMetrics } from './metrics';

/** Milliseconds that a companion in a container has to finish what is in flight after SIGTERM, of ten seconds in all. */
const CONTAINER_DRAIN_MS = 4500;
/** Milliseconds of them for the bus, and for the store, to be closed when everything else is. */
const BUS_CLOSE_MS = 1000;
const STORE_CLOSE_MS = 500;

/** Limits of the engines, for tests; the defaults are beside the engines. */
export interface CloudCompanionLimits {
  readonly store?: Partial<FirestoreLimits>;
  readonly bus?: Partial<PubsubBusLimits>;
}

export interface CloudCompanionOptions {
  readonly config: CloudConfig;
  readonly log: Log;
  readonly clock?: Clock;
  /** Service modules besides the standard ones. */
  readonly services?: readonly ServiceModule[];
  /** Limits of delivery in place of the defaults. */
  readonly delivery?: Partial<DeliveryLimits>;
  /** Layers besides the built-in ones; the functions need the same. */
  readonly layers?: readonly LayerDefinition[];
  /** Earlier deaths of the process by reason, where a supervisor counts them. */
  readonly restarts?: Restarts;
  readonly limits?: CloudCompanionLimits;
}

export interface CloudCompanion {
  /** URL of the control endpoint, without a slash at the end. */
  readonly url: string;
  /** Resolves when it holds its shard and is ready. */
  holding(): Promise<void>;
  /** Takes nothing new, finishes what is in flight, lets go of the shard: within ten seconds. Idempotent. */
  close(): Promise<void>;
}

export async function startCloudCompanion({
  config,
  log,
  clock = systemClock,
  services: modules = [],
  layers: additional = [],
  restarts = {},
  limits = {},
  delivery = {},
}: CloudCompanionOptions): Promise<CloudCompanion> {
  const { CMBS_SHARD: shard, CMBS_PUBLIC_URL: publicUrl = '' } = config;
  const layers = layersOf(additional);
  const shards = new Shards(config.CMBS_SHARDS, layers);
  const exchanges = [zeroMq(cloudAddresses(config, layers))];
  const metrics = prometheusMetrics();
  for (const [reason, n] of Object.entries(restarts)) metrics.add('cmbs_restarts_total', { reason }, n);
  const services = standardServices({ clock, newId });
  for (const module of modules) services.register(module);
  const { verifier } = identitiesOf(config.CMBS_IDENTITY_KEY, clock);
  const control = await Control.listen({
    host: config.CMBS_CONTROL_HOST,
    port: config.CMBS_CONTROL_PORT,
    verifier,
    expected: { audience: config.CMBS_CONTROL_AUDIENCE, accounts: config.CMBS_CONTROL_CALLERS },
    metrics,
    sites: sitePolicyOf(config, controlHosts(config)),
    clock,
    log,
  });
  const database = {
    projectId: config.GOOGLE_CLOUD_PROJECT,
    databaseId: config.CMBS_FIRESTORE_DATABASE,
    clock,
    log,
  };
  const store = openFirestoreStore({ ...database, limits: { ...limits.store, closeMs: STORE_CLOSE_MS } });
  // A renewal must not wait behind the calls of a busy hour, nor for one that hangs.
  const leases = openFirestoreStore({
    ...database,
    limits: { readMs: LEASE_CALL_MS, writeMs: LEASE_CALL_MS, closeMs: STORE_CLOSE_MS },
  });
  const stop = new AbortController();
  const holder = newId();
  let current: Companion | undefined;
  const waiting: (() => void)[] = [];
  metrics.gauge('cmbs_shard_held', () => (current === undefined ? 0 : 1));
  metrics.gauge('cmbs_control_calls', () => control.callsInFlight);
  companionGauges(metrics, () => current);

  /** One lease; resolves when it is over. */
  const serve = async (lease: Lease): Promise<void> => {
    const bus = pubsubBusOf(config, {
      store,
      clock,
      log,
      counters: metrics,
      ...(limits.bus === undefined ? {} : { limits: limits.bus }),
    });
    const categories = new Categories(store, passiveExtensionsOf(config.CMBS_EXTENSIONS, layers), {
      watch: true,
      maxAgeMs: WATCH_FALLBACK_MS,
      clock,
    });
    const lost = new AbortController();
    void lease.lost.then(() => lost.abort());
    const over = AbortSignal.any([lost.signal, stop.signal]);
    try {
      const starting = Companion.start({
        store,
        bus,
        categories,
        services,
        layers,
        clock,
        newId,
        log,
        counters: metrics,
        deployment: await deploymentId(store, newId),
        uriOf: (path) => publicUrl + path,
        discovery: config.CMBS_DISCOVERY,
        queueLimit: config.CMBS_QUEUE_LIMIT,
        inboxLimit: config.CMBS_INBOX_LIMIT,
        inboxBytes: config.CMBS_INBOX_BYTES,
        exchanges,
        delivery,
        shard: shardLease(shard, lease, shards),
        lookAgainMs: COMPANION_LOOK_MS,
        over,
        // Lost, the sockets have to be closed before another companion opens them.
        drainMs: () => (lease.isCurrent() ? CONTAINER_DRAIN_MS : LEASE_MARGIN_MS / 2),
      });
      const companion = await starting.catch((error: unknown) => {
        if (over.aborted) return undefined;
        throw error;
      });
      if (companion === undefined) return;
      try {
        current = companion;
        control.serve(companion);
        for (const tell of waiting.splice(0)) tell();
        log.info('the shard is served', { event: 'shard_served', shard, epoch: lease.epoch });
        await aborted(over);
      } finally {
        current = undefined;
        control.serve(undefined);
        await companion.close();
      }
    } finally {
      // Its sockets are closed: the next one may have them, whatever the bus waits for.
      categories.close();
      await Promise.all([lease.release(), untilOr(bus.close(), clock, BUS_CLOSE_MS)]);
    }
  };

  const run = async (): Promise<void> => {
    for (let failures = 0; !stop.signal.aborted;) {
      const lease = await acquireLease(
        { store: leases, clock, log, shard, holder, url: config.CMBS_CONTROL_URL ?? control.url },
        stop.signal,
      );
      if (lease === undefined) return;
      try {
        await serve(lease);
        failures = 0;
      } catch (error) {
        log.error('the shard could not be held; trying again', {
          shard,
          cause: error,
        });
        failures += 1;
        await lease.release();
      }
      // Another one may have better luck.
      if (failures > 0) {
        await pause(clock, backOff(failures, BACKOFF_FIRST_MS, BACKOFF_MAX_MS, Math.random), stop.signal);
      }
    }
  };
  const running = run();

  const close = async (): Promise<void> => {
    control.stopTaking();
    stop.abort();
    await running;
    await control.close();
    await Promise.all([store.close(), leases.close()]);
  };
  let closed: Promise<void> | undefined;
  return {
    url: control.url,
    holding: async () => {
      if (current === undefined) await new Promise<void>((resolve) => waiting.push(resolve));
    },
    close: () => (closed ??= close()),
  };
}

/** The names of the control endpoint: where it listens, and where functions reach it. */
function controlHosts({ CMBS_CONTROL_HOST: host, CMBS_CONTROL_URL: url }: CloudConfig): readonly string[] {
  return url === undefined ? [host] : [host, new URL(url).hostname];
}

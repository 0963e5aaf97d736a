/** A deployment with two companions on one embedded store, each with the members of its shard. */
import { ANY_PORT } from '@cmbs/emulator/ports';
import { CmbsError, silentCounters, timeOrderedIds, systemClock } from '@cmbs/shared';
import { layersOf, OrderClock, Shards } from '@cmbs/shared/broker';
import { embeddedBus } from '@cmbs/shared/bus/embedded';
import { readConfig } from '@cmbs/shared/config';
import { ENTITIES, readEntity } from '@cmbs/shared/occi';
import type { Rpc } from '@cmbs/shared/rpc';
import { inProcessRpc } from '@cmbs/shared/rpc/in-process';
import { deploymentId, type Store } from '@cmbs/shared/store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { CompanionAssembly, localAddresses, zeroMq, type Companion } from '@cmbs/companion';
import { assemble } from '@cmbs/functions/assemble';
import { openEndpoint } from '../../emulator/endpoint';
import { shardLease } from '../../companion/shard-lease';
import type { Engine } from '../e2e/engine';

export const HOSTS = { main: '127.0.0.1', eu: '127.0.0.2' } as const;
export type ShardName = keyof typeof HOSTS;
export const NAMES: readonly ShardName[] = ['main', 'eu'];

export interface TwoShardsOptions {
  readonly directory: string;
  /** Members that each companion reads or is told of. */
  readonly seen: Readonly<Record<ShardName, Set<string>>>;
  /** The shards as the program is configured; those of {@link HOSTS} when absent. */
  readonly shards?: readonly string[];
  /** The companions that run; all of the shards when absent. */
  readonly running?: readonly ShardName[];
}

/** The engine of a deployment (`test/e2e/harness.ts`). */
export function twoShards({ directory, seen, shards: texts, running = NAMES }: TwoShardsOptions): Engine {
  return async ({ log, env }) => {
    const closing: (() => Promise<void>)[] = [];
    const config = readConfig({ PORT: '0', CMBS_DATA_DIR: directory, ...ANY_PORT, ...env });
    const clock = systemClock;
    const newId = timeOrderedIds(clock);
    const layers = layersOf();
    const shards = new Shards(texts ?? [`main=${HOSTS.main}`, `eu=${HOSTS.eu}`], layers);
    const store = await openSqliteStore({ directory, clock, log, acceptDataLoss: false });
    closing.push(() => store.close());
    const order = await OrderClock.open(clock, { store, log });
    closing.push(() => order.close());
    const bus = embeddedBus({ store, clock, newId, log, counters: silentCounters });
    closing.push(() => bus.close());
    const deployment = await deploymentId(store, newId);
    const companions = new Map<string, Companion>();
    const rpcs = new Map(shards.all.map(({ name }) => [name, inProcessRpc(() => companions.get(name), clock)]));
    const rpc: Rpc = {
      call: async (member, ...more) => {
        const stored = await readEntity(store, member);
        const { name } = stored === undefined ? shards.all[0] : shards.of(stored.entity);
        const companion = rpcs.get(name);
        if (companion === undefined) throw new CmbsError('unavailable', 'There is no such shard.');
        return companion.call(member, ...more);
      },
    };
    let base = '';
    const uriOf = (path: string): string => base + path;
    const app = assemble(
      {
        store,
        bus,
        rpc,
        layers,
        clock,
        order,
        newId,
        log,
        deployment,
        uriOf,
        memberHosts: shards.hosts,
        shardOf: (member) => shards.of(member).name,
        ready: () => Promise.resolve(),
      },
      config,
    );
    closing.push(async () => app.categories.close());
    await app.categories.resume();
    const assembly = new CompanionAssembly({
      config,
      clock,
      log,
      newId,
      zeroMq: () => zeroMq(localAddresses(config)),
    });
    const endpoint = await openEndpoint(app, config, assembly.metrics, log);
    base = endpoint.url;
    closing.push(() => endpoint.close());
    for (const name of running) {
      const companion = await assembly.start({
        store: noting(store, seen[name]),
        bus,
        categories: app.categories,
        order,
        deployment,
        uriOf,
        shard: shardLease(name, { epoch: 1, isCurrent: () => true }, shards),
      });
      companions.set(name, companion);
      closing.push(() => companion.close());
    }
    return {
      url: endpoint.url,
      close: async () => {
        for (const close of closing.reverse()) await close();
      },
    };
  };
}

/** The store; notes the entities that are read outside of transactions, and those whose changes are reported. */
function noting(store: Store, seen: Set<string>): Store {
  const note = (collection: string, ids: Iterable<string>): void => {
    if (collection === ENTITIES) for (const id of ids) seen.add(id);
  };
  const own: Partial<Store> = {
    get: (...args) => {
      note(args[0], [args[1]]);
      return store.get(...args);
    },
    getAll: (...args) => {
      note(args[0], args[1]);
      return store.getAll(...args);
    },
    query: async (...args) => {
      const page = await store.query(...args);
      note(
        args[0].collection,
        page.docs.map(({ id }) => id),
      );
      return page;
    },
    watch: (scope, listener) =>
      store.watch(scope, (changes) => {
        note(
          scope.collection,
          changes.map(({ id }) => id),
        );
        listener(changes);
      }),
  };
  return new Proxy(store, { get: (target, name: keyof Store) => own[name] ?? target[name].bind(target) });
}

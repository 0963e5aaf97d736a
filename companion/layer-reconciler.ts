/**
 * Opens and closes the sockets of local members: compares the desired state in the store with the sockets that are open,
 * at start and at every change, one member at a time (docs/layers.md). A layer that cannot be opened is tried again with
 * back-off.
 */
import { type Clock, type CmbsError, type Counters, isOutage, type Log, toCmbsError } from '@cmbs/shared';
import {
  DESIRED,
  isLocal,
  type Layer,
  SHARD_FIELD,
  socketOf,
  startedLayers,
  subscriptionName,
} from '@cmbs/shared/broker';
import type { Bus } from '@cmbs/shared/bus';
import { type Entity, type Path, readEntity } from '@cmbs/shared/occi';
import type { RpcResult } from '@cmbs/shared/rpc';
import type { Store, Watch } from '@cmbs/shared/store';
import { leaseLost } from './delivery/in-flight-message';
import { type FrameTaker, LayerOpener, type LayerOpenerEnvironment, type OpenLayer } from './layer-opener';
import { LayerStates, type LayerStatesEnvironment, type ObservedLayer } from './layer-states';
import type { Members } from './members';
import type { ShardLease } from './shard-lease';

/** What the layer reconciler needs of its companion. */
export interface LayerReconcilerEnvironment extends LayerOpenerEnvironment, LayerStatesEnvironment {
  readonly store: Pick<Store, 'count' | 'get' | 'getAll' | 'query' | 'transact' | 'watch'>;
  readonly bus: Pick<Bus, 'setSubscription' | 'removeSubscription' | 'consume'>;
  readonly members: Pick<Members, 'get' | 'onChange' | 'refresh'>;
  readonly shard: Pick<ShardLease, 'shard' | 'shards' | 'servesAll' | 'of' | 'serves' | 'isCurrent'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Milliseconds before a layer is tried again, by the number of failures in a row. */
  readonly backOff: (failures: number) => number;
  /** Milliseconds between two looks at the desired states of the shard, where a watch may fail. */
  readonly lookAgainMs: number | undefined;
}

interface Openings {
  readonly open: Map<Layer, OpenLayer>;
  readonly observed: Map<Layer, ObservedLayer>;
  /** Layers that are known to have no subscription on the bus. */
  readonly forgotten: Set<Layer>;
  /** Work on this member, one step after the other. */
  queue: Promise<void>;
  /** Steps that run or wait in the queue. */
  steps: number;
  failures: number;
  cancelRetry: (() => void) | undefined;
}

export class LayerReconciler {
  readonly #environment: LayerReconcilerEnvironment;
  readonly #opener: LayerOpener;
  readonly #states: LayerStates;
  readonly #openings = new Map<Path, Openings>();
  #watch: Watch | undefined;
  #stopFollowing: () => void = () => undefined;
  #cancelLook: () => void = () => undefined;
  #closed = false;

  constructor(environment: LayerReconcilerEnvironment, frames: FrameTaker) {
    this.#environment = environment;
    this.#opener = new LayerOpener(environment, frames);
    this.#states = new LayerStates(environment);
  }

  /** Opens the layers that were started before. */
  async open(): Promise<void> {
    const { store, members, shard } = this.#environment;
    const where = { field: SHARD_FIELD, value: shard.shard };
    const scope = { collection: DESIRED, ...(shard.servesAll ? {} : { where }) };
    this.#watch = store.watch(scope, (changes) => {
      for (const { id } of changes) this.#reconcileSoon(id);
    });
    this.#stopFollowing = members.onChange((path) => {
      if (this.#openings.has(path)) this.#reconcileSoon(path);
    });
    await this.#watch.ready;
    const paths = await this.#states.membersWithDesiredState();
    await Promise.all(paths.map((path) => this.#enqueue(path, () => this.#reconcile(path))));
    this.#lookSoon();
  }

  #lookSoon(): void {
    const { clock, lookAgainMs } = this.#environment;
    if (lookAgainMs === undefined || this.#closed) return;
    this.#cancelLook = clock.after(lookAgainMs, () => void this.#look());
  }

  /** Finds changes that the watch may have missed. */
  async #look(): Promise<void> {
    const { log } = this.#environment;
    try {
      const desired = await this.#states.membersWithDesiredState();
      for (const path of new Set([...desired, ...this.#openings.keys()])) this.#reconcileSoon(path);
    } catch (error) {
      log.warn('desired states not read', { cause: error });
    }
    this.#lookSoon();
  }

  /** The companion serves the member from now on. */
  arrived(path: Path): void {
    this.#reconcileSoon(path);
  }

  /** Makes the member's sockets as desired, and says how one layer is now. */
  async reconcile(path: Path, layer: Layer): Promise<RpcResult<'reconcile'>> {
    await this.#enqueue(path, () => this.#reconcile(path));
    const observed = this.#openings.get(path)?.observed.get(layer);
    if (observed === undefined) return { state: 'stopped' };
    const { address: _itself, ...reply } = observed;
    return reply;
  }

  /** Closes all layers of a member that is being deleted, and removes its subscriptions. */
  async release(path: Path): Promise<void> {
    await this.#enqueue(path, async () => {
      const openings = this.#openings.get(path);
      if (openings === undefined) return;
      openings.cancelRetry?.();
      await closeAll(openings);
      for (const layer of this.#environment.layers.onBus) await this.#forget(openings, path, layer);
      this.#drop(openings, path);
    });
  }

  /** Layers that are desired and not open; a gauge. */
  get failing(): number {
    return [...this.#openings.values()].reduce(
      (sum, { observed }) => sum + [...observed.values()].filter(({ state }) => state === 'failed').length,
      0,
    );
  }

  /** Open sockets by layer, for metrics. */
  get openByLayer(): Readonly<Record<Layer, number>> {
    const counts = new Map(this.#environment.layers.names.map((layer) => [layer, 0]));
    for (const { open } of this.#openings.values()) {
      for (const layer of open.keys()) counts.set(layer, (counts.get(layer) ?? 0) + 1);
    }
    return Object.fromEntries(counts);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watch?.end();
    this.#stopFollowing();
    this.#cancelLook();
    await Promise.all(
      [...this.#openings].map(async ([, openings]) => {
        openings.cancelRetry?.();
        // Sockets first: a step that is under way may wait for the store. It opens no more sockets.
        await Promise.all([closeAll(openings), openings.queue]);
        await closeAll(openings);
      }),
    );
    this.#openings.clear();
  }

  #reconcileSoon(path: Path): void {
    this.#enqueue(path, () => this.#reconcile(path)).catch((error: unknown) => {
      this.#environment.log.error('layers not reconciled; trying again', { member: path, cause: error });
      const openings = this.#openings.get(path);
      if (openings !== undefined) this.#retry(path, openings);
    });
  }

  #enqueue(path: Path, work: () => Promise<void>): Promise<void> {
    if (this.#closed) return Promise.resolve();
    let openings = this.#openings.get(path);
    if (openings === undefined) {
      openings = {
        open: new Map(),
        observed: new Map(),
        forgotten: new Set(),
        queue: Promise.resolve(),
        steps: 0,
        failures: 0,
        cancelRetry: undefined,
      };
      this.#openings.set(path, openings);
    }
    const current = openings;
    current.steps += 1;
    const done = current.queue.then(work).finally(() => (current.steps -= 1));
    current.queue = done.catch(() => undefined); // the caller gets the failure; the next step goes on
    return done;
  }

  async #reconcile(path: Path): Promise<void> {
    const openings = this.#openings.get(path);
    if (openings === undefined || this.#closed) return;
    const { store, shard, layers } = this.#environment;
    const stored = await readEntity(store, path);
    const desired = (await store.get(DESIRED, path))?.value;
    const member = stored?.entity;
    if (member !== undefined && !shard.serves(member)) {
      await this.#leave(openings, path);
      return;
    }
    // A function of release 1.0 may have created the member; its watch does not report such members.
    if (member !== undefined && this.#environment.members.get(path) === undefined) {
      await this.#environment.members.refresh(path);
    }
    const wanted = member !== undefined && isLocal(member) ? startedLayers(desired, layers) : [];
    for (const layer of layers.names) {
      const open = openings.open.get(layer);
      const address = member === undefined ? undefined : socketOf(member, layer);
      const isWanted = wanted.includes(layer);
      if (open !== undefined && (!isWanted || open.address !== address)) {
        openings.open.delete(layer);
        await open.close();
      }
      if (!isWanted || member === undefined) {
        if (this.#isOnBus(layer)) await this.#forget(openings, path, layer);
        if (desired?.[layer] === 'stopped' || openings.observed.has(layer))
          openings.observed.set(layer, { state: 'stopped' });
        continue;
      }
      const still = openings.open.get(layer);
      if (still !== undefined) {
        await still.follow(member);
        continue;
      }
      openings.observed.set(layer, await this.#openLayer(openings, member, layer));
    }
    if (!this.#mayOpen()) return;
    if (stored !== undefined) {
      if (await this.#states.report(path, openings.observed)) await this.#environment.members.refresh(path);
    } else {
      // The desired state was kept until the subscriptions were removed.
      if (desired !== undefined) await this.#states.forgetDesiredState(path);
      this.#drop(openings, path);
    }
    const isFailing = [...openings.observed.values()].some(({ state }) => state === 'failed');
    if (isFailing) this.#retry(path, openings);
    else {
      openings.cancelRetry?.();
      openings.failures = 0;
    }
  }

  /** Another companion serves the member: closes its sockets here; its subscriptions stay. */
  async #leave(openings: Openings, path: Path): Promise<void> {
    openings.cancelRetry?.();
    await closeAll(openings);
    // The other companion may subscribe the member meanwhile.
    openings.forgotten.clear();
    this.#drop(openings, path);
  }

  /**
   * Forgets a member without open layers at the end of a step. If other steps wait, the last of them does so: the member
   * may have been created again and its layers started meanwhile.
   */
  #drop(openings: Openings, path: Path): void {
    if (openings.steps === 1) this.#openings.delete(path);
    openings.observed.clear();
    openings.failures = 0;
  }

  #retry(path: Path, openings: Openings): void {
    openings.cancelRetry?.();
    if (this.#closed) return;
    const { clock, backOff } = this.#environment;
    openings.failures += 1;
    openings.cancelRetry = clock.after(backOff(openings.failures), () => this.#reconcileSoon(path));
  }

  /**
   * Removes the subscription of a layer that is stopped for good: without a reader it would fill up, and then publications
   * on its topics would be refused. Also at start, because a crash may have come between the desired state and this.
   */
  async #forget(openings: Openings, path: Path, layer: Layer): Promise<void> {
    if (openings.forgotten.has(layer)) return;
    await this.#environment.bus.removeSubscription(subscriptionName(path, layer));
    openings.forgotten.add(layer);
  }

  async #openLayer(openings: Openings, member: Entity, layer: Layer): Promise<ObservedLayer> {
    const { counters, log } = this.#environment;
    const address = socketOf(member, layer);
    try {
      if (address === undefined) return { state: 'failed', reason: `the member has no ${layer} socket` };
      if (this.#isOnBus(layer)) openings.forgotten.delete(layer);
      if (!this.#mayOpen()) throw leaseLost();
      const opened = await this.#opener.open(member, layer, address);
      if (!this.#mayOpen()) {
        await opened.close();
        throw leaseLost();
      }
      openings.open.set(layer, opened);
      counters.add('cmbs_layers_opened', { layer });
      return { state: 'started', address };
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (error.code === 'internal') log.error('layer not opened', { member: member.path, layer, cause: thrown });
      counters.add('cmbs_layers_failed', { layer });
      const reason = reasonOf(error);
      const before = openings.observed.get(layer);
      // Logged once, however often it is tried again.
      if (before?.state !== 'failed' || before.reason !== reason) {
        log.warn('layer not opened; trying again', {
          member: member.path,
          layer,
          address,
          reason,
          cause: error.cause,
        });
      }
      return { state: 'failed', reason, ...(isOutage(error) ? { isOutage: true } : {}) };
    }
  }

  #isOnBus(layer: Layer): boolean {
    return this.#environment.layers.of(layer).channel === 'bus';
  }

  /** False when another companion may open the same sockets. */
  #mayOpen(): boolean {
    return !this.#closed && this.#environment.shard.isCurrent();
  }
}

/** Closes the layers that a member has open now; layers that are opened meanwhile stay. */
async function closeAll({ open }: Openings): Promise<void> {
  const layers = [...open.values()];
  open.clear();
  await Promise.all(layers.map((layer) => layer.close()));
}

/** The reason without its beginning, for a reply that begins "The l1 socket cannot be opened:". */
function reasonOf({ message }: CmbsError): string {
  return message.replace(/^The socket (\S+) cannot be opened: /, '$1: ').replace(/\.$/, '');
}

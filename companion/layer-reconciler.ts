/**
 * Opens and closes the sockets of local members: what the store wants is compared with what is open, at start and at
 * every change, one member at a time (docs/layers.md). What cannot be opened is tried again with back-off.
 */
import { CmbsError, isOutage, pause, toCmbsError, type Json, type JsonObject } from '@cmbs/shared';
import {
  DESIRED,
  isLocal,
  isSuspended,
  type Layer,
  MEMBER,
  registryOf,
  socketOf,
  startedLayers,
  subscriptionName,
  topicPatterns,
} from '@cmbs/shared/broker';
import { MAX_PAGE_DOCS } from '@cmbs/shared/limits';
import type { RpcResult } from '@cmbs/shared/rpc';
import { type Entity, type Path, readEntity, writeEntity } from '@cmbs/shared/occi';
import type { Watch } from '@cmbs/shared/store';
import type { Environment } from './environment';
import { leaseLost } from './delivery/in-flight-message';
import type { FrameHandler } from './frame-handler';

/** Deliveries of one bus subscription in flight. */
const MAX_BUS_IN_FLIGHT = 64;

/** An open layer of a member. */
interface OpenLayer {
  /** Address and topics it was opened with; another one means closing and opening. */
  readonly address: string;
  /** Follows a change that needs no new socket (topics, suspension). */
  readonly follow: (member: Entity) => Promise<void>;
  readonly close: () => Promise<void>;
}

type Observed = RpcResult<'reconcile'> & { readonly address?: string };

interface Openings {
  readonly open: Map<Layer, OpenLayer>;
  readonly observed: Map<Layer, Observed>;
  /** Layers whose subscription on the bus was removed, or never made by this process, and is known to be gone. */
  readonly forgotten: Set<Layer>;
  /** Work on this member, one after the other. */
  queue: Promise<void>;
  failures: number;
  cancelRetry: (() => void) | undefined;
}

export class LayerReconciler {
  readonly #environment: Environment;
  readonly #receiver: FrameHandler;
  readonly #openings = new Map<Path, Openings>();
  #watch: Watch | undefined;
  #stopFollowing: () => void = () => undefined;
  #cancelLook: () => void = () => undefined;
  #closed = false;

  constructor(environment: Environment, receiver: FrameHandler) {
    this.#environment = environment;
    this.#receiver = receiver;
  }

  /** Opens what was started before. */
  async open(): Promise<void> {
    const { store, members } = this.#environment;
    this.#watch = store.watch({ collection: DESIRED }, (changes) => {
      for (const { id } of changes) this.#reconcileSoon(id);
    });
    this.#stopFollowing = members.onChange((path) => {
      if (this.#openings.has(path)) this.#reconcileSoon(path);
    });
    await this.#watch.ready;
    const paths = await this.#desired();
    await Promise.all(paths.map((path) => this.#enqueue(path, () => this.#reconcile(path))));
    this.#lookSoon();
  }

  /** Members of which something is desired. */
  async #desired(): Promise<readonly Path[]> {
    const { store } = this.#environment;
    const paths: Path[] = [];
    for (let after: string | undefined, more = true; more;) {
      const page = await store.query({
        collection: DESIRED,
        limit: MAX_PAGE_DOCS,
        ...(after === undefined ? {} : { after }),
      });
      paths.push(...page.docs.map(({ id }) => id));
      after = page.next;
      more = after !== undefined;
    }
    return paths;
  }

  #lookSoon(): void {
    const { clock, lookAgainMs } = this.#environment;
    if (lookAgainMs === undefined || this.#closed) return;
    this.#cancelLook = clock.after(lookAgainMs, () => void this.#look());
  }

  /** Finds what the watch may have missed. */
  async #look(): Promise<void> {
    const { log } = this.#environment;
    try {
      for (const path of new Set([...(await this.#desired()), ...this.#openings.keys()]))
        this.#reconcileSoon(path);
    } catch (error) {
      log.warn('what is desired could not be read', { cause: error });
    }
    this.#lookSoon();
  }

  /** A member's sockets are this companion's from now on. */
  arrived(path: Path): void {
    this.#reconcileSoon(path);
  }

  /** Makes the member's sockets what the store wants and says how one layer is now. */
  async reconcile(path: Path, layer: Layer): Promise<RpcResult<'reconcile'>> {
    await this.#enqueue(path, () => this.#reconcile(path));
    const observed = this.#openings.get(path)?.observed.get(layer);
    if (observed === undefined) return { state: 'stopped' };
    const { address: _itself, ...reply } = observed;
    return reply;
  }

  /** Closes everything of a member that is being deleted. */
  async release(path: Path): Promise<void> {
    await this.#enqueue(path, async () => {
      const openings = this.#openings.get(path);
      if (openings === undefined) return;
      openings.cancelRetry?.();
      await closeAll(openings);
      for (const layer of this.#environment.layers.onBus) await this.#forget(openings, path, layer);
      this.#openings.delete(path);
    });
  }

  /** Layers that are wanted and not open; a gauge. */
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
        // Sockets first: a step that is under way may wait for the store. It opens nothing any more.
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
        failures: 0,
        cancelRetry: undefined,
      };
      this.#openings.set(path, openings);
    }
    const done = openings.queue.then(work);
    openings.queue = done.catch(() => undefined); // the caller gets the failure; the next step goes on
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
    if (stored !== undefined) await this.#report(path, openings);
    else {
      if (desired !== undefined) await this.#forgetDesired(path);
      this.#openings.delete(path);
    }
    const isFailing = [...openings.observed.values()].some(({ state }) => state === 'failed');
    if (isFailing) this.#retry(path, openings);
    else {
      openings.cancelRetry?.();
      openings.failures = 0;
    }
  }

  /** The member is another companion's: its sockets are not opened here, and its subscriptions stay. */
  async #leave(openings: Openings, path: Path): Promise<void> {
    openings.cancelRetry?.();
    await closeAll(openings);
    this.#openings.delete(path);
  }

  #retry(path: Path, openings: Openings): void {
    openings.cancelRetry?.();
    if (this.#closed) return;
    const { clock, backOff } = this.#environment;
    openings.failures += 1;
    openings.cancelRetry = clock.after(backOff(openings.failures), () => this.#reconcileSoon(path));
  }

  /**
   * Nothing is kept on the bus for a layer that is stopped for good: a subscription without a reader would fill up
   * and then refuse publications on its topics. Also at start, because a crash may have come between the desired state and
   * this.
   */
  async #forget(openings: Openings, path: Path, layer: Layer): Promise<void> {
    if (openings.forgotten.has(layer)) return;
    await this.#environment.bus.removeSubscription(subscriptionName(path, layer));
    openings.forgotten.add(layer);
  }

  /** Removes the desired state of a deleted member, which was kept until its subscriptions were removed. */
  async #forgetDesired(path: Path): Promise<void> {
    await this.#environment.store.transact(async (tx) => {
      if ((await readEntity(tx, path)) === undefined) tx.delete(DESIRED, path);
    });
  }

  async #openLayer(openings: Openings, member: Entity, layer: Layer): Promise<Observed> {
    const { counters, log } = this.#environment;
    const address = socketOf(member, layer);
    try {
      if (address === undefined) return { state: 'failed', reason: `the member has no ${layer} socket` };
      if (this.#isOnBus(layer)) openings.forgotten.delete(layer);
      if (!this.#mayOpen()) throw leaseLost();
      const opened = await this.#bind(member, layer, address);
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
      // Once, however often it is tried again.
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

  /** Not where another companion may open the same. */
  #mayOpen(): boolean {
    return !this.#closed && this.#environment.shard.isCurrent();
  }

  async #bind(member: Entity, layer: Layer, address: string): Promise<OpenLayer> {
    const { exchanges, log, counters, layers } = this.#environment;
    const { path } = member;
    const socket = { member: path, layer, address };
    const receiver = this.#receiver;
    switch (layers.of(layer).channel) {
      case 'request': {
        const opened = await exchanges.serveRequests(socket, (body) => receiver.reply(path, layer, body));
        return { address, follow: async () => undefined, close: () => opened.close() };
      }
      case 'broadcast': {
        const opened = await exchanges.serveBroadcasts(socket, async (body) => {
          try {
            await receiver.handleBroadcast(path, layer, body);
          } catch (thrown) {
            const error = toCmbsError(thrown);
            counters.add('cmbs_dropped', { reason: error.code, layer });
            log.warn('broadcast dropped', { member: path, reason: error.message });
          }
        });
        return { address, follow: async () => undefined, close: () => opened.close() };
      }
      case 'bus': {
        const opened = await exchanges.serveRequests(socket, (body) => receiver.replyFederated(path, layer, body));
        try {
          const subscription = await this.#subscribe(member, layer);
          return {
            address,
            follow: subscription.follow,
            close: async () => {
              await opened.close();
              await subscription.close();
            },
          };
        } catch (error) {
          await opened.close();
          throw error;
        }
      }
    }
  }

  /** The member's subscription on the bus: follows its topics, rests while the member is suspended. */
  async #subscribe(member: Entity, layer: Layer): Promise<Pick<OpenLayer, 'follow' | 'close'>> {
    const { bus, log, counters } = this.#environment;
    const { path } = member;
    const name = subscriptionName(path, layer);
    let set: string | undefined;
    let consumer: ReturnType<typeof bus.consume> | undefined;
    let stop = new AbortController();
    const rest = async (): Promise<void> => {
      stop.abort();
      await consumer?.close();
      consumer = undefined;
    };
    const consume = (): ReturnType<typeof bus.consume> => {
      stop = new AbortController();
      const { signal } = stop;
      return bus.consume(
        name,
        (delivery) =>
          this.#patiently(signal, layer, () => this.#receiver.handleBusDelivery(path, layer, delivery)),
        {
          maxInFlight: MAX_BUS_IN_FLIGHT,
          onDeadLetter: async ({ id, topic }, reason) => {
            counters.add('cmbs_dead_letters', { layer });
            log.error('topic message given up', {
              event: 'dead_letter',
              layer,
              member: path,
              topic,
              publication: id,
              reason,
            });
          },
        },
      );
    };
    const follow = async (now: Entity): Promise<void> => {
      const wanted = { name, layer, patterns: topicPatterns(now), paused: isSuspended(now) };
      if (set !== JSON.stringify(wanted)) {
        await bus.setSubscription(wanted);
        set = JSON.stringify(wanted);
      }
      if (wanted.paused) await rest();
      else consumer ??= consume();
    };
    await follow(member);
    return { follow, close: rest };
  }

  /**
   * Takes a delivery of the bus, again and again while the member's own side cannot have it (a full inbox, a full
   * disk): such attempts must not bring it nearer to being given up. Its place among those in flight slows the
   * bus down meanwhile.
   */
  async #patiently(stop: AbortSignal, layer: Layer, take: () => Promise<void>): Promise<void> {
    const { clock, counters, backOff } = this.#environment;
    for (let failures = 1; ; failures++) {
      try {
        await take();
        return;
      } catch (thrown) {
        if (!isNotNow(toCmbsError(thrown))) throw thrown;
        // A full inbox is no fault of the message, so that this must not count as one of its attempts.
        if (stop.aborted) {
          throw new CmbsError('unavailable', 'The member takes nothing more for now.', { cause: thrown });
        }
      }
      counters.add('cmbs_retries', { layer });
      await pause(clock, backOff(failures), stop);
    }
  }

  /** Shows the observed states in the member's read-only `layers`. */
  async #report(path: Path, openings: Openings): Promise<void> {
    const { store, clock, members } = this.#environment;
    const registry = await registryOf(this.#environment);
    const layers: Record<string, Json> = Object.fromEntries(
      [...openings.observed].map(([layer, { state, reason, address }]): [string, JsonObject] => [
        layer,
        { state, ...(address === undefined ? {} : { address }), ...(reason === undefined ? {} : { reason }) },
      ]),
    );
    const isNews = await store.transact(async (tx) => {
      const stored = await readEntity(tx, path);
      if (stored === undefined) return false;
      const { entity } = stored;
      const before = JSON.stringify(entity.attributes[MEMBER.layers] ?? {});
      if (before === JSON.stringify(layers)) return false;
      const attributes = { ...entity.attributes, [MEMBER.layers]: layers };
      writeEntity(tx, { ...entity, attributes, updatedAt: clock.now() }, entity, registry);
      return true;
    });
    if (isNews) await members.refresh(path);
  }
}

/** Closes what a member has open now; what is opened meanwhile stays. */
async function closeAll({ open }: Openings): Promise<void> {
  const layers = [...open.values()];
  open.clear();
  await Promise.all(layers.map((layer) => layer.close()));
}

/** What stands after "The l1 socket cannot be opened:". */
function reasonOf({ message }: CmbsError): string {
  return message.replace(/^The socket (\S+) cannot be opened: /, '$1: ').replace(/\.$/, '');
}

/** What is wrong with the member's side for now, and nothing with the message. */
const isNotNow = (error: CmbsError): boolean =>
  isOutage(error) || error.code === 'queue_full' || error.code === 'storage_full';

/** The provider of members: ports, layers that start and stop, discovery, and what goes with a member that is deleted. */
import { CmbsError, isOutage, toCmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { RPC_TIMEOUT_MS } from './limits';
import { MAX_PAGE_CHARS } from '../limits';
import type { RpcResult } from '../rpc';
import { type Change, type Completion, type Entity, type Path, type Provider, readEntity } from '../occi';
import type { Store, Transaction } from '../store';
import { MEMBER } from './cmbs';
import { allStopped, DESIRED, withDesired } from './desired';
import { inboxOf } from './inbox';
import { LAYERS, type Layer } from './layers';
import { isLocal, layersToStart, prepareMember, socketOf } from './member';
import { membersAt, PortAllotment } from './ports';
import type { BrokerOptions } from './options';
import { asEntity, later } from './message-sender';
import { verbOf } from './verbs';

export function memberProvider({ store, clock, rpc: link, log, ports, schemes }: BrokerOptions): Provider {
  /** The members that one transaction deletes share what they release. */
  const allotments = new WeakMap<Transaction, PortAllotment>();
  const setLayer = async (member: Entity, layer: Layer, desired: 'started' | 'stopped'): Promise<void> => {
    await store.transact(async (tx) => {
      const stored = await readEntity(tx, member.path);
      if (stored === undefined) throw new CmbsError('not_found', `There is nothing at ${member.path}.`);
      const doc = await tx.get(DESIRED, member.path);
      tx.put(DESIRED, member.path, withDesired(doc?.value, layer, desired, clock.now()));
    });
  };
  return {
    name: 'cmbs_member',
    prepare: (next, before) => prepareMember(next, before, schemes),
    complete,
    applicable: (entity, actions) => (isLocal(entity) ? actions : []),
    async act(call) {
      const { entity } = call;
      const { verb, layer } = verbOf(call);
      const options = {
        deadlineMs: RPC_TIMEOUT_MS,
        signal: call.signal,
        ...(call.trace === undefined ? {} : { trace: call.trace }),
      };
      if (verb === 'check_neighbors') {
        const report = await link.call(entity.path, 'check_neighbors', {}, options);
        return { answer: 'attributes', values: report as unknown as Readonly<Record<string, Json>> };
      }
      if (layer === undefined || (verb !== 'start' && verb !== 'stop')) {
        throw new CmbsError('bad_action', `Members do not carry out ${call.action}.`);
      }
      await setLayer(entity, layer, verb === 'start' ? 'started' : 'stopped');
      let now: RpcResult<'reconcile'>;
      try {
        now = await link.call(entity.path, 'reconcile', { layer }, options);
      } catch (thrown) {
        // The desired state is stored, and the companion that holds the member finds it.
        const error = toCmbsError(thrown);
        if (isOutage(error)) return later(error.message);
        throw thrown;
      }
      if (now.isOutage === true) return later(now.reason);
      if (now.state === 'failed') {
        throw new CmbsError(
          'conflict',
          `The ${layer} socket cannot be opened: ${now.reason ?? 'for an unknown reason'}.`,
        );
      }
      return asEntity;
    },
    async releasing(entity, signal) {
      if (!isLocal(entity)) return;
      await stop(entity, signal);
      await emptyInbox(store, entity, signal);
    },
    removing: async (tx, entity) => {
      const allotment = allotments.get(tx) ?? new PortAllotment(tx, ports, []);
      allotments.set(tx, allotment);
      await allotment.released(entity);
      const removeInbox = await removeInboxOf(tx, entity);
      return () => {
        removeInbox();
        allotment.write();
      };
    },
  };

  /** Gives ports to what names no address, says who has an address already, and wants layers started. */
  async function complete(tx: Transaction, changes: readonly Change[]): Promise<Completion> {
    const allotment = new PortAllotment(tx, ports, changes);
    const entities: Entity[] = [];
    const notes: string[] = [];
    const wanted: { readonly path: Path; readonly layers: readonly Layer[]; readonly desired: JsonObject }[] = [];
    for (const { next, before } of changes) {
      const { [MEMBER.start]: start, ...attributes } = next.attributes;
      const layers = layersToStart(start);
      const member = await allotment.complete({ next: { ...next, attributes }, before });
      if (before !== undefined) await allotment.released(before, member);
      notes.push(...(await sharedAddresses(tx, member, before, entities)));
      entities.push(member);
      if (layers.length === 0) continue;
      if (!isLocal(member)) {
        throw new CmbsError('bad_attribute', `${MEMBER.start} is for local members; ${member.path} is not one.`);
      }
      const doc = await tx.get(DESIRED, member.path);
      const desired = layers.reduce(
        (all: JsonObject | undefined, layer) => withDesired(all, layer, 'started', clock.now()),
        doc?.value,
      );
      if (desired !== undefined) wanted.push({ path: member.path, layers, desired });
    }
    return {
      entities,
      notes,
      write: () => {
        allotment.write();
        for (const { path, desired } of wanted) tx.put(DESIRED, path, desired);
      },
      afterwards: async (signal) => {
        await Promise.all(
          wanted.flatMap(({ path, layers }) => layers.map((layer) => startNow(path, layer, signal))),
        );
      },
    };
  }

  /** What becomes of it shows in the member's `layers`; the companion goes on trying. */
  async function startNow(path: Path, layer: Layer, signal: AbortSignal | undefined): Promise<void> {
    try {
      const options = { deadlineMs: RPC_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
      await link.call(path, 'reconcile', { layer }, options);
    } catch (thrown) {
      log.warn('layer not started yet; the companion finds it in the store', {
        member: path,
        layer,
        cause: thrown,
      });
    }
  }

  /** Closes its sockets, for good. */
  async function stop(entity: Entity, signal: AbortSignal): Promise<void> {
    const wanted = await store.transact(async (tx) => {
      const doc = await tx.get(DESIRED, entity.path);
      if (doc !== undefined) tx.put(DESIRED, entity.path, allStopped(clock.now()));
      return doc;
    });
    if (wanted === undefined) return;
    try {
      await link.call(entity.path, 'release', {}, { deadlineMs: RPC_TIMEOUT_MS, signal });
    } catch (thrown) {
      // A companion that is away has no sockets open; when it is back, the desired state tells it what to clear away.
      if (toCmbsError(thrown).code === 'unavailable') return;
      throw thrown;
    }
    await store.transact(async (tx) => {
      tx.delete(DESIRED, entity.path);
    });
  }
}

const INBOX_PAGE = { limit: 1000, maxChars: MAX_PAGE_CHARS };

/** All but the last page of the inbox of a member that goes: who comes next under its name must not find it. */
async function emptyInbox(store: Store, member: Entity, signal: AbortSignal): Promise<void> {
  const inbox = inboxOf(member.id);
  for (;;) {
    const page = await store.query({ collection: inbox, ...INBOX_PAGE }, { signal });
    if (page.next === undefined) return;
    signal.throwIfAborted();
    await store.transact((tx) => {
      for (const doc of page.docs) tx.delete(inbox, doc.id);
      return Promise.resolve();
    });
  }
}

/** One sentence for each address that the member did not have before and that another member has. */
async function sharedAddresses(
  tx: Transaction,
  member: Entity,
  before: Entity | undefined,
  together: readonly Entity[],
): Promise<readonly string[]> {
  const added = LAYERS.flatMap((layer) => {
    const address = socketOf(member, layer);
    return address === undefined || (before !== undefined && socketOf(before, layer) === address) ? [] : [address];
  });
  const notes: string[] = [];
  for (const address of new Set(added)) {
    const others = new Set([
      ...(await membersAt(tx, address, member.path)),
      ...together
        .filter((other) => LAYERS.some((layer) => socketOf(other, layer) === address))
        .map(({ path }) => path),
    ]);
    for (const other of others) {
      notes.push(`${other} has the address ${address}, too: only one of the two can be reached there.`);
    }
  }
  return notes;
}

/** The rest of its inbox goes with the member. */
async function removeInboxOf(tx: Transaction, member: Entity): Promise<() => void> {
  const inbox = inboxOf(member.id);
  const page = await tx.query({ collection: inbox, ...INBOX_PAGE });
  return () => {
    for (const doc of page.docs) tx.delete(inbox, doc.id);
  };
}

/** The provider of members: ports, starting and stopping layers, discovery, and the inbox of a deleted member. */
import { CmbsError, isOutage, toCmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { RPC_TIMEOUT_MS } from './limits';
import { MAX_PAGE_CHARS } from '../limits';
import type { RpcResult } from '../rpc';
import {
  type ActionCall,
  type Change,
  type ChangeRequest,
  type Completion,
  type Entity,
  type Path,
  type Provider,
  readEntity,
} from '../occi';
import type { Principal } from '../principal';
import type { Store, Transaction } from '../store';
import { authorizeSubscribing, isAllowed, resourceOf } from './authorization';
import { MEMBER } from './cmbs';
import { allStopped, DESIRED, putDesired, readDesiredAgain, withDesired } from './desired';
import { existing } from './existing';
import { inboxOf } from './receipt';
import type { Layer, Layers } from './layer-definition';
import { isLocal, layersToStart, prepareMember, socketOf } from './member';
import { membersAt, PortAllotment } from './ports';
import { groupOf, inGroup } from './member-groups';
import { putMove } from './member-moves';
import type { BrokerOptions } from './options';
import { asEntity, later } from './message-sender';
import { rpcOptions, verbOf } from './action-call';

export function memberProvider(options: BrokerOptions): Provider {
  const { store, clock, rpc, log, ports, authorize, layers: known } = options;
  /** Members that one transaction deletes share an allotment. */
  const allotments = new WeakMap<Transaction, PortAllotment>();
  const setLayer = async (
    { principal, entity: member }: ActionCall,
    layer: Layer,
    desired: 'started' | 'stopped',
  ): Promise<void> => {
    await store.transact(async (tx) => {
      const stored = await existing(tx, member.path);
      // Starting a layer of the bus subscribes the member to its topics.
      if (desired === 'started' && known.onBus.includes(layer)) {
        await authorizeSubscribing(authorize, principal, stored.entity);
      }
      const doc = await tx.get(DESIRED, member.path);
      putDesired(tx, stored.entity, withDesired(doc?.value, layer, desired, clock.now()), options);
    });
  };
  return {
    name: 'cmbs_member',
    prepare: (next, before) => prepareMember(next, before, options),
    complete,
    applicable: (entity, actions) => (isLocal(entity) ? actions : []),
    async act(call) {
      const { entity } = call;
      const { verb, layer } = verbOf(call, known);
      const options = rpcOptions(call);
      if (verb === 'check_neighbors') {
        const report = await rpc.call(entity.path, 'check_neighbors', {}, options);
        return { answer: 'attributes', values: report as unknown as Readonly<Record<string, Json>> };
      }
      if (layer === undefined || (verb !== 'start' && verb !== 'stop')) {
        throw new CmbsError('bad_action', `Members do not carry out ${call.action}.`);
      }
      await setLayer(call, layer, verb === 'start' ? 'started' : 'stopped');
      let now: RpcResult<'reconcile'>;
      try {
        now = await rpc.call(entity.path, 'reconcile', { layer }, options);
      } catch (thrown) {
        // The desired state is stored: the member's companion finds it there.
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
      const allotment = allotments.get(tx) ?? new PortAllotment(tx, ports, known, []);
      allotments.set(tx, allotment);
      await allotment.released(entity);
      const removeInbox = await removeInboxOf(tx, entity);
      return () => {
        removeInbox();
        putMove(tx, entity, undefined, options);
        allotment.write();
      };
    },
  };

  /** Whether the principal may read the member at a path; one that the same request creates is not stored yet. */
  async function mayReadMember(tx: Transaction, path: Path, principal: Principal): Promise<boolean> {
    const member = (await readEntity(tx, path))?.entity;
    if (member === undefined) return true;
    return isAllowed(authorize(principal, 'entity.read', resourceOf(member)));
  }

  /** Allots ports, reports members that share an address, and stores which layers are to be started. */
  async function complete(
    tx: Transaction,
    changes: readonly Change[],
    { principal }: ChangeRequest,
  ): Promise<Completion> {
    const allotment = new PortAllotment(tx, ports, known, changes);
    const entities: Entity[] = [];
    const notes: string[] = [];
    const started: { readonly member: Entity; readonly layers: readonly Layer[]; readonly desired: JsonObject }[] =
      [];
    const moved: (() => void)[] = [];
    for (const { next, before } of changes) {
      const { [MEMBER.start]: start, ...attributes } = next.attributes;
      const layers = layersToStart(start, known);
      const subscribes = layers.some((layer) => known.onBus.includes(layer));
      await authorizeSubscribing(authorize, principal, next, subscribes ? undefined : before);
      const complete = await allotment.complete({ next: { ...next, attributes }, before });
      const member = inGroup(complete, options.shardOf);
      if (before !== undefined) await allotment.released(before, member);
      const mayRead = (path: Path): Promise<boolean> => mayReadMember(tx, path, principal);
      notes.push(...(await sharedAddresses(tx, member, { before, together: entities, layers: known, mayRead })));
      entities.push(member);
      if (layers.length === 0) {
        const isElsewhere = before !== undefined && groupOf(before, options.shardOf) !== member.group;
        if (isElsewhere && isLocal(member)) moved.push(await readDesiredAgain(tx, member, options));
        continue;
      }
      if (!isLocal(member)) {
        throw new CmbsError('bad_attribute', `${MEMBER.start} is for local members; ${member.path} is not one.`);
      }
      const doc = await tx.get(DESIRED, member.path);
      const desired = layers.reduce(
        (all: JsonObject | undefined, layer) => withDesired(all, layer, 'started', clock.now()),
        doc?.value,
      );
      if (desired !== undefined) started.push({ member, layers, desired });
    }
    return {
      entities,
      notes,
      write: () => {
        allotment.write();
        changes.forEach(({ before }, at) => {
          if (before !== undefined) putMove(tx, before, entities[at], options);
        });
        for (const write of moved) write();
        for (const { member, desired } of started) putDesired(tx, member, desired, options);
      },
      afterwards: async (signal) => {
        await Promise.all(
          started.flatMap(({ member: { path }, layers }) =>
            layers.map((layer) => startNow(path, layer, principal, signal)),
          ),
        );
      },
    };
  }

  /** A failure shows in the member's `layers`; the companion goes on trying. */
  async function startNow(
    path: Path,
    layer: Layer,
    principal: Principal,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    try {
      const options = { principal, deadlineMs: RPC_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
      await rpc.call(path, 'reconcile', { layer }, options);
    } catch (thrown) {
      log.warn('layer not started yet; the companion will find it in the store', {
        member: path,
        layer,
        cause: thrown,
      });
    }
  }

  /** Closes the member's sockets for good. */
  async function stop(entity: Entity, signal: AbortSignal): Promise<void> {
    const wanted = await store.transact(async (tx) => {
      const doc = await tx.get(DESIRED, entity.path);
      if (doc !== undefined) putDesired(tx, entity, allStopped(known, clock.now()), options);
      return doc;
    });
    if (wanted === undefined) return;
    try {
      await rpc.call(entity.path, 'release', {}, { deadlineMs: RPC_TIMEOUT_MS, signal });
    } catch (thrown) {
      // An unreachable companion has no sockets open; after its start it finds the desired state, and cleans up.
      if (toCmbsError(thrown).code === 'unavailable') return;
      throw thrown;
    }
    await store.transact(async (tx) => {
      tx.delete(DESIRED, entity.path);
    });
  }
}

const INBOX_PAGE = { limit: 1000, maxChars: MAX_PAGE_CHARS };

/** Empties the inbox but for its last page, so that a new member with this id does not inherit it. */
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

/** One sentence for each new address of the member that another member has too. */
async function sharedAddresses(
  tx: Transaction,
  member: Entity,
  {
    before,
    together,
    layers,
    mayRead,
  }: {
    readonly before: Entity | undefined;
    /** Members that the same request writes. */
    readonly together: readonly Entity[];
    readonly layers: Layers;
    /** Whether the caller may read another member, which is named only then. */
    readonly mayRead: (path: Path) => Promise<boolean>;
  },
): Promise<readonly string[]> {
  const added = layers.names.flatMap((layer) => {
    const address = socketOf(member, layer);
    return address === undefined || (before !== undefined && socketOf(before, layer) === address) ? [] : [address];
  });
  const notes: string[] = [];
  for (const address of new Set(added)) {
    const others = new Set([
      ...(await membersAt(tx, address, member.path, layers)),
      ...together
        .filter((other) => layers.names.some((layer) => socketOf(other, layer) === address))
        .map(({ path }) => path),
    ]);
    for (const other of others) {
      const name = (await mayRead(other)) ? other : 'Another member';
      notes.push(`${name} has the address ${address}, too: only one of the two can be reached there.`);
    }
  }
  return notes;
}

/** Reads the last page of the inbox; the result deletes it. */
async function removeInboxOf(tx: Transaction, member: Entity): Promise<() => void> {
  const inbox = inboxOf(member.id);
  const page = await tx.query({ collection: inbox, ...INBOX_PAGE });
  return () => {
    for (const doc of page.docs) tx.delete(inbox, doc.id);
  };
}

/** The providers behind the built-in kinds, and the CMBS extension that binds them. */
import { CmbsError, isOutage, toCmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { LINK_MARGIN_MS, LINK_TIMEOUT_MS, MAX_PAGE_CHARS, PUBLISH_PATIENCE_MS } from '../limits';
import type { Link, LinkReply } from '../link/link';
import type { Log } from '../log';
import type { Categories } from '../occi/categories';
import { fingerprint, type IdempotentRequest } from '../occi/idempotency';
import { splitCategoryId, type Entity, type Path } from '../occi/model';
import { deleteEntity, readEntity } from '../occi/entity-store';
import type { ActionCall, ActionOutcome, Change, Completion, Extension, Provider } from '../occi/provider';
import type { Store, Transaction } from '../store/store';
import {
  CMBS_ALIASES,
  CMBS_CATEGORIES,
  DEAD_LETTER_MIXIN,
  FROM,
  MEMBER,
  MEMBER_KIND,
  MESSAGE,
  MESSAGE_KIND,
} from './cmbs';
import { allStopped, DESIRED, withDesired } from './desired';
import { LAYERS, parseLayer, type Layer } from './layers';
import { actingMember, isLocal, layersToStart, prepareMember, socketOf } from './member';
import { layerOf, prepareMessage, whyNotSent } from './message';
import { inboxOf } from './inbox';
import { membersAt, PortAllotment, type PortSettings } from './ports';
import { publishSend, type PublishContext } from './publish';
import { queueSend, type QueueOptions } from './queue';
import { deleteSend, isItsTurn, isOpen, isPublishing, readSend, type Send } from './send';

export interface BrokerOptions extends QueueOptions {
  readonly link: Link;
  readonly log: Log;
  readonly ports: PortSettings;
  /** Set after construction by whoever assembles: providers and categories need each other. */
  readonly categories: () => Categories;
  readonly publishing: Pick<PublishContext, 'bus' | 'counters' | 'deployment' | 'uriOf'>;
}

/** Splits `start_l1` into its verb and layer. */
function verbOf(call: ActionCall): { readonly verb: string; readonly layer: Layer | undefined } {
  const term = splitCategoryId(call.action)?.term ?? '';
  const at = term.lastIndexOf('_');
  const layer = parseLayer(term.slice(at + 1));
  return layer === undefined ? { verb: term, layer } : { verb: term.slice(0, at), layer };
}

const traceOf = ({ trace }: ActionCall): { readonly trace?: string } => (trace === undefined ? {} : { trace });

const asEntity: ActionOutcome = { answer: 'entity', status: 200 };

/** Stored, and the outcome is not known yet. */
const later = (reason: string | undefined): ActionOutcome => ({
  answer: 'entity',
  status: 202,
  ...(reason === undefined ? {} : { reason }),
});

function memberProvider({ store, clock, link, log, ports }: BrokerOptions): Provider {
  /** The members that one transaction deletes share what they release. */
  const allotments = new WeakMap<Transaction, PortAllotment>();
  const setLayer = async (member: Entity, layer: Layer, wish: 'started' | 'stopped'): Promise<void> => {
    await store.transact(async (tx) => {
      const stored = await readEntity(tx, member.path);
      if (stored === undefined) throw new CmbsError('not_found', `There is nothing at ${member.path}.`);
      const doc = await tx.get(DESIRED, member.path);
      tx.put(DESIRED, member.path, withDesired(doc?.value, layer, wish, clock.now()));
    });
  };
  return {
    name: 'cmbs_member',
    prepare: prepareMember,
    complete,
    applicable: (entity, actions) => (isLocal(entity) ? actions : []),
    async act(call) {
      const { entity } = call;
      const { verb, layer } = verbOf(call);
      const options = { deadlineMs: LINK_TIMEOUT_MS, signal: call.signal, ...traceOf(call) };
      if (verb === 'check_neighbors') {
        const report = await link.perform(entity.path, 'check_neighbors', {}, options);
        return { answer: 'attributes', values: report as unknown as Readonly<Record<string, Json>> };
      }
      if (layer === undefined || (verb !== 'start' && verb !== 'stop')) {
        throw new CmbsError('bad_action', `Members do not carry out ${call.action}.`);
      }
      await setLayer(entity, layer, verb === 'start' ? 'started' : 'stopped');
      let now: LinkReply<'reconcile'>;
      try {
        now = await link.perform(entity.path, 'reconcile', { layer }, options);
      } catch (thrown) {
        // The wish is stored, and whoever holds the member finds it.
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
      const options = { deadlineMs: LINK_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
      await link.perform(path, 'reconcile', { layer }, options);
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
      await link.perform(entity.path, 'release', {}, { deadlineMs: LINK_TIMEOUT_MS, signal });
    } catch (thrown) {
      // A companion that is away has no sockets open; when it is back the wish tells it what to clear away.
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

/** Reads the send of a message that goes; what comes back ends it. */
async function cancelling(tx: Transaction, message: Entity): Promise<() => void> {
  const delivery = message.attributes[MESSAGE.delivery] as { readonly send_id?: string } | undefined;
  const sendId = delivery?.send_id;
  const current = sendId === undefined ? undefined : await readSend(tx, sendId);
  return () => {
    if (current !== undefined) deleteSend(tx, current.send);
  };
}

function messageProvider(options: BrokerOptions): Provider {
  const { store, clock, newId, link, log } = options;

  const idempotencyOf = (call: ActionCall): { idempotent?: IdempotentRequest } =>
    call.idempotencyKey === undefined
      ? {}
      : {
          idempotent: {
            key: call.idempotencyKey,
            owner: call.identity.name,
            fingerprint: fingerprint(call.action, call.entity.path, JSON.stringify(call.attributes)),
          },
        };

  const from = (call: ActionCall): string | undefined => {
    const given = call.attributes[FROM];
    return typeof given === 'string' ? given : undefined;
  };

  async function send(call: ActionCall, layer: Layer): Promise<ActionOutcome> {
    const { registry } = await options.categories().current();
    const queued = await queueSend(
      { message: call.entity.path, layer, from: from(call), registry, ...idempotencyOf(call), ...traceOf(call) },
      options,
    );
    return finish(queued, call.waitMs, call.signal, call.trace);
  }

  /** The send is stored, so a bus that does not take it now is not the caller's trouble: the outbox tries again. */
  async function publish(queued: Send): Promise<{ readonly send?: Send; readonly failure?: CmbsError }> {
    // The outbox has all that stands in line.
    if (!isPublishing(queued) || !(await isItsTurn(store, queued))) return { send: queued };
    const { registry } = await options.categories().current();
    try {
      const send = await publishSend(queued.id, { ...options.publishing, store, clock, registry, log });
      return send === undefined ? {} : { send };
    } catch (thrown) {
      log.warn('publication failed; the outbox has the send', { send: queued.id, cause: thrown });
      return { failure: toCmbsError(thrown) };
    }
  }

  /** Publishes what goes on the bus, nudges the companion for the rest, and waits as long as the caller wants. */
  async function finish(
    queued: Send,
    waitMs: number,
    signal: AbortSignal,
    trace: string | undefined,
  ): Promise<ActionOutcome> {
    let published: Awaited<ReturnType<typeof publish>>;
    try {
      published = await withDeadline(publish(queued), Math.max(waitMs, PUBLISH_PATIENCE_MS));
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (isOutage(error)) return later(error.message);
      throw thrown;
    }
    if (published.failure !== undefined) return later(published.failure.message);
    if (!published.send?.receivers.some(isOpen)) return asEntity;
    const nudge = link.perform(
      queued.from,
      'send',
      { sendId: queued.id },
      {
        deadlineMs: waitMs === 0 ? LINK_TIMEOUT_MS : waitMs + LINK_MARGIN_MS,
        ...(waitMs === 0 ? {} : { signal }),
        ...(trace === undefined ? {} : { trace }),
      },
    );
    if (waitMs === 0) {
      nudge.catch((thrown: unknown) =>
        log.warn('nudge failed; the outbox has the send', { send: queued.id, cause: thrown }),
      );
      return later('the outcome was not waited for');
    }
    try {
      const outcome = await withDeadline(nudge, waitMs);
      if (outcome.outcome === 'settled') return asEntity;
      return {
        answer: 'entity',
        status: 202,
        ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
      };
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (isOutage(error)) return later(error.message);
      throw thrown;
    }
  }

  function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = clock.after(ms, () =>
        reject(new CmbsError('deadline_exceeded', 'no outcome within the time that the request waits')),
      );
      work.then(resolve, reject).finally(cancel);
    });
  }

  async function execute(call: ActionCall): Promise<ActionOutcome> {
    const actor = await actingMember(store, from(call));
    const { idempotencyKey } = call;
    const runId = idempotencyKey === undefined ? newId() : fingerprint(call.identity.name, idempotencyKey);
    await link.perform(
      actor.path,
      'execute',
      { message: call.entity.path, runId },
      { deadlineMs: LINK_TIMEOUT_MS, signal: call.signal, ...traceOf(call) },
    );
    return asEntity;
  }

  async function purge(call: ActionCall): Promise<ActionOutcome> {
    const { registry } = await options.categories().current();
    await store.transact(async (tx) => {
      const stored = await readEntity(tx, call.entity.path);
      if (stored === undefined) throw new CmbsError('not_found', `There is nothing at ${call.entity.path}.`);
      if (!stored.entity.mixins.includes(DEAD_LETTER_MIXIN)) {
        throw new CmbsError('conflict', `${call.entity.path} is no dead letter.`);
      }
      const cancel = await cancelling(tx, stored.entity);
      deleteEntity(tx, stored.entity, registry);
      cancel();
    });
    return { answer: 'attributes', values: { purged: call.entity.path } };
  }

  return {
    name: 'cmbs_message',
    prepare: prepareMessage,
    applicable: (entity, actions) =>
      actions.filter((id) => {
        const layer = LAYERS.find((one) => id.endsWith(`#send_${one}`));
        return layer === undefined || whyNotSent(entity, layer) === undefined;
      }),
    async act(call) {
      const { verb, layer } = verbOf(call);
      if (verb === 'send' && layer !== undefined) return send(call, layer);
      switch (verb) {
        case 'execute':
          return execute(call);
        case 'purge':
          return purge(call);
        case 'resend': {
          const own = layerOf(call.entity);
          if (own === undefined)
            throw new CmbsError('conflict', `${call.entity.path} has no layer to be sent on.`);
          return send(call, own);
        }
        default:
          throw new CmbsError('bad_action', `Messages do not carry out ${call.action}.`);
      }
    },
    /** A queued message that is deleted is cancelled. */
    removing: cancelling,
  };
}

/** Without providers: for a program that reads and writes members and messages and does not act on them. */
export const CMBS_EXTENSION: Extension = {
  name: 'cmbs',
  categories: CMBS_CATEGORIES,
  providers: [],
  bindings: {},
  aliases: CMBS_ALIASES,
  mergeable: CMBS_CATEGORIES.map(({ scheme, term }) => scheme + term),
};

export function cmbsExtension(options: BrokerOptions): Extension {
  return {
    ...CMBS_EXTENSION,
    providers: [memberProvider(options), messageProvider(options)],
    bindings: { [MEMBER_KIND]: 'cmbs_member', [MESSAGE_KIND]: 'cmbs_message' },
  };
}

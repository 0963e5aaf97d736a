/** The provider of messages: sends, sends again, executes and purges messages. */
import { CmbsError } from '../errors';
import {
  type ActionCall,
  type ActionOutcome,
  deleteEntity,
  type Entity,
  fingerprint,
  type IdempotentRequest,
  type Provider,
  readEntity,
} from '../occi';
import { callerKey } from '../principal';
import type { Transaction } from '../store';
import { DEAD_LETTER_MIXIN, FROM, MEMBER_KIND, MESSAGE } from './cmbs';
import type { Layer } from './layer-definition';
import { isLocal } from './member';
import { layerOf, prepareMessage, shownDelivery, whyNotSent } from './message';
import { existing } from './existing';
import type { BrokerOptions } from './options';
import { actingMember } from './acting-member';
import { actingFor, resourceOf } from './authorization';
import { MemberLookup } from './member-lookup';
import { deleteOutbound, readOutbound } from './outbound-message';
import { asEntity, MessageSender } from './message-sender';
import { keepingSent } from './sent-message';
import { rpcOptions, verbOf } from './action-call';

/** Reads the outbound message of a message that is deleted; the result deletes it. */
async function cancelling(tx: Transaction, message: Entity): Promise<() => void> {
  const { send_id: sendId } = shownDelivery(message);
  const current = sendId === undefined ? undefined : await readOutbound(tx, sendId);
  return () => {
    if (current !== undefined) deleteOutbound(tx, current.outbound);
  };
}

export function messageProvider(options: BrokerOptions): Provider {
  const { store, newId, rpc, layers } = options;
  const sender = new MessageSender(options);

  const idempotencyOf = (call: ActionCall): { idempotent?: IdempotentRequest } =>
    call.idempotencyKey === undefined
      ? {}
      : {
          idempotent: {
            key: call.idempotencyKey,
            owner: callerKey(call.principal),
            fingerprint: fingerprint(call.action, call.entity.path, JSON.stringify(call.attributes)),
          },
        };

  const from = (call: ActionCall): string | undefined => {
    const given = call.attributes[FROM];
    return typeof given === 'string' ? given : undefined;
  };

  /** The member that sent the message before. @throws CmbsError `conflict` when the member is gone */
  async function earlierSender(message: Entity): Promise<string | undefined> {
    const { from: earlier } = shownDelivery(message);
    if (earlier === undefined) return undefined;
    const member = (await readEntity(store, earlier))?.entity;
    if (member?.kind === MEMBER_KIND && isLocal(member)) return member.path;
    throw new CmbsError(
      'conflict',
      `${earlier} sent the message and is gone; name the member that acts with "from".`,
    );
  }

  function send(call: ActionCall, layer: Layer, acting = from(call)): Promise<ActionOutcome> {
    const { principal, waitMs, signal, trace } = call;
    const waiting = { principal, waitMs, signal, ...(trace === undefined ? {} : { trace }) };
    return sender.send({ message: call.entity.path, layer, from: acting, ...idempotencyOf(call), ...waiting });
  }

  async function execute(call: ActionCall): Promise<ActionOutcome> {
    const { idempotencyKey, principal } = call;
    const acting = actingFor(options.authorize, principal);
    const actor = await actingMember(new MemberLookup(options), from(call), acting);
    const isItself = principal.kind === 'member' && principal.name === actor.path;
    if (!isItself) await options.authorize(principal, 'message.send_as', resourceOf(actor));
    const runId = idempotencyKey === undefined ? newId() : fingerprint(callerKey(principal), idempotencyKey);
    const { outcome } = await rpc.call(
      actor.path,
      'execute',
      { message: call.entity.path, runId },
      rpcOptions(call),
    );
    if (outcome === 'executed') return asEntity;
    throw new CmbsError(
      'conflict',
      `${call.entity.path} is not a call: its ${MESSAGE.content} has to be an object with a "method", a string.`,
    );
  }

  async function purge(call: ActionCall): Promise<ActionOutcome> {
    await store.transact(async (tx) => {
      const stored = await existing(tx, call.entity.path);
      if (!stored.entity.mixins.includes(DEAD_LETTER_MIXIN)) {
        throw new CmbsError('conflict', `${call.entity.path} is not a dead letter.`);
      }
      const cancel = await cancelling(tx, stored.entity);
      deleteEntity(tx, stored.entity);
      cancel();
    });
    return { answer: 'attributes', values: { purged: call.entity.path } };
  }

  return {
    name: 'cmbs_message',
    prepare: (next, before) => prepareMessage(next, before, options),
    complete: async (tx, changes, request) => {
      const keep = await keepingSent(tx, changes);
      const completion = await sender.complete(tx, changes, request);
      return {
        ...completion,
        write: () => {
          keep();
          completion.write?.();
        },
      };
    },
    applicable: (entity, actions) =>
      actions.filter((id) => {
        const layer = layers.names.find((name) => id.endsWith(`#send_${name}`));
        return layer === undefined || whyNotSent(entity, layer) === undefined;
      }),
    async act(call) {
      const { verb, layer } = verbOf(call, layers);
      if (verb === 'send' && layer !== undefined) return send(call, layer);
      switch (verb) {
        case 'execute':
          return execute(call);
        case 'purge':
          return purge(call);
        case 'resend': {
          const own = layerOf(call.entity, layers);
          if (own === undefined)
            throw new CmbsError('conflict', `${call.entity.path} has no layer to be sent on.`);
          return send(call, own, from(call) ?? (await earlierSender(call.entity)));
        }
        default:
          throw new CmbsError('bad_action', `Messages do not carry out ${call.action}.`);
      }
    },
    // Deleting a message cancels its deliveries.
    removing: cancelling,
  };
}

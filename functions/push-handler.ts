/**
 * Takes topic messages that Pub/Sub pushes, where no companion consumes them. The function reads the member when a
 * message for it arrives.
 */
import { ANONYMOUS, TOPIC_BUS } from '@cmbs/shared';
import {
  DESIRED,
  Execution,
  type InboundContext,
  InboundHandler,
  isLocal,
  localMembers,
  MEMBER_KIND,
  MemberRegistration,
  ONLY_SHARD,
  startedLayers,
  subscriptionName,
} from '@cmbs/shared/broker';
import { readEntity } from '@cmbs/shared/occi';
import type { Codecs, Services } from '@cmbs/shared/services';
import type { TokenExpectation, TokenVerifier } from '@cmbs/shared/rpc';
import type { PushHandler } from './app';

/** What pushed messages may call, and who may push. */
export interface PushOptions {
  /** The methods that messages may call; decides with the same `authorize` as the rest of the program. */
  readonly services: Services;
  /** The token that a push must carry; undefined where pushes are not signed, as on the emulator. */
  readonly signed: { readonly verifier: TokenVerifier; readonly expected: TokenExpectation } | undefined;
}

/** The runner of calls in pushed messages. Functions share it, so only a call's deadline shows that it was cut off. */
const RUNNER = 'push';

/** The parts of the program that take pushed messages. */
export interface PushContext extends InboundContext {
  /** The formats of calls that messages carry. */
  readonly codecs: Codecs;
}

/** The handler of pushes; it registers no members, because a function cannot ask a member to confirm its description. */
export function pushHandler(context: PushContext, { services, signed }: PushOptions): PushHandler {
  const { store, layers } = context;
  const registration = new MemberRegistration({
    ...context,
    // A function holds no members in memory and cannot ask a member to confirm its description.
    discovery: 'closed',
    members: { find: () => Promise.resolve(undefined), refresh: () => Promise.resolve(undefined) },
    shardOf: () => ONLY_SHARD,
  });
  const execution = new Execution({
    ...context,
    services,
    runner: RUNNER,
    isOurs: () => false,
  });
  const inbound = new InboundHandler({ context, registration, execution });
  return {
    verify: async (authorization) => {
      // Anybody can push to a deployment that verifies no tokens.
      if (signed === undefined) return ANONYMOUS;
      await signed.verifier.verify(authorization, signed.expected);
      return TOPIC_BUS;
    },
    take: async (name, { member: known, layer }, delivery, principal) => {
      const path =
        known ?? (await localMembers(store)).find((one) => subscriptionName(one.path, layer) === name)?.path;
      // The member is gone, and its subscription is being removed.
      if (path === undefined) return;
      const [stored, desired] = await Promise.all([readEntity(store, path), store.get(DESIRED, path)]);
      const member = stored?.entity;
      const wanted = startedLayers(desired?.value, layers).includes(layer);
      if (member?.kind !== MEMBER_KIND || !isLocal(member) || !wanted) return;
      await inbound.handleBusDelivery(member, layer, delivery, principal);
    },
  };
}

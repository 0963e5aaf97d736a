/** Takes topic messages that Pub/Sub pushes, without a companion: the member is read when something comes for it. */
import {
  DESIRED,
  Execution,
  type InboundContext,
  InboundHandler,
  isLocal,
  localMembers,
  MEMBER_KIND,
  MemberRegistration,
  startedLayers,
  subscriptionName,
} from '@cmbs/shared/broker';
import { readEntity } from '@cmbs/shared/occi';
import { codecsOf, type Services } from '@cmbs/shared/services';
import type { TokenExpectation, TokenVerifier } from '@cmbs/shared/rpc';
import type { PushHandler } from './app';

export interface PushOptions {
  /** What messages may call. */
  readonly services: Services;
  /** Who may push; undefined where nobody signs, as on the emulator. */
  readonly signed: { readonly verifier: TokenVerifier; readonly expected: TokenExpectation } | undefined;
}

/** Runs of calls that a push began: only time tells that one was cut off. */
const RUNNER = 'push';

export function pushHandler(context: InboundContext, { services, signed }: PushOptions): PushHandler {
  const { store, layers } = context;
  const registration = new MemberRegistration({
    ...context,
    // A function knows no members, and can ask none whether what is said of them is true.
    discovery: 'closed',
    members: { get: () => undefined, size: () => 0, unverified: () => [], refresh: () => Promise.resolve() },
  });
  const execution = new Execution({
    ...context,
    services,
    codecs: codecsOf(),
    runner: RUNNER,
    isOurs: () => false,
  });
  const inbound = new InboundHandler({ context, registration, execution });
  return {
    authorize: async (authorization) => {
      await signed?.verifier.verify(authorization, signed.expected);
    },
    take: async (name, { member: known, layer }, delivery) => {
      const path =
        known ?? (await localMembers(store)).find((one) => subscriptionName(one.path, layer) === name)?.path;
      // Its subscription is on its way out.
      if (path === undefined) return;
      const [stored, desired] = await Promise.all([readEntity(store, path), store.get(DESIRED, path)]);
      const member = stored?.entity;
      const wanted = startedLayers(desired?.value, layers).includes(layer);
      if (member?.kind !== MEMBER_KIND || !isLocal(member) || !wanted) return;
      await inbound.handleBusDelivery(member, layer, delivery);
    },
  };
}

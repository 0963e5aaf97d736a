/** Takes topic messages that Pub/Sub pushes, without a companion: the member is read when something comes for it. */
import { DESIRED, startedLayers } from '@cmbs/shared/broker/desired';
import { Execution } from '@cmbs/shared/broker/execution';
import { Learning } from '@cmbs/shared/broker/learning';
import { isLocal, localMembers } from '@cmbs/shared/broker/member';
import { Reception, type ReceptionContext } from '@cmbs/shared/broker/reception';
import { subscriptionName } from '@cmbs/shared/broker/subscriptions';
import { readEntity } from '@cmbs/shared/occi/entity-store';
import { MEMBER_KIND } from '@cmbs/shared/broker/cmbs';
import type { Services } from '@cmbs/shared/services/services';
import type { TokenExpectation, TokenVerifier } from '@cmbs/shared/link/identity';
import type { PushReception } from './app';

export interface PushOptions {
  /** What messages may call. */
  readonly services: Services;
  /** Who may push; undefined where nobody signs, as on the emulator. */
  readonly signed: { readonly verifier: TokenVerifier; readonly expected: TokenExpectation } | undefined;
}

/** Runs of calls that a push began: only time tells that one was cut off. */
const RUNNER = 'push';

export function pushReception(context: ReceptionContext, { services, signed }: PushOptions): PushReception {
  const { store } = context;
  const learning = new Learning({
    ...context,
    // A function knows no members, and can ask none whether what is said of them is true.
    discovery: 'closed',
    members: { get: () => undefined, size: () => 0, strangers: () => [], refresh: () => Promise.resolve() },
  });
  const execution = new Execution({ ...context, services, runner: RUNNER, isOurs: () => false });
  const reception = new Reception({ context, learning, execution });
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
      const wanted = startedLayers(desired?.value).includes(layer);
      if (member?.kind !== MEMBER_KIND || !isLocal(member) || !wanted) return;
      await reception.takeFromBus(member, layer, delivery);
    },
  };
}

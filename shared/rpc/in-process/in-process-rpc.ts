/** The link of a stack whose functions and companion share one process. */
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { type Principal, SYSTEM } from '../../principal';
import {
  COMPANION_UNREACHABLE,
  RPC_ARGUMENTS,
  RPC_RESULTS,
  type Rpc,
  type RpcMethod,
  type RpcArguments,
  type RpcOptions,
  type RpcResult,
} from '../rpc';

/** Who calls a companion, and until when. */
export interface RpcCaller {
  readonly principal: Principal;
  readonly signal: AbortSignal;
}

/** What a companion offers. */
export interface RpcHandler {
  perform<A extends RpcMethod>(
    member: string,
    action: A,
    args: RpcArguments<A>,
    caller: RpcCaller,
  ): Promise<RpcResult<A>>;
}

/** `performer` gives the companion once it runs, undefined while it is away. */
export function inProcessRpc(performer: () => RpcHandler | undefined, clock: Clock): Rpc {
  return {
    async call<A extends RpcMethod>(
      member: string,
      action: A,
      args: RpcArguments<A>,
      { principal = SYSTEM, ...options }: RpcOptions,
    ): Promise<RpcResult<A>> {
      const companion = performer();
      if (companion === undefined) throw new CmbsError('unavailable', COMPANION_UNREACHABLE);
      const deadline = new AbortController();
      const cancel = clock.after(options.deadlineMs, () => deadline.abort());
      const signal =
        options.signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, options.signal]);
      try {
        const checked = RPC_ARGUMENTS[action].parse(args) as RpcArguments<A>;
        const reply = await Promise.race([
          companion.perform(member, action, checked, { principal, signal }),
          aborted(signal),
        ]);
        return RPC_RESULTS[action].parse(reply) as RpcResult<A>;
      } finally {
        cancel();
      }
    },
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const give = (): void => reject(new CmbsError('deadline_exceeded', 'The companion did not answer in time.'));
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
  });
}

/** RPC for functions and a companion in one process. */
import type { Clock } from '../../clock';
import { CmbsError, toCmbsError } from '../../errors';
import { ANONYMOUS } from '../../principal';
import {
  COMPANION_UNREACHABLE,
  RPC_ARGUMENTS,
  RPC_RESULTS,
  type Rpc,
  type RpcArguments,
  type RpcHandler,
  type RpcMethod,
  type RpcOptions,
  type RpcResult,
} from '../rpc';

/** @param companion returns undefined while the companion does not run */
export function inProcessRpc(companion: () => RpcHandler | undefined, clock: Clock): Rpc {
  return {
    async call<A extends RpcMethod>(
      member: string,
      action: A,
      args: RpcArguments<A>,
      { principal = ANONYMOUS, ...options }: RpcOptions,
    ): Promise<RpcResult<A>> {
      const handler = companion();
      if (handler === undefined) throw new CmbsError('unavailable', COMPANION_UNREACHABLE);
      const deadline = new AbortController();
      const cancel = clock.after(options.deadlineMs, () => deadline.abort());
      const signal =
        options.signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, options.signal]);
      try {
        const checked = RPC_ARGUMENTS[action].parse(args) as RpcArguments<A>;
        const result = await Promise.race([
          handler.handle(member, action, checked, { principal, signal, trace: options.trace }),
          aborted(signal),
        ]);
        return RPC_RESULTS[action].parse(result) as RpcResult<A>;
      } catch (error) {
        // The handler may have failed because its signal aborted.
        throw signal.aborted ? lateError() : toCmbsError(error);
      } finally {
        cancel();
      }
    },
  };
}

const lateError = (): CmbsError =>
  new CmbsError('deadline_exceeded', 'The companion did not answer in time; read the entity to see the outcome.');

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(lateError());
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

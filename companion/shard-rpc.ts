/** RPC for the methods that run in a companion: to the companion itself where it holds the member's shard, else to another. */
import type { Rpc } from '@cmbs/shared/rpc';

export interface ShardRpcOptions {
  /** Calls of the companion of this process. */
  readonly own: Rpc;
  /** Calls of the others. */
  readonly others: Rpc;
  /** Whether this process holds the member's sockets now. */
  readonly isOwn: (member: string, signal: AbortSignal) => Promise<boolean>;
}

export const shardRpc = ({ own, others, isOwn }: ShardRpcOptions): Rpc => ({
  call: async (member, action, args, options) => {
    const { signal = new AbortController().signal } = options;
    const rpc = (await isOwn(member, signal)) ? own : others;
    return rpc.call(member, action, args, options);
  },
});

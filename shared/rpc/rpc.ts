/**
 * RPC from functions to the companion, which owns the members' sockets. Transports: in process on one machine, HTTP in
 * the cloud. `test/contract/rpc-contract.ts` runs against every transport; the schemas here check calls and results on
 * both sides.
 */
import { z } from 'zod';
import { type Principal, principalSchema } from '../principal';

/** The companion checks whether it has the layer. */
const layer = z.string().min(1).max(20);

/** The methods and their arguments. */
export const RPC_ARGUMENTS = {
  /** Opens or closes the member's sockets of a layer by the desired state, and returns the state of the layer. */
  reconcile: z.strictObject({ layer }),
  /** Closes every socket of a member that is being deleted. */
  release: z.strictObject({}),
  /** Discovers the members behind the member's neighbours. */
  check_neighbors: z.strictObject({}),
  /** Attempts a queued outbound message now, and returns its outcome. */
  send: z.strictObject({ sendId: z.string().min(1).max(255) }),
  /** Executes a message's call here, once, and stores the answer in its `result`. */
  execute: z.strictObject({ message: z.string().min(1).max(1000), runId: z.string().min(1).max(255) }),
} as const;

const failure = z.strictObject({ socket: z.string(), reason: z.string() });
/** `conflict`: the member's description contradicts the stored one and was not stored. */
const reached = z.strictObject({ socket: z.string(), member: z.string(), conflict: z.string().optional() });

/** The result of each method. */
export const RPC_RESULTS = {
  reconcile: z.strictObject({
    state: z.enum(['started', 'stopped', 'failed']),
    reason: z.string().optional(),
    /** The layer failed because of the transient failure of a dependency; the companion tries again. */
    isOutage: z.boolean().optional(),
  }),
  release: z.strictObject({}),
  check_neighbors: z.strictObject({
    found: z.array(reached),
    known: z.array(reached),
    failed: z.array(failure),
  }),
  send: z.strictObject({
    /** `settled`: the outcome is in the message. `queued`: not yet, for this reason. */
    outcome: z.enum(['settled', 'queued']),
    /** Settled: the state of the message; absent when the companion no longer has the outcome. */
    state: z.string().optional(),
    reason: z.string().optional(),
  }),
  execute: z.strictObject({ outcome: z.enum(['executed', 'stored']) }),
} as const;

export type RpcMethod = keyof typeof RPC_ARGUMENTS;
export type RpcArguments<A extends RpcMethod> = z.infer<(typeof RPC_ARGUMENTS)[A]>;
export type RpcResult<A extends RpcMethod> = z.infer<(typeof RPC_RESULTS)[A]>;

export interface RpcOptions {
  /** Who asked the function; an anonymous caller when absent. */
  readonly principal?: Principal;
  /** Milliseconds to wait for the result; the handler may go on after that. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  /** The `traceparent` of the caller (W3C Trace Context). */
  readonly trace?: string;
}

/** The side of the functions. */
export interface Rpc {
  /**
   * Calls the companion that owns the member's sockets. The call ends at its deadline, and when its signal aborts; the
   * handler's signal aborts then too.
   *
   * @param member path of a member of this deployment
   * @throws CmbsError `unavailable` when the companion cannot be reached; `deadline_exceeded` when it did not answer in
   *   time, and the outcome is unknown; or the error of the handler
   */
  call<A extends RpcMethod>(
    member: string,
    action: A,
    args: RpcArguments<A>,
    options: RpcOptions,
  ): Promise<RpcResult<A>>;
}

export interface RpcCaller {
  /** Who asked the function. */
  readonly principal: Principal;
  /** Aborts when the caller no longer waits. */
  readonly signal: AbortSignal;
  /** The `traceparent` of the caller. */
  readonly trace?: string | undefined;
}

/** The side of the companion. */
export interface RpcHandler {
  handle<A extends RpcMethod>(
    member: string,
    action: A,
    args: RpcArguments<A>,
    caller: RpcCaller,
  ): Promise<RpcResult<A>>;
}

/** The message when the companion is unreachable. */
export const COMPANION_UNREACHABLE = 'The companion cannot be reached now.';

// --- Over HTTP ---

/** Path of all calls. */
export const RPC_PATH = '/perform';
/** Header: milliseconds for which the caller still waits. */
export const DEADLINE_HEADER = 'x-deadline-ms';
/** Details of the error of a companion that does not hold the member's shard. */
export const STANDBY = { standby: true } as const;

/** The body of a call. */
export const rpcRequest = z.strictObject({
  member: z
    .string()
    .max(1000)
    .regex(/^\/[^\p{Control}\p{Surrogate}]+$/u),
  action: z.enum(Object.keys(RPC_ARGUMENTS) as [RpcMethod, ...RpcMethod[]]),
  args: z.unknown(),
  /** Absent in calls of functions of release 1.0. */
  principal: principalSchema.optional(),
});

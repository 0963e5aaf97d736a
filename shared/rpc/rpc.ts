/**
 * From functions to the companion: one generic call. In process on a laptop, HTTP in the cloud; the same schemas
 * check it on both sides.
 */
import { z } from 'zod';
import { type Principal, principalSchema } from '../principal';

/** The companion checks whether it has the layer. */
const layer = z.string().min(1).max(20);

/** Arguments of each action. */
export const RPC_ARGUMENTS = {
  /** Make the sockets of the member what the store wants, and say how the layer is now. */
  reconcile: z.strictObject({ layer }),
  /** Close every socket of a member that is being deleted. */
  release: z.strictObject({}),
  /** Discover the members behind the member's neighbours. */
  check_neighbors: z.strictObject({}),
  /** A send was queued: try it now and say how it went. */
  send: z.strictObject({ sendId: z.string().min(1).max(255) }),
  /** Run a message's call here, once, and put the answer into its `result`. */
  execute: z.strictObject({ message: z.string().min(1).max(1000), runId: z.string().min(1).max(255) }),
} as const;

const failure = z.strictObject({ socket: z.string(), reason: z.string() });
/** `conflict`: what the member says of itself is not what is known, and was not taken. */
const reached = z.strictObject({ socket: z.string(), member: z.string(), conflict: z.string().optional() });

/** What each action answers. */
export const RPC_RESULTS = {
  reconcile: z.strictObject({
    state: z.enum(['started', 'stopped', 'failed']),
    reason: z.string().optional(),
    /** It failed because something that it needs was away; it is tried again. */
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
    reason: z.string().optional(),
  }),
  execute: z.strictObject({ outcome: z.enum(['executed', 'stored']) }),
} as const;

export type RpcMethod = keyof typeof RPC_ARGUMENTS;
export type RpcArguments<A extends RpcMethod> = z.infer<(typeof RPC_ARGUMENTS)[A]>;
export type RpcResult<A extends RpcMethod> = z.infer<(typeof RPC_RESULTS)[A]>;

export interface RpcOptions {
  /** Who asked the function; the deployment itself when absent. */
  readonly principal?: Principal;
  /** Milliseconds from now by which the answer is wanted; the work may go on after it. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  /** The trace that the call is part of (W3C Trace Context). */
  readonly trace?: string;
}

export interface Rpc {
  /**
   * `member` is the path of the local member that acts. Rejects with `CmbsError`: `unavailable` when the companion
   * does not answer, `deadline_exceeded`, or what the action itself refuses.
   */
  call<A extends RpcMethod>(
    member: string,
    action: A,
    args: RpcArguments<A>,
    options: RpcOptions,
  ): Promise<RpcResult<A>>;
}

/** Says so where nobody answers for the companion. */
export const COMPANION_UNREACHABLE = 'The companion is away now.';

// --- Over HTTP ---

/** Path of the one call. */
export const RPC_PATH = '/perform';
/** Header: milliseconds that the caller still waits. */
export const DEADLINE_HEADER = 'x-deadline-ms';
/** Error details of a companion that does not hold the shard. */
export const STANDBY = { standby: true } as const;

/** Body of a call. */
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

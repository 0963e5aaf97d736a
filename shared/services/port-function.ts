/**
 * Functions of the program for the modules of a directory, which run on the main thread. Each call comes with the principal
 * of the method's caller, which is bound there: a module cannot name another.
 */
import type { Log } from '../log';
import type { Principal } from '../principal';
import type { Traceparent } from '../trace';
import type { Value } from './value';

/** Who asks. */
export interface PortCaller {
  /** The caller of the method; in `startup` and in tasks of its own, the module itself. */
  readonly principal: Principal;
  /** Name of the module. */
  readonly module: string;
  /** The method whose call asks; absent in `startup`. */
  readonly methodName?: string;
  /** URI of the member that the call names as its sender: a claim. */
  readonly sender?: string;
  /** Address of the client, where it is known. */
  readonly clientAddress?: string;
  readonly session?: string;
  /** The trace of the call. */
  readonly trace?: Traceparent | undefined;
  /** Calls of methods by methods on the way to this one. */
  readonly depth: number;
  /** The answer of the call is stored. */
  readonly isStored?: boolean;
  /** Aborts when the call is over. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

/**
 * Carries out a function for a caller.
 * @throws CmbsError or Fault for the module; other errors are logged, and the module does not see them
 */
export type PortFunction = (caller: PortCaller, args: readonly Value[]) => Promise<Value> | Value;

/** Functions by name: `kv.get` is `context.kv.get(…)` in a module. */
export type PortFunctionTable = Readonly<Record<string, PortFunction>>;

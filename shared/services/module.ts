/** Service modules and their methods. */
import type { Log } from '../log';
import type { Principal } from '../principal';
import type { Value } from './value';

/** What a method knows about its call. */
export interface ServiceContext {
  /** The caller. */
  readonly principal: Principal;
  /** URI of the member that the call names as its sender: a claim, unless the principal is that member. */
  readonly sender?: string;
  /** The name in the call, such as `echo.echo`. */
  readonly methodName: string;
  /** Aborts when the caller is gone or the deadline of the call has passed. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** A method, with the description that remote callers read. */
export interface ServiceMethod {
  /** The text of `system.methodHelp`. Not empty. */
  readonly documentation: string;
  /** At least one. Each has the type of the result, then the types of the arguments. */
  readonly signatures: readonly (readonly string[])[];
  /**
   * Returns the result. A number that JavaScript cannot represent is an `ExactNumber`, in arguments and results. Bytes are
   * a `Uint8Array`, and a time is a `Date`.
   * @throws Fault for the caller; `CmbsError` becomes a fault too. The caller does not see other errors; the log does
   */
  call(context: ServiceContext, args: readonly Value[]): Promise<Value> | Value;
}

/** A named set of methods. */
export interface ServiceModule {
  /** The part of the public name before the dot. */
  readonly name: string;
  /** The part after the dot. Only own properties are exposed. */
  readonly methods: Readonly<Record<string, ServiceMethod>>;
}

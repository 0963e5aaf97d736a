/** What a service module is. */
import type { ExactJson } from '../exact-json';
import type { Log } from '../log';
import type { Principal } from '../principal';

export interface ServiceContext {
  /** Who calls. */
  readonly principal: Principal;
  /** URI of the member that the call says it comes from: a claim, unless the principal is that member. */
  readonly sender?: string;
  /** As it was called, for example `echo.echo`. */
  readonly methodName: string;
  /** Aborts when the caller is gone or the call's time is over. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

export interface ServiceMethod {
  /** What a remote caller reads (`system.methodHelp`). Not empty: all methods are documented. */
  readonly documentation: string;
  /** At least one. Each: the type of the result, then those of the arguments. */
  readonly signatures: readonly (readonly string[])[];
  /**
   * Returns the result, or throws a `Fault`. Anything else that it throws reaches only the log. A number that JavaScript
   * does not hold comes as an `ExactNumber`, and one that is returned goes out as it is.
   */
  call(context: ServiceContext, args: readonly ExactJson[]): Promise<ExactJson> | ExactJson;
}

export interface ServiceModule {
  /** The part of the public name before the dot. */
  readonly name: string;
  /** The part after the dot. Only own properties are exposed. */
  readonly methods: Readonly<Record<string, ServiceMethod>>;
}

/** Service modules and their methods. */
import type { JsonObject } from '../json';
import type { Log } from '../log';
import type { Principal } from '../principal';
import type { Traceparent } from '../trace';
import type { CallRoom } from './call-room';
import type { Value } from './value';

/** How a call arrives: over HTTP, by the action `execute`, in a message, from another method, or when it is due. */
export type CallWay = 'json-rpc' | 'xml-rpc' | 'execute' | 'message' | 'method' | 'schedule';

/** What a method knows about its call. */
export interface ServiceContext {
  /** The caller. */
  readonly principal: Principal;
  /** URI of the member that the call names as its sender: a claim, unless the principal is that member. */
  readonly sender?: string;
  /** The name in the call, such as `echo.echo`. */
  readonly methodName: string;
  /** Id of the caller's session, where there is one. */
  readonly session?: string;
  /** Address of the client, where it is known. */
  readonly clientAddress?: string;
  /** Calls of methods by methods on the way to this one; 0 when absent. */
  readonly depth?: number;
  readonly trace?: Traceparent | undefined;
  /** As in the context of the call: text does not stand for bytes or times. */
  readonly hasAllTypes?: boolean;
  /** The answer is stored, as that of a call in a message or by a schedule. */
  readonly isStored?: boolean;
  /** Of the request that has the call, where it has several. */
  readonly room?: CallRoom;
  /** Aborts when the caller is gone or the deadline of the call has passed. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** What is known about a method besides its description. */
export interface MethodFlags {
  /** A repeated call has the same effect as one call. */
  readonly idempotent?: boolean;
  /** Milliseconds for one call, where they are less than the deadline of the program. */
  readonly timeoutMs?: number;
  /** The result contains a secret: the method is refused where the answer would be stored. */
  readonly secret?: boolean;
  /** Who may call the method where no rule decides. */
  readonly callers?: 'everybody' | 'known' | 'administrators';
  /** The method takes arguments of any number and type; its signatures are examples. */
  readonly anyArguments?: boolean;
}

/** A method, with the description that remote callers read. */
export interface ServiceMethod {
  /** The text of `system.methodHelp`. Not empty. */
  readonly documentation: string;
  /**
   * At least one. Each has the type of the result, then the types of the arguments, of which `any` takes every value. A
   * call whose arguments fit none of them does not reach the method.
   */
  readonly signatures: readonly (readonly string[])[];
  /** JSON Schemas (draft 7) beside the types of each signature; null where the type says it all. */
  readonly schemas?: readonly (readonly (JsonObject | null)[])[];
  /**
   * Returns the result. A number that JavaScript cannot represent is an `ExactNumber`, in arguments and results. Bytes are
   * a `Uint8Array`, and a time is a `Date`.
   * @throws Fault for the caller; `CmbsError` becomes a fault too. The caller does not see other errors; the log does
   */
  call(context: ServiceContext, args: readonly Value[]): Promise<Value> | Value;
  readonly flags?: MethodFlags;
}

/** A named set of methods. */
export interface ServiceModule {
  /** The part of the public name before the dot. */
  readonly name: string;
  /** Absent for a module that is built in: its version is that of the program. */
  readonly version?: string;
  /** The part after the dot. Only own properties are exposed. */
  readonly methods: Readonly<Record<string, ServiceMethod>>;
}

/** Modules that come and go while the program runs. */
export interface ModuleSource {
  /**
   * Looks whether the named module has come or changed, or all modules without a name, and waits until it can be called.
   * @throws Fault that says why the named module cannot be called
   */
  refresh(name?: string): Promise<void>;
}

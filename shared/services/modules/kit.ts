/**
 * Types for authors of service modules (docs/services.md). This file imports nothing, so that a module outside this
 * repository can have a copy of it; inside, it is `@cmbs/shared/services/modules/kit`. Only types are imported from it:
 * everything that a module uses at run time comes with the context.
 */

/** A number that a JavaScript number cannot represent; `source` is its JSON text. */
export interface ExactNumber {
  readonly source: string;
}

/** An argument or a result. */
export type Value =
  | null
  | boolean
  | number
  | string
  | ExactNumber
  | Uint8Array
  | Date
  | readonly Value[]
  | { readonly [name: string]: Value };

/** A plain JSON value. */
export type Plain = null | boolean | number | string | readonly Plain[] | { readonly [name: string]: Plain };

/** The settings of one module, from the file that `CMBS_MODULE_SETTINGS` names. */
export type Settings = Readonly<Record<string, Plain>>;

/** The caller of a method. */
export interface Caller {
  readonly kind: 'anonymous' | 'user' | 'token' | 'member' | 'service' | 'administrator' | 'system';
  readonly name: string;
  /** Path of the access token that the call came with. */
  readonly token?: string;
}

/** Writes lines to the log of the program; they carry the module, and in a method its name and the id of the call. */
export interface ModuleLog {
  debug(text: string, fields?: Readonly<Record<string, unknown>>): void;
  info(text: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(text: string, fields?: Readonly<Record<string, unknown>>): void;
  error(text: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** Makes an error whose code, text and data reach the caller unchanged. */
export type FaultClass = new (code: number, text: string, data?: Plain) => Error;

/** Options of a schedule (docs/services.md, "Schedules"). */
export interface ScheduleOptions {
  readonly title?: string;
  /** The first time; not for `at`. */
  readonly first?: Date;
  /** The last time, which counts; not for `at`. */
  readonly until?: Date;
  /** Runs at due times, at most; not for `at`. */
  readonly runs?: number;
  /** What becomes of times that passed while nothing ran: one run for all of them (the default), or none. */
  readonly missed?: 'once' | 'skip';
}

/** The methods of the module `schedule`, for the caller of the method. Each may throw its faults. */
export interface ScheduleFunctions {
  /** Calls a method at a time; returns the id of the schedule. */
  at(time: Date, method: string, args: readonly Value[], options?: ScheduleOptions): Promise<string>;
  /** Calls a method every so many seconds, 1 or more. */
  every(seconds: number, method: string, args: readonly Value[], options?: ScheduleOptions): Promise<string>;
  /** Calls a method by a cron expression of five fields, or six with seconds first. */
  cron(
    expression: string,
    timeZone: string,
    method: string,
    args: readonly Value[],
    options?: ScheduleOptions,
  ): Promise<string>;
  get(id: string): Promise<Value>;
  list(options?: { readonly limit?: number; readonly after?: string }): Promise<Value>;
  cancel(id: string): Promise<boolean>;
  pause(id: string): Promise<Value>;
  resume(id: string): Promise<Value>;
  runNow(id: string): Promise<Value>;
}

/** What a module can ask the program for. Programs may offer more: a function `a.b` is `context.a.b(…)`. */
export interface Program {
  /** Calls another method; the same decision is taken as for a call from outside. @throws Fault of the method */
  call(method: string, args: readonly Value[]): Promise<Value>;
  /** The names of the groups that the caller is in. */
  groups(): Promise<readonly string[]>;
  readonly schedule: ScheduleFunctions;
}

/** What a method knows about its call, and can use. */
export interface Context extends Program {
  readonly principal: Caller;
  /** The name in the call, such as `weather.forecast`. */
  readonly methodName: string;
  /** The id of the call in the log. */
  readonly callId: string;
  /** URI of the member that the call names as its sender: a claim, unless the principal is that member. */
  readonly sender?: string;
  /** Id of the caller's session, where there is one. */
  readonly session?: string;
  readonly settings: Settings;
  /** Aborts when the caller is gone or the deadline of the call has passed. */
  readonly signal: AbortSignal;
  readonly log: ModuleLog;
  readonly Fault: FaultClass;
  /** Makes a number with digits that a JavaScript number would round. */
  readonly ExactNumber: new (source: string) => ExactNumber;
}

/** A schema of zod, or of another library that follows Standard Schema (version 1). */
export interface Schema {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult | Promise<SchemaResult>;
    readonly jsonSchema?: {
      readonly input: (options: { readonly target: 'draft-07' }) => Record<string, unknown>;
      readonly output: (options: { readonly target: 'draft-07' }) => Record<string, unknown>;
    };
  };
}

export type SchemaResult =
  | { readonly value: unknown; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

export interface MethodFlags {
  /** A repeated call has the same effect as one call. */
  readonly idempotent?: boolean;
  /** Milliseconds after which a call ends with a fault; the deadline of the program when absent, or when it is less. */
  readonly timeoutMs?: number;
  /** Who may call the method where no rule decides. */
  readonly callers?: 'everybody' | 'known' | 'administrators';
  /** The method takes arguments of any number and type; its signatures are examples. */
  readonly anyArguments?: boolean;
}

export interface Method {
  /** The text of `system.methodHelp`. Not empty. */
  readonly documentation: string;
  /**
   * Each has the type of the result and then those of the arguments: `'string,int'`, `['string', 'int']`, or schemas in
   * place of names, `[z.string(), z.int().min(1)]`. A call whose arguments fit none of them does not reach the method.
   */
  readonly signatures: readonly (string | readonly (string | Schema)[])[];
  call(context: Context, args: readonly Value[]): Promise<Value> | Value;
  readonly flags?: MethodFlags;
}

/** The export `methods`. */
export type Methods = Readonly<Record<string, Method>>;

/** The program, for `startup`: it acts as `service:module:<name>`. */
export interface Server extends Program {
  /** Name of the module. */
  readonly name: string;
  /** Version of the module: its export `version`, or a checksum of its files. */
  readonly version: string;
  /**
   * Runs `fn` once per version of the module, however many processes there are. Resolves when `fn` has ended, here or in
   * another process. Another process runs `fn` when this one dies during it, or when it throws. `signal` aborts when
   * another process may have taken over.
   */
  once(name: string, fn: (signal: AbortSignal) => Promise<void> | void): Promise<void>;
}

/** The export `startup`: runs once per process before the first call, and once more when a worker is started again. */
export type Startup = (server: Server, config: Settings, log: ModuleLog) => Promise<void> | void;

/** The export `shutdown`: runs before the module is unloaded. */
export type Shutdown = () => Promise<void> | void;

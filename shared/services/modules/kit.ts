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

/** A file or a directory of `context.file`. */
export interface FileInfo {
  /** The last part of the name. */
  readonly name: string;
  readonly type: 'file' | 'directory';
  /** Bytes; 0 for a directory. */
  readonly size: number;
  readonly modified: Date;
}

/**
 * The files of the program, as the methods of the module `file` (docs/services.md, "Files"). Names are relative to the
 * root, whose name is empty. The same decisions are taken as for the caller's own calls.
 */
export interface Files {
  /** @param length bytes; -1 or absent: to the end */
  read(name: string, offset?: number, length?: number): Promise<Uint8Array>;
  /** @param after the `next` of the page before */
  ls(
    directory?: string,
    after?: string,
    limit?: number,
  ): Promise<{ readonly entries: readonly FileInfo[]; readonly next?: string }>;
  stat(name: string): Promise<FileInfo>;
  find(
    directory: string,
    pattern: string,
  ): Promise<{ readonly names: readonly string[]; readonly is_complete: boolean }>;
  md5(name: string): Promise<string>;
  sha256(name: string): Promise<string>;
  /** @param offset the size of the file, to append to it; 0 or absent: the bytes are the whole file */
  put(name: string, bytes: Uint8Array, offset?: number): Promise<FileInfo>;
  /** Resolves with whether the directory is new. */
  mkdir(name: string): Promise<boolean>;
  /** Removes a file or an empty directory. */
  rm(name: string): Promise<boolean>;
}

/** A service, as its publisher describes it for `context.discovery`. */
export interface ServiceDescriptor {
  readonly name: string;
  readonly vo?: string;
  readonly site?: string;
  readonly admin?: string;
  readonly wsdl?: string;
  readonly version?: string;
  /** Seconds since the epoch; absent: 15 minutes from now. */
  readonly expire?: number;
  readonly endpoint?: readonly { readonly uri: string; readonly encoding: string }[];
  readonly item?: readonly { readonly key: string; readonly value: string }[];
}

/** A service that was found. */
export interface ServiceRecord extends Required<ServiceDescriptor> {
  /** Who published the service. */
  readonly provider_dn: string;
}

/** Which records of its own a publisher changes. */
export interface ServiceSelection {
  readonly name: string;
  readonly vo?: string;
  readonly site?: string;
  readonly provider_dn?: string;
}

/** The services of the deployment, as the methods of the module `discovery` (docs/services.md, "Discovery"). */
export interface Discovery {
  register(services: readonly ServiceDescriptor[]): Promise<number>;
  find(query?: {
    readonly name?: string;
    readonly vo?: string;
    readonly site?: string;
    readonly provider_dn?: string;
    readonly item?: { readonly key: string; readonly value: string };
    readonly limit?: number;
    readonly cursor?: string;
  }): Promise<{ readonly services: readonly ServiceRecord[]; readonly next?: string }>;
  listNames(cursor?: string): Promise<{ readonly names: readonly string[]; readonly next?: string }>;
  /** Resolves with the number of records that were removed. */
  deregister(selection: ServiceSelection): Promise<number>;
  /** @param expire seconds since the epoch */
  expire(selection: ServiceSelection, expire: number): Promise<number>;
}

/** What a module can ask the program for. Programs may offer more: a function `a.b` is `context.a.b(…)`. */
export interface Program {
  /** Calls another method; the same decision is taken as for a call from outside. @throws Fault of the method */
  call(method: string, args: readonly Value[]): Promise<Value>;
  /** The names of the groups that the caller is in. */
  groups(): Promise<readonly string[]>;
  readonly file: Files;
  readonly discovery: Discovery;
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

export interface MethodFlags {
  /** A repeated call has the same effect as one call. */
  readonly idempotent?: boolean;
  /** Milliseconds after which a call ends with a fault; the deadline of the program when absent, or when it is less. */
  readonly timeoutMs?: number;
  /** Who may call the method where no rule decides. */
  readonly callers?: 'everybody' | 'known' | 'administrators';
}

export interface Method {
  /** The text of `system.methodHelp`. Not empty. */
  readonly documentation: string;
  /** Each has the type of the result and then those of the arguments: `'string,int'` or `['string', 'int']`. */
  readonly signatures: readonly (string | readonly string[])[];
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

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

/** An entry of a key-value database. */
export interface Entry {
  readonly key: string;
  readonly value: Value;
  /** Changes with every write of the entry. Opaque. */
  readonly revision: string;
}

export interface KeyValueOptions {
  /**
   * `true`: the entries of the caller, whom no call can choose, with keys of its own. `'session'`: those of the caller's
   * session. Without it, the entries that all callers of the module share.
   */
  readonly mine?: boolean | 'session';
}

export interface PutOptions extends KeyValueOptions {
  /** Only if the entry has this revision; `''` for an entry that must not exist. */
  readonly revision?: string;
}

export interface ListOptions extends KeyValueOptions {
  /** Only keys that begin with it. */
  readonly prefix?: string;
  /** `next` of the page before. */
  readonly after?: string;
  /** Entries on the page: 1 to 1000, 100 when absent. A page with large values ends earlier. */
  readonly limit?: number;
}

/** The transaction of one run of a function: first all reads, then all writes. */
export interface KeyValueTransaction {
  get(key: string): Promise<Entry | null>;
  put(key: string, value: Value): void;
  delete(key: string): void;
}

/**
 * The key-value databases of the module, in the deployment's store. The first entry of a database makes it.
 * All throw a Fault with `data.code`: `bad_request`, `too_large` and `storage_full` for what is beyond a bound,
 * `unavailable` and `deadline_exceeded` when the store does not answer.
 */
export interface KeyValues {
  /** Makes databases that do not exist yet. Can be repeated. */
  register(databases: readonly string[]): Promise<null>;
  databases(): Promise<readonly string[]>;
  get(database: string, key: string, options?: KeyValueOptions): Promise<Entry | null>;
  /** Returns the revision. @throws Fault with `precondition_failed` when the entry has another revision */
  put(database: string, key: string, value: Value, options?: PutOptions): Promise<string>;
  /** Whether there was an entry. */
  delete(database: string, key: string, options?: PutOptions): Promise<boolean>;
  /** In the order of the keys. `next` is null on the last page. */
  list(
    database: string,
    options?: ListOptions,
  ): Promise<{ readonly entries: readonly Entry[]; readonly next: string | null }>;
  /**
   * Adds a whole number of at most 64 bits, 1 when absent, to an entry, which counts as 0 when it does not exist; returns
   * the sum. @throws Fault with `conflict` when the value is no whole number, or the sum has more than 64 bits
   */
  increment(
    database: string,
    key: string,
    by?: number | ExactNumber,
    options?: KeyValueOptions,
  ): Promise<number | ExactNumber>;
  /**
   * Runs `fn` and writes what it has put, or nothing when it throws. `fn` runs again when an entry that it read has
   * changed, and so must have no other effects. At most 64 keys. @throws Fault with `unavailable` after too many conflicts
   */
  transact<T>(
    database: string,
    fn: (transaction: KeyValueTransaction) => Promise<T> | T,
    options?: KeyValueOptions,
  ): Promise<T>;
  /** Writes if every entry that was read has its revision (`''`: does not exist); null if not. `transact` uses it. */
  commit(
    database: string,
    change: {
      readonly reads: readonly { readonly key: string; readonly revision: string }[];
      readonly writes: readonly { readonly key: string; readonly value?: Value }[];
    },
    options?: KeyValueOptions,
  ): Promise<readonly string[] | null>;
  /** The number of entries, and the bytes that they are charged for. */
  size(database: string): Promise<{ readonly entries: number; readonly bytes: number }>;
  /** Deletes a database, or a part of a large one; repeat until `done`. */
  drop(database: string): Promise<{ readonly deleted: number; readonly done: boolean }>;
}

/** A struct with the given members; those that are absent have a default, or are left out. */
export interface MessageToSend {
  /** `l1`, `l2`, `l31`, `l32`, `l4`, or another layer of the program. */
  readonly layer: string;
  readonly content?: Value;
  /** L1: the address of the receiver. */
  readonly receiver?: string;
  /** L3.1 and L3.2: id, path, URI or title of members. */
  readonly providers?: readonly string[];
  /** L3.2 and L4. */
  readonly topics?: readonly string[];
  /** The local member that sends: id, path, URI or title. Needed where the caller has several. */
  readonly from?: string;
  readonly id?: string;
  readonly title?: string;
  /** Whether receivers may execute the message; true when absent. */
  readonly executable?: boolean;
  /** Whether receivers keep a copy; true when absent. */
  readonly storable?: boolean;
  /** RFC 3339. */
  readonly expires_at?: string;
  readonly ordering_key?: string;
  readonly headers?: Readonly<Record<string, Value>>;
  /** Seconds to wait for the outcome, 20 at most; `CMBS_SEND_WAIT_S` when absent. */
  readonly wait?: number;
  /** Sends of one caller with the same key count as one, for 24 hours. */
  readonly idempotency_key?: string;
}

export interface SentMessage {
  /** Path of the message. */
  readonly location: string;
  /** Whether the outcome is not known yet. */
  readonly is_open: boolean;
  readonly reason?: string;
  /** The message's `delivery`: state, counts, receivers. */
  readonly delivery?: Value;
  /** The message's `result`. */
  readonly result?: Value;
}

/** The broker, with the rights of the caller. Refusals are faults -32000 with the code of the error in `data.code`. */
export interface Broker {
  /** Creates a message and sends it. @throws Fault, with `data.location` where the message is stored and reaches no member */
  send(message: MessageToSend): Promise<SentMessage>;
  /**
   * Reads an inbox.
   * @param member id or path
   * @param options `number` of entries (100 by default, 1000 at most), seconds to `wait` for an entry (20 at most), seconds
   *   of the `lease` (30 by default), `cursor` of the next page
   */
  read(
    member: string,
    options?: {
      readonly number?: number;
      readonly wait?: number;
      readonly lease?: number;
      readonly cursor?: string;
    },
  ): Promise<{
    readonly entries: readonly { readonly id: string; readonly [name: string]: Value }[];
    readonly leased: number;
    readonly next?: string;
  }>;
  /** Removes entries from an inbox, all or none. Returns their number. */
  acknowledge(
    member: string,
    entries: readonly (string | { readonly id: string; readonly lease?: string })[],
  ): Promise<number>;
}

/** An entity in the JSON form of GFD.226, with its path and its entity tag. */
export interface EntityJson {
  readonly location: string;
  readonly etag: string;
  readonly kind: string;
  readonly id: string;
  readonly mixins?: readonly string[];
  readonly title?: string;
  readonly summary?: string;
  readonly attributes: Readonly<Record<string, Value>>;
  readonly [name: string]: Value | undefined;
}

export interface WriteOptions {
  /** The `etag` that the entity must still have. */
  readonly if_match?: string;
  readonly idempotency_key?: string;
}

/** Entities of all kinds, with the rights of the caller. */
export interface EntityStore {
  get(path: string): Promise<EntityJson>;
  /**
   * One page of a collection.
   * @param path ends with a slash
   * @param options `filter` (`kind`, `mixins`, `attributes` that must match), `q` (words and `name=value`), `number` of
   *   entities (100 by default, 1000 at most), `cursor` of the next page
   */
  list(
    path: string,
    options?: {
      readonly filter?: Readonly<Record<string, Value>>;
      readonly q?: string;
      readonly number?: number;
      readonly cursor?: string;
    },
  ): Promise<{ readonly entities: readonly EntityJson[]; readonly next?: string }>;
  /** Creates an entity at the location of its kind, with its `id` or a new one. */
  create(
    entity: { readonly kind: string; readonly [name: string]: Value },
    options?: Pick<WriteOptions, 'idempotency_key'>,
  ): Promise<{ readonly location: string; readonly notes: readonly string[]; readonly secret?: string }>;
  /** Changes the given attributes. Returns the entity, or null when the caller may not see it any more. */
  update(
    path: string,
    changes: Readonly<Record<string, Value>>,
    options?: WriteOptions,
  ): Promise<EntityJson | null>;
  delete(path: string, options?: WriteOptions): Promise<null>;
  /**
   * Runs an action, such as `start_l1`.
   * @returns `attributes`, where the action answers with values; otherwise the `entity`, `is_open` and `reason`
   */
  act(
    path: string,
    action: string,
    attributes?: Readonly<Record<string, Value>>,
    options?: WriteOptions & { readonly wait?: number },
  ): Promise<Readonly<Record<string, Value>>>;
}

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
  readonly kv: KeyValues;
  /** Calls another method; the same decision is taken as for a call from outside. @throws Fault of the method */
  call(method: string, args: readonly Value[]): Promise<Value>;
  /** The names of the groups that the caller is in. */
  groups(): Promise<readonly string[]>;
  readonly schedule: ScheduleFunctions;
  readonly broker: Broker;
  readonly entities: EntityStore;
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
  /** The result contains a secret: the method is refused where the answer would be stored, as that of a message. */
  readonly secret?: boolean;
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

/** One module of the directory: its folder, its current version, and its attempts to load the next one. */
import { type Random, backOff } from '../../back-off';
import type { Clock } from '../../clock';
import type { Value } from '../value';
import type { Log } from '../../log';
import { untilOr } from '../../waiting';
import { Fault, FAULT } from '../fault';
import type { ServiceContext, ServiceMethod, ServiceModule } from '../module';
import { checkModule } from '../check-module';
import type { Services } from '../services';
import { checksumOf, entryIn, type FolderState, look } from './folder';
import { type ModuleInstance, OWN_KIND, ownName, unavailable } from './instance';
import { MAX_READS, type ModuleLimits } from './limits';
import type { Startable } from './order';
import { withPlace } from './syntax';

/** A loaded version that has not started. */
export interface Candidate extends Startable {
  readonly instance: ModuleInstance;
  readonly version: string;
  readonly checksum: string;
}

export interface HostedOptions {
  readonly name: string;
  /** Absolute path. */
  readonly folder: string;
  readonly services: Services;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly limits: ModuleLimits;
  /** Whether the folder does not change. */
  readonly isFixed: boolean;
  /** Imports the entry. @throws Error with the cause */
  readonly load: (file: string, version: () => string) => Promise<ModuleInstance>;
  /** Reports a module that cannot be used, with its cause. */
  readonly report: (name: string, cause: unknown) => void;
  /** Called when a version has started, or when the module is gone. */
  readonly changed: (name: string) => void;
}

/** The cause of a module that does not start because of others. */
class DependencyError extends Error {}

export class HostedModule {
  readonly name: string;
  readonly #options: HostedOptions;
  #current: Candidate | undefined;
  #currentSince = 0;
  /** What the last look found, whether or not it could be loaded. */
  #mark: string | undefined;
  #folders: readonly string[] = [];
  /** The last report, so that each problem is reported once. */
  #reported: string | undefined;
  #problem: string | undefined;
  /** Names that the module waits for. */
  #missing: readonly string[] = [];
  #failures = 0;
  #cancelRetry: () => void = () => undefined;
  /** One attempt at a time. */
  #working: Promise<void> = Promise.resolve();
  #planned: Promise<void> | undefined;
  #isStarting = false;
  #isClosed = false;

  constructor(options: HostedOptions) {
    this.#options = options;
    this.name = options.name;
  }

  /** Whether calls reach a version. */
  get isRunning(): boolean {
    return this.#current !== undefined && this.#current.instance.endReason === undefined;
  }

  /** Whether a version is in its startup, which may itself call methods. */
  get isStarting(): boolean {
    return this.#isStarting;
  }

  /** Whether nothing is left of the module. */
  get isGone(): boolean {
    return this.#mark === undefined && this.#current === undefined && this.#problem === undefined;
  }

  /** Why the folder cannot be used as it is now; undefined when it can. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** The folders to watch. */
  get folders(): readonly string[] {
    return this.#folders;
  }

  /** Whether the module did not start because the named one was not there. */
  waitsFor(name: string): boolean {
    return this.#missing.includes(name);
  }

  /** Loads and starts the folder if it has changed; with `always`, also if it has not. Never rejects. */
  check({ always = false } = {}): Promise<void> {
    // An attempt that waits for its turn will find every change until then.
    if (!always && this.#planned !== undefined) return this.#planned;
    const attempt = this.#inTurn(async () => {
      if (this.#planned === attempt) this.#planned = undefined;
      const candidate = await this.#candidate(always);
      if (candidate !== undefined) await this.#start(candidate);
    });
    this.#planned = attempt;
    return attempt;
  }

  /** Loads the folder without starting it. */
  async prepare(): Promise<Candidate | undefined> {
    let candidate: Candidate | undefined;
    await this.#inTurn(async () => {
      candidate = await this.#candidate(false);
    });
    return candidate;
  }

  /** Starts what {@link prepare} has loaded. Never rejects. */
  start(candidate: Candidate): Promise<void> {
    return this.#inTurn(() => this.#start(candidate));
  }

  /** Gives a loaded version up. */
  async refuse(candidate: Candidate, cause: unknown): Promise<void> {
    this.#failed(cause);
    await candidate.instance.close(0);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#working.then(async () => {
      if (this.#isClosed) return;
      try {
        await work();
      } catch (error) {
        this.#failed(error);
      }
    });
    this.#working = done;
    return done;
  }

  /** Reads the folder until it does not change meanwhile. */
  async #candidate(always: boolean): Promise<Candidate | undefined> {
    const { folder } = this.#options;
    let state = await look(folder);
    for (let reads = 0; reads < MAX_READS; reads += 1) {
      if (state === undefined) {
        this.#gone();
        return undefined;
      }
      this.#folders = state.folders;
      if (state.mark === this.#mark && !always) return undefined;
      this.#mark = state.mark;
      let candidate: Candidate | undefined;
      let failure: { readonly cause: unknown } | undefined;
      try {
        candidate = await this.#load(state, always);
      } catch (cause) {
        failure = { cause: await withPlace(cause, state.files) };
      }
      const now = await look(folder);
      if (now?.mark === state.mark) {
        if (failure !== undefined) this.#failed(failure.cause);
        // The content is that of the version that runs: a file was touched, or its change undone.
        else if (candidate === undefined) this.#recovered();
        // Of a folder that does not change, no later look would try again.
        if (failure !== undefined && (always || this.#options.isFixed)) this.#retryLater();
        return candidate;
      }
      await candidate?.instance.close(0);
      state = now;
    }
    this.#mark = 'changing';
    this.#failed(new Error('It changed while it was read; it is read again after the next change.'));
    return undefined;
  }

  async #load(state: FolderState, always: boolean): Promise<Candidate | undefined> {
    const { services, folder } = this.#options;
    if (services.isBuiltIn(this.name))
      throw new Error(`There is a built-in module ${this.name}; rename the folder.`);
    const file = entryIn(folder, state);
    const checksum = await checksumOf(folder, state);
    if (!always && this.isRunning && this.#current?.checksum === checksum) return undefined;
    let version = checksum;
    const instance = await this.#options.load(file, () => version);
    const { manifest } = instance;
    version = manifest.version ?? checksum;
    const { priority, depends } = manifest;
    const candidate: Candidate = { name: this.name, instance, version, checksum, priority, depends };
    try {
      checkModule(this.#serviceModule(candidate));
    } catch (error) {
      await instance.close(0);
      throw error;
    }
    return candidate;
  }

  async #start(candidate: Candidate): Promise<void> {
    const { services, clock, log, limits } = this.#options;
    const { instance, version, depends } = candidate;
    if (this.#isClosed) {
      await instance.close(0);
      return;
    }
    this.#isStarting = true;
    try {
      this.#missing = depends.filter((name) => !services.has(name));
      if (this.#missing.length > 0) {
        throw new DependencyError(`It depends on ${this.#missing.join(', ')}, which did not start.`);
      }
      await instance.startup(version);
      services.replace(this.#serviceModule(candidate));
    } catch (error) {
      this.#failed(error);
      await instance.close(0);
      // What it waits for will start it.
      if (!(error instanceof DependencyError)) this.#retryLater();
      return;
    } finally {
      this.#isStarting = false;
    }
    const before = this.#current;
    this.#current = candidate;
    this.#currentSince = clock.elapsed();
    this.#recovered();
    log.info('a module was started', { module: this.name, version });
    if (before !== undefined) this.#retire(before, limits.retireMs);
    void instance.ended.then((reason) => this.#ended(candidate, reason));
    this.#options.changed(this.name);
  }

  #retire({ instance }: Candidate, ms: number): void {
    // Calls in flight end on the version that they began with.
    void instance.close(ms);
  }

  #serviceModule({ instance, version }: Pick<Candidate, 'instance' | 'version'>): ServiceModule {
    const methods = Object.entries(instance.manifest.methods).map(([name, described]): [string, ServiceMethod] => [
      name,
      { ...described, call: (context, args) => this.#call(name, context, args) },
    ]);
    return { name: this.name, version, methods: Object.fromEntries(methods) };
  }

  /** Calls the version that runs now, which may be a later one than that for which the call was admitted. */
  async #call(method: string, context: ServiceContext, args: readonly Value[]): Promise<Value> {
    const { clock, limits } = this.#options;
    // A restart that is under way takes the call, unless it waits for this call itself.
    const { kind, name } = context.principal;
    const isOwn = kind === OWN_KIND && name === ownName(this.name);
    if (!this.isRunning && !isOwn) await untilOr(this.#working, clock, limits.startupMs, context.signal);
    const instance = this.#current?.instance;
    if (instance === undefined || instance.endReason !== undefined) throw unavailable(this.name);
    if (instance.manifest.methods[method] === undefined) {
      throw new Fault(FAULT.methodNotFound, `The module ${this.name} has no method ${method} any more.`);
    }
    const result: unknown = await instance.call(method, context, args);
    // Bytes and times are values too; the codecs write them.
    return result as Value;
  }

  /** The thread has ended without being asked to. */
  #ended(candidate: Candidate, reason: string): void {
    if (this.#isClosed || this.#current !== candidate) return;
    const { log, clock, limits } = this.#options;
    if (clock.elapsed() - this.#currentSince >= limits.stableMs) this.#failures = 0;
    log.error('a module stopped and is started again', { module: this.name, reason });
    // The first restart is at once.
    if (this.#failures === 0) {
      this.#failures = 1;
      void this.check({ always: true });
    } else this.#retryLater();
  }

  #retryLater(): void {
    const { clock, limits, random } = this.#options;
    this.#failures += 1;
    const ms = backOff(this.#failures, limits.restartFirstMs, limits.restartMaxMs, random);
    this.#cancelRetry();
    this.#cancelRetry = clock.after(ms, () => void this.check({ always: true }));
  }

  #failed(cause: unknown): void {
    const text = `${String(this.#mark)} ${String(cause)}`;
    this.#problem = 'it could not be loaded';
    if (text === this.#reported) return;
    this.#reported = text;
    this.#options.report(this.name, cause);
  }

  #recovered(): void {
    this.#cancelRetry();
    this.#problem = undefined;
    this.#reported = undefined;
    this.#missing = [];
  }

  #gone(): void {
    const { services, log, limits, changed } = this.#options;
    this.#mark = undefined;
    this.#folders = [];
    this.#failures = 0;
    this.#recovered();
    const before = this.#current;
    this.#current = undefined;
    if (before !== undefined) {
      services.remove(this.name);
      log.info('a module was removed', { module: this.name });
      this.#retire(before, limits.retireMs);
    }
    changed(this.name);
  }

  /** @throws Fault for a module without a running version */
  assertUsable(): void {
    if (this.#problem === undefined || this.#current !== undefined) return;
    throw new Fault(
      FAULT.methodNotFound,
      `The module ${this.name} cannot be called: ${this.#problem}. The log has the cause.`,
    );
  }

  /** Ends the module; `shutdown` and the calls in flight have `ms` milliseconds. Never rejects. */
  async close(ms: number): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry();
    await this.#current?.instance.close(ms);
  }
}

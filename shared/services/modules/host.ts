/** The host of service modules: keeps the services of a program as the folders of a directory are. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Random } from '../../back-off';
import type { Clock, NewId } from '../../clock';
import { concurrently } from '../../concurrently';
import { CmbsError } from '../../errors';
import type { Log } from '../../log';
import type { Store } from '../../store';
import { untilOr } from '../../waiting';
import type { ModuleSource } from '../module';
import { isServiceName } from '../check-module';
import type { Services } from '../services';
import { foldersIn, isFolder } from './folder';
import { type Candidate, HostedModule } from './hosted';
import { ModuleInstance } from './instance';
import { singleLine } from './lines';
import { MAX_MODULES, MODULE_LIMITS, type ModuleLimits } from './limits';
import { type OnceLimits, takeTask } from './once';
import { startOrder } from './order';
import type { PortFunctions } from './port-functions';
import { readModuleSettings } from './settings';
import { mainThread, type ModuleThread, workerThread } from './thread';
import { DirectoryWatch } from './watch';

/** What happens when a module cannot be used: one line; its stack as well; or the program does not start. */
export type ModuleErrors = 'report' | 'log-stack' | 'fatal';

/** Modules that are loaded at the same time. */
const LOAD_CONCURRENCY = 4;
/** Milliseconds for which `system.list_methods` waits for modules that are being loaded. */
const LIST_WAIT_MS = 5000;
/** Milliseconds between two looks at a directory that cannot be watched. */
const UNWATCHED_LOOK_MS = 15_000;

export interface ModuleHostOptions {
  /** Directory of the modules (`CMBS_MODULES_DIR`). */
  readonly directory: string;
  readonly services: Services;
  readonly functions: PortFunctions;
  /** Holds the leases of tasks that run once. */
  readonly store: Pick<Store, 'transact' | 'watch'>;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly random?: Random;
  readonly log: Log;
  readonly errors: ModuleErrors;
  /** JSON file with the settings of each module. */
  readonly settingsFile?: string | undefined;
  /** Absolute path of the built worker (`module-worker.js`). */
  readonly workerFile: string;
  /** Absolute path of esbuild's main file, which compiles TypeScript; Node.js does where it can when absent. */
  readonly esbuild?: string | undefined;
  /** Whether the directory may change while the program runs; yes when absent. */
  readonly changes?: boolean;
  /** Runs modules on the main thread, for a debugger. They are not contained there. */
  readonly onMainThread?: boolean;
  readonly limits?: Partial<ModuleLimits>;
  readonly onceLimits?: OnceLimits;
}

export class ModuleHost implements ModuleSource {
  readonly #options: ModuleHostOptions;
  readonly #directory: string;
  readonly #limits: ModuleLimits;
  readonly #modules = new Map<string, HostedModule>();
  /** Names of the modules in the order in which they started. */
  readonly #started: string[] = [];
  readonly #watch: DirectoryWatch;
  /** Folders that were reported because of their names. */
  readonly #refused = new Set<string>();
  /** Problems until the start has ended. */
  readonly #problems: string[] = [];
  #isOpening = true;
  #isClosed = false;
  #cancelLook: () => void = () => undefined;
  #cancelSettling: () => void = () => undefined;
  #isSettling = false;
  /** The look that a caller waits for, and the one after it. */
  #lastLook: Promise<void> = Promise.resolve();
  #waitingLook: Promise<void> | undefined;
  #loads = 0;
  /** All threads, also of versions that are loaded or replaced. */
  readonly #threads = new Set<ModuleThread>();

  private constructor(options: ModuleHostOptions) {
    this.#options = options;
    this.#directory = resolve(options.directory);
    this.#limits = { ...MODULE_LIMITS, ...options.limits };
    this.#watch = new DirectoryWatch(() => this.#lookSoon(), options.log);
  }

  /**
   * Loads all modules, starts them in their order, and follows the directory from then on.
   * @throws CmbsError `bad_request` for a directory or settings that cannot be used, and with `fatal` for a module
   */
  static async open(options: ModuleHostOptions): Promise<ModuleHost> {
    const host = new ModuleHost(options);
    try {
      await host.#open();
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  async #open(): Promise<void> {
    const {
      directory,
      workerFile,
      settingsFile,
      services,
      errors,
      log,
      onMainThread = false,
      changes = true,
    } = this.#options;
    if (!(await isFolder(this.#directory))) {
      throw new CmbsError('bad_request', `CMBS_MODULES_DIR=${JSON.stringify(directory)} is not a directory.`);
    }
    if (!onMainThread && !existsSync(workerFile)) {
      throw new CmbsError('bad_request', `Modules need ${workerFile}, which is not there; run npm run build.`);
    }
    await readModuleSettings(settingsFile);
    if (onMainThread) log.warn('modules run on the main thread, for the debugger; nothing contains their faults');
    // A change during the start is found afterwards.
    if (changes) this.#watch.set([this.#directory]);
    await this.#adoptAll();
    const candidates: Candidate[] = [];
    await concurrently([...this.#modules.values()], LOAD_CONCURRENCY, async (module) => {
      const candidate = await module.prepare();
      if (candidate !== undefined) candidates.push(candidate);
    });
    const { order, circles } = startOrder(candidates);
    for (const candidate of candidates) {
      const circle = circles.get(candidate.name);
      if (circle === undefined) continue;
      const cause = new Error(`It depends on itself: ${circle.join(' needs ')}.`);
      await this.#modules.get(candidate.name)?.refuse(candidate, cause);
    }
    for (const candidate of order) await this.#modules.get(candidate.name)?.start(candidate);
    if (errors === 'fatal' && this.#problems.length > 0) {
      throw new CmbsError('bad_request', `${this.#problems.join('\n')}\nCMBS_MODULE_ERRORS=fatal ends the start.`);
    }
    this.#isOpening = false;
    if (!changes) return;
    services.attach(this);
    this.#watchAll();
    this.#lookLater();
  }

  /** Takes the folders that are new. */
  async #adoptAll(): Promise<void> {
    for (const name of await foldersIn(this.#directory)) this.#adopt(name);
  }

  #adopt(name: string): HostedModule | undefined {
    const known = this.#modules.get(name);
    if (known !== undefined || this.#isClosed) return known;
    if (!isServiceName(name)) {
      this.#refuse(name, "its name cannot be a module's: a letter, then letters, digits and underscores");
      return undefined;
    }
    if (this.#modules.size >= MAX_MODULES) {
      this.#refuse(name, `there are ${MAX_MODULES} modules already`);
      return undefined;
    }
    const { services, clock, random = Math.random, log } = this.#options;
    const module = new HostedModule({
      name,
      folder: join(this.#directory, name),
      services,
      clock,
      random,
      log,
      limits: this.#limits,
      isFixed: this.#options.changes === false,
      load: (file, version) => this.#load(name, file, version),
      report: (...problem) => this.#report(...problem),
      changed: (changed) => this.#changed(changed),
    });
    this.#modules.set(name, module);
    return module;
  }

  #refuse(name: string, why: string): void {
    if (this.#refused.has(name)) return;
    this.#refused.add(name);
    this.#report(name, new Error(`The folder is not used: ${why}.`));
  }

  async #load(name: string, file: string, version: () => string): Promise<ModuleInstance> {
    const {
      settingsFile,
      functions,
      clock,
      newId,
      log,
      workerFile,
      esbuild,
      onMainThread = false,
    } = this.#options;
    const { store, random, onceLimits } = this.#options;
    const { [name]: settings = {} } = await readModuleSettings(settingsFile);
    if (this.#isClosed) throw new Error('The program is ending.');
    this.#loads += 1;
    const thread = onMainThread
      ? mainThread()
      : workerThread({
          name,
          file: workerFile,
          heapMb: this.#limits.heapMb,
          onLine: (line) => log.info(singleLine(line), { module: name, output: true }),
        });
    this.#threads.add(thread);
    void thread.ended.then(() => this.#threads.delete(thread));
    return ModuleInstance.load({
      name,
      file,
      query: onMainThread ? `?load=${this.#loads}` : '',
      esbuild,
      settings,
      functions,
      clock,
      newId,
      log,
      limits: this.#limits,
      thread,
      once: (task, signal) =>
        takeTask(
          { module: name, version: version(), name: task },
          {
            store,
            clock,
            log,
            holder: newId(),
            ...(random === undefined ? {} : { random }),
            ...(onceLimits === undefined ? {} : { limits: onceLimits }),
          },
          signal,
        ),
    });
  }

  #report(name: string, cause: unknown): void {
    if (this.#isClosed) return;
    const { errors, log } = this.#options;
    const message = `the module ${name} was not loaded`;
    const text = cause instanceof Error ? cause.message : String(cause);
    this.#problems.push(`The module ${name} was not loaded: ${text}`);
    log.error(message, { module: name, cause: errors === 'report' ? text : cause });
  }

  #changed(name: string): void {
    const { services } = this.#options;
    const at = this.#started.indexOf(name);
    if (at >= 0) this.#started.splice(at, 1);
    if (services.has(name)) this.#started.push(name);
    const module = this.#modules.get(name);
    if (module?.isGone === true) this.#modules.delete(name);
    // At the start, modules come in the order in which they need each other.
    if (this.#isOpening || !services.has(name)) return;
    for (const other of this.#modules.values()) if (other.waitsFor(name)) void other.check({ always: true });
  }

  /** As {@link ModuleSource.refresh}. Looks at one folder, or at all of them. */
  async refresh(name?: string): Promise<void> {
    if (this.#isClosed) return;
    if (name === undefined) {
      await untilOr(this.#nextLook(), this.#options.clock, LIST_WAIT_MS);
      return;
    }
    if (!isServiceName(name)) return;
    const known = this.#modules.get(name);
    const module = known ?? ((await isFolder(join(this.#directory, name))) ? this.#adopt(name) : undefined);
    // The startup of a module may ask for the module itself.
    if (module === undefined || module.isStarting) return;
    await module.check();
    if (known === undefined) this.#watchAll();
    module.assertUsable();
  }

  /** A look that begins after this call; calls that come while one goes on share the next. Never rejects. */
  #nextLook(): Promise<void> {
    return (this.#waitingLook ??= this.#lastLook.then(() => {
      this.#waitingLook = undefined;
      return (this.#lastLook = this.#look());
    }));
  }

  /** Looks at all folders. Never rejects. */
  async #look(): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#adoptAll();
    } catch (error) {
      // Such as a directory that was removed: the folders are looked at one by one.
      log.warn('the directory of modules could not be read', { directory: this.#directory, cause: error });
    }
    const modules = [...this.#modules.values()].filter((module) => !module.isStarting);
    await Promise.all(modules.map((module) => module.check()));
    this.#watchAll();
  }

  #watchAll(): void {
    if (this.#isClosed) return;
    const folders = [...this.#modules.values()].flatMap(({ folders }) => folders);
    // A folder may have changed after it was looked at and before it was watched.
    if (this.#watch.set([this.#directory, ...folders])) this.#lookSoon();
  }

  /** Looks when the changes have settled. */
  #lookSoon(): void {
    if (this.#isClosed || this.#isOpening || this.#isSettling) return;
    this.#isSettling = true;
    this.#cancelSettling = this.#options.clock.after(this.#limits.settleMs, () => {
      this.#isSettling = false;
      void this.#look();
    });
  }

  /** Looks again from time to time. */
  #lookLater(): void {
    const ms = this.#watch.isWhole ? this.#limits.lookMs : Math.min(this.#limits.lookMs, UNWATCHED_LOOK_MS);
    this.#cancelLook = this.#options.clock.after(ms, () => {
      void this.#look();
      if (!this.#isClosed) this.#lookLater();
    });
  }

  /** Ends all modules in the reverse order of their start. Idempotent; never rejects. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelLook();
    this.#cancelSettling();
    this.#watch.close();
    const { clock } = this.#options;
    const began = clock.elapsed();
    for (const name of [...this.#started].reverse()) {
      const leftMs = Math.max(0, this.#limits.shutdownMs - (clock.elapsed() - began));
      await this.#modules.get(name)?.close(leftMs);
    }
    await Promise.all([...this.#modules.values()].map((module) => module.close(0)));
    await Promise.all([...this.#threads].map((thread) => thread.terminate()));
  }
}

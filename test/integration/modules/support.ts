/** A host of modules on a directory of its own, for tests that write modules. */
import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Authorize, type LogFields, newId, type Principal, systemClock } from '@cmbs/shared';
import type { Value } from '@cmbs/shared/services';
import { Fault, type PortFunction, type Services, standardServices } from '@cmbs/shared/services';
import {
  type ModuleErrors,
  ModuleHost,
  type ModuleLimits,
  standardFunctions,
} from '@cmbs/shared/services/modules';
import type { CallContext } from '../../../shared/services/services';
import { MemoryStore } from '../../../examples/extending/memory-store';
import { bundleProgram, type BundledProgram } from '../bundled-program';
import { becomes } from '../../waits';

export interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

export interface HostSettings {
  readonly errors?: ModuleErrors;
  readonly limits?: Partial<ModuleLimits>;
  /** Functions for modules, besides `call` and `groups`. */
  readonly functions?: Readonly<Record<string, PortFunction>>;
  readonly authorize?: Authorize;
  readonly deadlineMs?: number;
  readonly debugFaults?: boolean;
  /** Settings of modules. */
  readonly settings?: unknown;
  /** Content of the file of settings. */
  readonly settingsText?: string;
  readonly withoutEsbuild?: boolean;
  /** Whether the directory may change; yes when absent. */
  readonly changes?: boolean;
}

/** The built worker, once for a suite. */
export class WorkerProgram {
  readonly #program: BundledProgram = bundleProgram('shared/services/modules/worker.ts');

  get path(): string {
    return this.#program.path;
  }

  remove(): void {
    this.#program.remove();
  }
}

/** Source of a module with one method, `value`, which returns a value. */
export const moduleReturning = (value: unknown, more = ''): string => `
export const methods = {
  value: { documentation: 'Returns a value.', signatures: ['any'], call: () => (${JSON.stringify(value)}) },
};
${more}`;

/** Source of a module with the given methods: name to function text. */
export const moduleOf = (methods: Readonly<Record<string, string>>, more = ''): string => `
export const methods = {
${Object.entries(methods)
  .map(
    ([name, call]) =>
      `${name}: { documentation: 'For a test.', signatures: ['any'], flags: { anyArguments: true }, call: ${call} },`,
  )
  .join('\n')}
};
${more}`;

/** Writes a module of one file into a directory. */
export function writeModule(directory: string, name: string, source: string): void {
  mkdirSync(join(directory, name), { recursive: true });
  writeFileSync(join(directory, name, 'index.mjs'), source);
}

export class Modules {
  readonly directory = mkdtempSync(join(tmpdir(), 'cmbs-modules-'));
  readonly lines: Line[] = [];
  readonly #events = new EventEmitter();
  readonly #worker: WorkerProgram;
  #host: ModuleHost | undefined;
  #services: Services | undefined;

  constructor(worker: WorkerProgram) {
    this.#worker = worker;
  }

  get services(): Services {
    if (this.#services === undefined) throw new Error('The host is not open.');
    return this.#services;
  }

  readonly log = {
    debug: this.#write('debug'),
    info: this.#write('info'),
    warn: this.#write('warn'),
    error: this.#write('error'),
  };

  #write(level: string) {
    return (message: string, fields: LogFields = {}): void => {
      this.lines.push({ level, message, fields });
      this.#events.emit('line');
    };
  }

  async open(settings: HostSettings = {}): Promise<void> {
    const { errors = 'report', limits = {}, functions = {}, authorize, deadlineMs, debugFaults } = settings;
    const services = standardServices({
      clock: systemClock,
      newId,
      ...(authorize === undefined ? {} : { authorize }),
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
      ...(debugFaults === undefined ? {} : { debugFaults }),
    });
    this.#services = services;
    const port = standardFunctions({ services, groups: async ({ name }) => [`friends of ${name}`] });
    for (const [name, run] of Object.entries(functions)) port.register(name, run);
    let settingsFile: string | undefined;
    const settingsText =
      settings.settingsText ?? (settings.settings === undefined ? undefined : JSON.stringify(settings.settings));
    if (settingsText !== undefined) {
      settingsFile = join(this.directory, '.settings.json');
      writeFileSync(settingsFile, settingsText);
    }
    this.#host = await ModuleHost.open({
      directory: this.directory,
      services,
      functions: port,
      store: new MemoryStore(systemClock, this.log),
      clock: systemClock,
      newId,
      log: this.log,
      errors,
      ...(settings.changes === undefined ? {} : { changes: settings.changes }),
      settingsFile,
      workerFile: this.#worker.path,
      esbuild: settings.withoutEsbuild === true ? undefined : require.resolve('esbuild'),
      limits: { settleMs: 10, restartFirstMs: 10, restartMaxMs: 50, ...limits },
    });
  }

  /** Writes a file of a module, and its folder. */
  write(path: string, content: string): void {
    const file = join(this.directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  call(method: string, args: readonly Value[] = [], more: Partial<CallContext> = {}): Promise<Value> {
    return this.services.call(method, args, {
      principal: { kind: 'user', name: 'alice' } satisfies Principal,
      signal: new AbortController().signal,
      log: this.log,
      ...more,
    });
  }

  /** The fault of a call. @throws Error when it succeeds */
  async fault(method: string, args: readonly Value[] = [], more: Partial<CallContext> = {}): Promise<Fault> {
    const outcome = await this.call(method, args, more).then(
      (value) => new Error(`${method} returned ${JSON.stringify(value)}.`),
      (thrown: unknown) => thrown,
    );
    if (!(outcome instanceof Fault)) throw outcome;
    return outcome;
  }

  /** Resolves when a call returns the value. */
  async returns(method: string, value: Value): Promise<void> {
    let last: unknown;
    let isAsking = false;
    const ask = async (): Promise<void> => {
      isAsking = true;
      last = await this.call(method).catch((error: unknown) => error);
      isAsking = false;
    };
    await becomes(
      () => {
        if (!isAsking) void ask();
        return JSON.stringify(last) === JSON.stringify(value);
      },
      `${method} returns ${JSON.stringify(value)}`,
    );
  }

  /** Resolves when the log has such a line. */
  async logged(wanted: (line: Line) => boolean, what: string): Promise<Line> {
    await becomes(() => this.lines.some(wanted), what);
    return this.lines.find(wanted) as Line;
  }

  async close(): Promise<void> {
    await this.#host?.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** One loaded version of a module in a thread: its calls in flight, what it asks for, and its end. */
import type { Clock, NewId } from '../../clock';
import { CmbsError } from '../../errors';
import type { Log } from '../../log';
import type { Principal } from '../../principal';
import { inTime, untilOr } from '../../waiting';
import { Fault, FAULT } from '../fault';
import type { ServiceContext } from '../module';
import { fromPortError, ModuleError, toPortError } from './errors';
import type { Settings, Value } from './kit';
import type { ModuleLimits } from './limits';
import { type Manifest, manifestOf } from './manifest';
import type { RunningTask } from './once';
import type { PortCaller } from '../port-function';
import type { PortFunctions } from './port-functions';
import type { FromModule, LoadMessage, PortError, ToModule } from './protocol';
import type { ModuleThread } from './thread';
import { fromPort, toPort, toPortSized, ValueError } from './values';

export interface InstanceOptions {
  /** Name of the module. */
  readonly name: string;
  /** Absolute path of the entry. */
  readonly file: string;
  /** Tells versions apart that share a thread; empty where each has a thread of its own. */
  readonly query: string;
  readonly esbuild: string | undefined;
  readonly settings: Settings;
  readonly functions: PortFunctions;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly limits: ModuleLimits;
  readonly thread: ModuleThread;
  /** Waits until a task may run here; undefined when it is done. */
  readonly once: (task: string, signal: AbortSignal) => Promise<RunningTask | undefined>;
}

interface CallInFlight {
  readonly context: ServiceContext;
  /** Approximate bytes of the arguments. */
  readonly bytes: number;
  /** Aborts when the call has ended. */
  readonly over: AbortController;
  readonly settle: (outcome: { readonly value: unknown } | { readonly error: Error }) => void;
}

/** A moment of the module's life that the thread reports once. */
interface Step {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class ModuleInstance {
  readonly name: string;
  /** Resolves with the reason when the thread has ended. */
  readonly ended: Promise<string>;
  readonly #options: InstanceOptions;
  readonly #calls = new Map<string, CallInFlight>();
  readonly #tasks = new Map<number, RunningTask>();
  /** Aborts when the thread has ended. */
  readonly #over = new AbortController();
  #manifest: Manifest | undefined;
  #loading: Step | undefined;
  #starting: Step | undefined;
  #stopping: Step | undefined;
  #endReason: string | undefined;
  /** Approximate bytes of the arguments of the calls in flight. */
  #bytes = 0;
  /** Cancelled calls that the module has not confirmed. */
  #unconfirmed = 0;
  #cancelWatchdog: () => void = () => undefined;
  /** Called when no call is in flight. */
  #idle: () => void = () => undefined;

  private constructor(options: InstanceOptions) {
    const { thread, name } = options;
    this.#options = options;
    this.name = name;
    thread.port.on('message', (message: FromModule) => this.#receive(message));
    thread.port.unref();
    this.ended = thread.ended;
    void thread.ended.then((reason) => this.#threadEnded(reason));
  }

  /** Imports a module. @throws Error with the cause; then its thread has ended */
  static async load(options: InstanceOptions): Promise<ModuleInstance> {
    const { thread, limits, name, file, query, esbuild, settings, functions } = options;
    const instance = new ModuleInstance(options);
    try {
      const loaded = instance.#step((step) => (instance.#loading = step));
      const order: LoadMessage = {
        type: 'load',
        name,
        file,
        query,
        settings,
        functions: functions.names,
        ...(esbuild === undefined ? {} : { esbuild }),
      };
      instance.#send(order);
      await instance.#inTime(loaded, limits.loadMs, `It was not loaded within ${limits.loadMs} ms.`);
      return instance;
    } catch (error) {
      await thread.terminate();
      throw error;
    }
  }

  get manifest(): Manifest {
    if (this.#manifest === undefined) throw new Error(`The module ${this.name} is not loaded.`);
    return this.#manifest;
  }

  /** Why the thread has ended; undefined while it runs. */
  get endReason(): string | undefined {
    return this.#endReason;
  }

  #step(keep: (step: Step) => void): Promise<void> {
    if (this.#endReason !== undefined) return Promise.reject(new Error(`It stopped: ${this.#endReason}.`));
    return new Promise((resolve, reject) => keep({ resolve, reject }));
  }

  /** Waits for a step, and keeps the process alive meanwhile. @throws ModuleError with the text `late` after `ms` */
  async #inTime(step: Promise<void>, ms: number, late: string): Promise<void> {
    const { thread, clock } = this.#options;
    thread.port.ref();
    try {
      await inTime(
        clock,
        ms,
        () => step,
        () => new ModuleError(late),
      );
    } finally {
      thread.port.unref();
    }
  }

  #send(message: ToModule): void {
    this.#options.thread.port.postMessage(message);
  }

  /** A module can reach the port by ways around its context, and send anything: that must not end the program. */
  #receive(message: FromModule): void {
    try {
      this.#take(message);
    } catch (cause) {
      const { log, thread } = this.#options;
      log.error('a module sent what is no message, and is started again', { module: this.name, cause });
      void thread.terminate();
    }
  }

  #take(message: FromModule): void {
    switch (message.type) {
      case 'loaded':
        this.#loaded(message.manifest);
        return;
      case 'failed':
        this.#loading?.reject(fromPortError(message.error));
        return;
      case 'result':
        this.#ended(message.id, { value: message.value });
        return;
      case 'thrown':
        this.#ended(message.id, { error: fromPortError(message.error) });
        return;
      case 'cancelled':
        this.#confirmed();
        return;
      case 'started':
        settle(this.#starting, message.error);
        return;
      case 'stopped':
        settle(this.#stopping, message.error);
        return;
      case 'ask':
        void this.#asked(message);
        return;
      case 'once':
        void this.#once(message.ask, message.name);
        return;
      case 'onceEnded':
        void this.#onceEnded(message.ask, message.done);
        return;
      case 'log': {
        const { level, text, fields, call, method } = message;
        const of = { ...(method === undefined ? {} : { method }), ...(call === undefined ? {} : { call }) };
        this.#options.log[level](text, { ...fields, module: this.name, ...of });
      }
    }
  }

  #loaded(raw: Parameters<typeof manifestOf>[0]): void {
    try {
      this.#manifest = manifestOf(raw);
      this.#loading?.resolve();
    } catch (error) {
      this.#loading?.reject(error as Error);
    }
  }

  #threadEnded(reason: string): void {
    this.#endReason = reason;
    this.#cancelWatchdog();
    this.#over.abort();
    const error = new Error(`It stopped: ${reason}.`);
    for (const step of [this.#loading, this.#starting, this.#stopping]) step?.reject(error);
    for (const id of [...this.#calls.keys()]) {
      this.#ended(id, {
        error: new Fault(
          FAULT.outcomeUnknown,
          `The module ${this.name} stopped during the call; the method may have run.`,
        ),
      });
    }
    // Another process, or the next start of this module, may run them.
    for (const ask of [...this.#tasks.keys()]) void this.#onceEnded(ask, false);
  }

  /**
   * Calls a method.
   * @throws Fault of the method or of this side; {@link ModuleError} for any other value that the method threw
   */
  async call(method: string, context: ServiceContext, args: readonly unknown[]): Promise<Value> {
    const { principal, methodName, sender, session, signal } = context;
    if (this.#endReason !== undefined) throw unavailable(this.name);
    const { copied: given, bytes } = argumentsOf(methodName, args);
    const { callsInFlight, bytesInFlight } = this.#options.limits;
    // One call always fits: a value has fewer bytes at most.
    if (this.#calls.size >= callsInFlight || (this.#calls.size > 0 && this.#bytes + bytes > bytesInFlight)) {
      const text = `The module ${this.name} has too many calls in flight; call again later.`;
      throw new Fault(FAULT.refused, text, { code: 'queue_full' });
    }
    this.#bytes += bytes;
    const id = this.#options.newId();
    const outcome = new Promise<unknown>((resolve, reject) => {
      this.#calls.set(id, {
        context,
        bytes,
        over: new AbortController(),
        settle: (end) => ('error' in end ? reject(end.error) : resolve(end.value)),
      });
    });
    const cancel = (): void => this.#cancel(id);
    signal.addEventListener('abort', cancel, { once: true });
    this.#send({
      type: 'call',
      id,
      method,
      methodName,
      principal,
      args: given,
      ...(sender === undefined ? {} : { sender }),
      ...(session === undefined ? {} : { session }),
    });
    if (signal.aborted) cancel();
    try {
      return fromPort(await outcome);
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  #callerOf({ context, over }: CallInFlight): PortCaller {
    const { principal, methodName, sender, session, clientAddress, trace, isStored } = context;
    const { depth = 0, signal, log } = context;
    return {
      principal,
      module: this.name,
      methodName,
      ...(sender === undefined ? {} : { sender }),
      ...(session === undefined ? {} : { session }),
      ...(clientAddress === undefined ? {} : { clientAddress }),
      trace,
      ...(isStored === undefined ? {} : { isStored }),
      depth,
      signal: AbortSignal.any([signal, over.signal]),
      log,
    };
  }

  #ended(id: string, outcome: { readonly value: unknown } | { readonly error: Error }): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    this.#bytes -= call?.bytes ?? 0;
    call?.over.abort();
    call?.settle(outcome);
    if (this.#calls.size === 0) this.#idle();
  }

  /** Ends the thread when the module does not confirm in time: its thread is blocked. */
  #cancel(id: string): void {
    if (this.#endReason !== undefined || !this.#calls.has(id)) return;
    const { clock, limits, log, thread } = this.#options;
    this.#unconfirmed += 1;
    this.#send({ type: 'cancel', id });
    if (this.#unconfirmed > 1) return;
    this.#cancelWatchdog = clock.after(limits.blockedMs, () => {
      log.error('a module does not react and is started again', { module: this.name, ms: limits.blockedMs });
      void thread.terminate();
    });
  }

  #confirmed(): void {
    this.#unconfirmed -= 1;
    if (this.#unconfirmed === 0) this.#cancelWatchdog();
  }

  /** Runs `startup`. @throws Error with the cause */
  async startup(version: string): Promise<void> {
    if (!this.manifest.hasStartup) return;
    const { limits } = this.#options;
    const started = this.#step((step) => (this.#starting = step));
    this.#send({ type: 'startup', version });
    await this.#inTime(started, limits.startupMs, `Its startup did not end within ${limits.startupMs} ms.`);
  }

  /** Waits for the calls in flight, runs `shutdown` and ends the thread, all within `ms`. Never rejects. */
  async close(ms: number): Promise<void> {
    const { clock, thread, log } = this.#options;
    const began = clock.elapsed();
    const leftMs = (): number => Math.max(0, ms - (clock.elapsed() - began));
    // Nothing else may keep the process alive until the module has ended.
    thread.port.ref();
    const idle = new Promise<void>((resolve) => (this.#idle = resolve));
    if (this.#calls.size > 0) await untilOr(idle, clock, leftMs(), this.#over.signal);
    try {
      if (this.#manifest?.hasShutdown === true && this.#endReason === undefined) {
        const stopped = this.#step((step) => (this.#stopping = step));
        this.#send({ type: 'shutdown' });
        await this.#inTime(stopped, leftMs(), `Its shutdown did not end within ${ms} ms.`);
      }
    } catch (error) {
      log.warn('the shutdown of a module failed', { module: this.name, cause: error });
    }
    await thread.terminate();
  }

  async #asked({ ask, call, name, args }: Extract<FromModule, { type: 'ask' }>): Promise<void> {
    try {
      const inFlight = call === undefined ? undefined : this.#calls.get(call);
      if (call !== undefined && inFlight === undefined)
        throw new Fault(FAULT.refused, `${name} was not done: the call is over.`);
      const caller = inFlight === undefined ? this.#itself() : this.#callerOf(inFlight);
      const run = this.#options.functions.find(name);
      if (run === undefined) throw new Fault(FAULT.methodNotFound, `There is no function ${name} for modules.`);
      const value = toPort(await run(caller, fromPort(args) as readonly Value[]));
      this.#answer({ type: 'answer', ask, value });
    } catch (thrown) {
      this.#answer({ type: 'answer', ask, error: this.#errorFor(name, thrown) });
    }
  }

  /** Errors that are not for callers stay here, in the log. */
  #errorFor(name: string, thrown: unknown): PortError {
    const isForCallers = thrown instanceof Fault || (thrown instanceof CmbsError && thrown.code !== 'internal');
    if (isForCallers) return toPortError(thrown);
    const correlationId = this.#options.newId();
    this.#options.log.error('a function for modules failed', {
      module: this.name,
      function: name,
      correlationId,
      cause: thrown,
    });
    return { kind: 'error', text: `${name} failed; the log has the cause under ${correlationId}.` };
  }

  #itself(): PortCaller {
    const principal: Principal = { kind: OWN_KIND, name: ownName(this.name) };
    return { principal, module: this.name, depth: 0, signal: this.#over.signal, log: this.#options.log };
  }

  #answer(message: ToModule): void {
    if (this.#endReason === undefined) this.#send(message);
  }

  async #once(ask: number, name: string): Promise<void> {
    try {
      const task = await this.#options.once(name, this.#over.signal);
      if (task === undefined) {
        this.#answer({ type: 'answer', ask, value: false });
        return;
      }
      if (this.#endReason !== undefined) {
        await task.end(false);
        return;
      }
      this.#tasks.set(ask, task);
      task.lost.addEventListener('abort', () => this.#answer({ type: 'lost', ask }), { once: true });
      this.#answer({ type: 'answer', ask, value: true });
    } catch (thrown) {
      this.#answer({ type: 'answer', ask, error: this.#errorFor('once', thrown) });
    }
  }

  async #onceEnded(ask: number, isDone: boolean): Promise<void> {
    const task = this.#tasks.get(ask);
    this.#tasks.delete(ask);
    try {
      await task?.end(isDone);
      this.#answer({ type: 'answer', ask, value: null });
    } catch (thrown) {
      this.#answer({ type: 'answer', ask, error: this.#errorFor('once', thrown) });
    }
  }
}

/** The principal as which a module acts for itself. */
export const OWN_KIND = 'service';
export const ownName = (module: string): string => `module:${module}`;

/** The fault for a call of a module that is not running now. */
export const unavailable = (name: string): Fault =>
  new Fault(FAULT.refused, `The module ${name} is being started; try again soon.`, { code: 'unavailable' });

function argumentsOf(methodName: string, args: readonly unknown[]): ReturnType<typeof toPortSized> {
  try {
    return toPortSized(args);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new Fault(FAULT.invalidParams, `The arguments of ${methodName} cannot be passed on: ${error.message}.`);
  }
}

function settle(step: Step | undefined, error: PortError | undefined): void {
  if (error === undefined) step?.resolve();
  else step?.reject(fromPortError(error));
}

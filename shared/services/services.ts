/**
 * The registry of service modules and the dispatcher of calls. The action `execute` and arriving messages call methods
 * through {@link Services.call}, so that one place decides about calls.
 */
import type { Clock, NewId } from '../clock';
import { CmbsError, describeError } from '../errors';
import type { JsonObject } from '../json';
import { MAX_SHOWN_NAME_LENGTH, SERVICE_CALL_DEADLINE_MS } from '../limits';
import { type Histograms, type Log, silentHistograms } from '../log';
import { allowAll, type Authorize, type Principal, sessionOf } from '../principal';
import { inSpan, type Traceparent } from '../trace';
import { VERSION } from '../version';
import { untilOr } from '../waiting';
import type { CallRoom } from './call-room';
import { ABORTED, CallTime, isPromise, resultOrAbort } from './call-time';
import { checkModule, isServiceName } from './check-module';
import { Fault, FAULT } from './fault';
import type { CallWay, MethodFlags, ModuleSource, ServiceContext, ServiceMethod, ServiceModule } from './module';
import type { Outcome } from './protocol';
import { fitted } from './signature';
import { CallStatistics, type MethodStatistics } from './statistics';
import type { Value } from './value';

/** Milliseconds after which a call is logged as slow, when the program does not say. */
export const SLOW_CALL_MS = 1000;

/** Calls of methods by methods, of which each waits for the next. */
const MAX_CALL_DEPTH = 8;

export interface ServicesOptions {
  readonly clock: Clock;
  /** Makes the correlation ids that connect a fault with its log line. */
  readonly newId: NewId;
  /** Allows everything when absent. */
  readonly authorize?: Authorize;
  /** Milliseconds for one call; {@link SERVICE_CALL_DEADLINE_MS} when absent. */
  readonly deadlineMs?: number;
  /**
   * Whether a fault of an unexpected error shows its stack, the principal and the client's address to the caller, for
   * developers of modules. Otherwise such a fault has a correlation id, and nothing else.
   */
  readonly debugFaults?: boolean;
  /** Silent when absent. */
  readonly histograms?: Histograms;
  /** Milliseconds after which a call is logged as slow; {@link SLOW_CALL_MS} when absent. */
  readonly slowMs?: number;
}

/** The caller of a method, and how long it waits. */
export interface CallContext {
  readonly principal: Principal;
  readonly sender?: string;
  readonly session?: string;
  readonly clientAddress?: string;
  /** Calls of methods by methods on the way to this one; 0 when absent. */
  readonly depth?: number;
  /** How the call arrived; for the log. */
  readonly way?: CallWay;
  /** The trace that the call belongs to. */
  readonly trace?: Traceparent | undefined;
  /** The format of the call has bytes and times of its own, so that text does not stand for them. */
  readonly hasAllTypes?: boolean;
  /** The answer is stored, as that of a call in a message or by a schedule. */
  readonly isStored?: boolean;
  /** Of the request that has the call, where it has several. */
  readonly room?: CallRoom;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** What remote callers learn about a module. */
export interface ModuleDescription {
  readonly name: string;
  readonly version: string;
  readonly isBuiltIn: boolean;
  /** Number of its methods. */
  readonly methods: number;
}

/** What remote callers learn about a method. */
export interface MethodDescription {
  readonly name: string;
  readonly documentation: string;
  readonly signatures: readonly (readonly string[])[];
  /** JSON Schemas (draft 7) beside the types of each signature; null where the type says it all. */
  readonly schemas?: readonly (readonly (JsonObject | null)[])[];
  readonly flags: MethodFlags;
}

/** The service modules of a program. */
export class Services {
  /** By full name. With a map, a caller cannot reach members of `Object.prototype`. */
  readonly #methods = new Map<string, ServiceMethod>();
  /** Names of the modules, with those of their methods. */
  readonly #modules = new Map<string, readonly string[]>();
  /** Versions of the modules that are not built in. */
  readonly #versions = new Map<string, string>();
  /** Names of the modules that stay as long as the program runs. */
  readonly #builtIn = new Set<string>();
  #listed: readonly MethodDescription[] | undefined;
  #source: ModuleSource | undefined;
  #isLoading = false;
  readonly #authorize: Authorize;
  readonly #clock: Clock;
  readonly #newId: NewId;
  readonly #deadlineMs: number;
  readonly #debugFaults: boolean;
  readonly #histograms: Histograms;
  readonly #slowMs: number;
  readonly #statistics: CallStatistics;

  constructor(options: ServicesOptions) {
    const {
      clock,
      newId,
      authorize = allowAll,
      deadlineMs = SERVICE_CALL_DEADLINE_MS,
      debugFaults = false,
      histograms = silentHistograms,
      slowMs = SLOW_CALL_MS,
    } = options;
    this.#authorize = authorize;
    this.#clock = clock;
    this.#newId = newId;
    this.#deadlineMs = deadlineMs;
    this.#debugFaults = debugFaults;
    this.#histograms = histograms;
    this.#slowMs = slowMs;
    this.#statistics = new CallStatistics(clock);
  }

  /**
   * Exposes the methods of a module for as long as the program runs, all or none.
   * @throws Error that says what is wrong with the module
   */
  register(module: ServiceModule): void {
    checkModule(module);
    if (this.#modules.has(module.name)) throw new Error(`There is a module ${module.name} already.`);
    this.#builtIn.add(module.name);
    this.#put(module);
  }

  /**
   * Exposes the methods of a module in place of those that a module of the same name had before. Calls in flight go on.
   * @throws Error that says what is wrong with the module
   */
  replace(module: ServiceModule): void {
    checkModule(module);
    if (this.#builtIn.has(module.name)) throw new Error(`There is a built-in module ${module.name}.`);
    this.remove(module.name);
    this.#put(module);
  }

  /** Removes a module that is not built in; its methods can be called no more. */
  remove(name: string): void {
    if (this.#builtIn.has(name)) throw new Error(`The module ${name} is built in.`);
    this.#listed = undefined;
    for (const method of this.#modules.get(name) ?? []) this.#methods.delete(method);
    this.#modules.delete(name);
    this.#versions.delete(name);
  }

  #put({ name, version, methods }: ServiceModule): void {
    this.#listed = undefined;
    if (version !== undefined) this.#versions.set(name, version);
    const entries = Object.entries(methods).map(([method, value]) => [`${name}.${method}`, value] as const);
    this.#modules.set(
      name,
      entries.map(([method]) => method),
    );
    for (const [method, value] of entries) this.#methods.set(method, value);
  }

  /** Whether there is a module of this name. */
  has(name: string): boolean {
    return this.#modules.has(name);
  }

  isBuiltIn(name: string): boolean {
    return this.#builtIn.has(name);
  }

  /** Asks a source for modules that are not known yet. A program has one source, or none. */
  attach(source: ModuleSource): void {
    if (this.#source !== undefined) throw new Error('The services have a source of modules already.');
    this.#source = source;
  }

  /** Until the returned function is called, methods of unknown modules are unavailable: modules are being loaded. */
  loading(): () => void {
    this.#isLoading = true;
    return () => {
      this.#isLoading = false;
    };
  }

  /** Looks for modules that have come, changed or gone; the named one, or all of them. */
  async refresh(name?: string): Promise<void> {
    await this.#source?.refresh(name);
  }

  /** All modules, sorted by name. */
  modules(): readonly ModuleDescription[] {
    return [...this.#modules]
      .map(([name, methods]) => ({
        name,
        version: this.#versions.get(name) ?? VERSION,
        isBuiltIn: this.isBuiltIn(name),
        methods: methods.length,
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** All methods, sorted by name. The same array until a module comes, changes or goes. */
  list(): readonly MethodDescription[] {
    return (this.#listed ??= [...this.#methods.keys()].sort().map((name) => this.describe(name)));
  }

  /** @throws Fault -32601 for an unknown method */
  describe(name: string): MethodDescription {
    const { documentation, signatures, schemas, flags = {} } = this.#find(name);
    return { name, documentation, signatures, ...(schemas === undefined ? {} : { schemas }), flags };
  }

  async #authorized(principal: Principal, methodName: string, { callers }: MethodFlags): Promise<void> {
    try {
      await this.#authorize(principal, 'service.call', {
        path: `service:${methodName}`,
        ...(callers === undefined ? {} : { callers }),
      });
    } catch (thrown) {
      if (!(thrown instanceof CmbsError)) throw thrown;
      throw new Fault(FAULT.refused, thrown.message, { code: thrown.code }, { cause: thrown });
    }
  }

  #find(name: string): ServiceMethod {
    const method = this.#methods.get(name);
    if (method === undefined) {
      const shown = JSON.stringify(name.slice(0, MAX_SHOWN_NAME_LENGTH));
      throw new Fault(FAULT.methodNotFound, `There is no method ${shown}; system.list_methods lists all methods.`);
    }
    return method;
  }

  /** As {@link #find}, also for a method that has come since the last call. */
  async #findNow(methodName: string, signal: AbortSignal): Promise<ServiceMethod> {
    const known = this.#methods.get(methodName);
    const [module = ''] = methodName.split('.', 1);
    // A client would take "there is no such method" as final.
    if (known === undefined && this.#isLoading && isServiceName(module) && !this.#builtIn.has(module)) {
      const text = `${methodName.slice(0, MAX_SHOWN_NAME_LENGTH)} may still come: the program is starting; try again soon.`;
      throw new Fault(FAULT.refused, text, { code: 'unavailable' });
    }
    if (known !== undefined || this.#source === undefined || !isServiceName(module))
      return known ?? this.#find(methodName);
    if (!this.#builtIn.has(module)) {
      const refreshed = this.refresh(module);
      refreshed.catch(() => undefined); // it may fail after the caller has left
      await untilOr(refreshed, this.#clock, this.#deadlineMs, signal);
    }
    return this.#find(methodName);
  }

  /** What happened to the calls of each method since the start of the process. */
  get statistics(): { readonly since: Date; readonly methods: readonly MethodStatistics[] } {
    return { since: this.#statistics.since, methods: this.#statistics.list() };
  }

  /**
   * Calls a method by its public name.
   * @throws Fault, and nothing else: -32601 for an unknown method; -32602 for arguments that fit no signature; -32000 for
   *   a call that the principal may not make, or whose caller is gone; -32001 after the deadline; -32002 when the caller
   *   left during the call; -32603 for a failure whose cause is in the log; or the fault of the method
   */
  async call(methodName: string, params: readonly Value[], context: CallContext): Promise<Value> {
    const { value } = await this.outcome(methodName, params, context);
    if (value instanceof Fault) throw value;
    return value;
  }

  /** As {@link call}, with a fault as a value, and the type of the result. Rejects only where the program is wrong. */
  async outcome(methodName: string, params: readonly Value[], context: CallContext): Promise<Outcome> {
    const began = this.#clock.elapsed();
    const attributes = { 'rpc.system': 'cmbs', 'rpc.method': methodName.slice(0, MAX_SHOWN_NAME_LENGTH) };
    const outcome = await inSpan({ name: 'call', kind: 'internal', parent: context.trace, attributes }, (trace) =>
      this.#outcome(methodName, params, { ...context, trace }),
    );
    this.#record(methodName, this.#clock.elapsed() - began, outcome.value, context);
    return outcome;
  }

  async #outcome(methodName: string, params: readonly Value[], context: CallContext): Promise<Outcome> {
    try {
      return await this.#run(methodName, params, context);
    } catch (thrown) {
      if (thrown instanceof Fault) return { value: thrown };
      throw thrown;
    }
  }

  /** Counts a call and logs one line, without its arguments and its result. */
  #record(
    methodName: string,
    ms: number,
    value: Value | Fault,
    { log, way, trace, ...caller }: CallContext,
  ): void {
    const fault = value instanceof Fault ? value : undefined;
    const outcome = fault === undefined ? 'answer' : 'fault';
    // Names that nobody has registered come from callers, without a bound on their number.
    if (this.#methods.has(methodName)) {
      const isCounted = this.#statistics.add(methodName, ms, fault);
      if (isCounted) this.#histograms.observe('cmbs_method_seconds', { method: methodName, outcome }, ms / 1000);
    }
    const line = {
      event: 'call',
      method: methodName.slice(0, MAX_SHOWN_NAME_LENGTH),
      outcome,
      ...(fault === undefined ? {} : { code: fault.code }),
      ms: Math.round(ms),
      way,
      principal: `${caller.principal.kind}:${caller.principal.name}`,
      client: caller.clientAddress,
      trace,
    };
    if (ms >= this.#slowMs) log.warn('slow call', line);
    else log.info('call', line);
  }

  /** @throws Fault */
  async #run(
    methodName: string,
    params: readonly Value[],
    { log, depth = 0, signal, ...caller }: CallContext,
  ): Promise<Outcome> {
    const { principal, hasAllTypes = false } = caller;
    const method = this.#methods.get(methodName) ?? (await this.#findNow(methodName, signal));
    if (depth > MAX_CALL_DEPTH) {
      throw new Fault(FAULT.refused, `${methodName} was not called: methods call each other too deeply.`);
    }
    if (signal.aborted) throw new Fault(FAULT.refused, `${methodName} was not called: its caller is gone.`);
    await this.#authorized(principal, methodName, method.flags ?? {});
    if (method.flags?.secret === true && caller.isStored === true) {
      const text = `${methodName} was not called: the answer has a secret and would be stored; call the method over HTTP.`;
      throw new Fault(FAULT.refused, text, { code: 'forbidden' });
    }
    const { args, ...result } = fitted(methodName, method, params, { hasAllTypes });
    const deadlineMs = Math.min(this.#deadlineMs, method.flags?.timeoutMs ?? Infinity);
    const time = new CallTime(this.#clock, deadlineMs, signal);
    const context: ServiceContext = {
      ...sessionOf(principal),
      ...caller,
      methodName,
      depth,
      log,
      get signal() {
        return time.signal;
      },
    };
    try {
      const returned = method.call(context, args);
      if (!isPromise(returned)) return { value: returned, ...result };
      const running = Promise.resolve(returned);
      const value = await resultOrAbort(running, time.signal);
      if (value !== ABORTED) return { value, ...result };
      running.catch((thrown: unknown) => {
        log.warn('service method failed after its answer was given up', { method: methodName, cause: thrown });
      });
    } catch (thrown) {
      throw this.#faultOf(thrown, methodName, { ...caller, signal, log });
    } finally {
      time.end();
    }
    throw time.isOver
      ? new Fault(FAULT.deadlineExceeded, `${methodName} took longer than ${deadlineMs} ms; it may have run.`)
      : new Fault(FAULT.outcomeUnknown, `${methodName} was given up by its caller; it may have run.`);
  }

  /** The fault for an error that a method threw. */
  #faultOf(thrown: unknown, method: string, { principal, clientAddress, log }: CallContext): Fault {
    if (thrown instanceof Fault) return thrown;
    // A CmbsError is meant for callers, except for `internal`.
    if (thrown instanceof CmbsError && thrown.code !== 'internal') {
      return new Fault(FAULT.refused, thrown.message, { code: thrown.code }, { cause: thrown });
    }
    const correlationId = this.#newId();
    log.error('service method failed', { method, correlationId, cause: thrown });
    const text = `The method ${method} failed; the log has the cause under ${correlationId}.`;
    if (!this.#debugFaults)
      return new Fault(FAULT.internalError, text, undefined, { cause: thrown, correlationId });
    const stack = describeError(thrown);
    const { kind, name } = principal;
    const client = clientAddress === undefined ? '' : ` from ${clientAddress}`;
    const data = {
      stack,
      principal: `${kind}:${name}`,
      ...(clientAddress === undefined ? {} : { clientAddress }),
    };
    const shown = `${text}\nCalled by ${kind}:${name}${client}.\n${stack}`;
    return new Fault(FAULT.internalError, shown, data, { cause: thrown, correlationId });
  }
}

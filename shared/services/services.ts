/**
 * The registry of service modules and the dispatcher of calls. The action `execute` and arriving messages call methods
 * through {@link Services.call}, so that one place decides about calls.
 */
import type { Clock, NewId } from '../clock';
import { CmbsError } from '../errors';
import { MAX_SHOWN_NAME_LENGTH, SERVICE_CALL_DEADLINE_MS } from '../limits';
import type { Log } from '../log';
import { allowAll, type Authorize, type Principal } from '../principal';
import { Fault, FAULT } from './fault';
import type { ServiceContext, ServiceMethod, ServiceModule } from './module';
import type { Value } from './value';

/** Names of modules and methods; a leading underscore or a dot is not allowed. */
const NAME = /^[A-Za-z][A-Za-z0-9_]*$/;

export interface ServicesOptions {
  readonly clock: Clock;
  /** Makes the correlation ids that connect a fault with its log line. */
  readonly newId: NewId;
  /** Allows everything when absent. */
  readonly authorize?: Authorize;
  /** Milliseconds for one call; {@link SERVICE_CALL_DEADLINE_MS} when absent. */
  readonly deadlineMs?: number;
}

/** The caller of a method, and how long it waits. */
export interface CallContext {
  readonly principal: Principal;
  readonly sender?: string;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** What remote callers learn about a method. */
export interface MethodDescription {
  readonly name: string;
  readonly documentation: string;
  readonly signatures: readonly (readonly string[])[];
}

/** The service modules of a program. */
export class Services {
  /** By full name. With a map, a caller cannot reach members of `Object.prototype`. */
  readonly #methods = new Map<string, ServiceMethod>();
  readonly #modules = new Set<string>();
  readonly #authorize: Authorize;
  readonly #clock: Clock;
  readonly #newId: NewId;
  readonly #deadlineMs: number;

  constructor({ clock, newId, authorize = allowAll, deadlineMs = SERVICE_CALL_DEADLINE_MS }: ServicesOptions) {
    this.#authorize = authorize;
    this.#clock = clock;
    this.#newId = newId;
    this.#deadlineMs = deadlineMs;
  }

  /**
   * Exposes the methods of a module, all or none.
   * @throws Error that says what is wrong with the module
   */
  register(module: ServiceModule): void {
    if (!NAME.test(module.name)) throw new Error(`${JSON.stringify(module.name)} cannot be a module's name.`);
    if (this.#modules.has(module.name)) throw new Error(`There is a module ${module.name} already.`);
    const methods = Object.entries(module.methods);
    for (const [name, method] of methods) checkMethod(`${module.name}.${name}`, name, method);
    this.#modules.add(module.name);
    for (const [name, method] of methods) this.#methods.set(`${module.name}.${name}`, method);
  }

  /** All methods, sorted by name. */
  list(): readonly MethodDescription[] {
    return [...this.#methods.keys()].sort().map((name) => this.describe(name));
  }

  /** @throws Fault -32601 for an unknown method */
  describe(name: string): MethodDescription {
    const { documentation, signatures } = this.#find(name);
    return { name, documentation, signatures };
  }

  async #authorized(principal: Principal, methodName: string): Promise<void> {
    try {
      await this.#authorize(principal, 'service.call', { path: `service:${methodName}` });
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

  /**
   * Calls a method by its public name.
   * @throws Fault, and nothing else: -32601 for an unknown method; -32000 for a call that the principal may not make, or
   *   whose caller is gone; -32001 after the deadline; -32002 when the caller left during the call; -32603 for a failure
   *   whose cause is in the log; or the fault of the method
   */
  async call(
    methodName: string,
    params: readonly Value[],
    { principal, sender, signal, log }: CallContext,
  ): Promise<Value> {
    const method = this.#find(methodName);
    if (signal.aborted) throw new Fault(FAULT.refused, `${methodName} was not called: its caller is gone.`);
    await this.#authorized(principal, methodName);
    const deadline = new AbortController();
    const over = AbortSignal.any([signal, deadline.signal]);
    const cancel = this.#clock.after(this.#deadlineMs, () => deadline.abort());
    const running = start(
      method,
      { principal, ...(sender === undefined ? {} : { sender }), methodName, signal: over, log },
      params,
    );
    try {
      const result = await resultOrAbort(running, over);
      if (result !== ABORTED) return result;
    } catch (thrown) {
      throw this.#faultOf(thrown, methodName, log);
    } finally {
      cancel();
    }
    running.catch((thrown: unknown) => {
      log.warn('service method failed after its caller had left', { method: methodName, cause: thrown });
    });
    throw deadline.signal.aborted
      ? new Fault(
          FAULT.deadlineExceeded,
          `${methodName} took longer than ${this.#deadlineMs} ms; it may have run.`,
        )
      : new Fault(FAULT.outcomeUnknown, `${methodName} was given up by its caller; it may have run.`);
  }

  /** The fault for an error that a method threw. */
  #faultOf(thrown: unknown, method: string, log: Log): Fault {
    if (thrown instanceof Fault) return thrown;
    // A CmbsError is meant for callers, except for `internal`.
    if (thrown instanceof CmbsError && thrown.code !== 'internal') {
      return new Fault(FAULT.refused, thrown.message, { code: thrown.code }, { cause: thrown });
    }
    const correlationId = this.#newId();
    log.error('service method failed', { method, correlationId, cause: thrown });
    const text = `The method ${method} failed; the log has the cause under ${correlationId}.`;
    return new Fault(FAULT.internalError, text, undefined, { cause: thrown, correlationId });
  }
}

function checkMethod(fullName: string, name: string, { documentation, signatures }: ServiceMethod): void {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(fullName)} cannot be a method's name.`);
  if (documentation.trim() === '') throw new Error(`${fullName} has no documentation; remote callers need it.`);
  if (signatures.length === 0 || signatures.some((types) => types.length === 0)) {
    throw new Error(`${fullName} needs at least one signature, and each a type of result.`);
  }
}

/** Calls the method; an error that it throws at once becomes a rejection. */
async function start(method: ServiceMethod, context: ServiceContext, params: readonly Value[]): Promise<Value> {
  return method.call(context, params);
}

const ABORTED = Symbol('aborted');

async function resultOrAbort<T>(running: Promise<T>, signal: AbortSignal): Promise<T | typeof ABORTED> {
  let onAbort = (): void => undefined;
  const aborted = new Promise<typeof ABORTED>((resolve) => {
    onAbort = () => resolve(ABORTED);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([running, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

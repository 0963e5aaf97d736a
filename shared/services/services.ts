/**
 * The registry of service modules and the one dispatcher: `execute`, an arriving message and every later front end
 * call methods through {@link Services.call}, so that rules about calls have one place to stand.
 */
import type { Clock, NewId } from '../clock';
import { CmbsError } from '../errors';
import type { ExactJson } from '../exact-json';
import { MAX_SHOWN_NAME_LENGTH, SERVICE_CALL_DEADLINE_MS } from '../limits';
import type { Log } from '../log';
import { allowAll, type Authorize, type Principal } from '../principal';
import { Fault, FAULT } from './fault';
import type { ServiceContext, ServiceMethod, ServiceModule } from './module';

/** Modules and methods; a leading underscore or a dot cannot be part of a public name. */
const NAME = /^[A-Za-z][A-Za-z0-9_]*$/;

export interface ServicesOptions {
  readonly clock: Clock;
  /** Makes the correlation ids that connect a fault with the log. */
  readonly newId: NewId;
  /** Allows everything when absent. */
  readonly authorize?: Authorize;
  /** Milliseconds that one call has. */
  readonly deadlineMs?: number;
}

/** What the caller of the dispatcher knows about a call. */
export interface CallContext {
  readonly principal: Principal;
  readonly sender?: string;
  readonly signal: AbortSignal;
  readonly log: Log;
}

export interface MethodDescription {
  readonly name: string;
  readonly documentation: string;
  readonly signatures: readonly (readonly string[])[];
}

export class Services {
  // A Map under full names: nothing that a module or Object.prototype has besides can be reached.
  private readonly methods = new Map<string, ServiceMethod>();
  private readonly modules = new Set<string>();
  readonly #authorize: Authorize;
  private readonly clock: Clock;
  private readonly newId: NewId;
  private readonly deadlineMs: number;

  constructor({ clock, newId, authorize = allowAll, deadlineMs = SERVICE_CALL_DEADLINE_MS }: ServicesOptions) {
    this.#authorize = authorize;
    this.clock = clock;
    this.newId = newId;
    this.deadlineMs = deadlineMs;
  }

  /** Exposes a module's methods, all or none. Throws an `Error` that says what is wrong with the module. */
  register(module: ServiceModule): void {
    if (!NAME.test(module.name)) throw new Error(`${JSON.stringify(module.name)} cannot be a module's name.`);
    if (this.modules.has(module.name)) throw new Error(`There is a module ${module.name} already.`);
    const methods = Object.entries(module.methods);
    for (const [name, method] of methods) checkMethod(`${module.name}.${name}`, name, method);
    this.modules.add(module.name);
    for (const [name, method] of methods) this.methods.set(`${module.name}.${name}`, method);
  }

  /** Every method, in the order of names. */
  list(): readonly MethodDescription[] {
    return [...this.methods.keys()].sort().map((name) => this.describe(name));
  }

  /** Throws `Fault` -32601 for a method that is not there. */
  describe(name: string): MethodDescription {
    const { documentation, signatures } = this.find(name);
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

  private find(name: string): ServiceMethod {
    const method = this.methods.get(name);
    if (method === undefined) {
      const shown = JSON.stringify(name.slice(0, MAX_SHOWN_NAME_LENGTH));
      throw new Fault(FAULT.methodNotFound, `There is no method ${shown}; system.list_methods names all.`);
    }
    return method;
  }

  /** Calls a method by its public name. Rejects with a {@link Fault} and with nothing else. */
  async call(
    methodName: string,
    params: readonly ExactJson[],
    { principal, sender, signal, log }: CallContext,
  ): Promise<ExactJson> {
    const method = this.find(methodName);
    if (signal.aborted) throw new Fault(FAULT.refused, `${methodName} was not called: its caller is gone.`);
    await this.#authorized(principal, methodName);
    const deadline = new AbortController();
    const over = AbortSignal.any([signal, deadline.signal]);
    const cancel = this.clock.after(this.deadlineMs, () => deadline.abort());
    const running = start(
      method,
      { principal, ...(sender === undefined ? {} : { sender }), methodName, signal: over, log },
      params,
    );
    try {
      const result = await resultOrAbort(running, over);
      if (result !== ABORTED) return result;
    } catch (thrown) {
      throw this.faultOf(thrown, methodName, log);
    } finally {
      cancel();
    }
    running.catch((thrown: unknown) => {
      log.warn('service method failed after its caller had left', { method: methodName, cause: thrown });
    });
    throw deadline.signal.aborted
      ? new Fault(FAULT.deadlineExceeded, `${methodName} took longer than ${this.deadlineMs} ms; it may have run.`)
      : new Fault(FAULT.outcomeUnknown, `${methodName} was given up by its caller; it may have run.`);
  }

  /** What a caller may know of whatever a method threw. */
  private faultOf(thrown: unknown, method: string, log: Log): Fault {
    if (thrown instanceof Fault) return thrown;
    // A CmbsError is made for callers; `internal` is the one that says nothing.
    if (thrown instanceof CmbsError && thrown.code !== 'internal') {
      return new Fault(FAULT.refused, thrown.message, { code: thrown.code }, { cause: thrown });
    }
    const correlationId = this.newId();
    log.error('service method failed', { method, correlationId, cause: thrown });
    const text = `The method ${method} failed; the log has the cause under ${correlationId}.`;
    return new Fault(FAULT.internalError, text, { correlationId }, { cause: thrown });
  }
}

function checkMethod(fullName: string, name: string, { documentation, signatures }: ServiceMethod): void {
  if (!NAME.test(name)) throw new Error(`${JSON.stringify(fullName)} cannot be a method's name.`);
  if (documentation.trim() === '') throw new Error(`${fullName} has no documentation; remote callers need it.`);
  if (signatures.length === 0 || signatures.some((types) => types.length === 0)) {
    throw new Error(`${fullName} needs at least one signature, and each a type of result.`);
  }
}

/** A method that throws before its first wait rejects like any other. */
async function start(
  method: ServiceMethod,
  context: ServiceContext,
  params: readonly ExactJson[],
): Promise<ExactJson> {
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

/**
 * The functions that modules can call on the main thread. Each call comes with the principal of the method's caller, which
 * is bound here: a module cannot name another.
 */
import type { Log } from '../../log';
import type { Principal } from '../../principal';
import type { Traceparent } from '../../trace';
import type { Value } from './kit';

/** Who asks. */
export interface PortCaller {
  /** The caller of the method; in `startup` and in tasks of its own, the module itself. */
  readonly principal: Principal;
  /** Name of the module. */
  readonly module: string;
  /** The method whose call asks; absent in `startup`. */
  readonly methodName?: string;
  /** URI of the member that the call names as its sender: a claim. */
  readonly sender?: string;
  /** Address of the client, where it is known. */
  readonly clientAddress?: string;
  readonly session?: string;
  /** The trace of the call. */
  readonly trace?: Traceparent | undefined;
  /** Calls of methods by methods on the way to this one. */
  readonly depth: number;
  /** The answer of the call is stored. */
  readonly isStored?: boolean;
  /** Aborts when the call is over. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

/**
 * Carries out a function for a caller.
 * @throws CmbsError or Fault for the module; other errors are logged, and the module does not see them
 */
export type PortFunction = (caller: PortCaller, args: readonly Value[]) => Promise<Value> | Value;

/** Lower-case words, one or two with a dot between them. */
const NAME = /^[a-z][A-Za-z0-9]*(?:\.[a-z][A-Za-z0-9]*)?$/;
/** Names of a context's own members. */
const TAKEN = [
  'principal',
  'methodName',
  'callId',
  'sender',
  'session',
  'settings',
  'signal',
  'log',
  'name',
  'version',
  'once',
];

/** The functions of a program, by name: `kv.get` is `context.kv.get(…)` in a module. */
export class PortFunctions {
  readonly #functions = new Map<string, PortFunction>();

  /** @throws Error for a name that is malformed or taken */
  register(name: string, run: PortFunction): void {
    if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} cannot be the name of a function for modules.`);
    const [first = ''] = name.split('.');
    // `a` and `a.b` would be the same member of the context.
    const isTaken = [...this.#functions.keys()].some(
      (other) => other === name || other === first || other.startsWith(`${name}.`),
    );
    if (isTaken || TAKEN.includes(first)) throw new Error(`Modules have a function ${first} already.`);
    this.#functions.set(name, run);
  }

  get names(): readonly string[] {
    return [...this.#functions.keys()];
  }

  find(name: string): PortFunction | undefined {
    return this.#functions.get(name);
  }
}

/** The functions that modules can call on the main thread. */
import type { PortFunction } from '../port-function';

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

/**
 * The thread's side of a module: imports it, answers calls, and asks the program. It runs in a worker thread, or on the
 * main thread under a debugger. The only way to the program is the port, which the module itself does not get.
 */
import { pathToFileURL } from 'node:url';
import type { MessagePort } from 'node:worker_threads';
import { systemClock } from '../../clock';
import { ExactNumber } from '../../exact-json';
import type { Json } from '../../json';
import { Fault, isModuleCode } from '../fault';
import { fromPortError, toPortError } from './errors';
import type { Context, KeyValues, Method, ModuleLog, Program, Server, Shutdown, Startup, Value } from './kit';
import { singleLine } from './lines';
import {
  type CallMessage,
  type FromModule,
  type LoadMessage,
  type LOG_LEVELS,
  type RawManifest,
  type ToModule,
} from './protocol';
import { callChecked, describeSignature, hasSchemas } from './schemas';
import { transact } from './transact';
import { importTypeScript } from './typescript';
import { fromPort, toPort } from './values';

/** `context.Fault`. A fault with another code would look like one of the program. */
class ModuleFault extends Fault {
  constructor(code: number, text: string, data?: Json) {
    super(code, text, data);
    if (isModuleCode(code)) return;
    throw new RangeError(
      `Codes from -32768 to -32000 are reserved; a module has others, -32602 and -32500: ${code}.`,
    );
  }
}

/** A loaded module. */
interface Loaded {
  readonly methods: ReadonlyMap<string, Method>;
  readonly startup: Startup | undefined;
  readonly shutdown: Shutdown | undefined;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Serves one module on a port. */
export class ModuleRuntime {
  readonly #port: MessagePort;
  #order: LoadMessage | undefined;
  #loaded: Loaded | undefined;
  /** Calls in flight. */
  readonly #calls = new Map<string, AbortController>();
  /** Questions without an answer. */
  readonly #asked = new Map<number, Waiting>();
  /** Tasks of `once` in flight. */
  readonly #tasks = new Map<number, AbortController>();
  #lastAsk = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (message: ToModule) => this.#take(message));
  }

  /** Writes a line that no call caused. */
  log(level: (typeof LOG_LEVELS)[number], text: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#write(level, text, fields, {});
  }

  #send(message: FromModule): void {
    this.#port.postMessage(message);
  }

  #take(message: ToModule): void {
    switch (message.type) {
      case 'load':
        this.#order = message;
        void this.#load(message);
        return;
      case 'call':
        void this.#call(message);
        return;
      case 'cancel':
        this.#calls.get(message.id)?.abort();
        this.#send({ type: 'cancelled', id: message.id });
        return;
      case 'startup':
        void this.#startup(message.version);
        return;
      case 'shutdown':
        void this.#shutdown();
        return;
      case 'answer': {
        const waiting = this.#asked.get(message.ask);
        this.#asked.delete(message.ask);
        if (message.error === undefined) waiting?.resolve(message.value);
        else waiting?.reject(fromPortError(message.error));
        return;
      }
      case 'lost':
        this.#tasks.get(message.ask)?.abort();
    }
  }

  async #load(order: LoadMessage): Promise<void> {
    try {
      const exported = await importModule(order);
      const { manifest, loaded } = taken(exported);
      this.#loaded = loaded;
      this.#send({ type: 'loaded', manifest });
    } catch (thrown) {
      this.#send({ type: 'failed', error: toPortError(thrown) });
    }
  }

  async #call(message: CallMessage): Promise<void> {
    const { id } = message;
    const controller = new AbortController();
    this.#calls.set(id, controller);
    try {
      const method = this.#loaded?.methods.get(message.method);
      if (method === undefined) throw new Error(`The module has no method ${message.method}.`);
      const args = fromPort(message.args) as readonly Value[];
      const context = this.#contextOf(message, controller.signal);
      const call = async (given: readonly Value[]): Promise<unknown> => method.call(context, given);
      const result = hasSchemas(method.signatures)
        ? await callChecked(method, message.methodName, args, call)
        : await call(args);
      this.#send({ type: 'result', id, value: toPort(result) });
    } catch (thrown) {
      this.#send({ type: 'thrown', id, error: toPortError(thrown) });
    } finally {
      this.#calls.delete(id);
    }
  }

  async #startup(version: string): Promise<void> {
    const { name = '', settings = {} } = this.#order ?? {};
    const server = Object.freeze({
      ...(this.#program(undefined, NEVER) as unknown as Program),
      name,
      version,
      once: (task: string, fn: (signal: AbortSignal) => Promise<void> | void) => this.#once(task, fn),
    }) satisfies Server;
    try {
      await this.#loaded?.startup?.(server, settings, this.#logOf({}));
      this.#send({ type: 'started' });
    } catch (thrown) {
      this.#send({ type: 'started', error: toPortError(thrown) });
    }
  }

  async #shutdown(): Promise<void> {
    try {
      await this.#loaded?.shutdown?.();
      this.#send({ type: 'stopped' });
    } catch (thrown) {
      this.#send({ type: 'stopped', error: toPortError(thrown) });
    }
  }

  async #once(name: string, fn: (signal: AbortSignal) => Promise<void> | void): Promise<void> {
    const ask = this.#nextAsk();
    const mayRun = this.#answer(ask);
    this.#send({ type: 'once', ask, name });
    if ((await mayRun) !== true) return;
    const controller = new AbortController();
    this.#tasks.set(ask, controller);
    let done = false;
    try {
      await fn(controller.signal);
      done = true;
    } finally {
      this.#tasks.delete(ask);
      const written = this.#answer(ask);
      this.#send({ type: 'onceEnded', ask, done });
      await written;
    }
  }

  /** The functions of the program, for a call or for the module itself: `a.b` is a function `b` of a member `a`. */
  #program(call: string | undefined, signal: AbortSignal): Readonly<Record<string, unknown>> {
    const program: Record<string, unknown> = {};
    for (const name of this.#order?.functions ?? []) {
      const run = async (...args: readonly unknown[]): Promise<Value> => {
        const ask = this.#nextAsk();
        const answer = this.#answer(ask);
        const given = toPort(args);
        this.#send({ type: 'ask', ask, ...(call === undefined ? {} : { call }), name, args: given });
        return fromPort(await answer);
      };
      const [first = '', second] = name.split('.');
      if (second === undefined) program[first] = run;
      else ((program[first] ??= {}) as Record<string, unknown>)[second] = run;
    }
    const kv = program.kv as KeyValues | undefined;
    if (kv !== undefined) {
      // Its function stays in this thread.
      const here = (...what: Parameters<KeyValues['transact']>): Promise<unknown> =>
        transact({ kv, clock: systemClock, signal }, ...what);
      Object.assign(kv, { transact: here });
    }
    return program;
  }

  #nextAsk(): number {
    return (this.#lastAsk += 1);
  }

  #answer(ask: number): Promise<unknown> {
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#asked.set(ask, { resolve, reject });
    });
    // A value that cannot cross is reported before anybody waits for the answer.
    answer.catch(() => undefined);
    return answer;
  }

  #contextOf({ id, principal, methodName, sender, session }: CallMessage, signal: AbortSignal): Context {
    return Object.freeze({
      ...(this.#program(id, signal) as unknown as Program),
      principal: Object.freeze(principal),
      methodName,
      callId: id,
      ...(sender === undefined ? {} : { sender }),
      ...(session === undefined ? {} : { session }),
      settings: this.#order?.settings ?? {},
      signal,
      log: this.#logOf({ call: id, method: methodName }),
      Fault: ModuleFault,
      ExactNumber,
    });
  }

  #logOf(of: LineOf): ModuleLog {
    const line =
      (level: (typeof LOG_LEVELS)[number]) =>
      (text: string, fields: Readonly<Record<string, unknown>> = {}): void =>
        this.#write(level, text, fields, of);
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  }

  #write(
    level: (typeof LOG_LEVELS)[number],
    text: unknown,
    fields: Readonly<Record<string, unknown>>,
    of: LineOf,
  ): void {
    const written = Object.entries(fields).flatMap(([name, value]) =>
      FIELD.test(name) ? [[name, fieldOf(value)] as const] : [],
    );
    this.#send({ type: 'log', level, text: singleLine(text), fields: Object.fromEntries(written), ...of });
  }
}

/** The signal of `startup`, which nobody cancels. */
const NEVER = new AbortController().signal;

interface LineOf {
  readonly call?: string;
  readonly method?: string;
}

/** Names of fields: a log writes them as they are. */
const FIELD = /^[A-Za-z_]\w{0,60}$/;

function fieldOf(value: unknown): string | number | boolean {
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  return singleLine(value);
}

async function importModule({ file, query, esbuild }: LoadMessage): Promise<unknown> {
  const url = pathToFileURL(file).href + query;
  return file.endsWith('.ts') ? importTypeScript(file, url, esbuild) : import(url);
}

/** The functions of a module, and what the program must know of it. */
function taken(exported: unknown): { readonly manifest: RawManifest; readonly loaded: Loaded } {
  const given = (exported ?? {}) as Readonly<Record<string, unknown>>;
  // A CommonJS module whose exports Node.js cannot tell has them all in `default`.
  const source =
    given.methods === undefined && typeof given.default === 'object' && given.default !== null
      ? (given.default as Readonly<Record<string, unknown>>)
      : given;
  const methods = new Map<string, Method>();
  const described: [string, unknown][] = [];
  const isTable = typeof source.methods === 'object' && source.methods !== null;
  for (const [name, method] of isTable ? Object.entries(source.methods as Record<string, Method>) : []) {
    const { documentation, signatures, flags, call } = method as Partial<Method>;
    if (typeof call !== 'function') throw new Error(`The method ${name} has no function call.`);
    methods.set(name, method);
    described.push([name, { documentation, ...describedSignatures(signatures), flags }]);
  }
  const startup = functionIn(source, 'startup') as Startup | undefined;
  const shutdown = functionIn(source, 'shutdown') as Shutdown | undefined;
  return {
    loaded: { methods, startup, shutdown },
    manifest: {
      methods: isTable ? toPort(Object.fromEntries(described)) : undefined,
      version: toPort(source.version ?? null),
      priority: toPort(source.init_priority ?? null),
      depends: toPort(source.depends ?? null),
      hasStartup: startup !== undefined,
      hasShutdown: shutdown !== undefined,
    },
  };
}

/** The names of the types, and the JSON Schemas, of signatures with schemas; others are checked by the program. */
function describedSignatures(signatures: unknown): Readonly<Record<string, unknown>> {
  if (!hasSchemas(signatures)) return { signatures };
  const described = signatures.map(describeSignature);
  return { signatures: described.map(({ types }) => types), schemas: described.map(({ schemas }) => schemas) };
}

function functionIn(source: Readonly<Record<string, unknown>>, name: string): unknown {
  const value = source[name];
  if (value !== undefined && typeof value !== 'function') throw new Error(`The export ${name} is not a function.`);
  return value;
}

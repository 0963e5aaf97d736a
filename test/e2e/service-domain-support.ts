/** A local stack with a module in a directory that uses the broker and the entities, and callers of methods. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ANONYMOUS, type Json, type JsonObject, type Principal } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import type { Value } from '@cmbs/shared/services';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { type WorkerProgram, writeModule } from '../integration/modules/support';
import { PATIENCE_MS } from '../patience';
import { RecordedLog } from '../recorded';
import { CMBS, freeSocket, MEMBER, MESSAGE, unique, type LayerName } from './harness';

export const ACCESS = 'http://houssem.org/cmbs/access#';
export const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];

/** A module whose methods hand their arguments to the functions of the program. */
export const RELAY = `
const given = (family, name) => ({
  documentation: 'For a test.',
  signatures: ['any'], flags: { anyArguments: true },
  call: (context, args) => context[family][name](...args),
});
const kept = [];
export const methods = {
  send: given('broker', 'send'),
  read: given('broker', 'read'),
  acknowledge: given('broker', 'acknowledge'),
  get: given('entities', 'get'),
  list: given('entities', 'list'),
  create: given('entities', 'create'),
  update: given('entities', 'update'),
  remove: given('entities', 'delete'),
  act: given('entities', 'act'),
  publish: given('discovery', 'register'),
  call: { documentation: 'For a test.', signatures: ['any'], flags: { anyArguments: true }, call: ({ call }, args) => call(...args) },
  deep: {
    documentation: 'For a test.',
    signatures: ['any'], flags: { anyArguments: true },
    call: ({ broker }, [message, depth]) => {
      let content = 1;
      for (let at = 0; at < depth; at += 1) content = [content];
      return broker.send({ ...message, content });
    },
  },
  keep: { documentation: 'Keeps its context.', signatures: ['any'], flags: { anyArguments: true }, call: (context) => { kept.push(context); return 'kept'; } },
  misuse: {
    documentation: 'Uses the context of an earlier call.',
    signatures: ['any'], flags: { anyArguments: true },
    call: (_context, [message]) => kept[0].broker.send(message),
  },
};
`;

export interface Failed {
  readonly code: number;
  readonly message: string;
  readonly data?: JsonObject;
}

export type Outcome = { readonly result: Json } | { readonly error: Failed };

export class ServiceStack {
  readonly #directory = mkdtempSync(join(tmpdir(), 'cmbs-services-'));
  readonly modules = join(this.#directory, 'modules');
  readonly log = new RecordedLog();
  readonly #isClosed: boolean;
  #stack: Stack | undefined;

  constructor(isClosed: boolean) {
    this.#isClosed = isClosed;
    mkdirSync(this.modules);
    writeFileSync(join(this.#directory, 'password'), 'password of root');
  }

  async start(worker: WorkerProgram, source = RELAY): Promise<void> {
    writeModule(this.modules, 'relay', source);
    const closed = {
      CMBS_IDENTITIES: 'basic,token',
      CMBS_ADMINISTRATORS: 'root',
      CMBS_ADMIN_PASSWORD_FILE: join(this.#directory, 'password'),
    };
    this.#stack = await startStack({
      config: readConfig({
        PORT: '0',
        CMBS_DATA_DIR: join(this.#directory, 'data'),
        CMBS_PORT_RANGE: '1024-65535',
        CMBS_MODULES_DIR: this.modules,
        CMBS_MODULE_ERRORS: 'fatal',
        ...(this.#isClosed ? closed : {}),
      }),
      log: this.log,
      modules: { workerFile: worker.path },
    });
  }

  /** Stops the stack; its data stay. */
  async stop(): Promise<void> {
    await this.#stack?.close();
    this.#stack = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.#directory, { recursive: true });
  }

  get url(): string {
    if (this.#stack === undefined) throw new Error('the stack is down');
    return this.#stack.url;
  }

  get services(): Stack['app']['services'] {
    if (this.#stack === undefined) throw new Error('the stack is down');
    return this.#stack.app.services;
  }

  /** Calls a method in this process, as over HTTP: the answer is not stored. */
  async direct(principal: Principal, method: string, ...params: readonly Json[]): Promise<Value> {
    return this.services.call(method, params, { principal, signal: new AbortController().signal, log: this.log });
  }

  /** The principal of a user, or of everybody in an open stack. */
  principal(name: string): Principal {
    return this.#isClosed ? { kind: 'user', name } : ANONYMOUS;
  }

  /** A caller; in an open stack everybody is nobody. */
  caller(authorization?: string): ServiceCaller {
    return new ServiceCaller(this, this.#isClosed ? authorization : undefined);
  }

  get root(): ServiceCaller {
    return this.caller(basic('root', 'password of root'));
  }

  /** A user with a member on all layers, whose topics are below the user's name. */
  async user(name: string): Promise<ServiceCaller & { readonly member: string; readonly sockets: Sockets }> {
    const password = `password of ${name}`;
    const caller = this.caller(basic(name, password));
    if (this.#isClosed) {
      await this.root.put(`/cmbs/access/user/${name}`, `${ACCESS}user`, { 'cmbs.access.user.password': password });
      await this.root.put(`/cmbs/access/rule/topics-of-${name}`, `${ACCESS}rule`, {
        'cmbs.access.rule.target': `topic:${name}.>`,
        'cmbs.access.rule.operations': ['topic.*'],
        'cmbs.access.rule.allow': [`user:${name}`],
      });
    }
    const member = `/cmbs/member/${name}`;
    const sockets = Object.fromEntries(
      await Promise.all(LAYERS.map(async (layer) => [layer, await freeSocket()] as const)),
    ) as Sockets;
    await caller.put(member, MEMBER, {
      ...Object.fromEntries(LAYERS.map((layer) => [`cmbs.member.${layer}_socket`, sockets[layer]])),
      'cmbs.member.topics': [`${name}.>`],
      'cmbs.member.start': LAYERS,
    });
    caller.acts = member;
    return Object.assign(caller, { member, sockets });
  }
}

export type Sockets = Readonly<Record<LayerName, string>>;

const basic = (name: string, password: string): string =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

export interface Answered {
  readonly status: number;
  readonly json: JsonObject;
  readonly headers: Headers;
}

export class ServiceCaller {
  readonly #stack: ServiceStack;
  readonly #authorization: string | undefined;
  /** The member as which the caller calls methods. */
  acts = '';

  constructor(stack: ServiceStack, authorization: string | undefined) {
    this.#stack = stack;
    this.#authorization = authorization;
  }

  get headers(): Readonly<Record<string, string>> {
    return this.#authorization === undefined ? {} : { Authorization: this.#authorization };
  }

  async ask(
    method: string,
    path: string,
    body?: JsonObject,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Answered> {
    const answer = await fetch(this.#stack.url + path, {
      method,
      headers: {
        Accept: 'application/json',
        ...this.headers,
        ...more,
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return {
      status: answer.status,
      headers: answer.headers,
      get json() {
        return JSON.parse(text) as JsonObject;
      },
    };
  }

  /** @throws Error for another status */
  async must(status: number, asked: Promise<Answered>): Promise<JsonObject> {
    const answer = await asked;
    if (answer.status === status) return answer.json;
    throw new Error(`${answer.status} instead of ${status}: ${JSON.stringify(answer.json)}`);
  }

  put(path: string, kind: string, attributes: JsonObject): Promise<JsonObject> {
    return this.must(201, this.ask('PUT', path, { kind, attributes }));
  }

  /** The code of the refusal of a request; undefined for one that succeeded. */
  async refusal(asked: Promise<Answered>): Promise<string | undefined> {
    const { status, json } = await asked;
    return status < 300 ? undefined : ((json.error as JsonObject).code as string);
  }

  /** Calls a method: executes a message that carries the call. */
  async call(method: string, params: readonly Json[]): Promise<Outcome> {
    const path = `/cmbs/message/${unique('call')}`;
    await this.put(path, MESSAGE, { 'cmbs.message.message_content': { method, params, id: 1 } });
    const { attributes } = await this.must(
      200,
      this.ask('POST', `${path}?action=execute`, { attributes: { from: this.acts } }),
    );
    const { id: _id, ...outcome } = (attributes as JsonObject)['cmbs.message.result'] as JsonObject;
    return outcome as unknown as Outcome;
  }

  /** The result of a call. @throws Error for a fault */
  async result(method: string, ...params: readonly Json[]): Promise<Json> {
    const outcome = await this.call(method, params);
    if ('result' in outcome) return outcome.result;
    throw new Error(`${method} failed: ${JSON.stringify(outcome.error)}`);
  }

  /** The fault of a call. @throws Error for a result */
  async fault(method: string, ...params: readonly Json[]): Promise<Failed> {
    const outcome = await this.call(method, params);
    if ('error' in outcome) return outcome.error;
    throw new Error(`${method} succeeded: ${JSON.stringify(outcome.result)}`);
  }
}

export { CMBS };

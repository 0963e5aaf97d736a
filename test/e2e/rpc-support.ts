/** A local stack with a module for tests, and requests to its endpoint of remote calls. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, type Json, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import type { ServiceModule } from '@cmbs/shared/services';
import { startStack, type Stack, type StackOptions } from '@cmbs/emulator/stack';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { PATIENCE_MS } from '../patience';

export const ROOT_PASSWORD = 'password of the administrator';

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export const basic = (name: string, password: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
});

/** A stack that a test starts, kills and starts again on its data. */
export class RpcStack {
  readonly directory = mkdtempSync(join(tmpdir(), 'cmbs-rpc-'));
  readonly #services: readonly ServiceModule[];
  #stack: Stack | undefined;

  constructor(...services: readonly ServiceModule[]) {
    this.#services = services;
  }

  async start(env: Readonly<Record<string, string>> = {}, options: Partial<StackOptions> = {}): Promise<void> {
    const config = readConfig({ PORT: '0', CMBS_DATA_DIR: this.directory, ...ANY_PORT, ...env });
    this.#stack = await startStack({ config, log: silentLog, services: this.#services, ...options });
  }

  /** As {@link start}, with the administrator `root`. */
  async startClosed(
    env: Readonly<Record<string, string>> = {},
    options: Partial<StackOptions> = {},
  ): Promise<void> {
    const file = join(this.directory, 'password');
    writeFileSync(file, ROOT_PASSWORD);
    const settings = {
      CMBS_IDENTITIES: 'basic,token',
      CMBS_ADMINISTRATORS: 'root',
      CMBS_ADMIN_PASSWORD_FILE: file,
    };
    await this.start({ ...settings, ...env }, options);
  }

  get url(): string {
    if (this.#stack === undefined) throw new Error('The stack is not running.');
    return this.#stack.url;
  }

  async stop(): Promise<void> {
    await this.#stack?.close();
    this.#stack = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }

  async post(
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
    path = '/rpc',
  ): Promise<Reply> {
    const response = await fetch(this.url + path, {
      method: 'POST',
      headers,
      body: typeof body === 'string' ? body : Buffer.from(body),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  /** The answer to JSON. */
  async json(call: Json, headers: Readonly<Record<string, string>> = {}): Promise<JsonObject> {
    const { text } = await this.post(JSON.stringify(call), { 'Content-Type': 'application/json', ...headers });
    return JSON.parse(text) as JsonObject;
  }

  /** The result of a call by JSON-RPC, or its error. */
  async call(
    method: string,
    params: readonly Json[] = [],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Json | undefined> {
    const answer = await this.json({ jsonrpc: '2.0', id: 1, method, params }, headers);
    return answer.result ?? answer.error;
  }

  /** The answer to XML-RPC. @param params each a `<value>…</value>` */
  xml(
    method: string,
    params: readonly string[] = [],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Reply> {
    return this.post(xmlCall(method, params), { 'Content-Type': 'text/xml', ...headers }, '/RPC2');
  }

  /** An OCCI request in JSON. */
  async ask(
    method: string,
    target: string,
    body?: JsonObject,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly status: number; readonly json: JsonObject }> {
    const response = await fetch(this.url + target, {
      method,
      headers: {
        Accept: 'application/json',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, json: (text.startsWith('{') ? JSON.parse(text) : {}) as JsonObject };
  }
}

export const xmlCall = (method: string, params: readonly string[] = []): string =>
  `<?xml version="1.0"?><methodCall><methodName>${method}</methodName><params>${params
    .map((param) => `<param>${param}</param>`)
    .join('')}</params></methodCall>`;

/** A local stack with additions from outside, and JSON requests to it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { startStack, type Stack, type StackOptions } from '@cmbs/emulator/stack';
import { PATIENCE_MS } from '../patience';

export class LocalStack {
  readonly #stack: Stack;
  readonly #directory: string;

  private constructor(stack: Stack, directory: string) {
    this.#stack = stack;
    this.#directory = directory;
  }

  static async start(additions: Partial<StackOptions>): Promise<LocalStack> {
    const directory = await mkdtemp(join(tmpdir(), 'cmbs-stack-'));
    const config = readConfig({ PORT: '0', CMBS_DATA_DIR: directory, CMBS_PORT_RANGE: '1024-65535' });
    return new LocalStack(await startStack({ config, log: silentLog, ...additions }), directory);
  }

  get url(): string {
    return this.#stack.url;
  }

  /** @throws Error with the answer when the request is refused */
  async ask(method: string, target: string, body?: JsonObject): Promise<JsonObject> {
    const response = await fetch(this.url + target, {
      method,
      headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as JsonObject;
    if (!response.ok) throw new Error(`${response.status}: ${JSON.stringify(answer)}`);
    return answer;
  }

  async close(): Promise<void> {
    await this.#stack.close();
    await rm(this.#directory, { recursive: true });
  }
}

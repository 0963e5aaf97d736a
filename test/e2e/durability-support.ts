/** Deployments in child processes, made from the sources as the release is, and requests to them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { ChildStack, type ChildStackOptions } from '@cmbs/emulator/child-stack';
import { isJsonObject, type Json, type JsonObject } from '@cmbs/shared';
import { bundleProgram, type BundledProgram } from '../integration/bundled-program';
import { freePort } from '../integration/free-port';
import { PATIENCE_MS } from '../patience';
import { mountDisk, unmountDisk } from '../small-disk';

const TYPE = 'application/occi+json';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: JsonObject;
}

export interface Asked {
  readonly body?: Json;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** One request to a URL; rejects without a complete answer. */
export async function ask(method: string, url: string, { body, headers, signal }: Asked = {}): Promise<Answer> {
  const deadline = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(url, {
    method,
    headers: { Accept: TYPE, ...(body === undefined ? {} : { 'Content-Type': TYPE }), ...headers },
    signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') === true && text !== '';
  const parsed: unknown = isJson ? JSON.parse(text) : {};
  return { status: response.status, headers: response.headers, text, json: isJsonObject(parsed) ? parsed : {} };
}

/** A request that must succeed. */
export async function must(method: string, url: string, asked: Asked = {}): Promise<Answer> {
  const answer = await ask(method, url, asked);
  if (answer.status >= 300) throw new Error(`${method} ${url}: ${answer.status} ${answer.text}`);
  return answer;
}

/** Follows keys into JSON; undefined if a key is missing. */
export function at(value: Json | undefined, ...keys: readonly string[]): Json | undefined {
  let here = value;
  for (const key of keys) {
    if (!isJsonObject(here)) return undefined;
    here = here[key];
  }
  return here;
}

export const messageField = (message: Json, ...keys: readonly string[]): Json | undefined =>
  at(message, 'attributes', 'cmbs', 'message', ...keys);
export const memberField = (member: Json, ...keys: readonly string[]): Json | undefined =>
  at(member, 'attributes', 'cmbs', 'member', ...keys);

export type Layer = 'l1' | 'l2' | 'l31' | 'l32' | 'l4';

export const messageBody = (layer: Layer, fields: JsonObject, title?: string): JsonObject => ({
  kind: 'http://houssem.org/cmbs#message',
  mixins: [`http://houssem.org/cmbs#${layer}`],
  ...(title === undefined ? {} : { title }),
  attributes: { cmbs: { message: fields } },
});

export const memberBody = (fields: JsonObject): JsonObject => ({
  kind: 'http://houssem.org/cmbs#member',
  attributes: { cmbs: { member: fields } },
});

/** The fields of an inbox entry that tests read. */
export interface Entry {
  readonly id: string;
  readonly messageId: string;
  readonly state: string;
  readonly content: Json | undefined;
  readonly answer: Json | undefined;
}

/** All entries of an inbox, oldest first, without leasing them. */
export async function inboxOf(url: string, member: string): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  for (let cursor = ''; ;) {
    const { json } = await must('GET', `${url}/cmbs/member/${member}/inbox/?lease=0&number=1000${cursor}`);
    for (const entry of json.entries as readonly JsonObject[]) {
      entries.push({
        id: entry.id as string,
        messageId: entry.message_id as string,
        state: entry.state as string,
        content: messageField(entry.message as Json, 'message_content'),
        answer: entry.answer,
      });
    }
    if (typeof json.next !== 'string') return entries;
    cursor = `&cursor=${encodeURIComponent(json.next)}`;
  }
}

/**
 * Looks again and again until `look` gives a value that `isEnough` accepts.
 * @throws Error with the last value when the time is over
 */
export async function until<T>(
  look: () => Promise<T> | T,
  isEnough: (seen: T) => boolean,
  withinMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (isEnough(seen)) return seen;
    if (performance.now() > deadline) {
      throw new Error(`not within ${withinMs} ms; the last was ${inspect(seen, { depth: 6 }).slice(0, 2000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}
/** Milliseconds between two reads of a state that reports no changes. */
const LOOK_AGAIN_MS = 25;

/** `tcp://` addresses of free ports. */
export async function freeAddresses(count: number): Promise<readonly string[]> {
  const addresses: string[] = [];
  while (addresses.length < count) addresses.push(`tcp://127.0.0.1:${await freePort()}`);
  return addresses;
}

/** The resources that a test file starts, released whatever happens in the tests. */
export class Bench {
  readonly #programs = new Map<string, BundledProgram>();
  readonly #running = new Set<ChildStack>();
  readonly #directories: string[] = [];
  readonly #disks: string[] = [];

  /** Path of a program of the repository, bundled once. */
  program(source = 'emulator/main.ts'): string {
    const known = this.#programs.get(source);
    if (known !== undefined) return known.path;
    const made = bundleProgram(source);
    this.#programs.set(source, made);
    return made.path;
  }

  directory(): string {
    const path = mkdtempSync(join(tmpdir(), 'cmbs-durability-'));
    this.#directories.push(path);
    return path;
  }

  /** A separate disk of `mebibytes` MiB. */
  disk(mebibytes: number): string {
    const path = this.directory();
    mountDisk(path, mebibytes);
    this.#disks.push(path);
    return path;
  }

  /** Starts a deployment without waiting for it. */
  launch(options: Partial<ChildStackOptions> & { readonly directory: string }): ChildStack {
    const settings = { CMBS_LOG: 'error', ...options.settings };
    const stack = ChildStack.launch({ program: this.program(), ...options, settings });
    this.#running.add(stack);
    void stack.exited.then(() => this.#running.delete(stack));
    return stack;
  }

  async start(options: Partial<ChildStackOptions> & { readonly directory: string }): Promise<ChildStack> {
    const stack = this.launch(options);
    await stack.ready();
    return stack;
  }

  /** After each test: ends its processes and deletes their data. */
  async clear(): Promise<void> {
    await Promise.all([...this.#running].map((stack) => stack.kill()));
    for (const path of this.#disks.splice(0)) unmountDisk(path);
    for (const path of this.#directories.splice(0)) rmSync(path, { recursive: true, force: true });
  }

  /** After all tests. */
  close(): void {
    for (const program of this.#programs.values()) program.remove();
  }
}

/** One deployment of the demo: its process, its data directory and its member, and requests that the demo shows. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isJsonObject, type Json, type JsonObject } from '@cmbs/shared';
import type { Layer } from '@cmbs/shared/broker';
import { ChildStack } from '../child-stack';
import { Differs } from './statements';
import type { Narrator } from './terminal';

const TYPE = 'application/occi+json';
/** Milliseconds until an answer must have come; the demo's requests take a few. */
const ANSWER_MS = 8000;

export interface Answer {
  readonly status: number;
  /** The header `X-OCCI-Reason` of a 202. */
  readonly reason: string | null;
  readonly json: JsonObject;
}

export interface Asked {
  readonly body?: Json;
  /** How the answer is shown; by default as its JSON. */
  readonly tell?: ((answer: Answer) => string) | 'nothing';
  readonly prefer?: string;
}

/** The fields of an inbox entry that the demo reads. */
export interface Entry {
  readonly id: string;
  readonly layer: string;
  readonly state: string;
  readonly content: Json | undefined;
}

/** The value under these keys, one inside the other; undefined when there is none. */
export function at(value: Json | undefined, ...keys: readonly string[]): Json | undefined {
  let here = value;
  for (const key of keys) {
    if (!isJsonObject(here)) return undefined;
    here = here[key];
  }
  return here;
}

/** The text under these keys; empty when there is none. */
export function textAt(value: Json | undefined, ...keys: readonly string[]): string {
  const found = at(value, ...keys);
  return typeof found === 'string' ? found : '';
}

export const messageField = (message: Json, ...keys: readonly string[]): Json | undefined =>
  at(message, 'attributes', 'cmbs', 'message', ...keys);

export class Deployment {
  readonly #program: string;
  readonly #narrator: Narrator;
  readonly directory: string;
  #stack: ChildStack | undefined;
  /** Set at the first start, so that the deployment restarts at the same port. */
  #port = 0;
  #removed = false;

  constructor(
    readonly name: string,
    program: string,
    narrator: Narrator,
  ) {
    this.#program = program;
    this.#narrator = narrator;
    this.directory = mkdtempSync(join(tmpdir(), `cmbs-demo-${name}-`));
  }

  get member(): string {
    return `/cmbs/member/${this.name}`;
  }

  get url(): string {
    return this.#running.url;
  }

  get #running(): ChildStack {
    if (this.#stack === undefined) throw new Error(`${this.name} is not running.`);
    return this.#stack;
  }

  async start(): Promise<void> {
    // An interrupted story goes on until its next request, and must not start a process after the clean-up.
    if (this.#removed) throw new Error(`${this.name} was removed.`);
    this.#stack = ChildStack.launch({
      program: this.#program,
      directory: this.directory,
      port: this.#port,
      settings: { CMBS_LOG: 'warn' },
    });
    await this.#stack.ready();
    this.#port = Number(new URL(this.url).port);
  }

  async kill(): Promise<void> {
    await this.#stack?.kill();
    this.#stack = undefined;
  }

  /** Ends the process and removes its data. */
  async remove(): Promise<void> {
    this.#removed = true;
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** The last lines that the process wrote. */
  get log(): readonly string[] {
    return this.#stack?.lines ?? [];
  }

  /** Sends one request, and shows it unless `tell` is `nothing`. @throws Differs when the answer is an error */
  async ask(method: string, path: string, { body, tell, prefer }: Asked = {}): Promise<Answer> {
    const shown = body === undefined ? '' : ` ${JSON.stringify(body)}`;
    if (tell !== 'nothing') this.#narrator.asks(this.name, `${method} ${path}${shown}`);
    const response = await fetch(this.url + path, {
      method,
      headers: {
        Accept: TYPE,
        ...(body === undefined ? {} : { 'Content-Type': TYPE }),
        ...(prefer === undefined ? {} : { Prefer: prefer }),
      },
      signal: AbortSignal.timeout(ANSWER_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const parsed: unknown = text === '' ? {} : JSON.parse(text);
    const answer: Answer = {
      status: response.status,
      reason: response.headers.get('x-occi-reason'),
      json: isJsonObject(parsed) ? parsed : {},
    };
    if (tell !== 'nothing') {
      this.#narrator.answers(`${answer.status} ${tell === undefined ? text : tell(answer)}`);
    }
    if (answer.status >= 400)
      throw new Differs(`${this.name} refused ${method} ${path}: ${answer.status} ${text}`);
    return answer;
  }

  /** Creates a message of a layer. */
  create(id: string, layer: Layer, fields: JsonObject, tell?: 'nothing'): Promise<Answer> {
    return this.ask('PUT', `/cmbs/message/${id}`, {
      body: {
        kind: 'http://houssem.org/cmbs#message',
        mixins: [`http://houssem.org/cmbs#${layer}`],
        attributes: { cmbs: { message: fields } },
      },
      tell: tell ?? (() => `Created /cmbs/message/${id}`),
    });
  }

  send(id: string, layer: Layer, tell: Asked['tell']): Promise<Answer> {
    return this.ask('POST', `/cmbs/message/${id}?action=send_${layer}`, {
      ...(tell === undefined ? {} : { tell }),
    });
  }

  /** Takes entries out of the member's inbox, oldest first, until there are `count` or `withinMs` have passed. */
  async receive(count: number, { withinMs = ANSWER_MS, tell = true } = {}): Promise<readonly Entry[]> {
    const taken: Entry[] = [];
    const deadline = Date.now() + withinMs;
    while (taken.length < count && Date.now() < deadline) {
      const wait = Math.max(1, Math.min(5, Math.ceil((deadline - Date.now()) / 1000)));
      const { json } = await this.ask('GET', `${this.member}/inbox/?wait=${wait}`, {
        tell: tell
          ? (answer) =>
              entriesOf(answer.json)
                .map(({ layer, state, content }) => `${layer} ${state} ${JSON.stringify(content)}`)
                .join('; ') || 'nothing'
          : 'nothing',
      });
      const entries = entriesOf(json);
      if (entries.length === 0) continue;
      await this.ask('DELETE', `${this.member}/inbox/`, {
        body: { entries: entries.map(({ id }) => id) },
        tell: 'nothing',
      });
      taken.push(...entries);
    }
    return taken;
  }
}

function entriesOf(page: JsonObject): readonly Entry[] {
  const entries = Array.isArray(page.entries) ? (page.entries as readonly Json[]) : [];
  return entries.map((entry) => ({
    id: textAt(entry, 'id'),
    layer: textAt(entry, 'layer'),
    state: textAt(entry, 'state'),
    content: messageField(at(entry, 'message') ?? null, 'message_content'),
  }));
}

/**
 * Deployments in this process. Each is a whole stack with its own data directory; tests use it over HTTP and over
 * its members' sockets. Every wait ends at a condition or at a deadline.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';
import {
  silentLog,
  systemClock,
  type Clock,
  type Json,
  type JsonObject,
  type Log,
  type LogFields,
} from '@cmbs/shared';
import type { DeliveryLimits } from '@cmbs/companion';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Store } from '@cmbs/shared/store';
import { freePort } from '../integration/sockets-support';
import { engineFor, faultOf, type Engine, type Running } from './engine';
import { PATIENCE_MS } from '../patience';

/**
 * Milliseconds between two checks of a condition that has no event: short at first and longer later, since each
 * check is work for the deployment that the test waits for.
 */
const POLL_MS = 15;
const POLL_MAX_MS = 60;
const POLL_GROWTH = 1.2;

/** Seconds that a send waits for its outcome: the maximum, so that a busy machine does not end the wait early. */
export const SEND_WAIT_S = 60;

export const CMBS = 'http://houssem.org/cmbs#';
export const MEMBER = `${CMBS}member`;
export const MESSAGE = `${CMBS}message`;
export type LayerName = 'l1' | 'l2' | 'l31' | 'l32' | 'l4';

/** A free socket address. */
export async function freeSocket(): Promise<string> {
  return `tcp://127.0.0.1:${await freePort()}`;
}

/** The value of `probe` once `wanted` accepts it; after the deadline, an error that shows the last value. */
export async function eventually<T>(
  probe: () => Promise<T> | T,
  wanted: (value: T) => boolean,
  what: string,
  ms = PATIENCE_MS,
): Promise<T> {
  const end = performance.now() + ms;
  for (let poll = POLL_MS; ; poll = Math.min(poll * POLL_GROWTH, POLL_MAX_MS)) {
    const value = await probe();
    if (wanted(value)) return value;
    if (performance.now() > end) {
      throw new Error(`not within ${ms} ms: ${what}; the last was ${shown(value)}`);
    }
    await pause(poll);
  }
}

const shown = (value: unknown): string => inspect(value, { depth: 6 }).slice(0, 2000);

/** Lines of a request that a test writes byte by byte, each with its end. */
export const linesOf = (headers: Readonly<Record<string, string>>): string =>
  Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');

export class Answer {
  constructor(
    readonly status: number,
    readonly headers: Headers,
    readonly text: string,
  ) {}

  get json(): JsonObject {
    return JSON.parse(this.text) as JsonObject;
  }

  /** Attributes of an entity. */
  get attributes(): JsonObject {
    return this.json.attributes as JsonObject;
  }

  get delivery(): Delivery {
    return this.attributes['cmbs.message.delivery'] as unknown as Delivery;
  }

  get result(): JsonObject {
    return this.attributes['cmbs.message.result'] as JsonObject;
  }

  /** The message of an error. */
  get error(): string {
    return (this.json.error as { readonly message: string }).message;
  }
}

export interface Delivery {
  readonly state: string;
  readonly send_id: string;
  readonly attempts: number;
  readonly reason?: string;
  readonly receivers: readonly {
    readonly name: string;
    readonly state: string;
    readonly attempts: number;
    readonly reason?: string;
  }[];
}

export interface Entry {
  readonly id: string;
  readonly href: string;
  readonly lease?: string;
  readonly message_id: string;
  readonly send_id?: string;
  readonly sender?: string;
  readonly state: string;
  readonly answer?: Json;
  readonly message: JsonObject;
}

/** The content of the message in an inbox entry. */
export function contentOf({ message }: Entry): Json | undefined {
  const attributes = message.attributes as { readonly cmbs: { readonly message: JsonObject } };
  return attributes.cmbs.message.message_content;
}

export interface MemberOptions {
  /** Default: an unused id. */
  readonly id?: string;
  readonly title?: string;
  readonly topics?: readonly string[];
  readonly neighbors?: readonly string[];
  readonly state?: string;
  readonly local?: boolean;
  /** Default: free addresses. */
  readonly sockets?: Readonly<Partial<Record<LayerName, string>>>;
  /** Layers to start. */
  readonly start?: readonly LayerName[];
}

export interface Member {
  readonly id: string;
  readonly path: string;
  readonly uri: string;
  readonly sockets: Readonly<Record<LayerName, string>>;
}

export interface MessageOptions {
  readonly to?: string;
  readonly content?: Json;
  readonly topics?: readonly string[];
  readonly providers?: readonly string[];
  readonly executable?: boolean;
  readonly sendable?: boolean;
  readonly storable?: boolean;
  readonly expiresAt?: Date;
  readonly orderingKey?: string;
  readonly id?: string;
}

/** Unhandled rejections in this process. They fail the next deployment that closes. */
const rejections: string[] = [];
process.on('unhandledRejection', (reason) => void rejections.push(inspect(reason)));

let serial = 0;
/** Returns a name that no other test of this process has. */
export const unique = (prefix: string): string => `${prefix}-${process.pid}-${(serial += 1)}`;

export interface DeploymentOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  /** Overrides of the product's delivery limits. */
  readonly delivery?: Partial<DeliveryLimits>;
  /** Default: the local stack. */
  readonly engine?: Engine;
  /** Puts data into the directory before the first start. */
  readonly prepare?: (directory: string) => void;
}

export class Deployment {
  readonly #directory: string;
  readonly #options: DeploymentOptions;
  readonly #engine: Engine;
  #stack: Running | undefined;
  /** Errors that the product logged; {@link close} fails if there are any. */
  readonly faults: string[] = [];

  private constructor(directory: string, options: DeploymentOptions) {
    this.#directory = directory;
    this.#options = options;
    this.#engine = engineFor(directory, options.engine);
  }

  static async start(options: DeploymentOptions = {}): Promise<Deployment> {
    const deployment = new Deployment(await mkdtemp(join(tmpdir(), 'cmbs-broker-')), options);
    options.prepare?.(deployment.#directory);
    await deployment.up();
    return deployment;
  }

  /** Starts the stack again on its data. */
  async up(): Promise<void> {
    const error = (message: string, fields?: LogFields): void => void this.faults.push(faultOf(message, fields));
    const log: Log = { ...silentLog, error };
    const { env, clock, delivery } = this.#options;
    this.#stack = await this.#engine({
      env: { CMBS_SEND_WAIT_S: String(SEND_WAIT_S), ...env },
      log,
      clock,
      delivery,
    });
  }

  /** Stops the stack and keeps its data; resolves with the duration in milliseconds. */
  async down(): Promise<number> {
    const started = performance.now();
    await this.#stack?.close();
    this.#stack = undefined;
    return performance.now() - started;
  }

  /** Changes the store of a stopped local stack, for example to what an earlier release stored. */
  async inStore(work: (store: Store) => Promise<void>): Promise<void> {
    const store = await openSqliteStore({ directory: this.#directory, clock: systemClock, log: silentLog });
    try {
      await work(store);
    } finally {
      await store.close();
    }
  }

  async close(): Promise<void> {
    await this.down();
    await rm(this.#directory, { recursive: true });
    const wrong = [...this.faults, ...rejections.splice(0).map((reason) => `unhandled: ${reason}`)];
    if (wrong.length > 0) throw new Error(`The product logged errors:\n${wrong.join('\n')}`);
  }

  get url(): string {
    if (this.#stack === undefined) throw new Error('the deployment is down');
    return this.#stack.url;
  }

  /** What a request needs that a test makes without {@link request}: credentials in a closed deployment. */
  get headers(): Readonly<Record<string, string>> {
    return this.#stack?.headers ?? {};
  }

  /** A string as `body` is sent unchanged. */
  async request(
    method: string,
    target: string,
    body?: string | JsonObject,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const response = await fetch(target.startsWith('http') ? target : this.url + target, {
      method,
      headers: { Accept: 'application/json', 'Content-Type': 'application/json', ...this.headers, ...headers },
      signal: AbortSignal.timeout(2 * PATIENCE_MS),
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return new Answer(response.status, response.headers, await response.text());
  }

  get(target: string): Promise<Answer> {
    return this.request('GET', target);
  }

  /** Checks the status of an answer; throws unless it is the expected one. */
  async must(status: number, asked: Promise<Answer>): Promise<Answer> {
    const answer = await asked;
    if (answer.status !== status) throw new Error(`${answer.status} instead of ${status}: ${answer.text}`);
    return answer;
  }

  act(
    path: string,
    term: string,
    attributes: JsonObject = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const body = Object.keys(attributes).length === 0 ? {} : { attributes };
    return this.request('POST', `${path}?action=${term}`, body, headers);
  }

  async member(options: MemberOptions = {}): Promise<Member> {
    const { id = unique('member') } = options;
    const sockets = {
      l1: await freeSocket(),
      l2: await freeSocket(),
      l31: await freeSocket(),
      l32: await freeSocket(),
      l4: await freeSocket(),
      ...options.sockets,
    };
    const path = `/cmbs/member/${id}`;
    await this.must(
      201,
      this.request('PUT', path, {
        kind: MEMBER,
        ...(options.title === undefined ? {} : { title: options.title }),
        attributes: {
          ...Object.fromEntries(
            Object.entries(sockets).map(([layer, socket]) => [`cmbs.member.${layer}_socket`, socket]),
          ),
          'cmbs.member.state': options.state ?? 'active',
          'cmbs.member.local': String(options.local ?? true),
          'cmbs.member.topics': options.topics ?? [],
          'cmbs.member.neighbors_socket': options.neighbors ?? [],
        },
      }),
    );
    for (const layer of options.start ?? []) await this.must(200, this.act(path, `start_${layer}`));
    return { id, path, uri: this.url + path, sockets };
  }

  /** Describes a member of another deployment here, as an administrator would. */
  async introduce(member: Member, options: Pick<MemberOptions, 'topics' | 'title' | 'state'> = {}): Promise<void> {
    await this.must(
      201,
      this.request('PUT', member.path, {
        kind: MEMBER,
        ...(options.title === undefined ? {} : { title: options.title }),
        attributes: {
          ...Object.fromEntries(
            Object.entries(member.sockets).map(([layer, socket]) => [`cmbs.member.${layer}_socket`, socket]),
          ),
          'cmbs.member.state': options.state ?? 'active',
          'cmbs.member.local': 'false',
          'cmbs.member.topics': options.topics ?? [],
        },
      }),
    );
  }

  /** Changes some attributes of an entity. */
  async change(path: string, attributes: JsonObject): Promise<Answer> {
    const { kind } = (await this.must(200, this.get(path))).json;
    return this.must(200, this.request('POST', path, { kind: kind as string, attributes }));
  }

  /** Creates a message and returns its path. */
  async message(layer: LayerName, options: MessageOptions = {}): Promise<string> {
    const flag = (value: boolean | undefined, fallback: string): string => String(value ?? fallback);
    const path = `/cmbs/message/${options.id ?? unique('message')}`;
    const attributes: Record<string, Json> = {
      'cmbs.message.executable': flag(options.executable, 'false'),
      'cmbs.message.sendable': flag(options.sendable, 'true'),
      'cmbs.message.storable': flag(options.storable, 'true'),
      'cmbs.message.message_content': options.content ?? 'hello',
    };
    if (options.to !== undefined) attributes['cmbs.message.l1_socket_receiver_member'] = options.to;
    if (options.topics !== undefined) attributes['cmbs.message.topics'] = options.topics;
    if (options.providers !== undefined) attributes['cmbs.message.providers'] = options.providers;
    if (options.expiresAt !== undefined) attributes['cmbs.message.expires_at'] = options.expiresAt.toISOString();
    if (options.orderingKey !== undefined) attributes['cmbs.message.ordering_key'] = options.orderingKey;
    await this.must(201, this.request('PUT', path, { kind: MESSAGE, mixins: [CMBS + layer], attributes }));
    return path;
  }

  /** Creates and sends a message; returns the answer to the send. */
  async send(
    layer: LayerName,
    options: MessageOptions & { readonly from?: string; readonly prefer?: string } = {},
  ): Promise<Answer & { readonly path: string }> {
    const path = await this.message(layer, options);
    const answer = await this.act(
      path,
      `send_${layer}`,
      options.from === undefined ? {} : { from: options.from },
      options.prefer === undefined ? {} : { Prefer: options.prefer },
    );
    return Object.assign(answer, { path });
  }

  async delivery(path: string): Promise<Delivery> {
    return (await this.must(200, this.get(path))).delivery;
  }

  reaches(path: string, state: string, ms?: number): Promise<Delivery> {
    return eventually(
      () => this.delivery(path),
      (delivery) => delivery.state === state,
      `${path} is ${state}`,
      ms,
    );
  }

  layer(member: Member, layer: LayerName): Promise<JsonObject | undefined> {
    return this.get(member.path).then((answer) => {
      const layers = answer.attributes['cmbs.member.layers'] as Readonly<Record<string, JsonObject>> | undefined;
      return layers?.[layer];
    });
  }

  /** Entries of an inbox, without a lease unless the query asks for one. */
  async inbox(member: Pick<Member, 'path'>, query = 'lease=0&number=1000'): Promise<readonly Entry[]> {
    const { json } = await this.must(200, this.get(`${member.path}/inbox/?${query}`));
    return json.entries as unknown as readonly Entry[];
  }

  /** Waits until the inbox has at least `count` entries. */
  receives(member: Pick<Member, 'path'>, count: number, ms?: number): Promise<readonly Entry[]> {
    return eventually(
      () => this.inbox(member),
      (entries) => entries.length >= count,
      `${member.path} receives ${count}`,
      ms,
    );
  }

  /** Sum of a counter over the samples that have the labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const urls = this.#stack?.metrics ?? [`${this.url}/metrics`];
    const texts = await Promise.all(urls.map(async (url) => (await this.must(200, this.get(url))).text));
    return texts
      .join('\n')
      .split('\n')
      .filter((line) => line === name || line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .filter((line) => Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }
}

/** The system's clock with an offset that a test can increase; timers are not affected. */
export function skewedClock(): Clock & { forward(ms: number): void; setWall(ms: number): void } {
  let skew = 0;
  let wall = 0;
  return {
    ...systemClock,
    now: () => systemClock.now() + skew + wall,
    elapsed: () => systemClock.elapsed() + skew,
    forward: (ms) => void (skew += ms),
    /** Changes the wall clock by `ms` without any time passing. */
    setWall: (ms) => void (wall += ms),
  };
}

/** Deployments of one test, closed at its end in any case. */
export class Fleet {
  readonly #deployments: Deployment[] = [];
  readonly #closing: (() => unknown)[] = [];

  async start(options?: DeploymentOptions): Promise<Deployment> {
    const deployment = await Deployment.start(options);
    this.#deployments.push(deployment);
    return deployment;
  }

  /** A resource to close before the deployments. */
  using<T>(resource: T, close: (resource: T) => unknown): T {
    this.#closing.push(() => close(resource));
    return resource;
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
    const outcomes = await Promise.allSettled(this.#deployments.splice(0).map((one) => one.close()));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }
}

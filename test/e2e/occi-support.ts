/** The product behind a socket, and requests of which the test controls every header and byte. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, type Json, type JsonObject, type Log, type LogFields } from '@cmbs/shared';
import { engineFor, faultOf } from './engine';
import { PATIENCE_MS } from '../patience';

export interface Asked {
  /** A list is sent as several lines. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Buffer;
}

export class Answer {
  constructor(
    readonly status: number,
    /** Lower-case names. */
    readonly headers: Readonly<Record<string, readonly string[] | undefined>>,
    readonly body: string,
  ) {}

  /** The value of a header; repeated headers are joined as in RFC 9110 §5.3. */
  header(name: string): string | undefined {
    return this.headers[name.toLowerCase()]?.join(', ');
  }

  get type(): string | undefined {
    return this.header('content-type');
  }

  get location(): string | undefined {
    return this.header('location');
  }

  json(): JsonObject {
    return JSON.parse(this.body) as JsonObject;
  }

  /** The text after `name: ` in lines of a text/plain body. */
  lines(name: string): readonly string[] {
    return this.body
      .split('\n')
      .filter((line) => line.startsWith(`${name}: `))
      .map((line) => line.slice(name.length + 2));
  }

  /** Attributes of a text/plain body by name, with the text after the equals sign, including quotes. */
  attributes(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.lines('X-OCCI-Attribute').map((line): [string, string] => {
        const equals = line.indexOf('=');
        return [line.slice(0, equals), line.slice(equals + 1)];
      }),
    );
  }
}

export const INFRA = 'http://schemas.ogf.org/occi/infrastructure#';
export const CORE = 'http://schemas.ogf.org/occi/core#';
export const COMPUTE_ACTION = 'http://schemas.ogf.org/occi/infrastructure/compute/action#';
export const SIZES = 'http://schemas.ogf.org/occi/infrastructure/compute/template/1.1#';
export const CMBS = 'http://houssem.org/cmbs#';

export const PLAIN = 'text/plain';
export const OCCI = 'text/occi';
export const URI_LIST = 'text/uri-list';
/** Shown in the dialect of the category. */
export const OCCI_JSON = 'application/occi+json';
/** The original's dialect, whatever the category. */
export const NESTED = 'application/occi+json;profile=nested';
/** GFD.226. */
export const FLAT = 'application/json';

/** A category as a text rendering names it. */
export function category(id: string, categoryClass?: 'kind' | 'mixin' | 'action'): string {
  const hash = id.lastIndexOf('#') + 1;
  const named = `${id.slice(hash)}; scheme="${id.slice(0, hash)}"`;
  return categoryClass === undefined ? named : `${named}; class="${categoryClass}"`;
}

export class Product {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #stop: () => Promise<void>;

  private constructor(
    /** Scheme and authority. */
    readonly url: string,
    /** Headers of each request: credentials in a closed deployment. */
    readonly headers: Readonly<Record<string, string>>,
    stop: () => Promise<void>,
  ) {
    this.#stop = stop;
  }

  static async start(): Promise<Product> {
    const directory = await mkdtemp(join(tmpdir(), 'cmbs-e2e-'));
    const faults: string[] = [];
    // A 500 means a fault of the product, which a test that does not check the status would otherwise miss.
    const error = (message: string, fields?: LogFields) => void faults.push(faultOf(message, fields));
    const log: Log = { ...silentLog, error };
    const stack = await engineFor(directory)({ env: { CMBS_EXTENSIONS: 'infrastructure' }, log });
    return new Product(stack.url, stack.headers ?? {}, async () => {
      await stack.close();
      await rm(directory, { recursive: true });
      if (faults.length > 0) throw new Error(`The product logged errors:\n${faults.join('\n')}`);
    });
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await this.#stop();
  }

  /** `target` is a path with its query, or a URL of the product. */
  send(method: string, target: string, { headers = {}, body }: Asked = {}): Promise<Answer> {
    const url = new URL(this.url);
    const bytes = body === undefined ? undefined : Buffer.from(body);
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          agent: this.#agent,
          host: url.hostname,
          port: url.port,
          method,
          // A URL object would change the target that the test sends.
          path: target.startsWith(this.url) ? target.slice(this.url.length) : target,
          headers: {
            ...this.headers,
            ...Object.fromEntries(
              Object.entries(headers).map(([name, value]) => [name, value as string | string[]]),
            ),
            ...(bytes === undefined ? {} : { 'Content-Length': String(bytes.length) }),
          },
          signal: AbortSignal.timeout(PATIENCE_MS),
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            resolve(new Answer(response.statusCode ?? 0, response.headersDistinct, text));
          });
        },
      );
      request.on('error', reject);
      request.end(bytes);
    });
  }

  get(target: string, accept?: string, headers: Asked['headers'] = {}): Promise<Answer> {
    return this.send('GET', target, {
      headers: { ...(accept === undefined ? {} : { Accept: accept }), ...headers },
    });
  }

  /** Sends items of text/plain, one a line, and asks for text/plain. */
  plain(
    method: string,
    target: string,
    lines: readonly string[],
    headers: Asked['headers'] = {},
  ): Promise<Answer> {
    return this.send(method, target, {
      headers: { 'Content-Type': PLAIN, Accept: PLAIN, ...headers },
      body: lines.join('\n'),
    });
  }

  /** Sends items of text/occi and asks for text/plain. */
  occi(method: string, target: string, items: Asked['headers'] = {}): Promise<Answer> {
    return this.send(method, target, { headers: { 'Content-Type': OCCI, Accept: PLAIN, ...items } });
  }

  /** Sends JSON, in the flat dialect unless told otherwise, and asks for the same. */
  json(method: string, target: string, value: Json, type = FLAT): Promise<Answer> {
    return this.send(method, target, {
      headers: { 'Content-Type': type, Accept: type },
      body: JSON.stringify(value),
    });
  }

  /** Makes one entity by POST to `/` and returns its path. */
  async create(kind: string, lines: readonly string[] = []): Promise<string> {
    const made = await this.plain('POST', '/', [`Category: ${category(kind, 'kind')}`, ...lines]);
    if (made.status !== 201 || made.location === undefined) {
      throw new Error(`${kind} was not created: ${made.status} ${made.body}`);
    }
    return this.pathOf(made.location);
  }

  compute(...lines: readonly string[]): Promise<string> {
    return this.create(`${INFRA}compute`, lines);
  }

  network(...lines: readonly string[]): Promise<string> {
    return this.create(`${INFRA}network`, lines);
  }

  pathOf(location: string): string {
    if (!location.startsWith(`${this.url}/`)) throw new Error(`${location} is not a URL of ${this.url}.`);
    return location.slice(this.url.length);
  }

  /** Defines a mixin as the suites of the working group do; returns its identifier. */
  async defineMixin(term: string, more = ''): Promise<string> {
    const scheme = 'http://example.com/occi/my_stuff#';
    const defined = await this.plain('POST', '/-/', [
      `Category: ${term}; scheme="${scheme}"; class="mixin"; location="/${term}/"${more}`,
    ]);
    if (defined.status !== 200) throw new Error(`${term} was not defined: ${defined.status} ${defined.body}`);
    return scheme + term;
  }
}

/** A fixture of the original, byte for byte. */
export function fixture(name: string, set: 'pycmbs' | 'seed-readme' = 'pycmbs'): Promise<Buffer> {
  return readFile(join(__dirname, '..', 'fixtures', set, `${name}.json`));
}

/**
 * A client that keeps several connections busy, each with one request at a time. It uses `node:net` and a parser
 * that knows only the answers of these servers, so that it takes little of the processor.
 */
import { connect, type Socket } from 'node:net';

export interface Load {
  readonly port: number;
  readonly connections: number;
  readonly ms: number;
  /** Bytes of the next request of a connection. */
  readonly request: (connection: number) => string;
}

export interface Measured {
  readonly perSecond: number;
  /** Microseconds from a request to the end of its answer. */
  readonly p50: number;
  readonly p99: number;
}

const DEADLINE_MS = 20_000;

/** Head of a request with the headers that every server needs. */
export function requestText(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  body = '',
): string {
  const length = body === '' ? {} : { 'Content-Length': String(Buffer.byteLength(body)) };
  const lines = Object.entries({ Host: '127.0.0.1', ...headers, ...length });
  return `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}

/** Rejects at the first answer that is not 2xx, since the result would be meaningless. */
export async function loadHttp(load: Load): Promise<Measured> {
  const clients = await Promise.all(Array.from({ length: load.connections }, () => Client.open(load.port)));
  const taken: number[] = [];
  const started = performance.now();
  try {
    await Promise.all(
      clients.map(async (client, at) => {
        while (performance.now() - started < load.ms) {
          const before = performance.now();
          successful(await client.exchange(load.request(at)));
          taken.push(performance.now() - before);
        }
      }),
    );
  } finally {
    for (const client of clients) client.close();
  }
  const seconds = (performance.now() - started) / 1000;
  taken.sort((a, b) => a - b);
  const percentile = (part: number): number => (taken[Math.floor(taken.length * part)] ?? NaN) * 1000;
  return { perSecond: taken.length / seconds, p50: percentile(0.5), p99: percentile(0.99) };
}

export interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** One exchange on a connection of its own; rejects when the answer is not 2xx. */
export async function askOnce(port: number, request: string): Promise<Answer> {
  return successful(await exchangeOnce(port, request));
}

/** One exchange on its own connection, with any status. */
export async function exchangeOnce(port: number, request: string): Promise<Answer> {
  const client = await Client.open(port);
  try {
    return await client.exchange(request);
  } finally {
    client.close();
  }
}

function successful(answer: Answer): Answer {
  if (answer.status < 200 || answer.status > 299) throw new Error(`${answer.head}\n${answer.body}`);
  return answer;
}

class Client {
  readonly #socket: Socket;
  #received = '';
  #settle: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // Answers are compared in bytes; latin1 has one character for each byte.
    socket.setEncoding('latin1').setNoDelay(true);
    socket.setTimeout(DEADLINE_MS, () => this.#fail(new Error(`no answer within ${DEADLINE_MS} ms`)));
    socket.on('data', (chunk: string) => {
      this.#received = this.#received === '' ? chunk : this.#received + chunk;
      this.#look();
    });
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  static open(port: number): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new Client(socket)));
      socket.once('error', reject);
    });
  }

  exchange(request: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#socket.write(request);
    });
  }

  #look(): void {
    const text = this.#received;
    const headEnd = text.indexOf('\r\n\r\n');
    if (headEnd < 0 || this.#settle === undefined) return;
    const head = text.slice(0, headEnd);
    const length = /\r\ncontent-length: (\d+)/i.exec(head);
    if (length === null) {
      this.#fail(new Error(`an answer without length: ${head}`));
      return;
    }
    const end = headEnd + 4 + Number(length[1]);
    if (text.length < end) return;
    this.#received = '';
    const answer = { status: Number(head.slice(9, 12)), head, body: text.slice(headEnd + 4, end) };
    const { resolve } = this.#settle;
    this.#settle = undefined;
    resolve(answer);
  }

  #fail(error: Error): void {
    this.#settle?.reject(error);
    this.#settle = undefined;
  }

  close(): void {
    this.#socket.destroy();
  }
}

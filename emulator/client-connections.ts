/** The connections of clients: their requests in flight, the order of their answers, and the bytes that they leave unread. */
import { setMaxListeners } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '@cmbs/shared';

/** Bytes of unread answers; above this limit, the connections that have not read for longest are dropped. */
const MAX_UNREAD_BYTES = 128 * 1024 * 1024;
/** Pipelined requests in flight on one connection; each may wait for a minute. */
const MAX_REQUESTS_PER_CONNECTION = 1000;

/**
 * The signal of one request, created on first use: most requests do not wait, and an AbortController costs a fifth of
 * the time of a small read.
 */
export class RequestSignal {
  #isOver = false;
  #controller: AbortController | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      // An action on a collection adds a listener for each entity; Node would warn of a leak.
      setMaxListeners(0, this.#controller.signal);
      if (this.#isOver) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  abort(): void {
    this.#isOver = true;
    this.#controller?.abort();
  }
}

interface Connection {
  readonly inFlight: Set<RequestSignal>;
  /** The latest answer, which may not be sent yet. */
  last: ServerResponse | undefined;
}

export class ClientConnections {
  readonly #log: Log;
  readonly #connections = new Map<Socket, Connection>();
  /** Bytes of answers that clients have not read; the connection that has waited for longest comes first. */
  readonly #unread = new Map<Socket, number>();
  #unreadBytes = 0;
  #isClosing = false;

  constructor(log: Log) {
    this.#log = log;
  }

  opened(socket: Socket): void {
    const inFlight = new Set<RequestSignal>();
    this.#connections.set(socket, { inFlight, last: undefined });
    // Node tells only the first of pipelined requests that the connection was closed.
    socket.once('close', () => {
      this.#connections.delete(socket);
      this.#forgetUnread(socket);
      for (const request of inFlight) request.abort();
    });
  }

  /** Requests without a complete answer. */
  get inFlight(): number {
    let count = 0;
    for (const { inFlight } of this.#connections.values()) count += inFlight.size;
    return count;
  }

  /** Ends the waits of present and future requests, such as event streams. */
  abortAll(): void {
    this.#isClosing = true;
    for (const { inFlight } of this.#connections.values()) for (const request of inFlight) request.abort();
  }

  destroyAll(): void {
    for (const socket of this.#connections.keys()) socket.destroy();
  }

  /**
   * Runs `answer` after the earlier answers on the connection are sent, so that a client that does not read has only one
   * answer in memory.
   *
   * @param answer gets `isTooMany` when the client has too many requests in flight; then it is not delayed, because
   *   answers that pile up would make Node stop reading
   */
  async inOrder(
    socket: Socket,
    outgoing: ServerResponse,
    answer: (signal: RequestSignal, isTooMany: boolean) => Promise<void>,
  ): Promise<void> {
    const connection = this.#connections.get(socket);
    if (connection === undefined) return; // closed already
    const signal = new RequestSignal();
    const { inFlight, last } = connection;
    if (this.#isClosing) signal.abort();
    inFlight.add(signal);
    const isTooMany = inFlight.size > MAX_REQUESTS_PER_CONNECTION;
    connection.last = outgoing;
    try {
      if (last !== undefined && !last.writableFinished && !isTooMany) await sent(last, signal.signal);
      if (socket.destroyed) return;
      await answer(signal, isTooMany);
      this.#boundUnread(socket, outgoing);
    } finally {
      inFlight.delete(signal);
    }
  }

  /** Drops the connections that have not read for longest while the unread bytes of all connections exceed the limit. */
  #boundUnread(socket: Socket, outgoing: ServerResponse): void {
    const bytes = outgoing.writableLength;
    if (bytes === 0 || socket.destroyed) return;
    this.#forgetUnread(socket);
    this.#unread.set(socket, bytes);
    this.#unreadBytes += bytes;
    outgoing.once('finish', () => this.#forgetUnread(socket));
    for (const slowest of this.#unread.keys()) {
      if (this.#unreadBytes <= MAX_UNREAD_BYTES) break;
      this.#log.warn('connection dropped', { reason: 'the client does not read', bytes });
      this.#forgetUnread(slowest);
      slowest.destroy();
    }
  }

  #forgetUnread(socket: Socket): void {
    this.#unreadBytes -= this.#unread.get(socket) ?? 0;
    this.#unread.delete(socket);
  }
}

/** Resolves when the answer is passed to the operating system, or the signal aborts. */
function sent(outgoing: ServerResponse, signal: AbortSignal): Promise<void> {
  if (outgoing.writableFinished || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off('finish', done);
      outgoing.off('close', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    outgoing.once('finish', done);
    outgoing.once('close', done);
    // Node does not tell an answer that waits behind another answer that the connection was closed.
    signal.addEventListener('abort', done, { once: true });
  });
}

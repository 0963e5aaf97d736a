/**
 * The options of every socket, and the owner of the native handles.
 *
 * A zeromq socket that is garbage-collected while its poller is active crashes the process. Therefore the context holds
 * each socket from its creation to its close.
 */
import { Context, type Socket } from 'zeromq';
import { type Clock, type Counters, type Log, systemClock } from '@cmbs/shared';
import { HARD_REPLY_BYTES, RECEIVE_HIGH_WATER_MARK, SOCKET_LINGER_MS } from './limits';
import type { AddressPolicy } from '../../address-policy';
import { type Address, parseAddress } from '@cmbs/shared/broker';
import { SocketMemory } from './memory';
import { type PrivateEndpoints, privateEndpoints } from './private-endpoints';

/**
 * Bytes that all connections of a process may hold: of messages that are not whole or not received yet, and bytes that
 * peers have not read. Beyond, the connection that holds the most is cut.
 */
const MAX_RECEIVED_BYTES_HELD = 64 * 1024 * 1024;
const MAX_UNSENT_BYTES_HELD = 32 * 1024 * 1024;
/** ZeroMQ sockets of one companion. */
const MAX_SOCKETS = 12_288;
/** Messages that ZeroMQ keeps to send to one peer; more than we have in flight to one peer. */
const SOCKET_HIGH_WATER_MARK = 1000;

/**
 * The options of every socket; a class adds those of its socket type. No ZMTP heartbeats (RFC 37): libzmq 4.3.5 aborts the
 * process when a heartbeat's timer fires on a connection whose input libzmq has stopped.
 */
export function commonOptions(context: SocketContext) {
  return {
    context: context.native,
    linger: SOCKET_LINGER_MS,
    // The relay has cut off peers with larger messages.
    maxMessageSize: HARD_REPLY_BYTES,
    receiveHighWaterMark: RECEIVE_HIGH_WATER_MARK,
  } as const;
}

/** The options of a socket that sends. */
export function sendingOptions(context: SocketContext) {
  return {
    ...commonOptions(context),
    sendHighWaterMark: SOCKET_HIGH_WATER_MARK,
    // A send succeeds or is refused at once. A send that waits would occupy the socket (EBUSY for the next send), and
    // its message would still go out after its caller has given up.
    sendTimeout: 0,
  } as const;
}

/** What every socket class needs of its program. */
export interface SocketEnvironment {
  readonly context: SocketContext;
  readonly log: Log;
  readonly counters: Counters;
  readonly clock?: Clock;
}

export function clockOf(environment: SocketEnvironment): Clock {
  return environment.clock ?? systemClock;
}

/** One ZeroMQ context and all of its sockets, and the rules for their addresses. */
export class SocketContext {
  readonly native = new Context({ maxSockets: MAX_SOCKETS });
  /** Bytes of messages from peers that are not whole or not received yet. */
  readonly received = new SocketMemory(MAX_RECEIVED_BYTES_HELD);
  /** Bytes that peers have not read. */
  readonly unsent = new SocketMemory(MAX_UNSENT_BYTES_HELD);
  /** Paths of the Unix sockets that this process has bound. */
  readonly paths = new Set<string>();
  readonly #held = new Set<Socket>();
  #endpoints: PrivateEndpoints | undefined;
  #closed = false;

  /** @param addresses which addresses may be bound and connected to; without it, any */
  constructor(readonly addresses?: AddressPolicy) {}

  /** The address to connect to. @throws CmbsError `bad_attribute` when the text is not an address, `forbidden` */
  toDial(text: string): Address {
    return this.addresses?.toDial(text) ?? parseAddress(text);
  }

  /** A new endpoint that only this process can connect to. @throws Error when the directory for it cannot be made */
  privateEndpoint(): string {
    this.#endpoints ??= privateEndpoints();
    return this.#endpoints.next();
  }

  /** Holds a new socket until {@link release}. @throws Error when the context is closed */
  hold<S extends Socket>(socket: S): S {
    if (this.#closed) {
      socket.close();
      throw new Error('the socket context is closed');
    }
    this.#held.add(socket);
    return socket;
  }

  /** Closes a socket that is held; does nothing the second time. */
  release(socket: Socket): void {
    if (!this.#held.delete(socket)) return;
    socket.close();
  }

  /** Number of open sockets. */
  get size(): number {
    return this.#held.size;
  }

  /** Closes the sockets that are still open; their owners should have closed them before, in their own order. */
  close(): void {
    this.#closed = true;
    for (const socket of [...this.#held]) this.release(socket);
    this.#endpoints?.remove();
    this.#endpoints = undefined;
  }
}

/**
 * The options that every socket has, in one place, and the owner of the native handles.
 *
 * A zeromq socket that is collected as garbage while its poller is active takes the process down, so the context
 * holds each socket from its creation to its close.
 */
import { Context, type Socket } from 'zeromq';
import { type Clock, type Counters, type Log, systemClock } from '@cmbs/shared';
import { HARD_REPLY_BYTES, RECEIVE_HIGH_WATER_MARK, SOCKET_LINGER_MS } from './limits';
import type { AddressPolicy } from '../../address-policy';
import { type Address, parseAddress } from '@cmbs/shared/broker';
import { SocketMemory } from './memory';
import { type PrivateEndpoints, privateEndpoints } from './private-endpoints';

/**
 * Bytes that all connections of a process may hold of messages that are not whole or not wanted yet, and of what peers
 * have not read; beyond, the connection that holds the most is cut.
 */
const MAX_RECEIVED_BYTES_HELD = 64 * 1024 * 1024;
const MAX_UNSENT_BYTES_HELD = 32 * 1024 * 1024;
/** ZeroMQ sockets of one companion. */
const MAX_SOCKETS = 12_288;
/** Messages that ZeroMQ keeps to send to one peer; more than what we let be in flight to it. */
const SOCKET_HIGH_WATER_MARK = 1000;

/**
 * The options of every socket; a class adds what its socket type needs. No ZMTP heartbeats: libzmq 4.3.5 aborts the
 * process when the timer of one fires on a connection whose input it has stopped.
 */
export function commonOptions(context: SocketContext) {
  return {
    context: context.native,
    linger: SOCKET_LINGER_MS,
    // The front has cut off what is larger.
    maxMessageSize: HARD_REPLY_BYTES,
    receiveHighWaterMark: RECEIVE_HIGH_WATER_MARK,
  } as const;
}

/** What a socket that sends has in addition. */
export function sendingOptions(context: SocketContext) {
  return {
    ...commonOptions(context),
    sendHighWaterMark: SOCKET_HIGH_WATER_MARK,
    // A send is done or refused at once. A send that waits would occupy the socket (EBUSY for the next one), and
    // would still go out after its caller has given up.
    sendTimeout: 0,
  } as const;
}

/** What each of the socket classes is given. */
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
  /** What peers have sent of messages that are not whole or not wanted yet. */
  readonly received = new SocketMemory(MAX_RECEIVED_BYTES_HELD);
  /** What peers have not read. */
  readonly unsent = new SocketMemory(MAX_UNSENT_BYTES_HELD);
  /** Paths of Unix sockets that are bound here. */
  readonly paths = new Set<string>();
  readonly #held = new Set<Socket>();
  #endpoints: PrivateEndpoints | undefined;
  #closed = false;

  /** @param addresses which addresses may be bound and connected to; any, without */
  constructor(readonly addresses?: AddressPolicy) {}

  /** The address to connect to. @throws CmbsError when it is none, or the rules refuse it */
  toDial(text: string): Address {
    return this.addresses?.toDial(text) ?? parseAddress(text);
  }

  /** A new endpoint that only this process can connect to. @throws Error when its directory cannot be made */
  privateEndpoint(): string {
    this.#endpoints ??= privateEndpoints();
    return this.#endpoints.next();
  }

  /** Keeps a new socket until {@link release}. */
  hold<S extends Socket>(socket: S): S {
    if (this.#closed) {
      socket.close();
      throw new Error('the socket context is closed');
    }
    this.#held.add(socket);
    return socket;
  }

  /** Closes a socket and lets go of it; nothing happens when that was done before. */
  release(socket: Socket): void {
    if (!this.#held.delete(socket)) return;
    socket.close();
  }

  /** Sockets that are open now. */
  get size(): number {
    return this.#held.size;
  }

  /** Closes what is still open; the owners should have done so before, in their own order. */
  close(): void {
    this.#closed = true;
    for (const socket of [...this.#held]) this.release(socket);
    this.#endpoints?.remove();
    this.#endpoints = undefined;
  }
}

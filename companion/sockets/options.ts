/**
 * The options that every socket has, in one place, and the owner of the native handles.
 *
 * A zeromq socket that is collected as garbage while its poller is active takes the process down, so the context
 * holds each socket from its creation to its close (DESIGN decision 25).
 */
import { Context, type Socket } from 'zeromq';
import { type Clock, type Counters, type Log, systemClock } from '@cmbs/shared';
import {
  CONNECT_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  HARD_FRAME_BYTES,
  MAX_SOCKETS,
  RECONNECT_FIRST_MS,
  RECONNECT_MAX_MS,
  SOCKET_HIGH_WATER_MARK,
  SOCKET_LINGER_MS,
} from '@cmbs/shared/limits';

/** Milliseconds without traffic after which a connection is asked whether it lives (ZMTP PING). */
const HEARTBEAT_INTERVAL_MS = 5000;
/** Milliseconds for its answer: a host that vanished without a FIN is noticed within 20 s, a slow one survives. */
const HEARTBEAT_TIMEOUT_MS = 15_000;
/** Milliseconds after which the peer may drop us when we ask no more; in tenths of a second on the wire. */
const HEARTBEAT_TIME_TO_LIVE_MS = 20_000;
/** Seconds of silence before the kernel probes; for peers whose ZMTP has no heartbeat. */
const TCP_KEEPALIVE_IDLE_S = 30;

/** The options of every socket; a class adds what its socket type needs. */
export function commonOptions(context: SocketContext) {
  return {
    context: context.native,
    linger: SOCKET_LINGER_MS,
    maxMessageSize: HARD_FRAME_BYTES,
    handshakeInterval: HANDSHAKE_TIMEOUT_MS,
    heartbeatInterval: HEARTBEAT_INTERVAL_MS,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    heartbeatTimeToLive: HEARTBEAT_TIME_TO_LIVE_MS,
    tcpKeepalive: 1,
    tcpKeepaliveIdle: TCP_KEEPALIVE_IDLE_S,
  } as const;
}

/** What a socket that connects has in addition. */
export function connectOptions(context: SocketContext) {
  return {
    ...commonOptions(context),
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectInterval: RECONNECT_FIRST_MS,
    reconnectMaxInterval: RECONNECT_MAX_MS,
    sendHighWaterMark: SOCKET_HIGH_WATER_MARK,
    receiveHighWaterMark: SOCKET_HIGH_WATER_MARK,
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

/** One ZeroMQ context and all of its sockets. */
export class SocketContext {
  readonly native = new Context({ maxSockets: MAX_SOCKETS });
  readonly #held = new Set<Socket>();
  #closed = false;

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
  }
}

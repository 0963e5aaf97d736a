/**
 * An exchange brings requests and broadcasts in from peers and carries ours out, over one kind of transport. ZeroMQ is
 * the first; a program adds others where it assembles its companion (docs/extending.md).
 */
import type { Clock, Counters, Log } from '@cmbs/shared';
import type { AddressScheme, Layer } from '@cmbs/shared/broker';
import type { Path } from '@cmbs/shared/occi';

/** What an exchange is opened with. */
export interface ExchangeEnvironment {
  readonly log: Log;
  readonly counters: Counters;
  readonly clock: Clock;
}

/** What a program knows of an exchange before any is open. */
export interface ExchangeDefinition {
  /** Schemes of the addresses that it serves; no other exchange of the program has them. */
  readonly schemes: readonly AddressScheme[];
  open(environment: ExchangeEnvironment): Exchange;
}

/** An address that a local member listens at. */
export interface MemberSocket {
  readonly member: Path;
  readonly layer: Layer;
  /** As the member advertises it. */
  readonly address: string;
}

/** The reply to one request frame; never rejects. */
export type FrameReplier = (frame: Buffer) => Promise<string>;
/** Takes one broadcast frame; the next one of the socket comes when the promise settles. */
export type FrameListener = (frame: Buffer) => Promise<void>;

export interface OpenSocket {
  /** Stops accepting, gives what was received time to be answered, and frees the address. */
  close(): Promise<void>;
}

export interface Exchange {
  /**
   * Opens a member's address for requests, each of which gets one reply.
   * @throws CmbsError `conflict` with the reason when the address cannot be had, `forbidden`, `bad_attribute`
   */
  serveRequests(socket: MemberSocket, reply: FrameReplier): Promise<OpenSocket>;
  /** Opens a member's address for broadcasts. @throws CmbsError as {@link serveRequests} does */
  serveBroadcasts(socket: MemberSocket, listen: FrameListener): Promise<OpenSocket>;
  /**
   * Connects to a peer that answers requests; the attempt goes on in the background.
   * @throws CmbsError `bad_attribute` for an address of another form, `forbidden` for one that the rules refuse
   */
  connectForRequests(address: string): RequestConnection;
  /** Connects to a peer that takes broadcasts. @throws CmbsError as {@link connectForRequests} does */
  connectForBroadcasts(address: string): BroadcastConnection;
  /** Frees what its sockets share; their owners close the sockets before. */
  close(): void;
}

/**
 * `connecting`: an attempt is under way whose outcome is not known; `up`: the peer answers us; `down`: the last attempt
 * failed, and the connection goes on trying.
 */
export type ConnectionState = 'connecting' | 'up' | 'down';
export type StateListener = (state: ConnectionState) => void;

interface Connection {
  readonly state: ConnectionState;
  /** Calls `listener` at every change of {@link state}, until the returned function is called. */
  onState(listener: StateListener): () => void;
  close(): Promise<void>;
}

export interface RequestOptions {
  /** Milliseconds until the reply, waiting included. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Requests to one peer, many in flight. It does not retry: the queue that uses it does. */
export interface RequestConnection extends Connection {
  /** Tries again now where the peer was absent, unless that was just done; gives the state since. */
  connectNow(): ConnectionState;
  /**
   * Sends one request; resolves with the body of the reply.
   * @throws PeerError see its reasons
   * @throws CmbsError `queue_full` when too many wait, `too_large` when no peer could take the body
   */
  request(body: Buffer | string, options?: RequestOptions): Promise<Buffer>;
}

/** Broadcasts to one peer, in order. */
export interface BroadcastConnection extends Connection {
  /** The peer takes broadcasts. `up` alone does not mean that it does. */
  readonly subscribed: boolean;
  /** Calls `listener` each time {@link subscribed} changes, until the returned function is called. */
  onSubscription(listener: (subscribed: boolean) => void): () => void;
  /** Calls `listener` when a message that {@link send} refused may be tried again. */
  onWritable(listener: () => void): () => void;
  /**
   * Hands over one message. False when the peer takes none or the connection is full: nothing was sent, and the caller
   * keeps the message. To keep the order, send the next message when this one was taken.
   */
  send(body: Buffer | string): boolean | Promise<boolean>;
}

/**
 * - `no_listener`: no peer of ours answers at the address; not sent.
 * - `timeout`: no reply in time; it was sent unless {@link PeerError.sent} is false.
 * - `lost`: the connection broke after it was sent and before the reply; whether the peer acted on it is unknown.
 * - `closed`: the connection was closed here. `aborted`: the caller's signal.
 */
export type PeerErrorReason = 'no_listener' | 'timeout' | 'lost' | 'closed' | 'aborted';

export class PeerError extends Error {
  override readonly name = 'PeerError';

  constructor(
    readonly reason: PeerErrorReason,
    readonly address: string,
    message: string,
    /** False when the peer certainly has not seen the request. */
    readonly sent: boolean,
  ) {
    super(message);
  }
}

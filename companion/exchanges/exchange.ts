/**
 * An exchange receives requests and broadcasts from peers and sends ours to peers, over one kind of transport. ZeroMQ is
 * the first; a program adds others where it assembles its companion (docs/extending.md). Every exchange passes
 * `test/contract/exchange-contract.ts`.
 */
import type { Clock, Counters, Log } from '@cmbs/shared';
import type { AddressScheme, Layer } from '@cmbs/shared/broker';
import type { Path } from '@cmbs/shared/occi';

/** What an exchange needs of its program. */
export interface ExchangeEnvironment {
  readonly log: Log;
  readonly counters: Counters;
  readonly clock: Clock;
}

/** How a program opens an exchange, and for which addresses. */
export interface ExchangeDefinition {
  /** Schemes of the addresses that the exchange serves; no other exchange of the program has them. */
  readonly schemes: readonly AddressScheme[];
  open(environment: ExchangeEnvironment): Exchange;
}

/** An address that a local member listens at. */
export interface MemberSocket {
  readonly member: Path;
  readonly layer: Layer;
  /** As the member advertises it, in any spelling that its scheme reads. */
  readonly address: string;
}

/** Resolves with the reply to one request frame; never rejects. Runs for many frames at the same time. */
export type FrameReplier = (frame: Buffer) => Promise<string>;
/** Handles one broadcast frame. The socket hands over its next frame when the promise settles, either way. */
export type FrameListener = (frame: Buffer) => Promise<void>;

export interface OpenSocket {
  /**
   * Gives the member a moment to handle the frames that were received, then hands over no more and frees the address.
   * Requests that are not answered by then are `lost` to their senders. A second call waits for the first.
   */
  close(): Promise<void>;
}

export interface Exchange {
  /**
   * Opens a member's address for requests, each of which gets one reply. A frame of more than `MAX_FRAME_BYTES` never
   * reaches the member; the exchange answers such a request with an error.
   * @throws CmbsError `conflict` when the address cannot be opened, with `details` `{ address, reason }`; `forbidden`
   * when the rules refuse the address; `bad_attribute` when the text is not an address of the exchange
   */
  serveRequests(socket: MemberSocket, reply: FrameReplier): Promise<OpenSocket>;
  /** Opens a member's address for broadcasts; larger frames are dropped. @throws CmbsError as {@link serveRequests} does */
  serveBroadcasts(socket: MemberSocket, listen: FrameListener): Promise<OpenSocket>;
  /**
   * Connects to a peer that answers requests; the attempt goes on in the background.
   * @throws CmbsError `bad_attribute` when the text is not an address of the exchange, `forbidden` when the rules refuse it
   */
  connectForRequests(address: string): RequestConnection;
  /** Connects to a peer that takes broadcasts. @throws CmbsError as {@link connectForRequests} does */
  connectForBroadcasts(address: string): BroadcastConnection;
  /** Frees what the sockets share. The owners of sockets and connections close those first. */
  close(): void;
}

/**
 * - `connecting`: an attempt is under way and has no outcome yet.
 * - `up`: the peer is connected, and its socket fits ours.
 * - `down`: the last attempt failed, and the connection goes on trying; or it was closed here.
 */
export type ConnectionState = 'connecting' | 'up' | 'down';
export type StateListener = (state: ConnectionState) => void;

interface Connection {
  readonly state: ConnectionState;
  /** Calls `listener` at every change of {@link state}, until the returned function is called. */
  onState(listener: StateListener): () => void;
  /** Fails the pending requests; no listener is called afterwards. A second call does nothing. */
  close(): Promise<void>;
}

export interface RequestOptions {
  /** Milliseconds until the reply, including the time that the request waits here; 10 s by default. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Requests to one peer, many in flight. A connection does not retry a request; the queue that uses the connection does. */
export interface RequestConnection extends Connection {
  /** Connects again now if the peer was absent, unless the last attempt is very recent; returns the state after that. */
  connectNow(): ConnectionState;
  /**
   * Sends one request; resolves with the body of the reply.
   * @throws PeerError with one of {@link PeerErrorReason}
   * @throws CmbsError `queue_full` when too many requests wait, `too_large` when no peer could take the body
   */
  request(body: Buffer | string, options?: RequestOptions): Promise<Buffer>;
}

/** Broadcasts to one peer, in order. */
export interface BroadcastConnection extends Connection {
  /** Whether the peer takes broadcasts. It may be `up` and not subscribed. */
  readonly subscribed: boolean;
  /** Calls `listener` each time {@link subscribed} changes, until the returned function is called. */
  onSubscription(listener: (subscribed: boolean) => void): () => void;
  /**
   * Calls `listener` when a message that {@link send} refused may be sent again, until the returned function is called.
   */
  onWritable(listener: () => void): () => void;
  /**
   * Hands over one message. False when the peer takes none or the connection is full: nothing was sent, and the caller
   * keeps the message. To keep the order, send the next message after this one was taken.
   */
  send(body: Buffer | string): boolean | Promise<boolean>;
}

/**
 * Why a request has no reply:
 * - `no_listener`: no peer that takes requests answers at the address; not sent.
 * - `timeout`: no reply came in time; the request was sent unless {@link PeerError.sent} is false.
 * - `lost`: the connection broke between the request and its reply; whether the peer acted on it is unknown.
 * - `closed`: the connection was closed here.
 * - `aborted`: the caller's signal was aborted.
 */
export type PeerErrorReason = 'no_listener' | 'timeout' | 'lost' | 'closed' | 'aborted';

export class PeerError extends Error {
  override readonly name = 'PeerError';

  constructor(
    readonly reason: PeerErrorReason,
    /** In its canonical spelling. */
    readonly address: string,
    message: string,
    /** False when the peer has certainly not seen the request. */
    readonly sent: boolean,
  ) {
    super(message);
  }
}

/** Limits that several files of this folder share: each with its unit and reason. */
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import { MAX_REPLY_BYTES } from '@cmbs/shared/broker';

/** Bytes by which a message may exceed these and still be refused in words; beyond, its connection is cut. */
export const REFUSED_BYTES = 256 * 1024;
/** Bytes of a message from a peer, over all of its frames, above which the connection is cut. */
export const HARD_MESSAGE_BYTES = MAX_FRAME_BYTES + REFUSED_BYTES;
/** The same for a reply to us: other brokers' may be larger than ours, and are refused in words up to here. */
export const HARD_REPLY_BYTES = 2 * MAX_REPLY_BYTES;
/** Bytes that may wait for one peer which does not read, before it is asked for no more: two of our largest replies. */
export const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
/** Messages, and bytes of them, that are on their way through one socket to its owner, from all peers. */
export const RECEIVE_WINDOW_MESSAGES = 900;
/**
 * Messages that ZeroMQ keeps from one peer. It learns what was received only after half as many, so this is more than
 * twice the window: then ZeroMQ never stops reading from a peer.
 */
export const RECEIVE_HIGH_WATER_MARK = 2 * RECEIVE_WINDOW_MESSAGES + 200;
export const RECEIVE_WINDOW_BYTES = 16 * 1024 * 1024;
/** Milliseconds without a message, while some are on their way and are waited for, after which they count as lost. */
export const WINDOW_STUCK_MS = 2000;
/** Milliseconds that a closed socket goes on sending what was handed to it. */
export const SOCKET_LINGER_MS = 500;
/** Milliseconds until a TCP connection attempt that nobody answers is given up. */
export const CONNECT_TIMEOUT_MS = 5000;
/** Milliseconds that a handler has; then its peer gets an error reply and the place is free. */
export const HANDLER_TIMEOUT_MS = 30_000;
/** Milliseconds that a socket which closes gives to what it has received. */
export const DRAIN_MS = 1000;

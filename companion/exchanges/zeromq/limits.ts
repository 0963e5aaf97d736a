/** Limits that several files of this folder share, each with its unit and reason. */
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import { MAX_REPLY_BYTES } from '@cmbs/shared/broker';

/** Bytes by which a message may exceed its limit and still be refused in words; beyond, its connection is cut. */
export const REFUSED_BYTES = 256 * 1024;
/** Bytes of a message from a peer, with all of its frames, above which the connection is cut. */
export const HARD_MESSAGE_BYTES = MAX_FRAME_BYTES + REFUSED_BYTES;
/** The same for a reply to us. Replies of other brokers may be larger than ours; up to here they are refused in words. */
export const HARD_REPLY_BYTES = 2 * MAX_REPLY_BYTES;
/** Bytes that may wait for one peer that does not read: two of our largest replies. Beyond, nothing more is read from it. */
export const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
/** Messages from all peers that are on their way through one socket to its owner, and bytes of them. */
export const RECEIVE_WINDOW_MESSAGES = 900;
export const RECEIVE_WINDOW_BYTES = 16 * 1024 * 1024;
/**
 * Messages that ZeroMQ keeps from one peer. ZeroMQ learns what was received only after half as many, so this is more than
 * twice the window: then it never stops reading from a peer.
 */
export const RECEIVE_HIGH_WATER_MARK = 2 * RECEIVE_WINDOW_MESSAGES + 200;
/** Milliseconds without a message after which messages that are on their way, and that a reader waits for, count as lost. */
export const WINDOW_STUCK_MS = 2000;
/** Milliseconds that a closed socket goes on sending. */
export const SOCKET_LINGER_MS = 500;
/** Milliseconds after which a connection attempt without an answer is given up. */
export const CONNECT_TIMEOUT_MS = 5000;
/** Milliseconds that a handler has; then its peer gets an error reply and another handler may run. */
export const HANDLER_TIMEOUT_MS = 30_000;
/** Milliseconds in which a socket that closes handles the messages that it has received. */
export const DRAIN_MS = 1000;

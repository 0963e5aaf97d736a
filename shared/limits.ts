/** Limits that several rooms share, each with its unit and reason. The others are beside their owners. */

/** Approximate characters of the documents that one step of bulk work rewrites; Firestore's limit is 10 MiB. */
export const MAX_STEP_CHARS = 2 * 1024 * 1024;
/** A page for which `page * number` is greater is refused with 413; a client reads further pages by cursor. */
export const MAX_PAGE_OFFSET = 10_000;
/** Approximate characters of JSON on a page of entities or of an inbox; a page that reaches them ends with a cursor. */
export const MAX_PAGE_CHARS = 4 * 1024 * 1024;
/** Characters of a page that are read at a time. A larger answer takes a turn, and other requests run in between. */
export const PAGE_PORTION_CHARS = 256 * 1024;
/** Characters of a term, an id, one path segment. */
export const MAX_NAME_LENGTH = 255;
/** Bytes of a frame; a receiver answers a larger one with an error reply (docs/wire.md). */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** Seconds that `Prefer: wait` and `?wait=` may ask for. */
export const MAX_WAIT_S = 60;
/** Milliseconds in which the whole request must arrive, at a server of our own. */
export const REQUEST_DEADLINE_MS = 30_000;
/** Levels of arrays and objects in JSON from outside: more than real documents have, few enough for recursion. */
export const MAX_JSON_DEPTH = 64;
/** Documents on a page of a store query. */
export const MAX_PAGE_DOCS = 10_000;
/** Writes in one commit, at most: the commit blocks the event loop for about 4 ms. */
export const MAX_COMMIT_WRITES = 128;
/** Milliseconds after which a message expires, unless it has an expiry of its own: 7 days. */
export const MESSAGE_TTL_MS = 7 * 24 * 60 * 60 * 1000;
/** Milliseconds for which a receipt is kept: longer than a message lives, so that every retry is recognised. */
export const RECEIPT_TTL_MS = 8 * 24 * 60 * 60 * 1000;
/** Characters of a member's description, and topics or neighbours in it: a companion holds a thousand members in memory. */
export const MAX_DESCRIPTION_CHARS = 16 * 1024;
export const MAX_DESCRIBED_NAMES = 256;
/** Topics that one message may name. */
export const MAX_TOPICS = 100;
/** Members that may forward a topic message from deployment to deployment. */
export const MAX_HOPS = 8;
/** Milliseconds for a call of a service method: less than the deadline of a socket's handler, so the caller gets a fault. */
export const SERVICE_CALL_DEADLINE_MS = 25_000;
/** Characters of an untrusted name that an error shows. */
export const MAX_SHOWN_NAME_LENGTH = 200;
/** Bytes of an ordering key. */
export const MAX_ORDERING_KEY_BYTES = 1024;
/** Milliseconds between two reads of data that a watch also reports, in case the watch missed a change. */
export const WATCH_FALLBACK_MS = 60_000;
/** Milliseconds between a companion's reads of its members, topics, desired states and queues, for the same reason. */
export const COMPANION_LOOK_MS = 5 * 60_000;
/** Milliseconds between SIGTERM and SIGKILL, as a container gets them. */
export const CLOUD_STOP_MS = 10_000;
/** Default of `CMBS_MEMORY_LIMIT_MB`. An idle process takes 75, and one at all its other limits takes far less than this. */
export const DEFAULT_MEMORY_LIMIT_MB = 1024;

/** Limits that several rooms share: each with its unit and reason. */

/** Characters of the documents that one step of a long work rewrites, about: Firestore takes 10 MiB in a transaction. */
export const MAX_STEP_CHARS = 2 * 1024 * 1024;
/** `page * number` above this is 413; deep pages go by cursor (DESIGN decision 22). */
export const MAX_PAGE_OFFSET = 10_000;
/** Characters of JSON on a page of entities or of an inbox, about; it ends with a cursor then, whatever its number. */
export const MAX_PAGE_CHARS = 4 * 1024 * 1024;
/** Characters of a page that are read at a time; an answer that needs more is a large one, and others get a turn between. */
export const PAGE_PORTION_CHARS = 256 * 1024;
/** Characters of a term, an id, one path segment. */
export const MAX_NAME_LENGTH = 255;
/** Bytes of a frame that a receiver takes; above it gets an error reply (layers.md, L1 on the wire). */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** Seconds that `Prefer: wait` and `?wait=` may ask for. */
export const MAX_WAIT_S = 60;
/** Milliseconds in which a request has to arrive whole, at a server of our own. */
export const REQUEST_DEADLINE_MS = 30_000;
/** Levels of arrays and objects in JSON from outside: more than any real document, few enough for any stack. */
export const MAX_JSON_DEPTH = 64;
/** Documents on a page of a store query (store.ts). */
export const MAX_PAGE_DOCS = 10_000;
/** Writes that share one commit, at most: about 4 ms during which the event loop stands still. */
export const MAX_COMMIT_WRITES = 128;
/** Milliseconds that a message is tried before it expires, unless it says otherwise: 7 days. */
export const MESSAGE_TTL_MS = 7 * 24 * 60 * 60 * 1000;
/** Milliseconds that a receipt is remembered: longer than any sender tries, so that no retry is taken for new. */
export const RECEIPT_TTL_MS = 8 * 24 * 60 * 60 * 1000;
/** Characters of the description of a member, and topics or neighbours in it: a thousand members are held in memory. */
export const MAX_DESCRIPTION_CHARS = 16 * 1024;
export const MAX_DESCRIBED_NAMES = 256;
/** Topics that one message may name. */
export const MAX_TOPICS = 100;
/** Members that a topic message may pass from deployment to deployment. */
export const MAX_HOPS = 8;
/** Milliseconds that a call of a service method has: the caller hears of it before a socket's handler is cut off. */
export const SERVICE_CALL_DEADLINE_MS = 25_000;
/** Characters of a name from outside that an error repeats. */
export const MAX_SHOWN_NAME_LENGTH = 200;
/** Attributes of a publication, bytes of the name and of the value of one, bytes of an ordering key. */
export const MAX_PUBLICATION_ATTRIBUTES = 100;
export const MAX_ATTRIBUTE_NAME_BYTES = 256;
export const MAX_ATTRIBUTE_VALUE_BYTES = 1024;
export const MAX_ORDERING_KEY_BYTES = 1024;
/** Milliseconds between two looks at what is read in one call, in case a listener missed something. */
export const WATCH_FALLBACK_MS = 60_000;
/** Milliseconds between a companion's looks at all members, topics, all that is desired and queued, for the same. */
export const COMPANION_LOOK_MS = 5 * 60_000;
/** Milliseconds without renewal after which a waiting companion takes a shard over. */
export const LEASE_TTL_MS = 12_000;
/** Milliseconds before that at which the holder has let go: it closes its sockets within them. */
export const LEASE_MARGIN_MS = 4000;
/** Milliseconds that a look at a lease, or its renewal, may take: two that hang leave time for a third. */
export const LEASE_CALL_MS = 2000;
/** Milliseconds that a part which is told to stop has, before it is killed: what a container gets. */
export const CLOUD_STOP_MS = 10_000;
/** Megabytes of memory of one process (`CMBS_MEMORY_LIMIT_MB`): idle takes 75, all other bounds together far below this. */
export const DEFAULT_MEMORY_LIMIT_MB = 1024;

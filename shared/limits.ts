/** Every bound of this product: a name, a unit, a reason. */

/** Bytes of a request body, by default (`CMBS_MAX_BODY_BYTES`): a message fits, a flood does not. */
export const DEFAULT_MAX_BODY_BYTES = 1024 * 1024;
/** Characters of an attribute pattern: enough for any real one, little to compile (DESIGN decision 22). */
export const MAX_PATTERN_LENGTH = 1024;
/** Characters of a value times instructions of its pattern: half a second at worst. A simple pattern takes a megabyte. */
export const MAX_MATCH_STEPS = 10_000_000;
/** Milliseconds of one turn of the event loop that may go into patterns; real ones take microseconds. */
export const MAX_MATCHING_MS = 500;
/** Instructions of all patterns that are kept compiled: about 25 MB at worst, in processes that have 256 MB. */
export const MAX_COMPILED_INSTRUCTIONS = 100_000;
/** What a compiled pattern costs besides, in instructions: thousands of one-letter patterns are no small thing. */
export const PATTERN_OVERHEAD_INSTRUCTIONS = 16;
/** Entities in one creation request: one transaction has to hold them all (#16). */
export const MAX_BATCH_ENTITIES = 500;
/** Queries for links of entities that are deleted together, under way at the same time. */
export const LINK_QUERY_CONCURRENCY = 16;
/** Characters of the documents that one step of a long work rewrites, about: Firestore takes 10 MiB in a transaction. */
export const MAX_STEP_CHARS = 2 * 1024 * 1024;
/** Milliseconds that one request works on a large collection before it says how far it is: well below its deadline. */
export const STEPS_BUDGET_MS = 20_000;
/**
 * Categories that clients define, and characters of all their definitions as they are stored: every process of a
 * deployment holds them in memory, at about six bytes for a character.
 */
export const MAX_CATEGORIES = 5000;
export const MAX_DEFINITIONS_CHARS = 4 * 1024 * 1024;
/** Characters of one definition, and what it may list: the largest of the infrastructure has 2,000 and a dozen. */
export const MAX_DEFINITION_CHARS = 128 * 1024;
export const MAX_CATEGORY_ATTRIBUTES = 500;
export const MAX_CATEGORY_REFERENCES = 200;
/** Kinds from one to the root of the core, both included: each is looked at for every entity. */
export const MAX_KIND_DEPTH = 16;
/** Mixins of one entity: each is an index entry, and one more definition to merge. */
export const MAX_ENTITY_MIXINS = 200;
/** Characters of the names of what the latest changes touched, which each change writes for others to follow. */
export const MAX_REMEMBERED_CHANGE_CHARS = 8 * 1024;
/** Entities on a page when `number` is absent and the rendering shows entities or sits in headers. */
export const DEFAULT_PAGE_SIZE = 1000;
/** `page * number` above this is 413; deep pages go by cursor (DESIGN decision 22). */
export const MAX_PAGE_OFFSET = 10_000;
/** Characters of JSON on a page of entities or of an inbox, about; it ends with a cursor then, whatever its number. */
export const MAX_PAGE_CHARS = 4 * 1024 * 1024;
/** Characters of a page that are read at a time; an answer that needs more is a large one, and others get a turn between. */
export const PAGE_PORTION_CHARS = 256 * 1024;
/**
 * Characters of all pages that are held at the same time. A function has 512 MiB, of which Node gives half to its heap.
 * A page is there as the documents' text, as values, and as the lease's second reading of an inbox, at two bytes a
 * character: 16 Mi × 3 × 2 bytes are 96 MiB, beside 60 MiB of the program and 64 MiB of caches.
 */
export const LARGE_ANSWERS_CHARS = 4 * MAX_PAGE_CHARS;
/** Large answers that wait for one of those to end, and milliseconds that each waits: below the caller's own patience. */
export const MAX_LARGE_ANSWERS_WAITING = 1000;
export const LARGE_ANSWER_WAIT_MS = 20_000;
/** Characters that are written at a time: about what an operating system takes at once. */
export const ANSWER_PIECE_CHARS = 64 * 1024;
/**
 * Milliseconds that a client may take for such a piece: when others wait for what its answer holds (13 KiB a second), and when nobody does.
 */
export const STALLED_READER_MS = 5000;
export const ANSWER_IDLE_MS = 30_000;
/** Documents looked at for one page when part of a filter cannot use an index; then the page ends with a cursor. */
export const MAX_FILTER_SCAN = 20_000;
/** Characters of an attribute value that are indexed as they are; longer ones by their digest. */
export const MAX_INDEXED_VALUE_LENGTH = 256;
/** Characters of a term, an id, one path segment. */
export const MAX_NAME_LENGTH = 255;
/** Characters of a scheme, a location or an entity's path: below Firestore's 1,500 bytes for a document id. */
export const MAX_PATH_LENGTH = 1000;

// --- Sockets of the companion ---

/** Bytes of a frame that a receiver takes; above it gets an error reply (layers.md, L1 on the wire). */
export const MAX_FRAME_BYTES = 1024 * 1024;
/**
 * Bytes of them for what members add on the way: a hop and a URI for each of the eight that a message may pass, its send
 * id, origin and trace. What a message has itself stays below by these.
 */
export const FRAME_RESERVE_BYTES = 16 * 1024;
/** Bytes of a reply: what a call may give back of the largest frame, and a list of sockets. */
export const MAX_REPLY_BYTES = 2 * 1024 * 1024;
/** Bytes by which a message may exceed these and still be refused in words; beyond, its connection is cut. */
const REFUSED_BYTES = 256 * 1024;
/** Bytes of a message from a peer, over all of its frames, above which the connection is cut. */
export const HARD_MESSAGE_BYTES = MAX_FRAME_BYTES + REFUSED_BYTES;
/** The same for a reply to us: other brokers' may be larger than ours, and are refused in words up to here. */
export const HARD_REPLY_BYTES = 2 * MAX_REPLY_BYTES;
/** Frames of one message: an envelope has few, and each takes memory beyond its bytes. */
export const MAX_MESSAGE_FRAMES = 1024;
/** Bytes of a ZMTP command; a `READY` with all properties has a hundred. */
export const MAX_COMMAND_BYTES = 4096;
/** Milliseconds without a byte after which the connection of a message that has begun is cut. */
export const UNFINISHED_MESSAGE_MS = 10_000;
/** Bytes that may wait for one peer which does not read, before it is asked for no more: two of our largest replies. */
export const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
/** Bytes that the first replies to a peer are taken to have: it may have so many requests in flight at first. */
export const REPLY_BYTES_GUESS = 16 * 1024;
/**
 * Bytes that all connections of a process may hold of messages that are not whole or not wanted yet, and of what peers
 * have not read; beyond, the connection that holds the most is cut.
 */
export const MAX_RECEIVED_BYTES_HELD = 64 * 1024 * 1024;
export const MAX_UNSENT_BYTES_HELD = 32 * 1024 * 1024;
/** Bytes of requests whose handlers run, for one bound socket; beyond, nothing more is received. */
export const MAX_HANDLED_BYTES = 16 * 1024 * 1024;
/** Connections to one bound socket, and those of them from one address. The system may keep 64 KiB for each. */
export const MAX_PEERS = 1024;
export const MAX_PEERS_PER_ADDRESS = 512;
/** Subscriptions of one peer, and bytes of them: each broadcast is compared with all. Ours are one, of no bytes. */
export const MAX_PEER_SUBSCRIPTIONS = 1000;
export const MAX_PEER_SUBSCRIPTION_BYTES = 64 * 1024;
/** Milliseconds of silence before the system probes whether the host of a peer is there. */
export const TCP_KEEPALIVE_IDLE_MS = 30_000;
/** ZeroMQ sockets of one companion. */
export const MAX_SOCKETS = 12_288;
/** Messages that ZeroMQ keeps to send to one peer; more than what we let be in flight to it. */
export const SOCKET_HIGH_WATER_MARK = 1000;
/** Messages, and bytes of them, that are on their way through one socket to its owner, from all peers. */
export const RECEIVE_WINDOW_MESSAGES = 900;
/**
 * Messages that ZeroMQ keeps from one peer. It learns what was received only after half as many, so this is more than
 * twice the window: then ZeroMQ never stops reading from a peer.
 */
export const RECEIVE_HIGH_WATER_MARK = 2 * RECEIVE_WINDOW_MESSAGES + 200;
export const RECEIVE_WINDOW_BYTES = 16 * 1024 * 1024;
/** Messages of one peer in a row while others wait. */
export const RECEIVE_TURN_MESSAGES = 32;
/** Milliseconds without a message, while some are on their way and are waited for, after which they count as lost. */
export const WINDOW_STUCK_MS = 2000;
/** Bytes of requests to one peer that were sent and not answered. */
export const MAX_REQUEST_BYTES_IN_FLIGHT = 8 * 1024 * 1024;
/** Milliseconds that a closed socket goes on sending what was handed to it. */
export const SOCKET_LINGER_MS = 500;
/** Requests to one peer that were sent and not answered; the throughput curve is flat well before. */
export const MAX_REQUESTS_IN_FLIGHT = 256;
/** Requests to one peer that wait for a connection or a place in flight; beyond, the caller is told `queue_full`. */
export const MAX_REQUESTS_WAITING = 1000;
/** Milliseconds between looks at the deadlines of requests and handlers: one timer, not one per request. */
export const DEADLINE_SWEEP_MS = 20;
/** Milliseconds of a request that names no time-out: the default wait of a send action (layers.md, Messages). */
export const DEFAULT_REQUEST_TIMEOUT_MS = 10_000;
/** Milliseconds until a connection that was accepted must have spoken ZMTP; a slow link needs about one second. */
export const HANDSHAKE_TIMEOUT_MS = 3000;
/** Milliseconds until a TCP connection attempt that nobody answers is given up. */
export const CONNECT_TIMEOUT_MS = 5000;
/** Milliseconds before the first reconnection; also the age up to which a refusal is answered without a new try. */
export const RECONNECT_FIRST_MS = 100;
/** Milliseconds between reconnections at most: a peer that comes back is noticed this fast. */
export const RECONNECT_MAX_MS = 2000;
/** Handlers that run at the same time for one bound socket; while all are busy nothing more is received. */
export const MAX_HANDLERS = 256;
/** Milliseconds that a handler has; then its peer gets an error reply and the place is free. */
export const HANDLER_TIMEOUT_MS = 30_000;
/** Milliseconds that a socket which closes gives to what it has received. */
export const DRAIN_MS = 1000;
/** Milliseconds until the operating system must have taken back a port that was closed. */
export const RELEASE_MS = 2000;
/** Frames before the empty one that a request's envelope may have: each hop through a ROUTER adds one. */
export const MAX_ENVELOPE_FRAMES = 16;
/** Broadcasts received and not handled yet; while it is full nothing more is received. */
export const MAX_BROADCASTS_BUFFERED = 1000;
/** Bytes of the same. */
export const MAX_BROADCAST_BYTES_BUFFERED = 16 * 1024 * 1024;
/**
 * Milliseconds after which a broadcast that met a full connection may be tried again, at first and at most. A peer that
 * reads empties 1000 messages in ten milliseconds and must not wait for us; one that hangs must not keep us busy.
 */
export const BROADCAST_RETRY_MS = 2;
export const BROADCAST_RETRY_MAX_MS = 32;
/** Lines of one kind that a log takes at once: enough to see several members or paths concerned. */
export const LOG_BURST_LINES = 3;
/** Milliseconds between two lines of one kind after that, so that nobody fills a disk by causing them. */
export const LOG_PERIOD_MS = 60_000;
/** Bytes of the path of a Unix socket: `sun_path` less its terminating zero, on the system with the shortest (macOS). */
export const MAX_IPC_PATH_BYTES = 103;
/** Random digits in the name of the file at which a socket listens before it has its name. */
export const IPC_CLAIM_DIGITS = 16;
/** Milliseconds that one process waits for another to give a name up that both want, and between two looks. */
export const IPC_CONTEST_MS = 2000;
export const IPC_CONTEST_LOOK_MS = 5;
/** Characters of the name of a socket in `CMBS_IPC_DIR`; the path of the directory has to fit in front of it. */
export const MAX_IPC_NAME_LENGTH = 40;
/**
 * Milliseconds after which a deployment that others reach says of an address that no member answers there: the same for
 * closed, filtered and foreign ports, so that a scan learns nothing. A slow link needs about one second to connect.
 */
export const UNREACHED_AFTER_MS = 3000;
/** Ports that members' sockets may be bound to, by default: around the original's, which are always among them. */
export const DEFAULT_PORT_RANGE = '5000-6999';
/** Leases of inbox entries whose end a process knows by its own time; of others it goes by the wall clock. */
export const MAX_REMEMBERED_LEASES = 10_000;
/** Ports that are looked at together, at most, when a member needs a free one. */
export const PORTS_LOOKED_AT_TOGETHER = 16;
/** Ports of which the members are asked for at one time. */
export const PORT_QUERY_CONCURRENCY = 4;
/** Characters of an action's answer, as JSON, that is kept under an `Idempotency-Key`; one with more is made again. */
export const MAX_KEPT_ANSWER_CHARS = 64 * 1024;
/** Milliseconds that the answer under an `Idempotency-Key` is kept: 24 hours. */
export const IDEMPOTENCY_MS = 24 * 60 * 60 * 1000;
/** Locations on a page when `number` is absent: clients of the original do not know pages. */
export const DEFAULT_LOCATIONS_PAGE = 10_000;
/** Seconds that `Prefer: wait` and `?wait=` may ask for. */
export const MAX_WAIT_S = 60;
/** Milliseconds in which a request has to arrive whole, at a server of our own. */
export const REQUEST_DEADLINE_MS = 30_000;
/** Actions of one request on a collection that run at the same time. */
export const COLLECTION_ACTION_CONCURRENCY = 16;
/** Parameters in a query string. */
export const MAX_QUERY_PARAMETERS = 100;
/** Levels of arrays and objects in JSON from outside: more than any real document, few enough for any stack. */
export const MAX_JSON_DEPTH = 64;
/**
 * Bytes of the OCCI headers of a `text/occi` answer: clients and proxies stop at 16 KiB, and the other headers need
 * less than one (#71). The query interface with all extensions has 12, and suites read it in this rendering.
 */
export const MAX_TEXT_OCCI_HEADER_BYTES = 15 * 1024;

// --- The embedded store and bus ---

/** Characters of a document id, an order or a collection name: Firestore refuses ids above 1,500 bytes. */
export const MAX_KEY_LENGTH = 1500;
/** Documents on a page of a store query (store.ts). */
export const MAX_PAGE_DOCS = 10_000;
/** Terms of a `where`: each is one more look-up per document. */
export const MAX_WHERE_TERMS = 16;
/** Index entries counted per `where` term to find the rarest: about 30 microseconds each. */
export const SELECTIVITY_PROBE = 500;
/** Writes that share one commit, at most: about 4 ms during which the event loop stands still. */
export const MAX_COMMIT_WRITES = 128;
/** Characters of JSON that share one commit, at most (one larger write goes alone), for the same reason. */
export const MAX_COMMIT_CHARS = 2 * 1024 * 1024;
/** Transactions and creates that wait for their commit; beyond, callers are told `queue_full`. */
export const MAX_QUEUED_COMMITS = 10_000;
/** Optimistic runs of one transaction before it gets the store for itself, so that contention always ends. */
export const MAX_OPTIMISTIC_RUNS = 8;
/** Milliseconds that a transaction may hold the store for itself; others wait meanwhile. */
export const EXCLUSIVE_HOLD_MS = 5000;
/** Changes remembered per collection for running transactions; one that is older than all of them runs again. */
export const MAX_REMEMBERED_CHANGES = 50_000;
/** Characters of JSON in the cache of parsed documents (about twice as many bytes). */
export const MAX_CACHED_CHARS = 8 * 1024 * 1024;
/** Pages of 4 KiB in the write-ahead log after which a checkpoint runs beside the writes. */
export const CHECKPOINT_PAGES = 2000;
/** Pages in the log after which writes wait for the checkpoint, so that the log starts over (32 MiB). */
export const MAX_WAL_PAGES = 8000;
/** Bytes written, roughly, between two looks at the length of the log: a look costs as much as a small commit. */
export const CHECKPOINT_LOOK_CHARS = 2 * 1024 * 1024;
/** Bytes to which the log file is cut back when it starts over. */
export const WAL_SIZE_LIMIT = 64 * 1024 * 1024;
/** Milliseconds until writes wait for a checkpoint again after a reader (a backup) kept it from finishing. */
export const CHECKPOINT_RETRY_MS = 5000;
/** Milliseconds to wait for another process that holds the database file for a moment (a backup that ends). */
export const DATABASE_BUSY_MS = 5000;
/** Milliseconds between two looks whether the files are those of the directory, and between syncs of the record of them. */
export const FILE_LOOK_MS = 1000;
/** Bytes of a database that are checked before it is opened: half a second at most. */
export const MAX_CHECKED_BYTES = 64 * 1024 * 1024;
/** Expired documents removed in one commit: about 10 ms. */
export const SWEEP_CHUNK = 256;

// --- Firestore (https://cloud.google.com/firestore/quotas) ---

/** Milliseconds that a read has: nobody who asks over HTTP waits longer for a page. */
export const FIRESTORE_READ_MS = 10_000;
/** Milliseconds that a transaction or a creation has as a whole, its reruns included. */
export const FIRESTORE_WRITE_MS = 20_000;
/** Milliseconds that a closing store gives to what is under way. */
export const FIRESTORE_CLOSE_MS = 5000;
/** Milliseconds to give back what a transaction that failed has locked. */
export const FIRESTORE_ROLLBACK_MS = 5000;
/** Times that one call is made when Firestore cannot be reached for a moment: a second in all, with the pauses. */
export const FIRESTORE_ATTEMPTS = 4;
/** Milliseconds before a call is made again, at first and at most. */
export const FIRESTORE_RETRY_MS = 50;
export const FIRESTORE_RETRY_MAX_MS = 1000;
/** Milliseconds before a transaction that was outrun runs again, at first and at most: the other has committed. */
export const FIRESTORE_CONFLICT_MS = 5;
export const FIRESTORE_CONFLICT_MAX_MS = 250;
/** Milliseconds that such a transaction waits for others of this process at the same document, before it goes on. */
export const FIRESTORE_TURN_MS = 1000;
/** Milliseconds between attempts to reconnect at most: a Firestore that is back is noticed this fast. */
export const FIRESTORE_RECONNECT_MAX_MS = 2000;
/** Calls on one connection: Google's front ends allow a hundred streams, the next waits unheard. */
export const FIRESTORE_CALLS_PER_CHANNEL = 100;
/** Calls and watches under way at the same time; beyond, callers are told `queue_full`. */
export const FIRESTORE_MAX_CALLS = 4000;
/** Watches of one store, each a stream that stays; the rest of the above is left to calls. */
export const FIRESTORE_MAX_WATCHES = 3000;
/** Milliseconds after which a connection in use is probed, and until a probe must be answered: a line may just be dead. */
export const FIRESTORE_KEEPALIVE_MS = 60_000;
export const FIRESTORE_KEEPALIVE_ANSWER_MS = 10_000;
/** Bytes of a document, its name and fields included. */
export const FIRESTORE_DOCUMENT_BYTES = 1024 * 1024;
/** Bytes of one field of a document. */
export const FIRESTORE_VALUE_BYTES = 1_048_487;
/** Bytes of all that one transaction writes. */
export const FIRESTORE_TRANSACTION_BYTES = 10 * 1024 * 1024;
/** Bytes of a document id, as it is encoded. */
export const FIRESTORE_ID_BYTES = 1500;
/** Index entries of one document: Firestore takes 40,000, and 8 MiB of them. */
export const FIRESTORE_INDEX_ENTRIES = 20_000;
/** Bytes of an index entry's key; longer ones are stored by their digest. Firestore takes 1,500 for a whole path. */
export const FIRESTORE_INDEX_KEY_BYTES = 500;
/** Documents asked for by id in one call. */
export const FIRESTORE_GET_BATCH = 1000;
/** Documents that a query asks for in one call; what it reads in vain is no more. */
export const FIRESTORE_SCAN_DOCS = 1000;
/** Documents up to which counting reads them, in one call; more are counted by Firestore, which takes two or three. */
export const FIRESTORE_COUNTED_BY_READING = 100;
/** Expired documents deleted in one call. */
export const FIRESTORE_SWEEP_BATCH = 250;
/** Milliseconds without a word from Firestore until a watch connects again; it speaks more often, when it is there. */
export const FIRESTORE_WATCH_IDLE_MS = 120_000;
/** Milliseconds before a watch that broke connects again, at first and at most. */
export const FIRESTORE_WATCH_RETRY_MS = 100;
export const FIRESTORE_WATCH_RETRY_MAX_MS = 5000;
/** Documents that one watch remembers to tell which are gone after a broken connection: 20 MB. */
export const FIRESTORE_WATCHED_DOCUMENTS = 100_000;

/** Characters of a topic or a pattern: what Pub/Sub gives a topic's name. */
export const MAX_TOPIC_LENGTH = 255;
/** Characters of a member's id in the name of its subscription; the topic has to fit behind it. */
export const MAX_MEMBER_IN_NAME = 120;
/** Characters of a subscription's name: what Pub/Sub gives it. */
export const MAX_SUBSCRIPTION_NAME_LENGTH = 255;
/** Patterns of one subscription. */
export const MAX_SUBSCRIPTION_PATTERNS = 1000;
/** Unacknowledged deliveries of one subscription; beyond, a publication that it matches is refused `queue_full`. */
export const MAX_SUBSCRIPTION_BACKLOG = 100_000;
/** Milliseconds between two counts of a backlog that was found full: a count reads up to 100,000 rows. */
export const BACKLOG_RECOUNT_MS = 60_000;
/** Milliseconds that an unacknowledged delivery is kept: 7 days, as in Pub/Sub. */
export const BUS_RETENTION_MS = 7 * 24 * 3600 * 1000;
/** Milliseconds before the second attempt, at most; doubles with each. */
export const BUS_BACKOFF_FIRST_MS = 250;
/** Milliseconds between attempts at most (layers.md: back-off is capped at 15 s). */
export const BUS_BACKOFF_MAX_MS = 15_000;
/** Attempts before a delivery becomes a dead letter: about three minutes with the back-off above. */
export const BUS_MAX_ATTEMPTS = 20;
/** Publications that wait for their commit; beyond, `queue_full`. */
export const MAX_QUEUED_PUBLICATIONS = 10_000;
/** Publications that share one transaction, and characters of them. */
export const MAX_PUBLISH_BATCH = 64;
export const MAX_PUBLISH_BATCH_CHARS = 1024 * 1024;
/** Characters up to which each delivery holds its own copy of the message; larger ones share one document. */
export const MAX_INLINE_MESSAGE_CHARS = 4096;
/** Deliveries of one consumer that wait out a back-off or an ordering key, besides those in flight. */
export const MAX_DELIVERIES_HELD = 1000;
/** Identifiers of fresh deliveries that a consumer remembers; beyond, it reads its backlog again. */
export const MAX_FRESH_DELIVERIES = 1000;
/** Deliveries read at a time from a backlog. */
export const BACKLOG_PAGE = 32;
/** Topics whose matching subscriptions are remembered. */
export const MAX_REMEMBERED_TOPICS = 10_000;
/** Documents removed at a time when a subscription goes. */
export const PURGE_CHUNK = 256;
/** Milliseconds that publication time is reserved ahead on disk, so that it never runs backwards after a restart. */
export const PUBLISH_TIME_RESERVE_MS = 60_000;
/** Milliseconds that time for orders is reserved ahead on disk, so that it never goes back after a restart. */
export const ORDER_TIME_RESERVE_MS = 60_000;
/** Levels of an object attribute whose scalar members are indexed for filters. */
export const INDEXED_DEPTH = 3;
/** Milliseconds that a message is tried before it expires, unless it says otherwise: 7 days. */
export const MESSAGE_TTL_MS = 7 * 24 * 60 * 60 * 1000;
/** Milliseconds that a receipt is remembered: longer than any sender tries, so that no retry is taken for new. */
export const RECEIPT_TTL_MS = 8 * 24 * 60 * 60 * 1000;
/** Milliseconds that an inbox entry is kept: 30 days. */
export const INBOX_TTL_MS = 30 * 24 * 60 * 60 * 1000;
/** Entries of one member's inbox; a sender beyond that gets an error reply and tries again later. */
export const DEFAULT_INBOX_LIMIT = 100_000;
/** Bytes of the entries of one member's inbox, by default (`CMBS_INBOX_BYTES`): a few members fit on a laptop's disk. */
export const DEFAULT_INBOX_BYTES = 256 * 1024 * 1024;
/** Milliseconds until a full inbox is measured again, and the part of the time, one in so many, that this may take. */
export const INBOX_MEASURE_MS = 1000;
export const INBOX_MEASURE_SHARE = 20;
/** Milliseconds until a full inbox is measured again at the latest, however long that took the last time. */
export const INBOX_MEASURE_MAX_MS = 60_000;
/** Milliseconds for which a measurement of an inbox that is not full counts: others may write to it, too. */
export const INBOX_MEASURED_FOR_MS = 600_000;
/** Sends queued for one receiver's address; beyond that a send is 429 with Retry-After. */
export const DEFAULT_QUEUE_LIMIT = 10_000;
/** Queues that one send looks at together: it may have a thousand receivers, and a transaction 20 s. */
export const QUEUE_COUNT_CONCURRENCY = 32;
/** Broadcasts kept in order for one peer whose subscription is not up (layers.md, L2). */
export const MAX_WAITING_BROADCASTS = 1000;
/** Characters of a socket's address: `tcp://`, the 253 of a DNS name, a port; paths of Unix sockets are shorter. */
export const MAX_ADDRESS_LENGTH = 300;
/** Characters of the description of a member, and topics or neighbours in it: a thousand members are held in memory. */
export const MAX_DESCRIPTION_CHARS = 16 * 1024;
export const MAX_DESCRIBED_NAMES = 256;
/**
 * Members that this deployment was only told of: half of what one message may reach, so that those which answer have
 * room. Characters of their descriptions: an honest one has less than a thousand.
 */
export const MAX_STRANGERS = 500;
export const MAX_STRANGERS_CHARS = 2 * 1024 * 1024;
/** Known members that are asked at the same time whether what others say of them is true: each may keep us for 4 s. */
export const VERIFICATION_CONCURRENCY = 4;
/** Known members of which something is to be found out, or was just now: as many as are learnt. */
export const MAX_VERIFICATIONS = 1000;
/** Milliseconds until a member is asked again for what somebody else says, at first and at most. */
export const VERIFICATION_FIRST_MS = 10_000;
export const VERIFICATION_MAX_MS = 15 * 60_000;
/**
 * What is remembered of combinations of a kind and mixins, which clients choose: combinations, and what they hold, in
 * attributes and actions (about 100 bytes each) and in characters of their names.
 */
export const MAX_REMEMBERED_COMBINATIONS = 1000;
export const MAX_REMEMBERED_MEMBERS = 50_000;
export const MAX_REMEMBERED_NAME_CHARS = 1024 * 1024;
/** Members that one message may name or reach: one send document holds an entry for each. */
export const MAX_RECEIVERS = 1000;
/** Topics that one message may name. */
export const MAX_TOPICS = 100;
/** Milliseconds of the first and the longest pause between two attempts of one send (layers.md, Messages). */
export const BACKOFF_FIRST_MS = 500;
export const BACKOFF_MAX_MS = 15_000;
/** Seconds that a send action waits for the outcome when `Prefer: wait` is absent. */
export const DEFAULT_SEND_WAIT_S = 10;
/** Members that a topic message may pass from deployment to deployment. */
export const MAX_HOPS = 8;

// --- Service modules ---

/** Calls looked at together for those that a crash cut off. */
export const MAX_RUNS_RECOVERED = 10_000;
/** Milliseconds beyond its deadline after which a call without an answer counts as cut off, whoever runs it. */
export const RUN_GRACE_MS = 30_000;
/** Milliseconds that a call of a service method has: the caller hears of it before a socket's handler is cut off. */
export const SERVICE_CALL_DEADLINE_MS = 25_000;
/** Characters of a name from outside that an error repeats. */
export const MAX_SHOWN_NAME_LENGTH = 200;
/** Inbox entries looked at for one page of free ones. */
export const MAX_INBOX_SCAN = 10_000;
/** Entries on a page of an inbox when `number` is absent, and at most. */
export const DEFAULT_INBOX_PAGE = 100;
export const MAX_INBOX_PAGE = 1000;
/** Seconds of the lease on an inbox entry that was read, when `?lease=` is absent, and at most. */
export const DEFAULT_LEASE_S = 30;
export const MAX_LEASE_S = 12 * 60 * 60;
/** Milliseconds between two comments on an event stream, so that nobody between closes it as idle. */
export const EVENT_STREAM_HEARTBEAT_MS = 15_000;
/** Milliseconds that an inbox waits at most before it looks again: leases end without a change in the store. */
export const INBOX_POLL_MS = 1000;
/** Milliseconds that a function waits for the companion where the caller names no time. */
export const LINK_TIMEOUT_MS = 25_000;
/** Milliseconds beyond the caller's wait that the companion may take to say how far it is. */
export const LINK_MARGIN_MS = 1000;
/** L1 sockets that a reply lists. */
export const MAX_SOCKETS_LISTED = 1000;
/**
 * Receipts of messages that may not be stored, answered and not written yet: fewer than may wait for a commit
 * (`MAX_QUEUED_COMMITS`), so that a flood of them leaves room for others.
 */
export const MAX_UNWRITTEN_RECEIPTS = 4000;
/** Milliseconds that such a receipt waits for others: one commit for each would take longer than the rest of it. */
export const LATE_RECEIPT_MS = 5;
/**
 * Characters of a frame of which the store may be trusted to take the receipt: as JSON inside JSON it grows six times at
 * most, and stays below Firestore's limit. A larger one is written before it is answered.
 */
export const MAX_UNCHECKED_RECEIPT_CHARS = 128 * 1024;
/** Requests in flight to one peer; more wait in order. */
export const DESTINATION_WINDOW = 128;
/** Bytes of the same; a larger message goes alone. */
export const DESTINATION_BYTES = 4 * 1024 * 1024;
/** Broadcasts to one peer that are made ready together. */
export const BROADCASTS_AHEAD = 32;
/** Outbound messages that one destination queue holds in memory; it reads on from the store when half are left. */
export const DESTINATION_HELD = 256;
/** Characters of outbound messages that one read for a destination brings, about. */
export const MAX_READ_CHARS = 4 * 1024 * 1024;
/** Outbound messages that all of them hold in memory; beyond, each reads one at a time. */
export const MAX_HELD = 10_000;
/** Outbound messages that wait in memory for the topic bus; the others stay in the store until there is room for half. */
export const MAX_HELD_PUBLICATIONS = 2000;
/** Topics that the bus refuses of which a companion knows; the oldest leave first, and are asked sooner then. */
export const MAX_REFUSED_TOPICS = 10_000;
/** Messages at the same time up to which a topic that refused is tried with care; beyond, it takes what there is. */
export const TOPIC_OPEN_AFTER = 64;
/** Bytes of frames that are on their way to any peers, or will be at once. */
export const MAX_OUTGOING_BYTES = 128 * 1024 * 1024;
/** One part in so many of them is for peers that have failed: those that hang must leave room for those that answer. */
export const FAILING_PARTS = 4;
/** Milliseconds until an attempt without reply is given up, and attempts before the queue backs off (Lazy Pirate). */
export const ATTEMPT_TIMEOUT_MS = 5000;
export const ATTEMPTS_IN_A_ROW = 3;
/** Milliseconds that a broadcast waits for a subscription that is on its way before the sender is told "waiting". */
export const SUBSCRIPTION_GRACE_MS = 500;
/** Milliseconds until the connection to a peer is closed that nothing was sent to. */
export const DESTINATION_IDLE_MS = 60_000;
/** Milliseconds after which an absent destination asks the store whether anything waits for it still. */
export const DESTINATION_RECHECK_MS = 10 * 60_000;
/** Connections to peers at the same time: three or four descriptors each. */
export const MAX_CONNECTIONS_OUT = 1024;
/** Of those, attempts to connect at the same time, and failed ones that go on trying by themselves every 2 s. */
export const MAX_PROBES = 128;
export const MAX_LINGERING = 32;
/** Milliseconds that an attempt to connect has while others wait for their turn. */
export const PROBE_MS = 1000;
/**
 * Attempts to connect to absent peers in one tick of so many milliseconds, when nobody sends to them: 1,500 have their
 * turn within a minute and a half.
 */
export const PROBES_PER_TICK = 16;
export const PROBE_TICK_MS = 1000;
/** Deliveries of one bus subscription in hand at the same time. */
export const MAX_BUS_IN_FLIGHT = 64;
/** Neighbours asked at the same time, sockets asked in one discovery, milliseconds and attempts for each. */
export const DISCOVERY_CONCURRENCY = 16;
export const MAX_DISCOVERED_SOCKETS = 1000;
export const DISCOVERY_TIMEOUT_MS = 2000;
export const DISCOVERY_ATTEMPTS = 2;
/** Milliseconds of one discovery: less than its caller waits, so that the report still reaches it. */
export const DISCOVERY_BUDGET_MS = LINK_TIMEOUT_MS - LINK_MARGIN_MS;
/** Milliseconds that a stopping companion gives to what is in flight; Ctrl-C ends everything within two seconds. */
export const COMPANION_DRAIN_MS = 1200;
/** Milliseconds that it gives to writing down how far it is, after that. */
export const COMPANION_WRITE_MS = 2000;
/** Bytes of the headers of a request: Node's own default, and what proxies allow. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Connections of clients at the same time. */
export const MAX_CONNECTIONS = 10_000;
/** Bytes of a body over the limit that are read and forgotten, so that its sender can read the answer. */
export const MAX_DISCARDED_BYTES = 64 * 1024 * 1024;
/** Bytes of answers that clients have not read; beyond, those who have not read for longest are dropped. */
export const MAX_UNREAD_BYTES = 128 * 1024 * 1024;
/** Milliseconds without a byte in either direction until a connection is closed: more than any wait that may be asked for. */
export const CONNECTION_IDLE_MS = 90_000;
/** Seconds that a browser remembers the answer to a preflight: a change of `CMBS_ALLOWED_ORIGINS` shows as soon. */
export const CORS_MAX_AGE_S = 600;
/** Pipelined requests of one connection that are not answered; each may wait for a minute. */
export const MAX_REQUESTS_PER_CONNECTION = 1000;
/** Milliseconds that a stopping gateway gives to requests in hand; less than the two seconds of Ctrl-C. */
export const GATEWAY_GRACE_MS = 1500;
/** Milliseconds between two looks for expired documents, and documents removed in one transaction. */
export const SWEEP_INTERVAL_MS = 60_000;
export const SWEEP_LIMIT = 500;
/** Milliseconds that a deployed function works on a request: the longest wait that may be asked for, and a margin. */
export const FUNCTION_DEADLINE_MS = (MAX_WAIT_S + 5) * 1000;
/** Milliseconds after its deadline that a handler has to stop; then the function answers without it. */
export const FUNCTION_ANSWER_GRACE_MS = 2000;
/** Milliseconds that a send to topics waits for the bus at least, whatever its caller says: a function that has answered may stand still. */
export const PUBLISH_PATIENCE_MS = 1000;
/** Milliseconds that a function has to publish what it queued before the companion does it in its place. */
export const PUBLICATION_GRACE_MS = 5000;
/** Milliseconds that a message which was given up is kept: 30 days. */
export const DEAD_LETTER_TTL_MS = 30 * 24 * 60 * 60 * 1000;
/** Attempts of one send that a receiver may answer with a fault of its own before the send is given up. */
export const MAX_INTERNAL_ATTEMPTS = 5;
/** Attempts of one send at which a peer's connection may break before the send is given up: the peer may die of it. */
export const MAX_BROKEN_ATTEMPTS = 5;
/** Addresses of which it is remembered what program answers there. */
export const MAX_KNOWN_PEERS = 10_000;
/** Receivers that a frame names, so that no other member at their address takes it; a frame for more names none. */
export const MAX_NAMED_RECEIVERS = 20;

// --- Pub/Sub (cloud.google.com/pubsub/quotas) ---

/** Characters of the name of a topic or subscription in Pub/Sub. */
export const MAX_PUBSUB_NAME_LENGTH = 255;
/** Bytes of one publication, attributes included: Pub/Sub's 10 MB for a request, less what wraps it. */
export const MAX_PUBLICATION_BYTES = 9_990_000;
/** Bytes of publications that wait for Pub/Sub; beyond, `queue_full`. */
export const MAX_QUEUED_PUBLICATION_BYTES = 128 * 1024 * 1024;
/** Attributes of a publication, bytes of the name and of the value of one, bytes of an ordering key. */
export const MAX_PUBLICATION_ATTRIBUTES = 100;
export const MAX_ATTRIBUTE_NAME_BYTES = 256;
export const MAX_ATTRIBUTE_VALUE_BYTES = 1024;
export const MAX_ORDERING_KEY_BYTES = 1024;
/** Milliseconds that a call of Pub/Sub has; its client would try for ten minutes (DESIGN decision 24). */
export const PUBSUB_DEADLINE_MS = 10_000;
/** Milliseconds that a publication waits for others to share a request. */
export const PUBLISH_GATHER_MS = 1;
/** Messages, and bytes of them, that one stream of a subscription brings before some are settled. */
export const STREAM_MESSAGES = 64;
export const STREAM_BYTES = 8 * 1024 * 1024;
/** Of those, how many may wait out a back-off without an ordering key; the others go back to Pub/Sub. */
export const STREAM_BACKING_OFF = 32;
/**
 * Bytes of deliveries in hand, of all consumers of a process: in the 2 GB of an `e2-small` they may be there twice more,
 * as what is on its way ({@link STREAMS_BYTES}) and as text in the handlers, beside sockets, caches and the system.
 */
export const DELIVERIES_BYTES = 64 * 1024 * 1024;
/** One consumer may hold one part in so many of what is free of them: more than a stream, and thirty are no dead end. */
export const BUDGET_PARTS = 4;
/** Bytes that a delivery takes besides its data and attributes: its objects, its lease, its timers. */
export const DELIVERY_OVERHEAD_BYTES = 2048;
/**
 * Bytes that all open streams of a process may bring before some are settled. The next one is promised one part in so
 * many of what is left, and no less than the least: enough for 5 MB a second where an answer takes ten milliseconds.
 */
export const STREAMS_BYTES = 64 * 1024 * 1024;
export const STREAMS_PARTS = 8;
export const STREAM_LEAST_BYTES = 64 * 1024;
/** Milliseconds between two streams that one consumer opens: each may bring much, and what it brings has to be seen. */
export const STREAM_OPENING_MS = 10;
/** Milliseconds that a full consumer settles nothing until its streams are closed, with all that is on its way. */
export const STALLED_MS = 1000;
/** Bytes of one answer on a stream: a message of 10 MB, or several, and what wraps them. */
export const MAX_PULL_RESPONSE_BYTES = 20 * 1024 * 1024;
/** Bytes of the body of a push: a publication of 10 MB in base64, its attributes, and what wraps them. */
export const MAX_PUSH_BODY_BYTES = 14 * 1024 * 1024;
/** Attributes of a pushed message: Pub/Sub's hundred, and those that it adds to dead letters. */
export const MAX_PUSH_ATTRIBUTES = 120;
/** Streams on one connection: Google's servers take 100. */
export const STREAMS_PER_CONNECTION = 90;
/** Milliseconds between two signs of life on a stream; Pub/Sub closes one that is silent for about a minute and a half. */
export const STREAM_KEEP_ALIVE_MS = 30_000;
/**
 * Milliseconds that a stream which is closed has to bring what was on its way. Far more than a round trip; what does not
 * come by then comes again when its lease has run out.
 */
export const STREAM_FINISH_MS = 2000;
/** Seconds until Pub/Sub offers a message again whose reader fell silent; a reader that lives extends that. */
export const PUBSUB_ACK_DEADLINE_S = 30;
/** Seconds before a message that was handed back is offered again, at first and at most. */
export const PUBSUB_RETRY_FIRST_S = 1;
export const PUBSUB_RETRY_MAX_S = 15;
/**
 * Deliveries after which Pub/Sub itself gives a message up. The consumer gives up first ({@link BUS_MAX_ATTEMPTS});
 * this is for one whose process dies of it each time, and for pushes: 25 minutes with the pauses above.
 */
export const PUBSUB_MAX_DELIVERIES = 100;
/** Milliseconds without a message until the subscription to a topic that is not wanted any more counts as read to its end. */
export const RETIRED_IDLE_MS = 60_000;
/** Milliseconds between two looks at subscriptions that are pushed: until one that was deleted from outside is back. */
export const PUSH_CHECK_MS = 5 * 60_000;
/** Calls of Pub/Sub's administration under way at the same time. */
export const PUBSUB_ADMIN_CONCURRENCY = 16;
/** Milliseconds between two looks at what is read in one call, in case a listener missed something. */
export const WATCH_FALLBACK_MS = 60_000;
/** Milliseconds between a companion's looks at all members, topics, all that is desired and queued, for the same. */
export const COMPANION_LOOK_MS = 5 * 60_000;

// --- Between the parts of a deployment ---

/** Characters of an identity token: Google's have about 1,200. */
export const MAX_TOKEN_LENGTH = 8192;
/** Milliseconds to fetch a token, or the keys that check one. */
export const IDENTITY_DEADLINE_MS = 5000;
/** Seconds that a token of a local key is valid. */
export const LOCAL_TOKEN_S = 300;
/** Milliseconds without renewal after which a waiting companion takes a shard over. */
export const LEASE_TTL_MS = 12_000;
/** Milliseconds before that at which the holder has let go: it closes its sockets within them. */
export const LEASE_MARGIN_MS = 4000;
/** Milliseconds between renewals, and from one that failed to the next. */
export const LEASE_RENEW_MS = 2500;
export const LEASE_RETRY_MS = 250;
/** Milliseconds that a look at a lease, or its renewal, may take: two that hang leave time for a third. */
export const LEASE_CALL_MS = 2000;
/** Milliseconds after which whoever holds a lease says so again in the log: once a minute with some to spare. */
export const LEASE_TELL_MS = 45_000;
/** Milliseconds after which a waiting companion looks again, where nothing tells it of a change. */
export const LEASE_POLL_MS = 2000;
/** Milliseconds after which a function compares the categories that it remembers with the store's. */
export const CATEGORIES_MAX_AGE_MS = 2000;
/** Milliseconds that a function believes a lease that it has read; a call that does not get through reads it again. */
export const LEASE_CACHE_MS = 30_000;
/** Milliseconds for a companion to say that it is ready. */
export const LINK_PING_MS = 3000;
/** Bytes of a call to the control endpoint: its arguments are a few identifiers. */
export const MAX_CONTROL_BODY_BYTES = 64 * 1024;
/** Milliseconds that a call to the control endpoint may take at most, whatever its caller says. */
export const MAX_CONTROL_CALL_MS = 65_000;
/** Milliseconds that a companion in a container has to finish what is in flight after SIGTERM, of ten seconds in all. */
export const CONTAINER_DRAIN_MS = 4500;
/** Milliseconds of them for the bus, and for the store, to be closed when everything else is. */
export const BUS_CLOSE_MS = 1000;
export const STORE_CLOSE_MS = 500;
/** Milliseconds that a part which is told to stop has, before it is killed: what a container gets. */
export const CLOUD_STOP_MS = 10_000;

// --- The process and its supervisor ---

/** Megabytes of memory of one process (`CMBS_MEMORY_LIMIT_MB`): idle takes 75, all other bounds together far below this. */
export const DEFAULT_MEMORY_LIMIT_MB = 1024;
/** The least of the same: a busy stack needs so much. */
export const LEAST_MEMORY_LIMIT_MB = 192;
/** Part of it that V8's heap may take; buffers and native code need the rest. */
export const HEAP_SHARE = 0.75;
/** Milliseconds between two looks at the memory, and looks in a row that have to be above the limit. */
export const MEMORY_LOOK_MS = 500;
export const MEMORY_LOOKS = 2;
/** Milliseconds that an orderly stop has then. */
export const MEMORY_STOP_MS = 3000;
/** Milliseconds before the second of several restarts in a row, at first, and at most where the stack had been ready. */
export const RESTART_FIRST_MS = 250;
export const RESTART_READY_MAX_MS = 1000;
/** The same, at most, where the stack was not ready; after so many of them in a row the supervisor gives up. */
export const RESTART_MAX_MS = 15_000;
export const MAX_FAILED_STARTS = 10;
/** Milliseconds between two looks of a supervisor whether the process that started it is still there. */
export const PARENT_LOOK_MS = 500;
/** Milliseconds after which a stack counts as well, and its next death as the first. */
export const SUPERVISED_STABLE_MS = 10_000;

/**
 * Calls to Firestore, each with a deadline that is told to the server, cancelled when its caller gives up, and made
 * once: what is repeated, and when, is decided above, where it is known what a repetition would do.
 *
 * This is the gRPC stub of Google's client, not the client's own `Firestore` class. That one repeats calls for minutes
 * of itself, deaf to the caller; it repeats a `create` whose answer was lost, finds its own document and reports that
 * somebody else's was there; its listeners keep every document in memory; and its `terminate()` waits for a server that
 * does not answer.
 */
import { v1 } from '@google-cloud/firestore';
import { grpc } from 'google-gax';
import { CmbsError } from '../../errors';
import { FIRESTORE_RETRY_MS } from './limits';
import { type Deadline } from './deadline';
import { closedError, type DatabaseName, fullError } from './errors';
import { type ListenRequest, type ListenResponse, type StreamMethods, type UnaryMethods } from './protocol';
import { withinDeadline } from '../giving-up';

/** Milliseconds between attempts to reconnect at most: a Firestore that is back is noticed this fast. */
const FIRESTORE_RECONNECT_MAX_MS = 2000;
/** Calls on one connection: Google's front ends allow a hundred streams, the next waits unheard. */
export const FIRESTORE_CALLS_PER_CHANNEL = 100;
/** Calls and watches under way at the same time; beyond, callers are told `queue_full`. */
const FIRESTORE_MAX_CALLS = 4000;
/** Milliseconds after which a connection in use is probed, and until a probe must be answered: a line may just be dead. */
const FIRESTORE_KEEPALIVE_MS = 60_000;
const FIRESTORE_KEEPALIVE_ANSWER_MS = 10_000;

export interface FirestoreClientOptions {
  /** By default that of the credentials; {@link EMULATOR_PROJECT} at an emulator. */
  readonly projectId?: string | undefined;
  readonly databaseId?: string | undefined;
  /** `host:port` of an emulator, by default what `FIRESTORE_EMULATOR_HOST` names; without, Firestore itself is used. */
  readonly emulatorHost?: string | undefined;
}

/** An emulator has every project whose name begins with `demo-`. */
export const EMULATOR_PROJECT = 'demo-cmbs';
export const DEFAULT_DATABASE = '(default)';

/** An emulator takes this token for somebody who may do everything. */
const EMULATOR_TOKEN = 'Bearer owner';

const NO_PROJECT = 'The Google Cloud project is not known; set GOOGLE_CLOUD_PROJECT.';
const NO_CREDENTIALS =
  'This program has no Google Cloud credentials; run it as a service account, or log in with ' +
  '`gcloud auth application-default login`.';

export interface Listener {
  readonly onResponse: (response: ListenResponse) => void;
  /** Called once: there are no more responses. With what failed, or undefined. */
  readonly onEnd: (error: unknown) => void;
}

export interface Listening {
  end(): void;
}

// What the client makes for its service: functions that make calls.
type UnaryStub = {
  readonly [M in keyof UnaryMethods]: (
    request: UnaryMethods[M]['request'],
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: (error: grpc.ServiceError | null, response: UnaryMethods[M]['response']) => void,
  ) => grpc.ClientUnaryCall;
};
type StreamStub = {
  readonly [M in keyof StreamMethods]: (
    request: StreamMethods[M]['request'],
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
  ) => grpc.ClientReadableStream<StreamMethods[M]['response']>;
};
interface ListenStub {
  readonly listen: (metadata: grpc.Metadata) => grpc.ClientDuplexStream<ListenRequest, ListenResponse>;
}
type Stub = UnaryStub & StreamStub & ListenStub;

type Client = InstanceType<typeof v1.FirestoreClient>;

/** One HTTP/2 connection. */
class Channel {
  readonly #make: () => Client;
  #client: Client;
  /** Calls on it now. */
  calls = 0;

  constructor({ projectId, emulatorHost }: FirestoreClientOptions) {
    this.#make = () =>
      new v1.FirestoreClient({
        ...(projectId === undefined ? {} : { projectId }),
        ...(emulatorHost === undefined ? KEEPALIVE : emulatorOptions(emulatorHost)),
        // Otherwise all channels of a process share one connection.
        'grpc.use_local_subchannel_pool': 1,
        'grpc.initial_reconnect_backoff_ms': FIRESTORE_RETRY_MS,
        'grpc.min_reconnect_backoff_ms': FIRESTORE_RETRY_MS,
        'grpc.max_reconnect_backoff_ms': FIRESTORE_RECONNECT_MAX_MS,
      });
    this.#client = this.#make();
  }

  /** Reads the credentials at first. */
  async stub(): Promise<Stub> {
    const client = this.#client;
    try {
      // The client's own type for it is no more than "an object of functions".
      return (await client.initialize()) as unknown as Stub;
    } catch (error) {
      // A client remembers for ever that there were no credentials.
      if (this.#client === client) this.#client = this.#make();
      throw error;
    }
  }

  async projectId(): Promise<string> {
    return this.#client.getProjectId();
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
}

/** Not for emulators, which take frequent probes for an attack. */
const KEEPALIVE = {
  'grpc.keepalive_time_ms': FIRESTORE_KEEPALIVE_MS,
  'grpc.keepalive_timeout_ms': FIRESTORE_KEEPALIVE_ANSWER_MS,
};

function emulatorOptions(host: string): Record<string, unknown> {
  const colon = host.lastIndexOf(':');
  return {
    servicePath: host.slice(0, colon),
    port: Number(host.slice(colon + 1)),
    sslCreds: grpc.credentials.createInsecure(),
    // Said beforehand, or the client asks the metadata server of a cloud that is not there.
    clientOptions: { universeDomain: 'googleapis.com' },
  };
}

export class FirestoreClient {
  readonly isEmulator: boolean;
  readonly #options: FirestoreClientOptions;
  readonly #databaseId: string;
  #channels: Channel[] = [];
  /** Ends each call that is under way. */
  readonly #underWay = new Set<() => void>();
  #database: string | undefined;
  #metadata: grpc.Metadata | undefined;
  #closed = false;

  /** Connects when the first call is made. */
  constructor(options: FirestoreClientOptions) {
    const { databaseId = DEFAULT_DATABASE, emulatorHost } = options;
    this.isEmulator = emulatorHost !== undefined;
    const projectId = options.projectId ?? (this.isEmulator ? EMULATOR_PROJECT : undefined);
    this.#options = { ...options, projectId };
    this.#databaseId = databaseId;
    if (projectId !== undefined) this.#database = databaseName(projectId, databaseId);
  }

  /** For messages. */
  get names(): DatabaseName {
    return { project: this.#options.projectId ?? '(of the credentials)', database: this.#databaseId };
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** `projects/…/databases/…`. Rejects with `unavailable` when nothing says which project it is. */
  async database(bounds: Deadline): Promise<string> {
    if (this.#database !== undefined) return this.#database;
    const channel = this.#channels[0] ?? this.#openChannel();
    const projectId = await prepared(bounds, NO_PROJECT, () => channel.projectId());
    this.#database = databaseName(projectId, this.#databaseId);
    return this.#database;
  }

  async call<M extends keyof UnaryMethods>(
    method: M,
    request: UnaryMethods[M]['request'],
    bounds: Deadline,
  ): Promise<UnaryMethods[M]['response']> {
    const { stub, metadata, release } = await this.#acquire(bounds);
    try {
      return await new Promise<UnaryMethods[M]['response']>((resolve, reject) => {
        const unary: UnaryStub = stub;
        const call = unary[method](request, metadata, optionsFor(bounds), (error, response) => {
          forget();
          if (error === null) resolve(response);
          else reject(error);
        });
        const forget = this.#whileUnderWay(() => call.cancel(), bounds.signal);
      });
    } finally {
      release();
    }
  }

  /** The responses as they arrive; who stops reading ends the call. */
  async *stream<M extends keyof StreamMethods>(
    method: M,
    request: StreamMethods[M]['request'],
    bounds: Deadline,
  ): AsyncGenerator<StreamMethods[M]['response'], void, undefined> {
    const { stub, metadata, release } = await this.#acquire(bounds);
    const streams: StreamStub = stub;
    const call = streams[method](request, metadata, optionsFor(bounds));
    // Cancelled, it fails once more when nobody listens any longer.
    call.on('error', () => undefined);
    const forget = this.#whileUnderWay(() => call.cancel(), bounds.signal);
    try {
      yield* call as AsyncIterable<StreamMethods[M]['response']>;
    } finally {
      forget();
      call.cancel();
      release();
    }
  }

  /** Listens until it is ended or fails. Nothing of it bounds the silence; the listener does. */
  async listen(request: ListenRequest, { onResponse, onEnd }: Listener, bounds: Deadline): Promise<Listening> {
    const { stub, metadata, release } = await this.#acquire(bounds);
    const call = stub.listen(metadata);
    const forget = this.#whileUnderWay(() => call.cancel(), undefined);
    let hasEnded = false;
    const finish = (error: unknown): void => {
      if (hasEnded) return;
      hasEnded = true;
      forget();
      release();
      onEnd(error);
    };
    call.on('data', (response: ListenResponse) => {
      if (!hasEnded) onResponse(response);
    });
    call.on('error', finish);
    call.on('end', () => finish(undefined));
    call.write(request);
    return {
      end: () => {
        finish(undefined);
        call.cancel();
      },
    };
  }

  /** Takes a place on a channel; `release` gives it back. */
  async #acquire(bounds: Deadline): Promise<{
    readonly stub: Stub;
    readonly metadata: grpc.Metadata;
    readonly release: () => void;
  }> {
    if (this.#closed) throw closedError();
    bounds.assertWanted();
    const database = await this.database(bounds);
    const channel = this.#channels.find(hasRoom) ?? this.#openChannel();
    channel.calls += 1;
    const release = (): void => this.#release(channel);
    try {
      const stub = await prepared(bounds, NO_CREDENTIALS, () => channel.stub());
      if (this.isClosed) throw closedError();
      this.#metadata ??= this.#metadataFor(database);
      return { stub, metadata: this.#metadata, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #openChannel(): Channel {
    if (this.#channels.length * FIRESTORE_CALLS_PER_CHANNEL >= FIRESTORE_MAX_CALLS) {
      throw fullError();
    }
    const channel = new Channel(this.#options);
    this.#channels.push(channel);
    return channel;
  }

  /** One without calls goes when the others have room for as many as it: calls fill the first of them. */
  #release(channel: Channel): void {
    channel.calls -= 1;
    if (channel.calls > 0) return;
    const others = this.#channels.filter((other) => other !== channel);
    const room = others.reduce((sum, { calls }) => sum + FIRESTORE_CALLS_PER_CHANNEL - calls, 0);
    if (room < FIRESTORE_CALLS_PER_CHANNEL) return;
    this.#channels = others;
    void closeQuietly(channel);
  }

  #metadataFor(database: string): grpc.Metadata {
    const metadata = new grpc.Metadata();
    // Both name the database, for Google's front ends to route by.
    metadata.set('google-cloud-resource-prefix', database);
    metadata.set('x-goog-request-params', `database=${encodeURIComponent(database)}`);
    if (this.isEmulator) metadata.set('authorization', EMULATOR_TOKEN);
    return metadata;
  }

  #whileUnderWay(cancel: () => void, signal: AbortSignal | undefined): () => void {
    this.#underWay.add(cancel);
    if (signal?.aborted === true) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
    return () => {
      this.#underWay.delete(cancel);
      signal?.removeEventListener('abort', cancel);
    };
  }

  /** Ends all calls and closes the connections, whether or not anybody answers at their other ends. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const cancel of [...this.#underWay]) cancel();
    const channels = this.#channels;
    this.#channels = [];
    await Promise.all(channels.map(closeQuietly));
  }
}

function hasRoom({ calls }: Channel): boolean {
  return calls < FIRESTORE_CALLS_PER_CHANNEL;
}

/** Fails only for a client that never had a connection. */
async function closeQuietly(channel: Channel): Promise<void> {
  await channel.close().catch(() => undefined);
}

/** What the client does before it can call: it reads credentials, and may ask the metadata server of a cloud. */
async function prepared<T>(bounds: Deadline, failure: string, task: () => Promise<T>): Promise<T> {
  try {
    return await withinDeadline(task, bounds.signal, bounds.left, () => new CmbsError('unavailable', failure));
  } catch (error) {
    throw error instanceof CmbsError ? error : new CmbsError('unavailable', failure, { cause: error });
  }
}

function databaseName(projectId: string, databaseId: string): string {
  return `projects/${projectId}/databases/${databaseId}`;
}

function optionsFor(bounds: Deadline): grpc.CallOptions {
  return { deadline: Date.now() + bounds.left };
}

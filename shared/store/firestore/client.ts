/**
 * Calls to Firestore over the gRPC stub of Google's client. Each call has a deadline, which the server is told too, is
 * cancelled with its caller's signal, and is made once: the callers here know whether it may be repeated.
 *
 * Google's own `Firestore` class is not used for these reasons, each with its test in `test/cloud/store-faults.test.ts`:
 * - It retries for minutes, whatever the caller's deadline or signal ("does not answer").
 * - It repeats a `create` whose answer was lost, finds its own document, and reports a conflict ("an answer is lost").
 * - Its `terminate()` waits for a server that does not answer ("closes all the same").
 * - Its listeners keep every document in memory; ours keep ids and times (`listen.ts`).
 */
import { v1 } from '@google-cloud/firestore';
import { grpc } from 'google-gax';
import { CmbsError } from '../../errors';
import { FIRESTORE_RETRY_MS } from './limits';
import { type Deadline } from './deadline';
import { closedError, type DatabaseName, fullError } from './errors';
import { type ListenRequest, type ListenResponse, type StreamMethods, type UnaryMethods } from './protocol';
import { withinDeadline } from '../cancellation';

/** Milliseconds between two attempts to reconnect, at most. */
const FIRESTORE_RECONNECT_MAX_MS = 2000;
/** Calls on one connection: Google's front ends allow a hundred streams; further ones wait in the client, unseen. */
export const FIRESTORE_CALLS_PER_CHANNEL = 100;
/** Milliseconds after which a connection in use is probed, and in which the probe must be answered. */
const FIRESTORE_KEEPALIVE_MS = 60_000;
const FIRESTORE_KEEPALIVE_ANSWER_MS = 10_000;

export interface FirestoreClientOptions {
  /** Default: the project of the credentials; with an emulator {@link EMULATOR_PROJECT}. */
  readonly projectId?: string | undefined;
  readonly databaseId?: string | undefined;
  /** `host:port` of an emulator. Default: `FIRESTORE_EMULATOR_HOST`; without either, Firestore itself. */
  readonly emulatorHost?: string | undefined;
}

/** An emulator has every project whose name begins with `demo-`. */
export const EMULATOR_PROJECT = 'demo-cmbs';
export const DEFAULT_DATABASE = '(default)';

/** With this token the emulator checks no security rules. */
const EMULATOR_TOKEN = 'Bearer owner';

const NO_PROJECT = 'The Google Cloud project is not known; set GOOGLE_CLOUD_PROJECT.';
const NO_CREDENTIALS =
  'This program has no Google Cloud credentials; run it as a service account, or log in with ' +
  '`gcloud auth application-default login`.';

export interface Listener {
  readonly onResponse: (response: ListenResponse) => void;
  /** Called once, after the last response; with the error when there was one. */
  readonly onEnd: (error: unknown) => void;
}

export interface Listening {
  end(): void;
}

// The methods of the stub.
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
  /** Calls under way. */
  calls = 0;

  constructor({ projectId, emulatorHost }: FirestoreClientOptions) {
    this.#make = () =>
      new v1.FirestoreClient({
        ...(projectId === undefined ? {} : { projectId }),
        ...(emulatorHost === undefined ? KEEPALIVE : emulatorOptions(emulatorHost)),
        // Without this, all channels of a process share one connection.
        'grpc.use_local_subchannel_pool': 1,
        'grpc.initial_reconnect_backoff_ms': FIRESTORE_RETRY_MS,
        'grpc.min_reconnect_backoff_ms': FIRESTORE_RETRY_MS,
        'grpc.max_reconnect_backoff_ms': FIRESTORE_RECONNECT_MAX_MS,
      });
    this.#client = this.#make();
  }

  /** The first call reads the credentials. */
  async stub(): Promise<Stub> {
    const client = this.#client;
    try {
      // The client's type for the stub is an object of any functions.
      return (await client.initialize()) as unknown as Stub;
    } catch (error) {
      // A client without credentials never looks for them again.
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

/** Not with an emulator, which closes connections with frequent probes. */
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
    // Without this, the client asks a metadata server, which a laptop does not have.
    clientOptions: { universeDomain: 'googleapis.com' },
  };
}

export class FirestoreClient {
  readonly isEmulator: boolean;
  readonly #options: FirestoreClientOptions;
  readonly #maxCalls: number;
  readonly #databaseId: string;
  #channels: Channel[] = [];
  /** Ends each call that is under way. */
  readonly #underWay = new Set<() => void>();
  #database: string | undefined;
  #metadata: grpc.Metadata | undefined;
  #closed = false;

  /**
   * Connects with the first call.
   * @param maxCalls calls and watches at the same time; further ones are refused with `queue_full`
   */
  constructor(options: FirestoreClientOptions, maxCalls: number) {
    this.#maxCalls = maxCalls;
    const { databaseId = DEFAULT_DATABASE, emulatorHost } = options;
    this.isEmulator = emulatorHost !== undefined;
    const projectId = options.projectId ?? (this.isEmulator ? EMULATOR_PROJECT : undefined);
    this.#options = { ...options, projectId };
    this.#databaseId = databaseId;
    if (projectId !== undefined) this.#database = databaseName(projectId, databaseId);
  }

  /** For error messages. */
  get names(): DatabaseName {
    return { project: this.#options.projectId ?? '(of the credentials)', database: this.#databaseId };
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * `projects/…/databases/…`.
   *
   * @throws CmbsError `unavailable` when neither the options nor the credentials name a project
   */
  async database(deadline: Deadline): Promise<string> {
    if (this.#database !== undefined) return this.#database;
    const channel = this.#channels[0] ?? this.#openChannel();
    const projectId = await prepared(deadline, NO_PROJECT, () => channel.projectId());
    this.#database = databaseName(projectId, this.#databaseId);
    return this.#database;
  }

  async call<M extends keyof UnaryMethods>(
    method: M,
    request: UnaryMethods[M]['request'],
    deadline: Deadline,
  ): Promise<UnaryMethods[M]['response']> {
    const { stub, metadata, release } = await this.#acquire(deadline);
    try {
      return await new Promise<UnaryMethods[M]['response']>((resolve, reject) => {
        const unary: UnaryStub = stub;
        const call = unary[method](request, metadata, optionsFor(deadline), (error, response) => {
          forget();
          if (error === null) resolve(response);
          else reject(error);
        });
        const forget = this.#whileUnderWay(() => call.cancel(), deadline.signal);
      });
    } finally {
      release();
    }
  }

  /** Yields the responses as they arrive. A caller that stops reading ends the call. */
  async *stream<M extends keyof StreamMethods>(
    method: M,
    request: StreamMethods[M]['request'],
    deadline: Deadline,
  ): AsyncGenerator<StreamMethods[M]['response'], void, undefined> {
    const { stub, metadata, release } = await this.#acquire(deadline);
    const streams: StreamStub = stub;
    const call = streams[method](request, metadata, optionsFor(deadline));
    // A cancelled call emits one more error, after the loop below has ended.
    call.on('error', () => undefined);
    const forget = this.#whileUnderWay(() => call.cancel(), deadline.signal);
    try {
      yield* call as AsyncIterable<StreamMethods[M]['response']>;
    } finally {
      forget();
      call.cancel();
      release();
    }
  }

  /** Listens until it is ended or fails. The listener has to notice when no response arrives. */
  async listen(request: ListenRequest, { onResponse, onEnd }: Listener, deadline: Deadline): Promise<Listening> {
    const { stub, metadata, release } = await this.#acquire(deadline);
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

  /** Reserves a call on a channel, until `release`. */
  async #acquire(deadline: Deadline): Promise<{
    readonly stub: Stub;
    readonly metadata: grpc.Metadata;
    readonly release: () => void;
  }> {
    if (this.#closed) throw closedError();
    deadline.assertNotAborted();
    const database = await this.database(deadline);
    const channel = this.#channels.find(hasRoom) ?? this.#openChannel();
    channel.calls += 1;
    const release = (): void => this.#release(channel);
    try {
      const stub = await prepared(deadline, NO_CREDENTIALS, () => channel.stub());
      if (this.isClosed) throw closedError();
      this.#metadata ??= this.#metadataFor(database);
      return { stub, metadata: this.#metadata, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #openChannel(): Channel {
    if (this.#channels.length * FIRESTORE_CALLS_PER_CHANNEL >= this.#maxCalls) {
      throw fullError();
    }
    const channel = new Channel(this.#options);
    this.#channels.push(channel);
    return channel;
  }

  /** Closes a channel without calls when the other channels together have room for as many calls as one takes. */
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
    // Google's front ends route by both of these.
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

  /** Ends all calls and closes the connections, also when the server does not answer. */
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

/** Closing fails only for a client that never had a connection. */
async function closeQuietly(channel: Channel): Promise<void> {
  await channel.close().catch(() => undefined);
}

/** Runs a preparation of the client, which reads credentials and may ask a metadata server. */
async function prepared<T>(deadline: Deadline, failure: string, task: () => Promise<T>): Promise<T> {
  try {
    return await withinDeadline(task, deadline.signal, deadline.left, () => new CmbsError('unavailable', failure));
  } catch (error) {
    throw error instanceof CmbsError ? error : new CmbsError('unavailable', failure, { cause: error });
  }
}

function databaseName(projectId: string, databaseId: string): string {
  return `projects/${projectId}/databases/${databaseId}`;
}

function optionsFor(deadline: Deadline): grpc.CallOptions {
  return { deadline: Date.now() + deadline.left };
}

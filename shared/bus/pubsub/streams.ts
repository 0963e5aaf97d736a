/**
 * Streams of deliveries from Pub/Sub (`StreamingPull`), on Google's generated client. The hand-written one above it
 * tells nobody whether an acknowledgement arrived, and buffers what the emulator sends beyond the bound; here an
 * acknowledgement is awaited, and a stream whose reader is full is not read.
 */
import { v1 } from '@google-cloud/pubsub';
import { grpc } from 'google-gax';
import type { Clock } from '../../clock';
import { PUBSUB_ACK_DEADLINE_S, PUBSUB_DEADLINE_MS } from '../../limits';
import { STREAM_BYTES, STREAM_MESSAGES } from './limits';
import { untilOr } from '../../waiting';

/**
 * Bytes that all open streams of a process may bring before some are settled. The next one is promised one part in so
 * many of what is left, and no less than the least: enough for 5 MB a second where an answer takes ten milliseconds.
 */
export const STREAMS_BYTES = 64 * 1024 * 1024;
const STREAMS_PARTS = 8;
export const STREAM_LEAST_BYTES = 64 * 1024;
/** Bytes of one answer on a stream: a message of 10 MB, or several, and what wraps them. */
const MAX_PULL_RESPONSE_BYTES = 20 * 1024 * 1024;
/** Streams on one connection: Google's servers take 100. */
const STREAMS_PER_CONNECTION = 90;
/** Milliseconds between two signs of life on a stream; Pub/Sub closes one that is silent for about a minute and a half. */
const STREAM_KEEP_ALIVE_MS = 30_000;
/**
 * Milliseconds that a stream which is closed has to bring what was on its way. Far more than a round trip; what does not
 * come by then comes again when its lease has run out.
 */
const STREAM_FINISH_MS = 2000;

type SubscriberClient = InstanceType<typeof v1.SubscriberClient>;

/** A message as it came. */
export interface Received {
  /** Identifies this delivery of it. */
  readonly ackId: string;
  /** Identifies the message. */
  readonly id: string;
  readonly data: Buffer;
  readonly attributes: Readonly<Record<string, string>>;
  /** Empty where there is none. */
  readonly orderingKey: string;
  /** Milliseconds since the epoch. */
  readonly publishedAt: number;
  /** 1 at first; counted by Pub/Sub. */
  readonly attempt: number;
}

export interface StreamHandlers {
  readonly received: (message: Received) => void;
  /** The stream ended, by itself or by a failure, and brings nothing more. */
  readonly ended: (error: Error | undefined) => void;
}

/** Where Pub/Sub is: an emulator when `PUBSUB_EMULATOR_HOST` is set, as for all of Google's clients. */
function connection(projectId: string): ConstructorParameters<typeof v1.SubscriberClient>[0] {
  const own = {
    projectId,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': MAX_PULL_RESPONSE_BYTES,
  };
  const emulator = process.env.PUBSUB_EMULATOR_HOST;
  if (emulator === undefined || emulator === '') return own;
  const { hostname, port } = new URL(`http://${emulator.replace(/^https?:\/\//, '')}`);
  return {
    ...own,
    // It heeds no bound: a hundred messages come at once, whatever their size.
    'grpc.max_receive_message_length': -1,
    servicePath: hostname,
    port: Number(port),
    sslCreds: grpc.credentials.createInsecure(),
  };
}

interface Connection {
  readonly client: SubscriberClient;
  streams: number;
}

/**
 * The connections of one process. HTTP/2 servers of Google take 100 streams on one; the calls that acknowledge have
 * one of their own, so that they never wait behind streams.
 */
export class PubsubStreams {
  readonly #projectId: string;
  readonly #clock: Clock;
  readonly #connections: Connection[] = [];
  readonly #calls: SubscriberClient;
  /** Streams of which something may still come, be it only how they ended. */
  readonly #open = new Set<Promise<void>>();
  /** Bytes that the open streams may bring. */
  #promised = 0;

  constructor(projectId: string, clock: Clock) {
    this.#projectId = projectId;
    this.#clock = clock;
    this.#calls = new v1.SubscriberClient(connection(projectId));
  }

  /** @param subscription its name in Pub/Sub, without the project */
  open(subscription: string, handlers: StreamHandlers): PubsubStream {
    let free = this.#connections.find(({ streams }) => streams < STREAMS_PER_CONNECTION);
    if (free === undefined) {
      free = { client: new v1.SubscriberClient(connection(this.#projectId)), streams: 0 };
      this.#connections.push(free);
    }
    const used = free;
    used.streams += 1;
    // What Pub/Sub has sent and nobody here has read is seen by nobody: only what it was told bounds that.
    const share = (STREAMS_BYTES - this.#promised) / STREAMS_PARTS;
    const bytes = Math.max(STREAM_LEAST_BYTES, Math.min(Math.floor(share), STREAM_BYTES));
    this.#promised += bytes;
    const stream = new PubsubStream({
      pull: used.client.streamingPull(),
      calls: this.#calls,
      name: `projects/${this.#projectId}/subscriptions/${subscription}`,
      bytes,
      clock: this.#clock,
      handlers,
      onClosed: () => {
        used.streams -= 1;
        this.#promised -= bytes;
      },
    });
    this.#open.add(stream.gone);
    void stream.gone.then(() => this.#open.delete(stream.gone));
    return stream;
  }

  /** After every stream is closed; resolves when nothing comes any more. */
  async close(): Promise<void> {
    await untilOr(Promise.all(this.#open), this.#clock, PUBSUB_DEADLINE_MS);
    await Promise.all(
      [this.#calls, ...this.#connections.map(({ client }) => client)].map((client) => client.close()),
    );
  }
}

interface StreamOptions {
  readonly pull: ReturnType<SubscriberClient['streamingPull']>;
  readonly calls: SubscriberClient;
  readonly name: string;
  /** That it may bring before some are settled. */
  readonly bytes: number;
  readonly clock: Clock;
  readonly handlers: StreamHandlers;
  readonly onClosed: () => void;
}

export class PubsubStream {
  /** Resolves when the connection has said the last word about it. */
  readonly gone: Promise<void>;
  readonly #options: Omit<StreamOptions, 'pull'>;
  /** Undefined when nothing comes any more, so that what it has and nobody has read is forgotten. */
  #pull: StreamOptions['pull'] | undefined;
  /** Deliveries whose leases are extended until they are settled. */
  readonly #leased = new Set<string>();
  readonly #cancelKeepingAlive: () => void;
  readonly #cancelExtending: () => void;
  #isStopped = false;
  #isFinishing = false;
  #isLeasing = true;

  constructor({ pull, ...options }: StreamOptions) {
    this.#options = options;
    this.#pull = pull;
    const { name, bytes, handlers } = options;
    this.gone = new Promise((resolve) => {
      for (const last of ['end', 'close', 'error']) pull.once(last, () => resolve());
    });
    pull.on('data', (response: unknown) => {
      for (const message of receivedOf(response)) {
        this.#leased.add(message.ackId);
        handlers.received(message);
      }
    });
    pull.on('error', (error: Error) => this.#end(error));
    pull.on('end', () => this.#end(undefined));
    pull.write({
      subscription: name,
      streamAckDeadlineSeconds: PUBSUB_ACK_DEADLINE_S,
      maxOutstandingMessages: STREAM_MESSAGES,
      maxOutstandingBytes: bytes,
    });
    this.#cancelKeepingAlive = this.#repeat(STREAM_KEEP_ALIVE_MS, () => this.#pull?.write({}));
    this.#cancelExtending = this.#repeat((PUBSUB_ACK_DEADLINE_S * 1000) / 3, () => this.#extend());
  }

  /** The leases of what has come are extended. */
  get isLeasing(): boolean {
    return this.#isLeasing;
  }

  /** Reads no more for now; what is on its way stays in the connection. */
  pause(): void {
    this.#pull?.pause();
  }

  resume(): void {
    this.#pull?.resume();
  }

  /**
   * Asks Pub/Sub to send no more, and reads what is on its way, which would otherwise stay leased until the lease runs
   * out. Resolves when nothing comes any more, or after `STREAM_FINISH_MS`. What has come can be settled still.
   */
  async finish(): Promise<void> {
    if (this.#pull === undefined || this.#isFinishing) return;
    this.#isFinishing = true;
    this.#cancelKeepingAlive();
    this.#pull.end();
    this.#pull.resume();
    await untilOr(this.gone, this.#options.clock, STREAM_FINISH_MS);
    this.stop();
  }

  /** Reads no more, and lets go of what is on its way; what has come can be settled still, however late. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#pull?.cancel();
    this.#pull = undefined;
    this.#cancelKeepingAlive();
    this.#options.onClosed();
    this.#endLeasingAtLast();
  }

  /** Extends the lease of a delivery no more: it has come again, with another lease. */
  forget(ackId: string): void {
    this.#leased.delete(ackId);
    this.#endLeasingAtLast();
  }

  /** Resolves when Pub/Sub has it; rejects when that is not known, and then the message comes again. */
  async acknowledge(ackId: string): Promise<void> {
    this.forget(ackId);
    const { calls, name } = this.#options;
    await calls.acknowledge({ subscription: name, ackIds: [ackId] }, { timeout: PUBSUB_DEADLINE_MS });
  }

  /** Pub/Sub may offer them again at once. */
  async handBack(ackIds: readonly string[]): Promise<void> {
    for (const ackId of ackIds) this.forget(ackId);
    await this.#setDeadline([...ackIds], 0);
  }

  close(): void {
    this.stop();
    this.#endLeasing();
  }

  /** Does it again and again, until it is cancelled. */
  #repeat(ms: number, work: () => void): () => void {
    const { clock } = this.#options;
    let cancel = clock.after(ms, again);
    function again(): void {
      cancel = clock.after(ms, again);
      work();
    }
    return () => cancel();
  }

  #endLeasingAtLast(): void {
    if (this.#isStopped && this.#leased.size === 0) this.#endLeasing();
  }

  #endLeasing(): void {
    this.#isLeasing = false;
    this.#cancelExtending();
  }

  /** A lease that could not be extended runs out: the message comes again, and is recognised. */
  #extend(): void {
    if (this.#leased.size === 0) return;
    this.#setDeadline([...this.#leased], PUBSUB_ACK_DEADLINE_S).catch(() => undefined);
  }

  async #setDeadline(ackIds: string[], ackDeadlineSeconds: number): Promise<void> {
    const { calls, name } = this.#options;
    await calls.modifyAckDeadline(
      { subscription: name, ackIds, ackDeadlineSeconds },
      { timeout: PUBSUB_DEADLINE_MS },
    );
  }

  /** By Pub/Sub, or by a failure. */
  #end(error: Error | undefined): void {
    if (this.#isStopped || this.#isFinishing) return;
    this.close();
    this.#options.handlers.ended(error);
  }
}

/** The client gives what the wire had, without saying so in its types. */
interface WireResponse {
  readonly receivedMessages?: readonly {
    readonly ackId: string;
    readonly deliveryAttempt: number;
    readonly message: {
      readonly messageId: string;
      readonly data: Buffer;
      readonly attributes: Readonly<Record<string, string>>;
      readonly orderingKey: string;
      readonly publishTime: { readonly seconds: string | number; readonly nanos: number } | null;
    };
  }[];
}

function receivedOf(response: unknown): readonly Received[] {
  return ((response as WireResponse).receivedMessages ?? []).map(({ ackId, deliveryAttempt, message }) => ({
    ackId,
    id: message.messageId,
    data: message.data,
    attributes: message.attributes,
    orderingKey: message.orderingKey,
    publishedAt: Number(message.publishTime?.seconds ?? 0) * 1000 + (message.publishTime?.nanos ?? 0) / 1e6,
    // Counted only where dead letters have somewhere to go.
    attempt: Math.max(deliveryAttempt, 1),
  }));
}

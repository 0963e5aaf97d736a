/**
 * Streams of messages from Pub/Sub (`StreamingPull`) and their leases, on Google's generated client.
 *
 * Google's own consumer (`Subscription`) leases and streams too, and is not used for two reasons. It does not tell
 * whether an acknowledgement arrived (`test/cloud/faults-delivery.test.ts`, lost acknowledgements). And its limits hold
 * per subscription, and not on the emulator, where one process here reads hundreds of subscriptions with bounded memory
 * (`test/unit/pubsub-streams.test.ts`, `test/cloud/limits.test.ts`).
 */
import { v1 } from '@google-cloud/pubsub';
import { grpc } from 'google-gax';
import type { Clock } from '../../clock';
import { untilOr } from '../../waiting';
import { type PubsubBusLimits, STREAM_BYTES, STREAM_MESSAGES } from './limits';
import { type ReceivedMessage, receivedMessages } from './message';

/**
 * Bytes that all open streams of a process may bring before some are settled. Each new stream is promised one part in
 * so many of the bytes left, but no less than `STREAM_LEAST_BYTES`: enough for 5 MB a second at a round trip of ten
 * milliseconds.
 */
export const STREAMS_BYTES = 64 * 1024 * 1024;
const STREAMS_PARTS = 8;
export const STREAM_LEAST_BYTES = 64 * 1024;
/** Bytes of one response on a stream: a message of 10 MB, or several, with their envelopes. */
const MAX_PULL_RESPONSE_BYTES = 20 * 1024 * 1024;
/** Streams on one connection: Google's servers take 100. */
const STREAMS_PER_CONNECTION = 90;
/** Milliseconds between two keep-alive requests: Pub/Sub closes a stream that is silent for about 90 seconds. */
const STREAM_KEEP_ALIVE_MS = 30_000;
/**
 * Milliseconds in which a stream that is being closed may bring messages that Pub/Sub has already sent: far more than a
 * round trip. Later ones come again when their leases have run out.
 */
const STREAM_FINISH_MS = 2000;

type SubscriberClient = InstanceType<typeof v1.SubscriberClient>;

export interface StreamHandlers {
  readonly received: (message: ReceivedMessage) => void;
  /** The stream was ended by Pub/Sub or by a failure; no message follows. */
  readonly ended: (error: Error | undefined) => void;
}

/** The address of Pub/Sub: an emulator when `PUBSUB_EMULATOR_HOST` is set, as for all of Google's clients. */
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
    // The emulator ignores the limits: it sends a hundred messages at once, whatever their size.
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

/** The connections of one process. Acknowledgements have their own, so that they never wait behind streams. */
export class PubsubStreams {
  readonly #projectId: string;
  readonly #clock: Clock;
  readonly #limits: PubsubBusLimits;
  readonly #connections: Connection[] = [];
  readonly #calls: SubscriberClient;
  /** Streams whose connection may still report something, be it only their end. */
  readonly #open = new Set<Promise<void>>();
  /** Bytes that the open streams may bring. */
  #promised = 0;

  constructor(projectId: string, clock: Clock, limits: PubsubBusLimits) {
    this.#projectId = projectId;
    this.#clock = clock;
    this.#limits = limits;
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
    // Messages that were sent and not read yet cannot be counted here; only the promise to Pub/Sub bounds them.
    const part = Math.floor((STREAMS_BYTES - this.#promised) / STREAMS_PARTS);
    const bytes = Math.max(STREAM_LEAST_BYTES, Math.min(part, STREAM_BYTES));
    this.#promised += bytes;
    const stream = new PubsubStream({
      pull: used.client.streamingPull(),
      calls: this.#calls,
      name: `projects/${this.#projectId}/subscriptions/${subscription}`,
      bytes,
      clock: this.#clock,
      limits: this.#limits,
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

  /** To be called after every stream is closed. Resolves when no connection has anything to report. */
  async close(): Promise<void> {
    await untilOr(Promise.all(this.#open), this.#clock, this.#limits.callMs);
    await Promise.all(
      [this.#calls, ...this.#connections.map(({ client }) => client)].map((client) => client.close()),
    );
  }
}

interface StreamOptions {
  readonly pull: ReturnType<SubscriberClient['streamingPull']>;
  readonly calls: SubscriberClient;
  readonly name: string;
  /** Bytes that the stream may bring before some are settled. */
  readonly bytes: number;
  readonly clock: Clock;
  readonly limits: PubsubBusLimits;
  readonly handlers: StreamHandlers;
  readonly onClosed: () => void;
}

export class PubsubStream {
  /** Resolves when the connection has reported the end of the stream. */
  readonly gone: Promise<void>;
  readonly #options: Omit<StreamOptions, 'pull'>;
  /** Undefined when the stream is stopped, so that its unread messages can be collected. */
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
    const { name, bytes, handlers, limits } = options;
    this.gone = new Promise((resolve) => {
      for (const last of ['end', 'close', 'error']) pull.once(last, () => resolve());
    });
    pull.on('data', (response: unknown) => {
      for (const message of receivedMessages(response)) {
        this.#leased.add(message.ackId);
        handlers.received(message);
      }
    });
    pull.on('error', (error: Error) => this.#end(error));
    pull.on('end', () => this.#end(undefined));
    pull.write({
      subscription: name,
      streamAckDeadlineSeconds: limits.ackDeadlineS,
      maxOutstandingMessages: STREAM_MESSAGES,
      maxOutstandingBytes: bytes,
    });
    this.#cancelKeepingAlive = this.#repeat(STREAM_KEEP_ALIVE_MS, () => this.#pull?.write({}));
    this.#cancelExtending = this.#repeat((limits.ackDeadlineS * 1000) / 3, () => this.#extend());
  }

  /** The leases of its unsettled messages are extended. */
  get isLeasing(): boolean {
    return this.#isLeasing;
  }

  /** Reads no more for now; messages that Pub/Sub has sent stay in the connection. */
  pause(): void {
    this.#pull?.pause();
  }

  resume(): void {
    this.#pull?.resume();
  }

  /**
   * Asks Pub/Sub to send no more, and reads the messages that it has already sent: they would stay leased otherwise.
   * Resolves when no more message follows, or after `STREAM_FINISH_MS`. Messages can still be settled afterwards.
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

  /** Reads no more, and drops unread messages. Messages that were read can still be settled, however late. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#pull?.cancel();
    this.#pull = undefined;
    this.#cancelKeepingAlive();
    this.#options.onClosed();
    this.#endLeasingWhenSettled();
  }

  /** Extends the lease of a delivery no more, because the message arrived again with another lease. */
  forget(ackId: string): void {
    this.#leased.delete(ackId);
    this.#endLeasingWhenSettled();
  }

  /** Resolves when Pub/Sub has confirmed. When it rejects, the outcome is unknown and the message may come again. */
  async acknowledge(ackId: string): Promise<void> {
    this.forget(ackId);
    const { calls, name, limits } = this.#options;
    await calls.acknowledge({ subscription: name, ackIds: [ackId] }, { timeout: limits.callMs });
  }

  /** Lets Pub/Sub offer the messages again at once. */
  async handBack(ackIds: readonly string[]): Promise<void> {
    for (const ackId of ackIds) this.forget(ackId);
    await this.#setDeadline([...ackIds], 0);
  }

  close(): void {
    this.stop();
    this.#endLeasing();
  }

  /** Repeats the work until it is cancelled. */
  #repeat(ms: number, work: () => void): () => void {
    const { clock } = this.#options;
    let cancel = clock.after(ms, again);
    function again(): void {
      cancel = clock.after(ms, again);
      work();
    }
    return () => cancel();
  }

  #endLeasingWhenSettled(): void {
    if (this.#isStopped && this.#leased.size === 0) this.#endLeasing();
  }

  #endLeasing(): void {
    this.#isLeasing = false;
    this.#cancelExtending();
  }

  #extend(): void {
    if (this.#leased.size === 0) return;
    // When the call fails, the leases run out and the messages come again.
    this.#setDeadline([...this.#leased], this.#options.limits.ackDeadlineS).catch(() => undefined);
  }

  async #setDeadline(ackIds: string[], ackDeadlineSeconds: number): Promise<void> {
    const { calls, name, limits } = this.#options;
    await calls.modifyAckDeadline({ subscription: name, ackIds, ackDeadlineSeconds }, { timeout: limits.callMs });
  }

  #end(error: Error | undefined): void {
    if (this.#isStopped || this.#isFinishing) return;
    this.close();
    this.#options.handlers.ended(error);
  }
}

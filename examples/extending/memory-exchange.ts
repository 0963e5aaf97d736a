/**
 * An exchange in one file: members of one process reach each other at `mem://NAME`, without sockets. A program passes
 * it to `startStack({ exchanges: [memoryExchange()] })`.
 */
import { CmbsError, toCmbsError } from '@cmbs/shared';
import { errorReply } from '@cmbs/shared/broker';
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import {
  type BroadcastConnection,
  type ConnectionState,
  type Exchange,
  type ExchangeDefinition,
  type ExchangeEnvironment,
  type FrameListener,
  type FrameReplier,
  type MemberSocket,
  type OpenSocket,
  PeerError,
  type PeerErrorReason,
  type RequestConnection,
  type RequestOptions,
  schemesOf,
} from '@cmbs/companion';

/** Unanswered requests to one member; further requests fail with `queue_full`. */
const MAX_REQUESTS = 1000;
/** Broadcasts that wait for one member; further broadcasts are refused and stay with their senders. */
const MAX_BROADCASTS = 1000;
const DEFAULT_TIMEOUT_MS = 10_000;
/** Milliseconds that a closing socket waits for the messages that it has received. */
const DRAIN_MS = 1000;

/** An address at which a member listens. */
abstract class Listening {
  /** False from the beginning of the close. */
  isOpen = true;
  readonly #emptied = new Set<() => void>();

  constructor(protected readonly environment: ExchangeEnvironment) {}

  /** True when all received messages are handled. */
  protected abstract readonly isEmpty: boolean;
  /** Drops the messages that are not handled yet. */
  protected abstract abandon(): void;

  async drain(): Promise<void> {
    if (!this.isEmpty) {
      await new Promise<void>((resolve) => {
        this.environment.clock.after(DRAIN_MS, resolve);
        this.#emptied.add(resolve);
      });
    }
    this.abandon();
  }

  protected emptied(): void {
    for (const tell of this.#emptied) tell();
  }
}

class RequestListening extends Listening {
  readonly #reply: FrameReplier;
  /** Functions that report requests that will not be answered. */
  readonly #unanswered = new Set<() => void>();

  constructor(environment: ExchangeEnvironment, reply: FrameReplier) {
    super(environment);
    this.#reply = reply;
  }

  protected get isEmpty(): boolean {
    return this.#unanswered.size === 0;
  }

  get isFull(): boolean {
    return this.#unanswered.size >= MAX_REQUESTS;
  }

  /** Calls `answer` with the reply, or `lose` when the member closes first. */
  ask(body: Buffer, answer: (reply: Buffer) => void, lose: () => void): void {
    this.#unanswered.add(lose);
    const settle = (reply: string): void => {
      if (!this.#unanswered.delete(lose)) return;
      answer(Buffer.from(reply));
      if (this.isEmpty) this.emptied();
    };
    this.#reply(body).then(settle, (error: unknown) => settle(errorReply(toCmbsError(error))));
  }

  protected abandon(): void {
    for (const lose of this.#unanswered) lose();
    this.#unanswered.clear();
  }
}

class BroadcastListening extends Listening {
  readonly #listen: FrameListener;
  readonly #waiting: Buffer[] = [];
  readonly #writable = new Set<() => void>();
  #isHandling = false;

  constructor(environment: ExchangeEnvironment, listen: FrameListener) {
    super(environment);
    this.#listen = listen;
  }

  protected get isEmpty(): boolean {
    return !this.#isHandling && this.#waiting.length === 0;
  }

  /** False when too many messages wait for the member; `writable` is called when there is room again. */
  take(body: Buffer, writable: () => void): boolean {
    if (this.#waiting.length >= MAX_BROADCASTS) {
      this.#writable.add(writable);
      return false;
    }
    this.#waiting.push(body);
    if (!this.#isHandling) void this.#handle();
    return true;
  }

  protected abandon(): void {
    this.#waiting.length = 0;
  }

  async #handle(): Promise<void> {
    this.#isHandling = true;
    for (let body = this.#waiting.shift(); body !== undefined; body = this.#waiting.shift()) {
      try {
        await this.#listen(body);
      } catch (cause) {
        this.environment.log.error('a broadcast was not handled', { cause });
      }
      const told = [...this.#writable];
      this.#writable.clear();
      for (const writable of told) writable();
    }
    this.#isHandling = false;
    this.emptied();
  }
}

/** Addresses at which members listen; deployments that share one definition reach each other. */
class MemoryNetwork {
  readonly #listening = new Map<string, Listening>();
  readonly #watchers = new Set<() => void>();

  at(address: string): Listening | undefined {
    const listening = this.#listening.get(address);
    return listening?.isOpen === true ? listening : undefined;
  }

  open(address: string, listening: Listening): OpenSocket {
    if (this.#listening.has(address)) {
      const reason = 'address in use';
      const message = `The socket ${address} cannot be opened: ${reason}; choose another.`;
      throw new CmbsError('conflict', message, { details: { address, reason } });
    }
    this.#listening.set(address, listening);
    this.#changed();
    let closing: Promise<void> | undefined;
    return { close: () => (closing ??= this.#close(address, listening)) };
  }

  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  async #close(address: string, listening: Listening): Promise<void> {
    listening.isOpen = false;
    this.#changed();
    await listening.drain();
    this.#listening.delete(address);
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** Tracks whether a member listens at an address. */
abstract class MemoryConnection<L extends Listening> {
  readonly #kind: abstract new (...args: never[]) => L;
  readonly #stop: () => void;
  readonly #listeners = new Set<(state: ConnectionState) => void>();
  #state: ConnectionState = 'connecting';
  protected isClosed = false;

  constructor(
    protected readonly network: MemoryNetwork,
    protected readonly address: string,
    kind: abstract new (...args: never[]) => L,
  ) {
    this.#kind = kind;
    this.#stop = network.onChange(() => this.look());
    setImmediate(() => this.look());
  }

  get state(): ConnectionState {
    return this.#state;
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#state = 'down';
    this.#stop();
    this.#listeners.clear();
  }

  /** The member at the address, if it accepts the messages of this connection. */
  protected get peer(): L | undefined {
    const listening = this.network.at(this.address);
    return listening instanceof this.#kind ? listening : undefined;
  }

  protected look(): void {
    const state = this.peer === undefined ? 'down' : 'up';
    if (this.isClosed || state === this.#state) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) listener(state);
  }
}

class MemoryRequests extends MemoryConnection<RequestListening> implements RequestConnection {
  readonly #clock: ExchangeEnvironment['clock'];
  readonly #pending = new Set<(reason: PeerErrorReason) => void>();

  constructor(network: MemoryNetwork, address: string, clock: ExchangeEnvironment['clock']) {
    super(network, address, RequestListening);
    this.#clock = clock;
  }

  connectNow(): ConnectionState {
    this.look();
    return this.state;
  }

  async request(
    body: Buffer | string,
    { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: RequestOptions = {},
  ): Promise<Buffer> {
    if (this.isClosed) throw this.#error('closed', false);
    if (signal?.aborted === true) throw this.#error('aborted', false);
    if (Buffer.byteLength(body) > MAX_FRAME_BYTES) {
      throw new CmbsError('too_large', `A message may have at most ${MAX_FRAME_BYTES} bytes; send less.`);
    }
    const { peer } = this;
    this.look();
    if (peer === undefined) throw this.#error('no_listener', false);
    if (peer.isFull) {
      throw new CmbsError('queue_full', `Too many requests wait for ${this.address}; try again in a second.`, {
        headers: { 'Retry-After': '1' },
      });
    }
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#pending.delete(fail);
        cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      const fail = (reason: PeerErrorReason): void => {
        settle();
        reject(this.#error(reason, true));
      };
      const onAbort = (): void => fail('aborted');
      const cancel = this.#clock.after(timeoutMs, () => fail('timeout'));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.add(fail);
      const answer = (reply: Buffer): void => {
        settle();
        resolve(reply);
      };
      peer.ask(Buffer.from(body), answer, () => fail('lost'));
    });
  }

  override async close(): Promise<void> {
    await super.close();
    for (const fail of [...this.#pending]) fail('closed');
  }

  #error(reason: PeerErrorReason, sent: boolean): PeerError {
    return new PeerError(reason, this.address, `No reply came from ${this.address}: ${reason}.`, sent);
  }
}

class MemoryBroadcasts extends MemoryConnection<BroadcastListening> implements BroadcastConnection {
  readonly #counters: ExchangeEnvironment['counters'];
  readonly #writable = new Set<() => void>();

  constructor(network: MemoryNetwork, address: string, counters: ExchangeEnvironment['counters']) {
    super(network, address, BroadcastListening);
    this.#counters = counters;
  }

  get subscribed(): boolean {
    return this.state === 'up';
  }

  onSubscription(listener: (subscribed: boolean) => void): () => void {
    let was = this.subscribed;
    return this.onState((state) => {
      const is = state === 'up';
      if (is !== was) listener(is);
      was = is;
    });
  }

  onWritable(listener: () => void): () => void {
    this.#writable.add(listener);
    return () => void this.#writable.delete(listener);
  }

  send(body: Buffer | string): boolean {
    const { peer } = this;
    if (this.isClosed || peer === undefined) return false;
    if (Buffer.byteLength(body) <= MAX_FRAME_BYTES) return peer.take(Buffer.from(body), this.#tellWritable);
    this.#counters.add('cmbs_socket_drops', { socket: 'memory', reason: 'too_large' });
    return true;
  }

  override async close(): Promise<void> {
    await super.close();
    this.#writable.clear();
  }

  readonly #tellWritable = (): void => {
    for (const listener of [...this.#writable]) listener();
  };
}

const NAME = /^[a-z0-9-]{1,40}$/;

export function memoryExchange(): ExchangeDefinition {
  const network = new MemoryNetwork();
  const parse = (name: string): { readonly scheme: string; readonly text: string } => {
    if (NAME.test(name)) return { scheme: 'mem', text: `mem://${name}` };
    throw new CmbsError(
      'bad_attribute',
      'An address in memory is mem:// and up to 40 letters, digits and hyphens.',
    );
  };
  const definition: ExchangeDefinition = {
    schemes: [{ name: 'mem', parse }],
    open: (environment): Exchange => ({
      serveRequests: async ({ address }: MemberSocket, reply) =>
        network.open(canonical(address), new RequestListening(environment, reply)),
      serveBroadcasts: async ({ address }: MemberSocket, listen) =>
        network.open(canonical(address), new BroadcastListening(environment, listen)),
      connectForRequests: (address) => new MemoryRequests(network, canonical(address), environment.clock),
      connectForBroadcasts: (address) => new MemoryBroadcasts(network, canonical(address), environment.counters),
      close: () => undefined,
    }),
  };
  const canonical = (address: string): string => schemesOf([definition]).parse(address).text;
  return definition;
}

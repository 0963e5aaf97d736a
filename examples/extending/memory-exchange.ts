/**
 * An exchange in one file: members of one process reach each other at `mem://NAME`, without sockets. A program passes
 * it to `startStack({ exchanges: [memoryExchange()] })`.
 */
import { CmbsError } from '@cmbs/shared';
import {
  type BroadcastConnection,
  type ConnectionState,
  type Exchange,
  type ExchangeDefinition,
  type FrameListener,
  type FrameReplier,
  type MemberSocket,
  type OpenSocket,
  PeerError,
  type RequestConnection,
} from '@cmbs/companion';

type Listening = { readonly reply: FrameReplier } | { readonly listen: FrameListener };

/** Addresses that members listen at; deployments that share one definition reach each other. */
class MemoryNetwork {
  readonly #listening = new Map<string, Listening>();
  readonly #watchers = new Set<() => void>();

  at(address: string): Listening | undefined {
    return this.#listening.get(address);
  }

  open({ address }: MemberSocket, listening: Listening): OpenSocket {
    if (this.#listening.has(address)) {
      throw new CmbsError('conflict', `The socket ${address} cannot be opened: address in use; choose another.`);
    }
    this.#set(address, listening);
    return { close: async () => this.#set(address, undefined) };
  }

  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  #set(address: string, listening: Listening | undefined): void {
    if (listening === undefined) this.#listening.delete(address);
    else this.#listening.set(address, listening);
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** Follows whether a member listens at an address. */
class MemoryConnection {
  readonly #stop: () => void;
  readonly #listeners = new Set<(state: ConnectionState) => void>();
  #state: ConnectionState = 'connecting';

  constructor(
    protected readonly network: MemoryNetwork,
    protected readonly address: string,
  ) {
    this.#stop = network.onChange(() => this.#look());
    setImmediate(() => this.#look());
  }

  get state(): ConnectionState {
    return this.#state;
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#stop();
    this.#listeners.clear();
  }

  #look(): void {
    const state = this.network.at(this.address) === undefined ? 'down' : 'up';
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) listener(state);
  }
}

class MemoryRequests extends MemoryConnection implements RequestConnection {
  connectNow(): ConnectionState {
    return this.state;
  }

  async request(body: Buffer | string): Promise<Buffer> {
    const peer = this.network.at(this.address);
    if (peer === undefined || !('reply' in peer)) {
      throw new PeerError('no_listener', this.address, `No peer can be reached at ${this.address}.`, false);
    }
    return Buffer.from(await peer.reply(Buffer.from(body)));
  }
}

class MemoryBroadcasts extends MemoryConnection implements BroadcastConnection {
  get subscribed(): boolean {
    return this.state === 'up';
  }

  onSubscription(listener: (subscribed: boolean) => void): () => void {
    return this.onState((state) => listener(state === 'up'));
  }

  /** Never full. */
  onWritable(): () => void {
    return () => undefined;
  }

  async send(body: Buffer | string): Promise<boolean> {
    const peer = this.network.at(this.address);
    if (peer === undefined || !('listen' in peer)) return false;
    await peer.listen(Buffer.from(body));
    return true;
  }
}

const NAME = /^[a-z0-9-]{1,40}$/;

export function memoryExchange(): ExchangeDefinition {
  const network = new MemoryNetwork();
  const exchange: Exchange = {
    serveRequests: async (socket, reply) => network.open(socket, { reply }),
    serveBroadcasts: async (socket, listen) => network.open(socket, { listen }),
    connectForRequests: (address) => new MemoryRequests(network, address),
    connectForBroadcasts: (address) => new MemoryBroadcasts(network, address),
    close: () => undefined,
  };
  const parse = (name: string): { readonly scheme: string; readonly text: string } => {
    if (NAME.test(name)) return { scheme: 'mem', text: `mem://${name}` };
    throw new CmbsError(
      'bad_attribute',
      'An address in memory is mem:// and up to 40 letters, digits and hyphens.',
    );
  };
  return { schemes: [{ name: 'mem', parse }], open: () => exchange };
}

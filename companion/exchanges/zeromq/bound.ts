/** The bound side of sockets: listens at an address, accepts a limited number of peers, and frees the address at once. */
import { lstat } from 'node:fs/promises';
import { createServer, type Server, type Socket as Stream } from 'node:net';
import { dirname } from 'node:path';
import { CmbsError } from '@cmbs/shared';
import { type Address, parseAddress } from '@cmbs/shared/broker';
import { Drops } from './drops';
import { codeOf } from './errno';
import { clockOf, type SocketEnvironment } from './options';
import { PrivateSocket, type Receiving } from './private-socket';
import { NameTakenError, PublishedName } from './published-name';
import { Relay, type RelayOptions } from './relay';
import { resolveEndpoint } from './resolve';

/** Connections to one bound socket, in all and from one address. The system may keep 64 KiB for each. */
const MAX_PEERS = 1024;
const MAX_PEERS_PER_ADDRESS = 512;

function refused(address: Address, reason: string, advice: string, cause: unknown): CmbsError {
  return new CmbsError('conflict', `The socket ${address.text} cannot be opened: ${reason}; ${advice}.`, {
    details: { address: address.text, reason },
    cause,
  });
}

function bindError(address: Address, error: unknown): CmbsError {
  if (error instanceof CmbsError) return error;
  if (error instanceof NameTakenError) {
    return refused(address, error.reason, 'close the other socket or choose another name', error);
  }
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return refused(address, 'address in use', 'close the other socket or choose another port', error);
    case 'EACCES':
    case 'EPERM':
      return refused(address, 'permission denied', 'choose a port or path that the companion may use', error);
    case 'EADDRNOTAVAIL':
    case 'ENODEV':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return refused(address, 'not an address of this machine', 'choose one it has, or set CMBS_BIND_HOST', error);
    case 'ENOENT':
    case 'ENOTDIR':
      return refused(address, 'the directory of the path is not there', 'create it or choose another path', error);
    default:
      return refused(address, 'the system refuses it', 'see the log of the companion', error);
  }
}

/** Waits until the server listens. */
function listening(server: Server, at: { host: string; port: number } | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Frees an address. */
async function free(server: Server, name: PublishedName | undefined, { log }: SocketEnvironment): Promise<void> {
  try {
    await name?.withdraw();
  } catch (cause) {
    log.error('the name of a socket was not removed', { cause });
  } finally {
    if (server.listening) server.close();
  }
}

function endpointOf(server: Server, address: Address): string {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') return address.text;
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return `tcp://${host}:${String(bound.port)}`;
}

/** `*` stands for all interfaces of the older protocol, as in libzmq. */
const ALL_INTERFACES = '0.0.0.0';

export interface BoundOptions extends Pick<RelayOptions, 'type' | 'maxMessageBytes'> {
  /** Word for the socket in logs and counters. */
  readonly name: string;
  /** Frames that libzmq puts in front of each message. */
  readonly addedFrames?: number;
  readonly environment: SocketEnvironment;
}

/** A ZeroMQ socket behind a listener of ours, which peers connect to. */
export class BoundSocket<S extends Receiving> {
  readonly #server: Server;
  readonly #published: PublishedName | undefined;
  readonly #inner: PrivateSocket<S>;
  readonly #options: BoundOptions;
  readonly drops: Drops;
  readonly #relays = new Set<Relay>();
  readonly #perAddress = new Map<string, number>();

  private constructor(
    /** Where it listens; with the port that the system chose where the address left the port open. */
    readonly endpoint: string,
    server: Server,
    published: PublishedName | undefined,
    inner: PrivateSocket<S>,
    options: BoundOptions,
  ) {
    this.#server = server;
    this.#published = published;
    this.#inner = inner;
    this.#options = options;
    const { environment, name } = options;
    this.drops = new Drops(name, endpoint, environment.log, environment.counters);
    server.on('connection', (peer) => this.#accept(peer));
    server.on('drop', () => this.drops.note('too_many_peers'));
    server.on('error', (cause) => environment.log.error('accepting a connection failed', { cause }));
  }

  /**
   * Makes the socket and listens at the address.
   * @throws CmbsError `bad_attribute` when the text is not an address; `conflict` when the address cannot be opened, with
   * the reason in its message and in `details.reason`
   */
  static async bind<S extends Receiving>(
    at: Address | string,
    create: () => S,
    options: BoundOptions,
  ): Promise<BoundSocket<S>> {
    const address = typeof at === 'string' ? parseAddress(at, { bind: true, anyPort: true }) : at;
    const { environment, addedFrames = 0 } = options;
    const server = createServer();
    server.maxConnections = MAX_PEERS;
    let name: PublishedName | undefined;
    let inner: PrivateSocket<S> | undefined;
    try {
      const { context } = environment;
      const { ip, path, port } = await resolveEndpoint(address, clockOf(environment), (found) =>
        context.addresses?.checkBound(address, found),
      );
      inner = await PrivateSocket.open(create, environment, { addedFrames });
      if (path === undefined) {
        const host = ip === '*' ? ALL_INTERFACES : (ip ?? '');
        await listening(server, { host, port: port ?? 0 });
      } else {
        await lstat(dirname(path)); // libuv says EACCES where the directory is missing
        name = new PublishedName(path, context.paths);
        await listening(server, { path: name.claim });
        await name.publish(clockOf(environment));
      }
      return new BoundSocket(endpointOf(server, address), server, name, inner, options);
    } catch (error) {
      inner?.close();
      await free(server, name, environment);
      throw bindError(address, error);
    }
  }

  /** The ZeroMQ socket, to send on. */
  get socket(): S {
    return this.#inner.socket;
  }

  get closed(): boolean {
    return this.#inner.closed;
  }

  /** Messages that peers have sent and {@link receive} has not returned. */
  get underWay(): number {
    return this.#inner.window.messages;
  }

  /** The next message. @throws Error when the socket is closed */
  receive(): Promise<readonly Buffer[]> {
    return this.#inner.receive();
  }

  /** Stops listening, sends the messages that wait for peers, and closes; then the address is free. */
  async close(): Promise<void> {
    const { environment } = this.#options;
    await free(this.#server, this.#published, environment);
    const ended = [...this.#relays].map((relay) => relay.ended());
    this.#inner.close();
    await Promise.all(ended);
  }

  #accept(peer: Stream): void {
    const from = peer.remoteAddress ?? '';
    const already = this.#perAddress.get(from) ?? 0;
    if (this.#inner.closed || already >= MAX_PEERS_PER_ADDRESS) {
      peer.on('error', () => undefined);
      peer.destroy();
      if (!this.#inner.closed) this.drops.note('too_many_peers', { peer: from });
      return;
    }
    this.#perAddress.set(from, already + 1);
    const { type, maxMessageBytes, environment } = this.#options;
    const relay: Relay = new Relay(
      peer,
      this.#inner.connect(),
      this.#inner.window,
      {
        ready: () => undefined,
        gone: () => {
          this.#relays.delete(relay);
          const left = (this.#perAddress.get(from) ?? 1) - 1;
          if (left === 0) this.#perAddress.delete(from);
          else this.#perAddress.set(from, left);
        },
      },
      { type, maxMessageBytes, environment, drops: this.drops },
    );
    this.#relays.add(relay);
  }
}

/** The bound side of sockets: takes an address, accepts peers within bounds, and gives the address back at once. */
import { lstat } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { CmbsError } from '@cmbs/shared';
import { MAX_PEERS, MAX_PEERS_PER_ADDRESS } from '@cmbs/shared/limits';
import { type Address } from '../transports';
import { type Drops } from './drops';
import { codeOf } from './errno';
import { clockOf } from './options';
import { Peer, type PeerOptions } from './peer';
import { NameTakenError, PublishedName } from './published-name';
import { resolveEndpoint } from './resolve';

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

function endpointOf(server: Server, address: Address): string {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') return address.text;
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return `tcp://${host}:${String(bound.port)}`;
}

export interface BoundOwner {
  /** False when nothing more is wanted now; {@link BoundSocket.resume} says when it is. */
  message(peer: Peer, frames: Buffer[]): boolean;
  ready?(peer: Peer): void;
}

/** Takes addresses that are `*` for all interfaces of the older protocol, as libzmq does. */
const ALL_INTERFACES = '0.0.0.0';

export class BoundSocket {
  readonly #server: Server;
  readonly #peers = new Set<Peer>();
  readonly #perAddress = new Map<string, number>();
  /** Peers with a message that was not wanted, in the order in which they are asked again. */
  readonly #waiting = new Set<Peer>();
  /** Where it listens; with the port that the system chose where the address left it open. */
  endpoint = '';
  #name: PublishedName | undefined;
  #owner: BoundOwner | undefined;
  #drops: Drops | undefined;

  private constructor(private readonly options: Pick<PeerOptions, 'environment' | 'maxMessageBytes' | 'type'>) {
    this.#server = createServer((socket) => this.#accept(socket));
    this.#server.maxConnections = MAX_PEERS;
    this.#server.on('drop', () => this.#drops?.note('too_many_peers'));
  }

  /**
   * Takes the address. Nothing is accepted before {@link serve}.
   * @throws CmbsError `conflict` with the reason in its message and in `details.reason`
   */
  static async bind(
    address: Address,
    options: Pick<PeerOptions, 'environment' | 'maxMessageBytes' | 'type'>,
  ): Promise<BoundSocket> {
    const { environment } = options;
    const made = new BoundSocket(options);
    try {
      const { context } = environment;
      const { ip, path, port } = await resolveEndpoint(address, clockOf(environment), (found) =>
        context.addresses?.checkBound(address, found),
      );
      if (path === undefined) {
        const host = ip === '*' ? ALL_INTERFACES : (ip ?? '');
        await listening(made.#server, { host, port: port ?? 0 });
      } else {
        await lstat(dirname(path)); // libuv says EACCES where the directory is missing
        made.#name = new PublishedName(path, context.paths);
        await listening(made.#server, { path: made.#name.claim });
        await made.#name.publish();
      }
    } catch (error) {
      await made.#free();
      const shown = bindError(address, error);
      environment.log.warn('bind failed', { address: address.text, reason: shown.message, cause: error });
      throw shown;
    }
    made.endpoint = endpointOf(made.#server, address);
    made.#server.on('error', (cause) => environment.log.error('accepting a connection failed', { cause }));
    if (!environment.context.hold(made)) throw bindError(address, new Error('the socket context is closed'));
    return made;
  }

  /** Hands what comes to `owner`; called in the turn in which {@link bind} resolved. */
  serve(owner: BoundOwner, drops: Drops): void {
    this.#owner = owner;
    this.#drops = drops;
  }

  /** Something is wanted again: offers what waits, one message of each peer in turn. */
  resume(isWanted: () => boolean): void {
    for (const peer of this.#waiting) {
      if (!isWanted()) return;
      this.#waiting.delete(peer);
      peer.resume();
    }
  }

  /** Stops listening, sends what waits for peers, and closes; the address is free then. */
  async close(): Promise<void> {
    await this.#free();
    this.options.environment.context.release(this);
    await Promise.all([...this.#peers].map((peer) => peer.end()));
  }

  /** Closes everything at once. */
  destroy(): void {
    void this.#free();
    for (const peer of this.#peers) peer.destroy();
  }

  /** Gives the address back: at once, but for a name. */
  async #free(): Promise<void> {
    const name = this.#name;
    this.#name = undefined;
    try {
      if (name !== undefined) await name.withdraw();
    } catch (cause) {
      this.options.environment.log.error('the name of a socket was not given back', { cause });
    } finally {
      if (this.#server.listening) this.#server.close();
    }
  }

  #accept(socket: Socket): void {
    const drops = this.#drops;
    const from = socket.remoteAddress ?? '';
    const already = this.#perAddress.get(from) ?? 0;
    if (drops === undefined || already >= MAX_PEERS_PER_ADDRESS) {
      socket.on('error', () => undefined);
      socket.destroy();
      drops?.note('too_many_peers', { peer: from });
      return;
    }
    this.#perAddress.set(from, already + 1);
    const peer = new Peer(
      socket,
      {
        ready: (ready) => this.#owner?.ready?.(ready),
        message: (sender, frames) => this.#offer(sender, frames),
        writable: (writable) => writable.resume(),
        gone: (gone) => {
          this.#peers.delete(gone);
          this.#waiting.delete(gone);
          const left = (this.#perAddress.get(from) ?? 1) - 1;
          if (left === 0) this.#perAddress.delete(from);
          else this.#perAddress.set(from, left);
        },
      },
      { ...this.options, drops },
    );
    this.#peers.add(peer);
  }

  #offer(peer: Peer, frames: Buffer[]): boolean {
    // Who does not read replies asks for no more of them.
    if (peer.isFull) return false;
    if (this.#owner?.message(peer, frames) === true) return true;
    this.#waiting.add(peer);
    return false;
  }
}

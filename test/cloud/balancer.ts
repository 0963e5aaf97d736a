/**
 * A passthrough load balancer with failover for one port: connections go to the companion that says it is ready. Each
 * companion binds on a loopback address of its own, as on a host of its own.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface Backend {
  /** The host on which the members' sockets are bound. */
  readonly host: string;
  isReady(): Promise<boolean>;
}

export class LoadBalancer {
  readonly #port: number;
  readonly #backends: () => readonly Backend[];
  readonly #open = new Set<Socket>();
  readonly #server = createServer((client) => void this.#pass(client));

  private constructor(port: number, backends: () => readonly Backend[]) {
    this.#port = port;
    this.#backends = backends;
  }

  static async listen(port: number, backends: () => readonly Backend[]): Promise<LoadBalancer> {
    const balancer = new LoadBalancer(port, backends);
    balancer.#server.listen(port, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  async #pass(client: Socket): Promise<void> {
    this.#keep(client);
    const ready = await Promise.all(
      this.#backends().map(async (one) => ((await one.isReady()) ? one.host : undefined)),
    );
    const host = ready.find((one) => one !== undefined);
    if (host === undefined || client.destroyed) {
      client.destroy();
      return;
    }
    const backend = connect(this.#port, host);
    this.#keep(backend);
    client.pipe(backend).pipe(client);
    client.once('close', () => backend.destroy());
    backend.once('close', () => client.destroy());
  }

  #keep(socket: Socket): void {
    this.#open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#open.delete(socket));
  }
}

/** Whether the port accepts connections, which the kernel does even for a paused process. */
export const isListening = (host: string, port: number): Promise<boolean> => shows('connect', 1000, host, port);

/** Whether a ZeroMQ socket answers: it sends its greeting first (ZMTP 3.1). */
export const isGreeting = (host: string, port: number): Promise<boolean> => shows('data', 1000, host, port);

async function shows(event: 'connect' | 'data', ms: number, host: string, port: number): Promise<boolean> {
  const socket = connect(port, host);
  try {
    await once(socket, event, { signal: AbortSignal.timeout(ms) });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

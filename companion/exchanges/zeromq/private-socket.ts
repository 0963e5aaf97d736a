/**
 * A ZeroMQ socket that only this process can reach: it binds an endpoint in a directory of this process, and a relay
 * (relay.ts) connects each peer to it. So the bytes of a stranger are counted and limited before libzmq sees them.
 */
import { rmSync } from 'node:fs';
import { connect, type Socket as Stream } from 'node:net';
import { type Socket } from 'zeromq';
import { clockOf, type SocketEnvironment } from './options';
import { ReceiveWindow } from './receive-window';

/** A ZeroMQ socket that receives. */
export type Receiving = Socket & { receive(): Promise<readonly Buffer[]> };

export class PrivateSocket<S extends Receiving> {
  readonly #endpoint: string;
  /** Frames that libzmq adds in front of a message: one for a ROUTER. */
  readonly #addedFrames: number;
  readonly #environment: SocketEnvironment;
  readonly window: ReceiveWindow;

  private constructor(
    readonly socket: S,
    endpoint: string,
    addedFrames: number,
    environment: SocketEnvironment,
  ) {
    this.#endpoint = endpoint;
    this.#addedFrames = addedFrames;
    this.#environment = environment;
    this.window = new ReceiveWindow(clockOf(environment), (messages) =>
      environment.log.error('messages were lost between the relay and the socket', { messages }),
    );
  }

  /** @throws Error when no socket or no descriptor is left */
  static async open<S extends Receiving>(
    create: () => S,
    environment: SocketEnvironment,
    { addedFrames = 0 }: { readonly addedFrames?: number } = {},
  ): Promise<PrivateSocket<S>> {
    const { context } = environment;
    const socket = context.hold(create());
    try {
      await socket.bind(context.privateEndpoint());
      return new PrivateSocket(socket, socket.lastEndpoint ?? '', addedFrames, environment);
    } catch (error) {
      context.release(socket);
      throw error;
    }
  }

  /** A connection to it. */
  connect(): Stream {
    const path = this.#path;
    if (path !== undefined) return connect({ path });
    const { hostname, port } = new URL(this.#endpoint);
    return connect({ host: hostname, port: Number(port) });
  }

  /** The next message. @throws Error when the socket is closed */
  async receive(): Promise<readonly Buffer[]> {
    this.window.isOwnerWaiting = true;
    try {
      const frames = await this.socket.receive();
      let bytes = 0;
      for (let index = this.#addedFrames; index < frames.length; index += 1) bytes += frames[index]?.length ?? 0;
      this.window.took(bytes);
      return frames;
    } finally {
      this.window.isOwnerWaiting = false;
    }
  }

  get closed(): boolean {
    return this.socket.closed;
  }

  close(): void {
    this.window.close();
    this.#environment.context.release(this.socket);
    // libzmq does not remove the file.
    if (this.#path !== undefined) rmSync(this.#path, { force: true });
  }

  get #path(): string | undefined {
    return /^ipc:\/\/(.*)$/.exec(this.#endpoint)?.[1];
  }
}

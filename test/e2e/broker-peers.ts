/** Peers that are not this product: bare ZeroMQ sockets, like the members of the original. */
import { once } from 'node:events';
import { connect, createServer, type Socket as TcpSocket } from 'node:net';
import { Dealer, Request, Router } from 'zeromq';
import type { JsonObject } from '@cmbs/shared';
import { eventually } from './harness';
import { PATIENCE_MS } from '../patience';

/** A frame of the original: nested attributes, no transfer unless given. */
export function frameOf(id: string, fields: JsonObject = {}, layer = 'l1'): string {
  return JSON.stringify({
    kind: 'http://houssem.org/cmbs#message',
    mixins: [`http://houssem.org/cmbs#${layer}`],
    attributes: {
      cmbs: {
        message: {
          cmbs_layer: layer,
          executable: 'False',
          sendable: 'True',
          storable: 'True',
          path_history: ['http://127.0.0.1:1/cmbs/member/original'],
          message_content: 'from outside',
          result: '',
          ...fields,
        },
      },
    },
    actions: [],
    id,
    title: 'l1 CMBS message',
    summary: '',
    links: [],
  });
}

/** One exchange of a plain `REQ` peer. */
export async function ask(socket: string, frame: string | Buffer): Promise<JsonObject> {
  const peer = new Request({ linger: 0, receiveTimeout: PATIENCE_MS });
  try {
    peer.connect(socket);
    await peer.send(frame);
    const [reply] = await peer.receive();
    return JSON.parse(String(reply)) as JsonObject;
  } finally {
    peer.close();
  }
}

/** Binds as soon as the address is free: libzmq closes sockets in its own thread, after `close` returns. */
async function bindSoon(router: Router, socket: string): Promise<void> {
  await eventually(
    () =>
      router.bind(socket).then(
        () => 'bound',
        (error: unknown) => String(error),
      ),
    (outcome) => outcome === 'bound',
    `${socket} is bound`,
  );
}

/** Listens, accepts every request and answers none. */
export class HangingPeer {
  readonly #router = new Router({ linger: 0 });
  received = 0;

  static async bind(socket: string): Promise<HangingPeer> {
    const peer = new HangingPeer();
    await bindSoon(peer.#router, socket);
    void peer.#receive();
    return peer;
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        await this.#router.receive();
        this.received += 1;
      }
    } catch {
      // Closed: the test is over.
    }
  }

  close(): void {
    this.#router.close();
  }
}

/** Answers each request with the result of `answer`; undefined means no answer. */
export class ScriptedPeer {
  readonly #router = new Router({ linger: 0 });
  readonly bodies: string[] = [];

  static async bind(
    socket: string,
    answer: (body: string, number: number) => string | undefined,
  ): Promise<ScriptedPeer> {
    const peer = new ScriptedPeer();
    await bindSoon(peer.#router, socket);
    void peer.#serve(answer);
    return peer;
  }

  async #serve(answer: (body: string, number: number) => string | undefined): Promise<void> {
    try {
      for await (const frames of this.#router) {
        const body = String(frames.at(-1));
        this.bodies.push(body);
        const reply = answer(body, this.bodies.length);
        if (reply !== undefined) await this.#router.send([...frames.slice(0, -1), reply]);
      }
    } catch {
      // Closed: the test is over.
    }
  }

  close(): void {
    this.#router.close();
  }
}

/** A relay between sender and receiver that loses the first `lost` replies. */
export class LossyProxy {
  readonly #front = new Router({ linger: 0 });
  readonly #back = new Dealer({ linger: 0 });
  #lost: number;
  requests = 0;

  private constructor(lost: number) {
    this.#lost = lost;
  }

  static async between(front: string, back: string, lost: number): Promise<LossyProxy> {
    const proxy = new LossyProxy(lost);
    await proxy.#front.bind(front);
    proxy.#back.connect(back);
    void proxy.#forward();
    void proxy.#return();
    return proxy;
  }

  async #forward(): Promise<void> {
    try {
      for await (const frames of this.#front) {
        this.requests += 1;
        await this.#back.send(frames);
      }
    } catch {
      // Closed: the test is over.
    }
  }

  async #return(): Promise<void> {
    try {
      for await (const frames of this.#back) {
        if (this.#lost > 0) this.#lost -= 1;
        else await this.#front.send(frames);
      }
    } catch {
      // Closed: the test is over.
    }
  }

  close(): void {
    this.#front.close();
    this.#back.close();
  }
}

/** A TCP relay whose connections a test can cut, as a network does. */
export class Cable {
  readonly #open = new Set<TcpSocket>();
  readonly #server;

  private constructor(to: number) {
    this.#server = createServer((near) => {
      const far = connect(to, '127.0.0.1');
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#open.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.#open.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  static async lay(from: string, to: string): Promise<Cable> {
    const port = (socket: string): number => Number(socket.slice(socket.lastIndexOf(':') + 1));
    const cable = new Cable(port(to));
    cable.#server.listen(port(from), '127.0.0.1');
    await once(cable.#server, 'listening');
    return cable;
  }

  /** Breaks open connections; new connections are accepted. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** Messages on a topic, from frames of a member of another deployment to the durable receipts of one member. */
import { silentCounters, silentLog } from '@cmbs/shared';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { askOnce, requestText } from './http-load';
import { subscribedMember, topicFrames } from './messages';
import { freePort, type Product } from './programs';
import type { Transport } from './throughput';

/** Messages in flight: unconfirmed ones of the publisher, and unacknowledged ones of the consumer. */
export const WINDOW = 128;
/** Milliseconds in which the receipts of a round are written after its last frame. */
const DRAIN_MS = 30_000;
/** Milliseconds between two looks at the counters while the last receipts are written. */
const LOOK_AGAIN_MS = 4;

/** A member of another deployment sends to the socket of the member that wants the topic. */
export class TopicTransport implements Transport {
  readonly #product: Product;
  readonly #context = new SocketContext();
  readonly #requester: Requester;
  readonly #frame = topicFrames();

  private constructor(product: Product, socket: string) {
    this.#product = product;
    this.#requester = new Requester(socket, {
      context: this.#context,
      log: silentLog,
      counters: silentCounters,
    });
  }

  static async open(product: Product): Promise<TopicTransport> {
    const { socket } = await subscribedMember(product, await freePort());
    return new TopicTransport(product, socket);
  }

  async publish(): Promise<void> {
    const reply = await this.#requester.request(this.#frame());
    if (reply.includes('"error"')) throw new Error(reply.toString());
  }

  async drained(published: number): Promise<void> {
    const deadline = performance.now() + DRAIN_MS;
    for (;;) {
      const received = await this.#received();
      if (received >= published) return;
      if (performance.now() > deadline) throw new Error(`${received} receipts of ${published} messages`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  /** Durable receipts since the start. */
  async #received(): Promise<number> {
    const { body } = await askOnce(this.#product.port, requestText('GET', '/metrics'));
    const line = body.split('\n').find((one) => /^cmbs_received\w*\{(?=.*"l32")(?=.*"accepted")/.test(one));
    return Number(line?.split(' ').at(-1) ?? 0);
  }

  async close(): Promise<void> {
    await this.#requester.close();
    this.#context.close();
  }
}

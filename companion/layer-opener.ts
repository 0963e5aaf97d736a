/** Opens one layer of a member: its socket, and for a layer on the topic bus its subscription as well. */
import { toCmbsError } from '@cmbs/shared';
import type { Layer, Layers } from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';
import type { Exchange, MemberSocket, OpenSocket } from './exchanges/exchange';
import type { FrameHandler } from './frame-handler';
import { TopicSubscription, type TopicSubscriptionEnvironment } from './topic-subscription';

/** An open layer of a member. */
export interface OpenLayer {
  /** The address of its socket; another address needs another socket. */
  readonly address: string;
  /** Follows a change that needs no new socket (topics, suspension). */
  readonly follow: (member: Entity) => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface LayerOpenerEnvironment extends TopicSubscriptionEnvironment {
  readonly exchanges: Pick<Exchange, 'serveRequests' | 'serveBroadcasts'>;
  readonly layers: Layers;
}

/** Takes the frames that arrive. */
export type FrameTaker = Pick<FrameHandler, 'reply' | 'replyFederated' | 'handleBroadcast' | 'handleBusDelivery'>;

export class LayerOpener {
  readonly #environment: LayerOpenerEnvironment;
  readonly #frames: FrameTaker;

  constructor(environment: LayerOpenerEnvironment, frames: FrameTaker) {
    this.#environment = environment;
    this.#frames = frames;
  }

  /** @throws CmbsError as the exchange and the bus do; then nothing is open */
  async open(member: Entity, layer: Layer, address: string): Promise<OpenLayer> {
    const { exchanges, layers } = this.#environment;
    const { path } = member;
    const socket = { member: path, layer, address };
    switch (layers.of(layer).channel) {
      case 'request':
        return withoutTopics(
          address,
          await exchanges.serveRequests(socket, (frame) => this.#frames.reply(path, layer, frame)),
        );
      case 'broadcast':
        return withoutTopics(
          address,
          await exchanges.serveBroadcasts(socket, (frame) => this.#takeBroadcast(socket, frame)),
        );
      case 'bus':
        return this.#openOnBus(member, socket);
    }
  }

  async #takeBroadcast({ member, layer }: MemberSocket, frame: Buffer): Promise<void> {
    const { counters, log } = this.#environment;
    try {
      await this.#frames.handleBroadcast(member, layer, frame);
    } catch (thrown) {
      const error = toCmbsError(thrown);
      counters.add('cmbs_dropped', { reason: error.code, layer });
      log.warn('broadcast dropped', { member, reason: error.message });
    }
  }

  async #openOnBus(member: Entity, socket: MemberSocket): Promise<OpenLayer> {
    const { exchanges } = this.#environment;
    const { path } = member;
    const { layer, address } = socket;
    const opened = await exchanges.serveRequests(socket, (frame) =>
      this.#frames.replyFederated(path, layer, frame),
    );
    try {
      const subscription = new TopicSubscription(this.#environment, path, layer, (delivery) =>
        this.#frames.handleBusDelivery(path, layer, delivery),
      );
      await subscription.follow(member);
      return {
        address,
        follow: (now) => subscription.follow(now),
        close: async () => {
          await opened.close();
          await subscription.close();
        },
      };
    } catch (error) {
      await opened.close();
      throw error;
    }
  }
}

const withoutTopics = (address: string, opened: OpenSocket): OpenLayer => ({
  address,
  follow: async () => undefined,
  close: () => opened.close(),
});

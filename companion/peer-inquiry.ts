/** Asks the member at a socket to describe itself: with a message that describes the member that asks (docs/layers.md). */
import type { Clock, NewId } from '@cmbs/shared';
import {
  describe,
  DISCOVERY_CONTENT,
  DISCOVERY_LAYER,
  layerMixin,
  type Layers,
  MESSAGE,
  MESSAGE_KIND,
  messageFrame,
  MESSAGES,
  parseReply,
  type Reply,
} from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';
import { type Exchange, PeerError, type RequestConnection } from './exchanges/exchange';

/** Milliseconds for one attempt, and attempts. */
const INQUIRY_TIMEOUT_MS = 2000;
export const INQUIRY_ATTEMPTS = 2;

export interface PeerInquiryEnvironment {
  readonly exchanges: Pick<Exchange, 'connectForRequests'>;
  readonly layers: Layers;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly deployment: string;
  readonly uriOf: (path: string) => string;
}

export class PeerInquiry {
  readonly #environment: PeerInquiryEnvironment;

  constructor(environment: PeerInquiryEnvironment) {
    this.#environment = environment;
  }

  /** The frame that describes `asking`; one frame serves for many sockets. */
  frame(asking: Entity): string {
    const { newId, clock, deployment, uriOf, layers } = this.#environment;
    const id = newId();
    const now = clock.now();
    const message: Entity = {
      path: MESSAGES + id,
      id,
      kind: MESSAGE_KIND,
      mixins: [layerMixin(DISCOVERY_LAYER)],
      attributes: {
        [MESSAGE.layer]: DISCOVERY_LAYER,
        [MESSAGE.executable]: 'false',
        [MESSAGE.sendable]: 'true',
        [MESSAGE.storable]: 'false',
      },
      rawJson: {},
      owner: asking.owner,
      createdAt: now,
      updatedAt: now,
    };
    return messageFrame(message, {
      content: JSON.stringify(describe(asking, layers)),
      pathHistory: [uriOf(asking.path)],
      transfer: {
        v: 1,
        origin: { deployment, revision: asking.updatedAt },
        content_type: DISCOVERY_CONTENT,
      },
    });
  }

  /**
   * Sends the frame, and hands the reply to `take` before the connection is closed.
   * @throws PeerError when no reply came
   * @throws CmbsError `bad_attribute` or `forbidden` for an address that may not be used, `bad_request` for a reply that
   *   cannot be read
   */
  async ask<T>(
    socket: string,
    frame: string,
    signal: AbortSignal,
    take: (reply: Reply) => T | Promise<T>,
  ): Promise<T> {
    const requester = this.#environment.exchanges.connectForRequests(socket);
    try {
      return await take(parseReply(await request(requester, frame, signal)));
    } finally {
      await requester.close();
    }
  }
}

async function request(requester: RequestConnection, frame: string, signal: AbortSignal): Promise<Buffer> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await requester.request(frame, { timeoutMs: INQUIRY_TIMEOUT_MS, signal });
    } catch (error) {
      const again = error instanceof PeerError && (error.reason === 'timeout' || error.reason === 'lost');
      if (!again || attempt >= INQUIRY_ATTEMPTS) throw error;
    }
  }
}

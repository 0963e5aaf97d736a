/** Makes the frames of outbound messages when they are to go out: one copy for all receivers, within a limit of bytes. */
import { CmbsError } from '@cmbs/shared';
import {
  addressesOf,
  contentOf,
  describe,
  isEmptyContent,
  MAX_NAMED_RECEIVERS,
  meantBy,
  MESSAGE,
  type OutboundMessage,
  outgoingFrame,
  parseFrame,
  sentMessage,
  socketAt,
  type StoredOutboundMessage,
} from '@cmbs/shared/broker';
import { ByteSemaphore } from './byte-semaphore';
import { hasId } from './peer-kinds';
import type { DeliveryEnvironment } from './environment';
import type { InFlightMessage } from './in-flight-message';

export class OutgoingFrames {
  readonly #environment: Pick<DeliveryEnvironment, 'members' | 'deployment' | 'uriOf' | 'layers' | 'proofs'>;
  readonly #bytes = new ByteSemaphore();

  constructor(environment: Pick<DeliveryEnvironment, 'members' | 'deployment' | 'uriOf' | 'layers' | 'proofs'>) {
    this.#environment = environment;
  }

  /**
   * The frame; undefined when the message was deleted.
   * @param isFailing the frame is for a peer that has failed
   * @param read reads the message, once there is room for it
   * @throws CmbsError `conflict` when the sending member was deleted
   */
  of(
    message: InFlightMessage,
    isFailing: boolean,
    read: () => Promise<StoredOutboundMessage | undefined>,
  ): Promise<Buffer | undefined> {
    return (message.frame ??= this.#make(message, isFailing, read));
  }

  /** Makes the frame once there is room for it. */
  async #make(
    message: InFlightMessage,
    isFailing: boolean,
    read: () => Promise<StoredOutboundMessage | undefined>,
  ): Promise<Buffer | undefined> {
    try {
      const release = await this.#bytes.take(message.bytes, isFailing);
      // A message that backed off while it waited for its bytes may be asked for twice.
      const earlier = message.releaseFrame;
      message.releaseFrame = () => {
        earlier();
        release();
      };
      const text = await this.#textOf(message, await read());
      // Nothing is to be sent, or the message backed off meanwhile and is read again in its turn.
      if (text === undefined || message.trying.size === 0) this.free(message);
      return text === undefined ? undefined : Buffer.from(text);
    } catch (error) {
      this.free(message);
      throw error;
    }
  }

  async #textOf(message: InFlightMessage, read: StoredOutboundMessage | undefined): Promise<string | undefined> {
    const { members, deployment, uriOf, layers, proofs } = this.#environment;
    if (read?.outbound.frame !== undefined) return read.outbound.frame;
    if (read?.message === undefined) return undefined;
    const { outbound } = read;
    const from = members.get(outbound.from) ?? (await members.refresh(outbound.from));
    if (from === undefined) throw new CmbsError('conflict', 'The sending member is not here any more.');
    const entity = sentMessage(outbound, read.message.entity);
    const isDiscovery =
      layers.find(outbound.layer)?.isOriginal === true && isEmptyContent(entity.rawJson[MESSAGE.content]);
    const content = isDiscovery ? JSON.stringify(describe(from, layers)) : undefined;
    const frame = outgoingFrame(
      outbound,
      entity,
      { deployment, uriOf, revision: from.updatedAt, proofs },
      { content, ...meantBy(outbound.receivers), ...sentTo(outbound) },
    );
    // An earlier release may have queued a message that no receiver takes.
    message.hasId = hasId(contentOf(parseFrame(frame)));
    return frame;
  }

  /** No attempt needs the frame now. */
  free(message: InFlightMessage): void {
    message.frame = undefined;
    message.releaseFrame();
    message.releaseFrame = () => undefined;
  }
}

/** The addresses of open deliveries, if the frame can name them all. */
function sentTo({ layer, receivers }: OutboundMessage): { readonly addresses?: readonly string[] } {
  const addresses = [...addressesOf(layer, receivers)].map(socketAt);
  return addresses.length === 0 || addresses.length > MAX_NAMED_RECEIVERS ? {} : { addresses };
}

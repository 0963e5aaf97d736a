/** Decides what the replies of peers mean for the messages that were sent to them. */
import { CATALOGUE, toCmbsError, type ErrorCode, type JsonObject } from '@cmbs/shared';
import {
  isLocal,
  type MemberRegistration,
  originOf,
  parseDescription,
  parseReply,
  provenanceOf,
  type Reply,
  socketAt,
  socketOf,
} from '@cmbs/shared/broker';
import type { Path } from '@cmbs/shared/occi';
import type { DeliveryEnvironment } from './environment';
import type { QueueItem, QueueOwner } from './in-flight-message';
import { PeerKinds } from './peer-kinds';

/** Attempts that a receiver may answer with an internal error before the delivery fails. */
const MAX_INTERNAL_ATTEMPTS = 5;
/** Attempts at which a peer's connection may break before the delivery fails: the message may crash the peer. */
const MAX_BROKEN_ATTEMPTS = 5;

export class Replies {
  readonly #environment: Pick<DeliveryEnvironment, 'counters' | 'members' | 'log' | 'deployment' | 'layers'>;
  readonly #registration: MemberRegistration;
  readonly #settle: QueueOwner['settle'];
  readonly #peers = new PeerKinds();

  constructor(
    environment: Pick<DeliveryEnvironment, 'counters' | 'members' | 'log' | 'deployment' | 'layers'>,
    registration: MemberRegistration,
    settle: QueueOwner['settle'],
  ) {
    this.#environment = environment;
    this.#registration = registration;
    this.#settle = settle;
  }

  /**
   * A reply came for an item. `apart`: another member is at the address, and took nothing; the receiver belongs to
   * another deployment, and its known address may be out of date.
   */
  async replied(
    item: QueueItem,
    bytes: Buffer,
  ): Promise<Awaited<ReturnType<QueueOwner['replied']>> | { readonly apart: string }> {
    const { counters } = this.#environment;
    const { layer } = item.message.outbound;
    let reply: Reply;
    try {
      reply = parseReply(bytes);
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (error.code !== 'bad_request') throw thrown;
      counters.add('cmbs_deliveries', { layer, outcome: 'failed' });
      this.#settle(item, { state: 'failed', reason: error.message });
      return 'settled';
    }
    if (reply.kind === 'answer')
      this.#peers.answered(item.address, reply.json, !this.#isOriginal(item) || item.message.hasId);
    if (reply.kind === 'error') {
      if (isRetryable(reply.code) && !this.#isHopeless(item, reply.code)) return { retry: reply.message };
      if (await this.#hasMoved(item)) return 'moved';
      if (reply.code === 'misdirected' && (await this.#isRemote(item)))
        return this.#misdirected(item, reply.message);
      counters.add('cmbs_deliveries', { layer, outcome: 'failed' });
      this.#settle(item, {
        state: 'failed',
        reason: `${reply.code}: ${reply.message}`,
        reply: bytes.toString('utf8'),
      });
      return 'settled';
    }
    const other = await this.#otherThanMeant(item, reply.json);
    if (other !== undefined && (await this.#hasMoved(item))) return 'moved';
    counters.add('cmbs_deliveries', { layer, outcome: other === undefined ? 'delivered' : 'failed' });
    if (other === undefined) this.#settle(item, { state: 'delivered', reply: reply.text });
    else this.#settle(item, { state: 'failed', reason: other });
    await this.#registerFrom(reply.json, item);
    return 'settled';
  }

  /** Whether a peer would crash at an item, which then fails. */
  isTooMuchFor(item: QueueItem): boolean {
    const { message, address } = item;
    if (!this.#isOriginal(item) || message.hasId || !this.#peers.is(address, 'original')) return false;
    this.#settle(item, {
      state: 'failed',
      reason:
        `the peer at ${address} runs the original program, or ends at a message as the original does at a content ` +
        'without "id"; send an object with an "id"',
    });
    return true;
  }

  /** The connection broke while an item alone was in flight: the message may have crashed the peer. */
  broke(item: QueueItem): 'given up' | { readonly retry: string } {
    const { message, address } = item;
    const reason = `the connection to ${address} broke when the message came`;
    // The original has L1 only. A peer of ours survives any message; it was stopped, or the network failed.
    if (!this.#isOriginal(item) || this.#peers.is(address, 'ours')) return { retry: reason };
    item.broken = (item.broken ?? 0) + 1;
    const times = (message.receiver(item)?.broken ?? 0) + item.broken;
    if (times < MAX_BROKEN_ATTEMPTS) return { retry: reason };
    if (!message.hasId) this.#peers.didNotSurvive(address);
    const why = message.hasId ? '' : ' (the original program ends at a content that is no object with an "id")';
    this.#settle(item, {
      state: 'failed',
      reason: `${reason}, ${times} times; the peer does not survive it${why}`,
    });
    return 'given up';
  }

  /**
   * Whether the receiver has another address by now. Then a refusal of the member at the old address says nothing about
   * the receiver, and the message goes to the new address.
   */
  async #hasMoved({ message, key, address }: QueueItem): Promise<boolean> {
    const meant = message.receiver({ key })?.member;
    if (meant === undefined) return false;
    const member = await this.#environment.members.refresh(meant);
    return member !== undefined && socketOf(member, message.outbound.layer) !== socketAt(address);
  }

  #isOriginal({ message }: QueueItem): boolean {
    return this.#environment.layers.find(message.outbound.layer)?.isOriginal === true;
  }

  async #isRemote(item: QueueItem): Promise<boolean> {
    const meant = item.message.receiver(item)?.member;
    const member = meant === undefined ? undefined : await this.#environment.members.find(meant);
    return member !== undefined && !isLocal(member);
  }

  #misdirected({ address }: QueueItem, message: string): { readonly retry: string } | { readonly apart: string } {
    const reason = `${message} The message waits until the member that is meant answers, or has another address.`;
    return socketAt(address) === address ? { apart: reason } : { retry: reason };
  }

  /** The reason when another member than the receiver answered; a peer without a description may be the receiver. */
  async #otherThanMeant({ message, key, address }: QueueItem, reply: JsonObject): Promise<string | undefined> {
    const meant = message.receiver({ key })?.member;
    const described = parseDescription(reply.member_description, this.#environment.layers);
    if (meant === undefined || described === undefined || described === 'too large') return undefined;
    const from = originOf(reply)?.deployment;
    const known = from === undefined ? undefined : await this.#deploymentOf(meant);
    const isElsewhere = known !== undefined && from !== known;
    // A description has the id only; an earlier release allowed members at other paths, too.
    if (meant.endsWith(`/${described.id}`) && !isElsewhere) return undefined;
    const answered = isElsewhere ? `${described.id} of the deployment ${from}` : described.id;
    return `${answered} answered at ${socketAt(address)}, not ${meant}; correct the address of ${meant} and resend`;
  }

  /** The deployment of a member, where it is known. */
  async #deploymentOf(path: Path): Promise<string | undefined> {
    const { deployment, members } = this.#environment;
    const member = await members.find(path);
    if (member === undefined) return undefined;
    return isLocal(member) ? deployment : provenanceOf(member)?.deployment;
  }

  /** Registers the receiver's description of itself; the outcome of the delivery does not depend on this. */
  async #registerFrom(reply: JsonObject, { message, address }: QueueItem): Promise<void> {
    // The description of a member of this deployment is known here.
    if (originOf(reply)?.deployment === this.#environment.deployment) return;
    try {
      const { id = '' } = this.#environment.members.get(message.outbound.from) ?? {};
      await this.#registration.register(reply.member_description, originOf(reply), id, {
        asked: socketAt(address),
      });
    } catch (error) {
      this.#environment.log.warn('description in a reply not registered', { cause: error });
    }
  }

  /** A message that its receiver cannot handle must not delay those behind it until it expires. */
  #isHopeless(item: QueueItem, code: string): boolean {
    const recorded = item.message.receiver(item)?.attempts ?? 0;
    return code === 'internal' && recorded + item.tries >= MAX_INTERNAL_ATTEMPTS;
  }
}

/** Whether the same message may succeed later, after an error reply with this code. */
const isRetryable = (code: string): boolean =>
  Object.hasOwn(CATALOGUE, code) && CATALOGUE[code as ErrorCode].retryable;

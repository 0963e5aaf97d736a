/**
 * Handles a message that has arrived for a member (docs/design.md, "The way of a frame"): records a receipt, which
 * deduplicates, then stores the message or executes its call as the message allows. All layers, the topic bus and pushes
 * use it.
 */
import type { BusDelivery } from '../bus';
import { orderKey } from '../clock';
import { CmbsError, toCmbsError } from '../errors';
import { isJsonObject, type Json } from '../json';
import type { Entity, Path } from '../occi';
import { ANONYMOUS, type Principal, TOPIC_BUS } from '../principal';
import { inSpan, parseTraceparent } from '../trace';
import { receiptFor, type Arrival } from './arrival';
import { authorizeReceiving, membersThatMaySubscribe } from './authorization';
import { MEMBER_KIND } from './cmbs';
import type { BrokerContext } from './context';
import { Deduplication } from './deduplication';
import type { Execution } from './execution';
import { InboundCalls } from './inbound-calls';
import type { InboxLimits } from './inbox-room';
import type { Layer } from './layer-definition';
import { isSuspended, wants } from './member';
import type { MemberRegistration } from './member-registration';
import type { OrderClock } from './order-clock';
import { messageOfDelivery } from './publication';
import { ReceiptWriter } from './receipt-writer';
import { isListed, type UriOf } from './references';
import { contentOf, DISCOVERY_CONTENT, senderUri, type WireMessage } from './wire';

/**
 * Characters of a frame whose receipt the store is sure to take: as JSON inside JSON a frame grows six times at most,
 * and stays below Firestore's limit. The receipt of a larger frame is written before the reply.
 */
const MAX_UNCHECKED_RECEIPT_CHARS = 128 * 1024;

export interface InboundOptions {
  /** The message is written before {@link InboundHandler.handle} resolves, even if it may not be stored. */
  readonly durably?: boolean;
  /** Peers do not prove their identity, so a frame acts as anonymous unless a key or token proves more. */
  readonly principal?: Principal;
}

export interface InboundContext extends BrokerContext, InboxLimits {
  /** Id of this deployment, by which messages from its own members are known. */
  readonly deployment: string;
  readonly order: OrderClock;
  readonly uriOf: UriOf;
}

export interface InboundHandlerParts {
  readonly context: InboundContext;
  readonly registration: MemberRegistration;
  readonly execution: Execution;
  /** A message to `receiver` claims something about a known member that only that member can confirm. */
  readonly onClaim?: (member: Path, receiver: Entity) => void;
}

export class InboundHandler {
  readonly #context: InboundContext;
  readonly #registration: MemberRegistration;
  readonly #onClaim: NonNullable<InboundHandlerParts['onClaim']>;
  readonly #deduplication: Deduplication;
  readonly #receipts: ReceiptWriter;
  readonly #calls: InboundCalls;
  #sequence = 0;

  constructor({ context, registration, execution, onClaim = () => undefined }: InboundHandlerParts) {
    this.#context = context;
    this.#registration = registration;
    this.#onClaim = onClaim;
    this.#deduplication = new Deduplication(context);
    this.#receipts = new ReceiptWriter(context, this.#deduplication);
    this.#calls = new InboundCalls(execution, this.#receipts, context.newId);
  }

  /**
   * Handles a message and logs one line without its content. Resolves with the JSON text of a call's answer, if the
   * message carries a call. A message that may not be stored is still in memory only, unless it is handled `durably`.
   * @throws CmbsError `forbidden`; `conflict` for an expired message; `queue_full`, `too_large`, `storage_full`
   */
  async handle(
    member: Entity,
    layer: Layer,
    message: WireMessage,
    { durably = false, principal = ANONYMOUS }: InboundOptions = {},
  ): Promise<string | undefined> {
    const { clock, log } = this.#context;
    const arrival = this.#arrival(member, layer, message, principal);
    const trace = parseTraceparent(message.transfer.traceparent);
    let outcome = 'accepted';
    try {
      return await inSpan(
        {
          name: `receive ${layer}`,
          kind: 'consumer',
          parent: trace,
          attributes: { 'messaging.message.id': message.id, 'messaging.destination.name': member.path },
        },
        (own) => this.#takeOnce({ ...arrival, trace: own }, durably),
      );
    } catch (thrown) {
      outcome = toCmbsError(thrown).code;
      throw thrown;
    } finally {
      log.info('received', {
        event: 'delivery',
        direction: 'in',
        layer,
        member: member.path,
        id: message.id,
        send: message.transfer.send_id,
        outcome,
        ms: clock.now() - arrival.at,
        trace,
      });
    }
  }

  /**
   * Handles a message from the bus or a push, if the member wants it: filters of the bus are only an optimisation.
   * @throws CmbsError if the message is not taken; the bus then delivers it again or gives it up
   */
  async handleBusDelivery(
    member: Entity,
    layer: Layer,
    delivery: BusDelivery,
    principal = TOPIC_BUS,
  ): Promise<void> {
    if (isSuspended(member)) throw new CmbsError('unavailable', 'The member is suspended; try again later.');
    const message = messageOfDelivery(layer, delivery);
    const { store, counters, layers, uriOf } = this.#context;
    if (!wants(member, [delivery.topic])) {
      // The member has changed its topics since the message was published.
      counters.add('cmbs_dropped', { reason: 'not wanted any more', layer });
      return;
    }
    const { authorize } = this.#context;
    if ((await membersThatMaySubscribe(authorize, [member], [delivery.topic])).length === 0) {
      counters.add('cmbs_dropped', { reason: 'not allowed any more', layer });
      return;
    }
    const isSelective = layers.of(layer).selectsProviders === true;
    if (isSelective && !(await isListed(store, member, message.providers, uriOf))) return;
    if (this.#isExpired(layer, message)) return;
    // Publishers and the bus repeat only messages that were not acknowledged.
    await this.handle(member, layer, message, { durably: true, principal });
    counters.add('cmbs_received', { layer, outcome: 'accepted' });
  }

  /** Registers the member that a message describes, if its content is a description. */
  async registerFrom(member: Entity, message: WireMessage, principal = ANONYMOUS): Promise<void> {
    const content = contentOf(message);
    if (!describesMember(content)) return;
    const { origin } = message.transfer;
    const uri = senderUri(message);
    const claimed = origin === undefined || uri === undefined ? origin : { ...origin, uri };
    const result = await this.#registration.register(content, claimed, member.id, {}, principal);
    if (result.member !== undefined && result.doubt === 'ask') this.#onClaim(result.member, member);
  }

  /** Waits until every message that was answered before it was written is written. */
  flush(): Promise<void> {
    return this.#receipts.flush();
  }

  #arrival(member: Entity, layer: Layer, message: WireMessage, principal: Principal): Arrival {
    this.#sequence = (this.#sequence + 1) % 1_000_000_000;
    const { clock, order } = this.#context;
    const position = orderKey(order.now(), this.#sequence.toString().padStart(9, '0'));
    return { member, layer, message, principal, at: clock.now(), order: position };
  }

  /**
   * Takes a message. A message that has a receipt already is answered as before even if there is no room for another:
   * its sender did not get the first answer. The receipt is looked up only after a refusal, so that other messages cost
   * no additional read.
   */
  async #takeOnce(arrival: Arrival, durably: boolean): Promise<string | undefined> {
    try {
      return await this.#take(arrival, durably);
    } catch (thrown) {
      if (!isForWantOfRoom(toCmbsError(thrown))) throw thrown;
      const { member, message } = arrival;
      const earlier = await this.#deduplication.find(member.id, message);
      if (earlier === undefined) throw thrown;
      const call = this.#calls.callIn(message);
      return call === undefined ? undefined : this.#calls.answerAgain(arrival, earlier, call);
    }
  }

  async #take(arrival: Arrival, durably: boolean): Promise<string | undefined> {
    const { member, layer, message, principal } = arrival;
    const { authorize, newId } = this.#context;
    await authorizeReceiving(authorize, principal, member);
    if (this.#isExpired(layer, message)) throw new CmbsError('conflict', 'The message has expired.');
    await this.registerFrom(member, message, principal);
    if (message.transfer.content_type === DISCOVERY_CONTENT) return undefined;
    const call = this.#calls.callIn(message);
    if (call !== undefined) return this.#calls.execute(arrival, call);
    const receipt = receiptFor(arrival, 'received', newId);
    if (message.storable) {
      await this.#receipts.record(arrival, receipt);
      return undefined;
    }
    const { written } = await this.#receipts.recordSoon(arrival, receipt);
    if (durably || message.text.length > MAX_UNCHECKED_RECEIPT_CHARS) await written;
    else written.catch((error: unknown) => this.#reportLoss(arrival, error));
    return undefined;
  }

  /** Counts an expired message as dropped. */
  #isExpired(layer: Layer, { expiresAt }: WireMessage): boolean {
    const { clock, counters } = this.#context;
    if (expiresAt === null || expiresAt > clock.now()) return false;
    counters.add('cmbs_dropped', { reason: 'expired', layer });
    return true;
  }

  #reportLoss({ member, layer, message }: Arrival, error: unknown): void {
    const { log, counters } = this.#context;
    counters.add('cmbs_dropped', { reason: 'not written', layer });
    log.error('receipt lost', { member: member.path, message: message.id, cause: error });
  }
}

/** Whether a message with this content describes the member that sends it, and so asks for a description. */
export const describesMember = (content: Json | undefined): boolean =>
  isJsonObject(content) && content.kind === MEMBER_KIND;

const isForWantOfRoom = ({ code }: CmbsError): boolean =>
  code === 'queue_full' || code === 'storage_full' || code === 'too_large';

/**
 * What becomes of a message that arrived for a member: its receipt recorded (which deduplicates), then stored or
 * executed as its flags say (layers.md, Receiving). All layers, the bus and pushes come through here.
 */
import type { BusDelivery } from '../bus';
import { CmbsError, isOutage, toCmbsError } from '../errors';
import { INBOX_TTL_MS } from './limits';
import { MAX_COMMIT_WRITES } from '../limits';
import { orderKey } from '../clock';
import type { OrderClock } from './order-clock';
import { type CategoryRegistry, ENTITIES, type Entity, type Path, readEntity, writeEntity } from '../occi';
import type { Call } from '../services';
import { ANONYMOUS, TOPIC_BUS, type Principal } from '../principal';
import type { Transaction } from '../store';
import { resourceOf } from './authorization';
import { inSpan, parseTraceparent } from '../trace';
import { MEMBER_KIND, MESSAGE_KIND } from './cmbs';
import { registryOf, type BrokerContext } from './context';
import type { Execution, RunTarget } from './execution';
import { inboxOf, oldReceiptId, receiptId, receiptOf, receiptOptions, receiptValue, type Receipt } from './inbox';
import { InboxRooms, type InboxLimits, type Place } from './inbox-room';
import type { Layer } from './layer-definition';
import type { MemberRegistration } from './member-registration';
import { isSuspended, memberPath, wants } from './member';
import { oldReceiptsUntil } from './old-receipts';
import { messageOfDelivery } from './publication';
import { isIdentified, isNamed, type UriOf } from './references';
import { contentOf, DISCOVERY_CONTENT, entityOf, exactContentOf, senderUri, type WireMessage } from './wire';

/**
 * Receipts of messages that may not be stored, answered and not written yet: fewer than may wait for a commit
 * (`MAX_QUEUED_COMMITS`), so that a flood of them leaves room for others.
 */
const MAX_UNWRITTEN_RECEIPTS = 4000;
/** Milliseconds that such a receipt waits for others: one commit for each would take longer than the rest of it. */
const LATE_RECEIPT_MS = 5;
/**
 * Characters of a frame of which the store may be trusted to take the receipt: as JSON inside JSON it grows six times at
 * most, and stays below Firestore's limit. A larger one is written before it is answered.
 */
const MAX_UNCHECKED_RECEIPT_CHARS = 128 * 1024;

/** How a message came. */
interface Reception {
  readonly durably?: boolean;
  /** Peers do not prove their identity, so a frame comes from nobody in particular unless a key or token proves more. */
  readonly principal?: Principal;
}

/** Who brought a message, and when, for the order in the inbox: taken before anything is waited for. */
interface Arrival {
  readonly principal: Principal;
  readonly at: number;
  readonly order: string;
}

export interface InboundContext extends BrokerContext, InboxLimits {
  readonly order: OrderClock;
  readonly uriOf: UriOf;
}

export interface InboundHandlerParts {
  readonly context: InboundContext;
  readonly registration: MemberRegistration;
  readonly execution: Execution;
  /** Somebody said of a known member what only that member can confirm; `asking` was told. */
  readonly onClaim?: (member: Path, asking: Entity) => void;
}

export class InboundHandler {
  readonly #context: InboundContext;
  readonly #registration: MemberRegistration;
  readonly #execution: Execution;
  readonly #onClaim: NonNullable<InboundHandlerParts['onClaim']>;
  /** Receipts of messages that may not be stored, on their way to the inbox after the reply. */
  #unwritten = 0;
  /** Writes of those that wait for others to share their commit. */
  readonly #writeSoon: (() => void)[] = [];
  #cancelWriting: (() => void) | undefined;
  /** Arrivals that wait until one of them is written, the first first. */
  readonly #waitForRoom: (() => void)[] = [];
  readonly #waitForAll: (() => void)[] = [];
  readonly #rooms: InboxRooms;
  /** Calls that are begun and not answered, by run id. */
  readonly #calls = new Map<string, Promise<string>>();
  #oldReceiptsUntil: Promise<number> | undefined;
  #sequence = 0;

  constructor({ context, registration, execution, onClaim = () => undefined }: InboundHandlerParts) {
    this.#context = context;
    this.#rooms = new InboxRooms(context.store, context.clock, context);
    this.#registration = registration;
    this.#execution = execution;
    this.#onClaim = onClaim;
  }

  /**
   * Resolves with the JSON text of a call's answer, if there was a call. One line in the log, without the content. What
   * may not be stored is in memory only when it resolves, unless it has to be received `durably`.
   */
  async handle(
    member: Entity,
    layer: Layer,
    message: WireMessage,
    { durably = false, principal = ANONYMOUS }: Reception = {},
  ): Promise<string | undefined> {
    const { clock, log } = this.#context;
    const began = clock.now();
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
        () => this.#takeOnce(member, layer, message, durably, principal),
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
        ms: clock.now() - began,
        trace,
      });
    }
  }

  /**
   * Takes a message, or answers as before when its receipt is there: its sender, which does not know that, must not be
   * told of a full inbox. The receipt is looked for only when the message is refused, so that others cost nothing more.
   */
  async #takeOnce(
    member: Entity,
    layer: Layer,
    message: WireMessage,
    durably: boolean,
    principal: Principal,
  ): Promise<string | undefined> {
    try {
      return await this.#take(member, layer, message, durably, principal);
    } catch (thrown) {
      const earlier = isRefusal(toCmbsError(thrown)) ? await this.#earlierReceipt(member, message) : undefined;
      if (earlier === undefined) throw thrown;
      const call = this.#callIn(message);
      return call === undefined
        ? undefined
        : this.#answerAgain(call, earlier.receipt, `${member.id}/${earlier.id}`);
    }
  }

  async #earlierReceipt(
    member: Entity,
    message: WireMessage,
  ): Promise<{ readonly id: string; readonly receipt: Receipt } | undefined> {
    const sendId = message.transfer.send_id;
    if (sendId === undefined) return undefined;
    const id = receiptId(message, sendId);
    const docs = await this.#context.store.getAll(inboxOf(member.id), await this.#idsOf(message, id));
    const doc = docs.find((one) => one !== undefined);
    return doc === undefined ? undefined : { id, receipt: receiptOf(doc) };
  }

  async #take(
    member: Entity,
    layer: Layer,
    message: WireMessage,
    durably: boolean,
    principal: Principal,
  ): Promise<string | undefined> {
    await this.#context.authorize(principal, 'message.receive', resourceOf(member));
    const { clock, counters } = this.#context;
    const arrival = this.#arrival(principal);
    const { transfer } = message;
    if (isExpired(message, clock.now())) {
      counters.add('cmbs_dropped', { reason: 'expired', layer });
      throw new CmbsError('conflict', 'The message has expired.');
    }
    await this.registerFrom(member, message, principal);
    if (transfer.content_type === DISCOVERY_CONTENT) return undefined;
    const call = this.#callIn(message);
    if (call !== undefined) return this.#execute(member, layer, message, arrival, call);
    if (!message.storable) {
      const { written } = await this.#recordSoon(member, layer, message, arrival);
      if (durably || message.text.length > MAX_UNCHECKED_RECEIPT_CHARS) await written;
      else written.catch((error: unknown) => this.#lost(member, layer, message, error));
      return undefined;
    }
    const receipt = this.#receipt(layer, message, arrival, 'received');
    await this.#record(inboxOf(member.id), receipt, message, arrival);
    return undefined;
  }

  /**
   * From the bus, or pushed: only what the member wants, checked again here since filters are an optimisation. Rejects
   * so that the bus offers it again, or gives it up where that cannot help.
   */
  async handleBusDelivery(
    member: Entity,
    layer: Layer,
    delivery: BusDelivery,
    principal = TOPIC_BUS,
  ): Promise<void> {
    if (isSuspended(member)) throw new CmbsError('unavailable', 'The member is suspended; try again later.');
    const message = messageOfDelivery(layer, delivery);
    const { clock, counters } = this.#context;
    if (!wants(member, [delivery.topic])) {
      // It was published while the member did, which has changed its topics since.
      counters.add('cmbs_dropped', { reason: 'not wanted any more', layer });
      return;
    }
    const { layers } = this.#context;
    if (layers.of(layer).selectsProviders === true && !(await this.#isListed(member, message.providers))) return;
    if (isExpired(message, clock.now())) {
      counters.add('cmbs_dropped', { reason: 'expired', layer });
      return;
    }
    // The bus and who pushes offer again what failed, but nothing that was acknowledged.
    await this.handle(member, layer, message, { durably: true, principal });
    counters.add('cmbs_received', { layer, outcome: 'accepted' });
  }

  /** Whether the providers of a message mean the member; a title does not where a member has it as its id. */
  async #isListed(member: Entity, providers: readonly string[]): Promise<boolean> {
    const { store, uriOf } = this.#context;
    if (providers.length === 0 || providers.some((one) => isIdentified(member, one, uriOf))) return true;
    for (const title of providers.filter((one) => isNamed(member, one, uriOf))) {
      const paths = title.startsWith('/') ? [title] : [memberPath(title)];
      if ((await store.getAll(ENTITIES, paths)).every((doc) => doc === undefined)) return true;
    }
    return false;
  }

  /** Stores the member that a message's content describes, if it does. */
  async registerFrom(member: Entity, message: WireMessage, principal = ANONYMOUS): Promise<void> {
    const content = contentOf(message);
    if (!isDescription(content)) return;
    const { origin } = message.transfer;
    const uri = senderUri(message);
    const claimed = origin === undefined || uri === undefined ? origin : { ...origin, uri };
    const result = await this.#registration.register(content, claimed, member.id, {}, principal);
    if (result.member !== undefined && result.doubt === 'ask') this.#onClaim(result.member, member);
  }

  /** Waits until what was answered before it was written is written. */
  async flush(): Promise<void> {
    this.#writeNow();
    if (this.#unwritten > 0) await new Promise<void>((resolve) => this.#waitForAll.push(resolve));
  }

  #receipt(
    layer: Layer,
    message: WireMessage,
    arrival: Arrival,
    state: Receipt['state'],
  ): { id: string; receipt: Receipt } {
    const { newId } = this.#context;
    const sendId = message.transfer.send_id;
    const sender = senderUri(message);
    return {
      // Without a send id (an original peer, which never retries by itself) each arrival is a new send.
      id: receiptId(message, sendId ?? newId()),
      receipt: {
        messageId: message.id,
        ...(sendId === undefined ? {} : { sendId }),
        layer,
        ...(sender === undefined ? {} : { sender }),
        frame: message.text,
        state,
        receivedAt: arrival.at,
        expiresAt: message.expiresAt,
      },
    };
  }

  #arrival(principal: Principal): Arrival {
    this.#sequence = (this.#sequence + 1) % 1_000_000_000;
    const { clock, order } = this.#context;
    return {
      principal,
      at: clock.now(),
      order: orderKey(order.now(), this.#sequence.toString().padStart(9, '0')),
    };
  }

  /** Calls of `write` say whether the receipt was not there before; only then it keeps its place in the inbox. */
  async #inPlace<T>(
    inbox: string,
    receipt: Receipt,
    write: () => Promise<{ readonly isNew: boolean; readonly result: T }>,
  ): Promise<T> {
    const place = await this.#rooms.place(inbox, Buffer.byteLength(JSON.stringify(receipt)));
    return this.#keeping(place, write());
  }

  async #keeping<T>(place: Place, written: Promise<{ readonly isNew: boolean; readonly result: T }>): Promise<T> {
    try {
      const { isNew, result } = await written;
      if (isNew) place.keep();
      else place.release();
      return result;
    } catch (error) {
      // Nobody knows whether it was written.
      if (isOutage(error)) place.keep();
      else place.release();
      throw error;
    }
  }

  /** The ids under which a receipt may be there already: its own comes first. */
  async #idsOf(message: WireMessage, id: string): Promise<readonly string[]> {
    const { store, clock } = this.#context;
    const sendId = message.transfer.send_id;
    if (sendId === undefined) return [id];
    this.#oldReceiptsUntil ??= oldReceiptsUntil(store, clock.now(), INBOX_TTL_MS);
    this.#oldReceiptsUntil.catch(() => (this.#oldReceiptsUntil = undefined));
    return clock.now() < (await this.#oldReceiptsUntil) ? [id, oldReceiptId(message, sendId)] : [id];
  }

  /**
   * Writes the receipt, the message where it is to be kept, and what `more` adds; gives the receipt that was there before.
   *
   * The message itself is looked for before the transaction, and in it only where it is not there yet: a transaction that
   * reads it would compete with the outbox of a sender in the same deployment, which writes down there how far it is.
   */
  #record(
    inbox: string,
    { id, receipt }: { readonly id: string; readonly receipt: Receipt },
    message: WireMessage,
    arrival: Arrival,
    more: (tx: Transaction, kept: Path | undefined) => void = () => undefined,
  ): Promise<Receipt | undefined> {
    return this.#inPlace(inbox, receipt, async () => {
      const options = receiptOptions(receipt, arrival.order);
      const { store, clock, layers } = this.#context;
      const registry = await registryOf(this.#context);
      const ids = await this.#idsOf(message, id);
      const copy = entityOf(message, (name) => isDeclared(name, message, registry), layers, clock.now());
      const known = await readEntity(store, copy.path);
      const earlier = await store.transact(async (tx) => {
        const before = (await tx.getAll(inbox, ids)).find((doc) => doc !== undefined);
        if (before !== undefined) return receiptOf(before);
        const there = known ?? (await readEntity(tx, copy.path));
        // What is there under that id is never overwritten: a member that sends to itself keeps its message.
        const isKept = message.storable && there === undefined;
        tx.put(inbox, id, receiptValue(receipt), options);
        if (isKept) writeEntity(tx, { ...copy, createdBy: arrival.principal }, undefined, registry);
        more(tx, isKept ? copy.path : undefined);
        return undefined;
      });
      return { isNew: earlier === undefined, result: earlier };
    });
  }

  /**
   * Resolves when there is room for the receipt; `written` tells of the write, which shares its commit with others. A
   * message that may not be stored is answered before it: its sender gave up durability (docs/guarantees.md).
   */
  async #recordSoon(
    member: Entity,
    layer: Layer,
    message: WireMessage,
    arrival: Arrival,
  ): Promise<{ readonly written: Promise<void> }> {
    const inbox = inboxOf(member.id);
    const { id, receipt } = this.#receipt(layer, message, arrival, 'received');
    const place = await this.#rooms.place(inbox, Buffer.byteLength(JSON.stringify(receipt)));
    while (this.#unwritten >= MAX_UNWRITTEN_RECEIPTS) {
      await new Promise<void>((resolve) => this.#waitForRoom.push(resolve));
    }
    const { store, clock } = this.#context;
    this.#unwritten += 1;
    const creating = new Promise<void>((resolve) => this.#writeSoon.push(resolve)).then(async () => {
      const [, old] = await this.#idsOf(message, id);
      const isNew =
        (old === undefined || (await store.get(inbox, old)) === undefined) &&
        (await store.create(inbox, id, receiptValue(receipt), receiptOptions(receipt, arrival.order)));
      return { isNew, result: undefined };
    });
    const written = this.#keeping(place, creating).finally(() => this.#written());
    if (this.#writeSoon.length >= MAX_COMMIT_WRITES) this.#writeNow();
    else this.#cancelWriting ??= clock.after(LATE_RECEIPT_MS, () => this.#writeNow());
    return { written };
  }

  #lost(member: Entity, layer: Layer, message: WireMessage, error: unknown): void {
    const { log, counters } = this.#context;
    counters.add('cmbs_dropped', { reason: 'not written', layer });
    log.error('receipt lost', { member: member.path, message: message.id, cause: error });
  }

  /** What is written together shares one commit. */
  #writeNow(): void {
    this.#cancelWriting?.();
    this.#cancelWriting = undefined;
    for (const write of this.#writeSoon.splice(0)) write();
  }

  #written(): void {
    this.#unwritten -= 1;
    this.#waitForRoom.shift()?.();
    if (this.#unwritten === 0) for (const resolve of this.#waitForAll.splice(0)) resolve();
  }

  /** What comes again while the call is begun, run or answered gets the same answer. */
  #execute(member: Entity, layer: Layer, message: WireMessage, arrival: Arrival, call: Call): Promise<string> {
    const { id, receipt } = this.#receipt(layer, message, arrival, 'executing');
    const runId = `${member.id}/${id}`;
    const underWay = this.#calls.get(runId) ?? this.#execution.underWay(runId);
    if (underWay !== undefined) return underWay;
    const answer = this.#executeOnce(inboxOf(member.id), { id, receipt }, runId, message, arrival, call);
    this.#calls.set(runId, answer);
    const forget = (): void => void this.#calls.delete(runId);
    answer.then(forget, forget);
    return answer;
  }

  async #executeOnce(
    inbox: string,
    { id, receipt }: { readonly id: string; readonly receipt: Receipt },
    runId: string,
    message: WireMessage,
    arrival: Arrival,
    call: Call,
  ): Promise<string> {
    let target: RunTarget = { inbox, receipt: id };
    const earlier = await this.#record(inbox, { id, receipt }, message, arrival, (tx, kept) => {
      target = { inbox, receipt: id, ...(kept === undefined ? {} : { message: kept }) };
      this.#execution.begin(tx, runId, call, target);
    });
    if (earlier === undefined) {
      const answer = await this.#execution.run(runId, call, target, {
        principal: arrival.principal,
        sender: receipt.sender ?? 'unknown',
      });
      this.#rooms.grew(inbox, Buffer.byteLength(JSON.stringify({ answer })));
      return answer;
    }
    return this.#answerAgain(call, earlier, runId);
  }

  /** The call that a message carries, if it may be executed and carries one. */
  #callIn(message: WireMessage): Call | undefined {
    const call = message.executable ? this.#execution.decode(contentOf(message)) : undefined;
    // Most contents are not calls, and their numbers need no closer look.
    return call === undefined ? undefined : (this.#execution.decode(exactContentOf(message)) ?? call);
  }

  /** The answer of a call that came before. */
  async #answerAgain(call: Call, { answer }: Receipt, runId: string): Promise<string> {
    return (
      answer ??
      (await this.#execution.underWay(runId)) ??
      this.#execution.outcomeUnknown(call, 'The outcome of this call is unknown; it is not run again.')
    );
  }
}

const isExpired = ({ expiresAt }: WireMessage, now: number): boolean => expiresAt !== null && expiresAt <= now;

/** What is refused for want of room may have been taken while there was some. */
const isRefusal = ({ code }: CmbsError): boolean =>
  code === 'queue_full' || code === 'storage_full' || code === 'too_large';

/** Looks like one; {@link MemberRegistration} reads it. */
function isDescription(content: unknown): boolean {
  return typeof content === 'object' && content !== null && 'kind' in content && content.kind === MEMBER_KIND;
}

function isDeclared(name: string, message: WireMessage, registry: CategoryRegistry): boolean {
  const named = (message.json.mixins as readonly string[] | undefined) ?? [];
  // What is not known has no attributes, and names from outside should not become keys of a cache.
  const mixins = named.filter((id) => registry.mixin(id) !== undefined);
  return Object.hasOwn(registry.specs(MESSAGE_KIND, mixins), name);
}

/** Writes the receipts of arriving messages: within the limits of the inbox, and once per message. */
import { isOutage } from '../errors';
import { type CategoryRegistry, type Path, readEntity, writeEntity } from '../occi';
import { ANONYMOUS } from '../principal';
import type { Transaction } from '../store';
import type { Arrival } from './arrival';
import { MESSAGE_KIND } from './cmbs';
import { registryOf, type BrokerContext } from './context';
import { type Deduplication } from './deduplication';
import { InboxRooms, type InboxLimits, type Place } from './inbox-room';
import { ReceiptBatch } from './receipt-batch';
import { inboxOf, receiptOf, receiptOptions, receiptValue, type IdentifiedReceipt, type Receipt } from './receipt';
import { entityOf, type WireMessage } from './wire';

/** The outcome of a write that may find an earlier receipt. */
interface Written<T> {
  readonly isNew: boolean;
  readonly result: T;
}

type ReceiptContext = BrokerContext & { readonly deployment: string };

export class ReceiptWriter {
  readonly #context: ReceiptContext;
  readonly #deduplication: Deduplication;
  readonly #rooms: InboxRooms;
  readonly #batch: ReceiptBatch;

  constructor(context: ReceiptContext & InboxLimits, deduplication: Deduplication) {
    this.#context = context;
    this.#deduplication = deduplication;
    this.#rooms = new InboxRooms(context.store, context.clock, context);
    this.#batch = new ReceiptBatch(context.clock);
  }

  /**
   * Writes the receipt, a copy of the message unless the sender forbids it, and what `more` adds, in one transaction.
   * Resolves with the earlier receipt if there is one; then nothing is written.
   *
   * A message of a sender in the same deployment is looked up before the transaction. Reading it inside would conflict
   * with the outbox, which updates the message while it delivers; so the transaction reads it only if it was missing.
   *
   * @throws CmbsError `queue_full`, `too_large`
   */
  async record(
    arrival: Arrival,
    { id, receipt }: IdentifiedReceipt,
    more: (tx: Transaction, copy: Path | undefined) => void = () => undefined,
  ): Promise<Receipt | undefined> {
    const { member, message, principal, order } = arrival;
    const { store, clock, layers, deployment } = this.#context;
    const inbox = inboxOf(member.id);
    const write = async (): Promise<Written<Receipt | undefined>> => {
      const registry = await registryOf(this.#context);
      const ids = await this.#deduplication.idsOf(message, id);
      const received = entityOf(message, (name) => isDeclared(name, message, registry), layers, clock.now());
      // A copy belongs to the owner of the receiving member.
      const copy = member.owner === ANONYMOUS.name ? received : { ...received, owner: member.owner };
      const isOwn = message.transfer.origin?.deployment === deployment;
      const known = isOwn ? await readEntity(store, copy.path) : undefined;
      const earlier = await store.transact(async (tx) => {
        const before = (await tx.getAll(inbox, ids)).find((doc) => doc !== undefined);
        if (before !== undefined) return receiptOf(before);
        const stored = known ?? (await readEntity(tx, copy.path));
        // An existing message is never overwritten: a member that sends to itself keeps its message.
        const isCopied = message.storable && stored === undefined;
        tx.put(inbox, id, receiptValue(receipt), receiptOptions(receipt, order));
        if (isCopied) writeEntity(tx, { ...copy, createdBy: principal }, undefined, registry);
        more(tx, isCopied ? copy.path : undefined);
        return undefined;
      });
      return { isNew: earlier === undefined, result: earlier };
    };
    const place = await this.#rooms.place(inbox, bytesOf(receipt));
    return settlePlace(place, write());
  }

  /**
   * Resolves when there is room for the receipt. `written` settles once the receipt is stored, in a commit that it
   * shares with others: the sender of a message that may not be stored gave up durability (docs/guarantees.md, "Per
   * layer").
   *
   * @throws CmbsError `queue_full`, `too_large`
   */
  async recordSoon(
    { member, message, order }: Arrival,
    { id, receipt }: IdentifiedReceipt,
  ): Promise<{ readonly written: Promise<void> }> {
    const { store } = this.#context;
    const inbox = inboxOf(member.id);
    const write = async (): Promise<Written<void>> => {
      const [, oldId] = await this.#deduplication.idsOf(message, id);
      const isNew =
        (oldId === undefined || (await store.get(inbox, oldId)) === undefined) &&
        (await store.create(inbox, id, receiptValue(receipt), receiptOptions(receipt, order)));
      return { isNew, result: undefined };
    };
    const place = await this.#rooms.place(inbox, bytesOf(receipt));
    return this.#batch.add(() => settlePlace(place, write()));
  }

  /** Counts the answer of a call, which was written into its receipt, towards the size of the inbox. */
  answered(memberId: string, answer: string): void {
    this.#rooms.grew(inboxOf(memberId), Buffer.byteLength(JSON.stringify({ answer })));
  }

  /** Waits until every receipt of {@link recordSoon} is written. */
  flush(): Promise<void> {
    return this.#batch.flush();
  }
}

const bytesOf = (receipt: Receipt): number => Buffer.byteLength(JSON.stringify(receipt));

/** Keeps the place of a new receipt, and gives the place back where nothing was written. */
async function settlePlace<T>(place: Place, written: Promise<Written<T>>): Promise<T> {
  try {
    const { isNew, result } = await written;
    if (isNew) place.keep();
    else place.release();
    return result;
  } catch (error) {
    // After an outage it is unknown whether the receipt was written.
    if (isOutage(error)) place.keep();
    else place.release();
    throw error;
  }
}

/** Whether the message's kind or one of its mixins declares the attribute. */
function isDeclared(name: string, message: WireMessage, registry: CategoryRegistry): boolean {
  const named = (message.json.mixins as readonly string[] | undefined) ?? [];
  // Unknown mixins declare nothing, and ids from peers must not become keys of the registry's cache.
  const mixins = named.filter((id) => registry.mixin(id) !== undefined);
  return Object.hasOwn(registry.specs(MESSAGE_KIND, mixins), name);
}

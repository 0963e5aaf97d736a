/**
 * Follows the addresses of members. Deliveries to a member that has another address now are written again in the store,
 * and wait for the new address in queue order; those to a deleted member fail. A message in flight to the old address may
 * come back, so messages for the new address wait until it has landed.
 */
import {
  ADDRESS_FIELD,
  apartAddress,
  type Delivery,
  deliveryKey,
  isOpen,
  type Layer,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  outboundMessageOf,
  readOutbound,
  registryOf,
  socketAt,
  socketOf,
  writeOutbound,
} from '@cmbs/shared/broker';
import { MAX_READ_CHARS } from '../limits';
import { type Entity, type Path, readEntity } from '@cmbs/shared/occi';
import type { DestinationQueue } from './destination-queue';
import type { Destinations } from './destinations';
import type { DeliveryEnvironment } from './environment';
import type { Destination, InFlightMessage, QueueItem, QueueOwner } from './in-flight-message';

const PAGE = 100;

export interface MovesParts {
  readonly environment: Pick<
    DeliveryEnvironment,
    'store' | 'clock' | 'log' | 'backOff' | 'members' | 'categories' | 'layers'
  >;
  readonly destinations: Destinations;
  readonly settle: QueueOwner['settle'];
  readonly hold: (outbound: OutboundMessage) => InFlightMessage;
  readonly release: (message: InFlightMessage) => void;
  /** Whether the sending member is this companion's. */
  readonly serves: (outbound: Pick<OutboundMessage, 'from'>) => Promise<boolean>;
  readonly isDraining: () => boolean;
}

export class Moves {
  readonly #parts: MovesParts;

  constructor(parts: MovesParts) {
    this.#parts = parts;
  }

  /**
   * A member has changed.
   * @param before its addresses by layer, as they were
   * @param now the member; undefined if it was deleted
   */
  changed(path: Path, before: Readonly<Record<Layer, string>>, now: Entity | undefined): void {
    for (const { name: layer, usesMemberAddresses, channel } of this.#parts.environment.layers.all) {
      const [old, address] = [before[layer], now === undefined ? undefined : socketOf(now, layer)];
      if (!usesMemberAddresses || old === undefined || old === address) continue;
      const via = channel === 'broadcast' ? 'broadcast' : 'request';
      // Messages that another member at the address refused are older than those that wait for the address.
      const from = [apartAddress(old, path), old];
      void this.#moveAll({ member: path, via, from, to: this.#holdBack(via, address) });
    }
  }

  /** Messages that are queued for the new address meanwhile must not overtake those that are moved there. */
  #holdBack(via: Delivery['via'], address: string | undefined): DestinationQueue | undefined {
    if (address === undefined) return undefined;
    const queue = this.#parts.destinations.of({ via, address });
    queue?.holdBack();
    return queue;
  }

  async #moveAll(all: MoveAll, attempt = 1): Promise<void> {
    const { environment, destinations, isDraining } = this.#parts;
    const { clock, log, backOff } = environment;
    const { member, via, from, to } = all;
    if (isDraining()) return;
    try {
      for (const address of from) await this.#moveFrom(address);
    } catch (error) {
      log.warn('messages for a member with a new address not read; trying again', { member, cause: error });
      clock.after(backOff(attempt), () => void this.#moveAll(all, attempt + 1));
      return;
    }
    // A message in flight to an old address may come back, and goes before those that were moved.
    const isOfMember = ({ message, key }: QueueItem): boolean => message.receiver({ key })?.member === member;
    for (const address of from) await destinations.known({ via, address })?.landed(isOfMember);
    to?.letGo();
  }

  async #moveFrom(address: string): Promise<void> {
    for (let after: string | undefined, isMore = true; isMore; isMore = after !== undefined) {
      const page = await this.#parts.environment.store.query({
        collection: OUTBOUND_MESSAGES,
        where: [{ field: ADDRESS_FIELD, value: address }],
        by: 'order',
        limit: PAGE,
        maxChars: MAX_READ_CHARS,
        ...(after === undefined ? {} : { after }),
      });
      const found = page.docs.map(outboundMessageOf);
      const members = await this.#membersOf(found);
      for (const outbound of found) if (isMisplaced(outbound, members)) await this.move(outbound);
      after = page.next;
    }
  }

  /** Moves messages that the first scan found at old addresses, in order; none goes to a new address before all are moved. */
  async moveFound(found: readonly Pick<OutboundMessage, 'id' | 'from'>[]): Promise<void> {
    const { store } = this.#parts.environment;
    const heldBack = new Map<string, DestinationQueue | undefined>();
    try {
      for (const { id } of found) {
        const read = await readOutbound(store, id);
        if (read === undefined) continue;
        const members = await this.#membersOf([read.outbound]);
        for (const one of read.outbound.receivers) {
          const placed = placedIn(read.outbound.layer, one, members);
          if (placed === one || heldBack.has(`${placed.via} ${placed.address}`)) continue;
          heldBack.set(`${placed.via} ${placed.address}`, this.#holdBack(placed.via, placed.address));
        }
      }
      for (const { id } of found) {
        const read = await readOutbound(store, id);
        if (read !== undefined) await this.move(read.outbound);
      }
    } finally {
      // Also when the store does not answer: messages that were not moved are found again, and these must not wait for ever.
      for (const queue of heldBack.values()) queue?.letGo();
    }
  }

  /** Whether a member that the message waits for has another address now, or was deleted. */
  async isMisplaced(outbound: Pick<OutboundMessage, 'layer' | 'receivers'>): Promise<boolean> {
    return isMisplaced(outbound, await this.#membersOf([outbound]));
  }

  /** The members that messages wait for. */
  #membersOf(messages: readonly Pick<OutboundMessage, 'receivers'>[]): Promise<ReadonlyMap<Path, Entity>> {
    const waitedFor = messages.flatMap(({ receivers }) => receivers.filter(isOpen));
    return this.#parts.environment.members.findAll(waitedFor.flatMap(({ member }) => member ?? []));
  }

  /** Writes the present addresses of a message's receivers, and queues the deliveries that are not in flight. */
  async move(found: Pick<OutboundMessage, 'id' | 'from' | 'receivers'>): Promise<void> {
    const { environment, hold, release, serves } = this.#parts;
    const { store, clock, layers } = environment;
    if (!(await serves(found))) return;
    const registry = await registryOf(environment);
    const members = await this.#membersOf([found]);
    const moved = await store.transact(async (tx) => {
      const current = await readOutbound(tx, found.id);
      if (current === undefined) return undefined;
      const { outbound } = current;
      const changed: Change[] = [];
      for (const from of outbound.receivers) {
        if (from.member === undefined || placedIn(outbound.layer, from, members) === from) continue;
        // The known members may be a little behind the store.
        const member = (await readEntity(tx, from.member))?.entity;
        const to = member === undefined ? { ...from, address: '' } : placed(outbound.layer, from, member);
        if (to !== from) changed.push({ from, to, isGone: member === undefined });
      }
      if (changed.length === 0) return undefined;
      const receivers = outbound.receivers.map((one) => {
        const to = changed.find(({ from }) => from === one)?.to;
        // A delivery without an address keeps the old one until it is settled.
        return to === undefined || (to.address ?? '') === '' ? one : to;
      });
      writeOutbound(tx, { ...outbound, receivers }, current.message, { registry, clock, layers });
      return { outbound, changed };
    });
    if (moved === undefined) return;
    const message = hold(moved.outbound);
    for (const change of moved.changed) this.#follow(message, change);
    release(message);
  }

  #follow(message: InFlightMessage, { from, to, isGone }: Change): void {
    const { destinations, settle } = this.#parts;
    const key = deliveryKey(from);
    const old = destinations.known(from);
    old?.remove(message, key);
    const { address = '' } = to;
    if (address === '') {
      const reason = isGone
        ? 'the member was deleted'
        : `the member has no ${message.outbound.layer} socket any more`;
      settle({ message, key, tries: 0 }, { state: 'failed', reason });
      return;
    }
    if (old !== undefined) old.waiting = Math.max(0, old.waiting - 1);
    message.moved(key, address);
    const queue = destinations.of(to);
    if (queue === undefined) return;
    queue.waiting += 1;
    queue.resume();
  }
}

/** The delivery with the present address of its member: without one when the member has none, or was deleted. */
function placed(layer: Layer, receiver: Delivery, member: Entity | undefined): Delivery {
  if (receiver.member === undefined || !isOpen(receiver)) return receiver;
  const address = member === undefined ? undefined : socketOf(member, layer);
  if (address === (receiver.address === undefined ? undefined : socketAt(receiver.address))) return receiver;
  const { address: _old, ...rest } = receiver;
  return address === undefined ? rest : { ...rest, address };
}

const placedIn = (layer: Layer, receiver: Delivery, members: ReadonlyMap<Path, Entity>): Delivery =>
  placed(layer, receiver, receiver.member === undefined ? undefined : members.get(receiver.member));

const isMisplaced = (
  { layer, receivers }: Pick<OutboundMessage, 'layer' | 'receivers'>,
  members: ReadonlyMap<Path, Entity>,
): boolean => receivers.some((one) => placedIn(layer, one, members) !== one);

interface MoveAll {
  readonly member: Path;
  readonly via: Destination['via'];
  /** Where messages for the member wait, the oldest first. */
  readonly from: readonly string[];
  readonly to: DestinationQueue | undefined;
}

interface Change {
  readonly from: Delivery;
  readonly to: Delivery;
  readonly isGone: boolean;
}

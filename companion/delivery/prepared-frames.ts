/** The frames of the items that go next. Their messages are read at the same time. */
import { orderingGroupOf } from '@cmbs/shared/broker';
import { DESTINATION_BYTES } from '../limits';
import type { QueueItem } from './in-flight-message';

export class PreparedFrames {
  readonly #frames = new Map<QueueItem, Promise<Buffer | undefined>>();

  has(item: QueueItem): boolean {
    return this.#frames.has(item);
  }

  /** Keeps the frame of an item while it is being prepared, and until it is asked for. */
  add(item: QueueItem, preparing: Promise<Buffer | undefined>): void {
    // Frames are awaited in order; until then a failure must not count as unhandled.
    preparing.catch(() => undefined);
    this.#frames.set(item, preparing);
  }

  /** The frame of an item; undefined when it was not prepared, or may not go any more. */
  of(item: QueueItem): Promise<Buffer | undefined> | undefined {
    return this.#frames.get(item);
  }

  forget(item: QueueItem): void {
    this.#frames.delete(item);
  }

  clear(): void {
    this.#frames.clear();
  }

  get items(): readonly QueueItem[] {
    return [...this.#frames.keys()];
  }
}

export interface AheadLimits {
  /** Items that may be on their way at the same time. */
  readonly most: number;
  /** Items that are on their way already. */
  readonly inFlight?: Iterable<QueueItem>;
  /** Of several messages with one ordering key only the first may be on its way. */
  readonly isInGroups?: boolean;
}

/** The first items that may be on their way together with those in flight, by number and by bytes. */
export function itemsAhead(items: Iterable<QueueItem>, limits: AheadLimits): readonly QueueItem[] {
  const { most, inFlight = [], isInGroups = false } = limits;
  const ahead: QueueItem[] = [];
  const groups = new Set<string>();
  let count = 0;
  let bytes = 0;
  const add = (item: QueueItem, group: string | undefined): void => {
    count += 1;
    bytes += item.message.bytes;
    if (group !== undefined) groups.add(group);
  };
  const groupOf = ({ message }: QueueItem): string | undefined =>
    isInGroups ? orderingGroupOf(message.outbound) : undefined;
  for (const item of inFlight) add(item, groupOf(item));
  for (const item of items) {
    const group = groupOf(item);
    if (count >= most) break;
    // A message above the limit goes alone.
    if (count > 0 && bytes + item.message.bytes > DESTINATION_BYTES) break;
    // If the peer refused the earlier message for a moment, this one would overtake it.
    if (group !== undefined && groups.has(group)) break;
    add(item, group);
    ahead.push(item);
  }
  return ahead;
}

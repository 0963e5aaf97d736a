/** The items that a destination queue holds, in the order in which their messages were queued. */
import type { InFlightMessage, QueueItem } from './in-flight-message';

export class OrderedItems implements Iterable<QueueItem> {
  readonly #items: QueueItem[] = [];

  get length(): number {
    return this.#items.length;
  }

  get first(): QueueItem | undefined {
    return this.#items[0];
  }

  get last(): QueueItem | undefined {
    return this.#items.at(-1);
  }

  has(item: QueueItem): boolean {
    return this.#items.includes(item);
  }

  /** Puts an item in its place. False when it is there already. */
  insert(item: QueueItem): boolean {
    if (this.has(item)) return false;
    const { last } = this;
    if (last === undefined || last.sequence <= item.sequence) {
      this.#items.push(item);
      return true;
    }
    // Retried items usually belong near the front; search from there.
    const at = this.#items.findIndex((other) => other.sequence > item.sequence);
    this.#items.splice(at < 0 ? this.#items.length : at, 0, item);
    return true;
  }

  /** Takes the first item. */
  shift(): QueueItem | undefined {
    return this.#items.shift();
  }

  /** Takes the item of one delivery of a message. */
  take(message: InFlightMessage, key: string): QueueItem | undefined {
    const at = this.#items.findIndex((item) => item.message === message && item.key === key);
    return at < 0 ? undefined : this.#items.splice(at, 1)[0];
  }

  /** Takes the items behind a place in the order; all of them when it is empty. */
  takeBehind(sequence: string): readonly QueueItem[] {
    const at = this.#items.findIndex((item) => item.sequence > sequence);
    return at < 0 ? [] : this.#items.splice(at);
  }

  takeAll(): readonly QueueItem[] {
    return this.#items.splice(0);
  }

  /** The items now: changes meanwhile do not affect an iteration. */
  [Symbol.iterator](): IterableIterator<QueueItem> {
    return [...this.#items].values();
  }
}

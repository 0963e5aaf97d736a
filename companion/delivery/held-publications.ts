/** The outbound messages with topics to publish that are in memory, in their ordering groups. */
import { orderingGroupOf, orderOf } from '@cmbs/shared/broker';
import type { InFlightMessage } from './in-flight-message';

/** An outbound message with topics to publish. */
export interface Publication {
  readonly message: InFlightMessage;
  /** All held messages of the same ordering group, in their order. */
  readonly group: Publication[];
  readonly order: string;
  /** The function that queued the message has had its time to publish it, or leaves it to us. */
  isDue: boolean;
  isTrying: boolean;
  /** Another attempt was asked for while one was under way. */
  isWantedAgain: boolean;
  /** In a row. */
  failures: number;
  /** Cancels the next attempt. */
  cancel: () => void;
}

const nothing = (): void => undefined;

export class HeldPublications {
  /** By the id of the outbound message. */
  readonly #byId = new Map<string, Publication>();
  readonly #groups = new Map<string, Publication[]>();
  /** Publications that failed and wait for their next attempt. */
  readonly #resting = new Set<Publication>();

  get size(): number {
    return this.#byId.size;
  }

  get(outboundId: string): Publication | undefined {
    return this.#byId.get(outboundId);
  }

  has(publication: Publication): boolean {
    return this.get(publication.message.outbound.id) === publication;
  }

  get all(): Iterable<Publication> {
    return this.#byId.values();
  }

  get resting(): readonly Publication[] {
    return [...this.#resting];
  }

  /** Holds a message, in its place in its group. */
  add(message: InFlightMessage, isDue: boolean): Publication {
    const group = this.#groupOf(message.outbound);
    const order = orderOf(message.outbound);
    const publication: Publication = {
      message,
      group,
      order,
      isDue,
      isTrying: false,
      isWantedAgain: false,
      failures: 0,
      cancel: nothing,
    };
    const before = group.findLastIndex((other) => other.order < order);
    group.splice(before + 1, 0, publication);
    this.#byId.set(message.outbound.id, publication);
    return publication;
  }

  remove(publication: Publication): void {
    const { message, group, cancel } = publication;
    this.#byId.delete(message.outbound.id);
    this.#resting.delete(publication);
    cancel();
    group.splice(group.indexOf(publication), 1);
    const name = orderingGroupOf(message.outbound);
    if (group.length === 0 && name !== undefined) this.#groups.delete(name);
  }

  /** A publication and the later ones of its group; none when it is no longer held. */
  withLater(publication: Publication): readonly Publication[] {
    const at = publication.group.indexOf(publication);
    return at < 0 ? [] : publication.group.slice(at);
  }

  /** The publication waits for its next attempt after a failure. */
  rest(publication: Publication): void {
    this.#resting.add(publication);
  }

  /** An attempt begins. */
  wake(publication: Publication): void {
    publication.cancel();
    this.#resting.delete(publication);
  }

  #groupOf(outbound: InFlightMessage['outbound']): Publication[] {
    const name = orderingGroupOf(outbound);
    if (name === undefined) return [];
    const group = this.#groups.get(name) ?? [];
    this.#groups.set(name, group);
    return group;
  }
}

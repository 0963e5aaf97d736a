/**
 * What goes on the topic bus from here: what members pass on, and what a function queued and did not publish, since it
 * was cut off, the bus was away, or an earlier send with the same ordering key was still open.
 *
 * Messages of one ordering group are published in order: only the first of a group is tried. Memory holds a bounded number.
 * While the store has more, a message that failed goes back there with its group, so that a topic that refuses its
 * messages, however many, keeps no others waiting.
 */
import { toCmbsError } from '@cmbs/shared';
import {
  deliveryKey,
  isFirstInGroup,
  isOpen,
  isPublishing,
  orderingGroupOf,
  orderOf,
  type OutboundMessage,
  publishOutbound,
  readOutbound,
  registryOf,
  type TopicListener,
} from '@cmbs/shared/broker';
import { PUBLICATION_GRACE_MS } from '../limits';
import type { PublicationEnvironment } from '../environment';
import type { InFlightMessage, QueueOwner } from './in-flight-message';
import { TopicRefusals } from './topic-refusals';
import { WaitingPublications } from './waiting-publications';

/** Outbound messages that wait in memory for the topic bus; the others stay in the store until there is room for half. */
const MAX_HELD_PUBLICATIONS = 2000;

/** What publications need of the outbox that they work for. */
export interface PublicationOwner extends Pick<QueueOwner, 'settle' | 'backOff'> {
  /** Holds an outbound message in memory. */
  hold(send: OutboundMessage): InFlightMessage;
  /** Nothing of it is to be published here any more, or it waits in the store. */
  removed(message: InFlightMessage): void;
  /** Whether its member is this companion's. */
  serves(send: OutboundMessage): Promise<boolean>;
  /** The store has outcomes of the topics; undefined when it no longer has the message. */
  published(message: InFlightMessage, stored: OutboundMessage | undefined): void;
}

/** An outbound message with topics to publish. */
interface Publication {
  readonly message: InFlightMessage;
  /** It and what has to keep an order with it, the first first. */
  readonly group: Publication[];
  readonly order: string;
  /** The function that queued it has had its time to publish it, or leaves it to us. */
  isDue: boolean;
  isTrying: boolean;
  /** Asked for while it was being tried. */
  isWantedAgain: boolean;
  /** In a row. */
  failures: number;
  cancel: () => void;
}

const nothing = (): void => undefined;
/** Messages that a topic takes at the same time after it refused, from which on the store is read for more at once. */
const WORTH_READING = 4;

export class Publications implements TopicListener {
  readonly #environment: PublicationEnvironment;
  readonly #owner: PublicationOwner;
  /** Most that are held. */
  readonly #most: number;
  /** By the id of the outbound message. */
  readonly #open = new Map<string, Publication>();
  readonly #groups = new Map<string, Publication[]>();
  /** Of those, the ones that failed and wait for their next attempt. */
  readonly #resting = new Set<Publication>();
  readonly #refusals: TopicRefusals;
  readonly #store: WaitingPublications;
  /** What is being tried. */
  readonly #runs = new Set<Promise<void>>();
  #isStopped = false;

  constructor(environment: PublicationEnvironment, owner: PublicationOwner, most = MAX_HELD_PUBLICATIONS) {
    this.#environment = environment;
    this.#owner = owner;
    this.#most = most;
    this.#refusals = new TopicRefusals(environment);
    this.#store = new WaitingPublications({
      environment,
      room: () => (this.#open.size > most / 2 ? 0 : most - this.#open.size),
      take: (send) => this.#takeUp(send),
    });
  }

  /**
   * False when there is no room: it waits in the store.
   * @param afterMs milliseconds in which the function that queued the message may publish it
   */
  add(message: InFlightMessage, afterMs: number): boolean {
    if (!isPublishing(message.outbound) || this.has(message)) return true;
    if (!this.#hasRoom()) return false;
    const publication: Publication = {
      message,
      group: this.#groupOf(message.outbound),
      order: orderOf(message.outbound),
      isDue: message.isPassedOn || afterMs === 0,
      isTrying: false,
      isWantedAgain: false,
      failures: 0,
      cancel: nothing,
    };
    const { group, order } = publication;
    const before = group.findLastIndex((other) => other.order < order);
    group.splice(before + 1, 0, publication);
    this.#open.set(message.outbound.id, publication);
    if (publication.isDue) this.#go(publication);
    else publication.cancel = this.#environment.clock.after(afterMs, () => this.notify(message));
    return true;
  }

  /** The store has a message to publish. */
  found(send: OutboundMessage, afterMs: number): void {
    if (this.#open.has(send.id) || this.#hasRoom()) this.add(this.#owner.hold(send), afterMs);
  }

  has({ outbound: send }: InFlightMessage): boolean {
    return this.#open.has(send.id);
  }

  get size(): number {
    return this.#open.size;
  }

  /** The function that queued it leaves it to us, or has had its time. */
  notify(message: InFlightMessage): void {
    const publication = this.#open.get(message.outbound.id);
    if (publication === undefined) {
      this.add(message, 0);
      return;
    }
    publication.isDue = true;
    this.#go(publication);
  }

  /** The function that queued a message publishes it: takes over what the function recorded. */
  async follow(message: InFlightMessage): Promise<void> {
    const { store, log } = this.#environment;
    try {
      const read = await readOutbound(store, message.outbound.id);
      if (read !== undefined) this.#owner.published(message, read.outbound);
    } catch (error) {
      // The grace ends with an attempt of our own, which reads again.
      log.warn('send not read', { send: message.outbound.id, cause: error });
    }
  }

  /** No topic of it is to be published any more: the next message of its group may go. */
  remove(message: InFlightMessage): void {
    const publication = this.#open.get(message.outbound.id);
    if (publication === undefined) return;
    this.#forget(publication);
    const [next] = publication.group;
    if (next !== undefined) this.#go(next);
    this.#store.readOn();
  }

  taken(layer: OutboundMessage['layer'], topic: string): void {
    let more = this.#refusals.taken(layer, topic);
    // A topic that takes one now and then is no reason to read all that waits.
    if (more >= WORTH_READING) this.#store.notify();
    if (more === 0) return;
    for (const publication of [...this.#resting]) {
      if (this.#refusals.of(publication.message.outbound) !== undefined) continue;
      this.#go(publication);
      more -= 1;
      if (more === 0) return;
    }
  }

  refused(layer: OutboundMessage['layer'], topic: string, reason: string): void {
    this.#refusals.refused(layer, topic, reason);
  }

  /** Begins nothing more. */
  stop(): void {
    this.#isStopped = true;
    this.#store.stop();
    for (const { cancel } of this.#open.values()) cancel();
  }

  /** Begins nothing more; resolves when what is being published has its outcome. */
  async drain(): Promise<void> {
    this.stop();
    await Promise.all(this.#runs);
  }

  // --- What is held, and what the store has ---

  /** Room for one more, if need be by giving back to the store what failed. */
  #hasRoom(): boolean {
    if (this.#open.size < this.#most) return true;
    for (const publication of [...this.#resting]) this.#giveBack(publication);
    if (this.#open.size < this.#most) return true;
    this.#store.leave('crowded');
    return false;
  }

  /** Leaves it to the store, with the later messages of its group. */
  #giveBack(publication: Publication): void {
    const { group } = publication;
    const at = group.indexOf(publication);
    // It went with an earlier message of its group.
    if (at < 0) return;
    this.#store.leave('failed');
    for (const each of group.slice(at)) this.#forget(each);
    this.#store.readOn();
  }

  #forget(publication: Publication): void {
    const { message, group, cancel } = publication;
    this.#open.delete(message.outbound.id);
    this.#resting.delete(publication);
    cancel();
    group.splice(group.indexOf(publication), 1);
    const name = orderingGroupOf(message.outbound);
    if (group.length === 0 && name !== undefined) this.#groups.delete(name);
    this.#owner.removed(message);
  }

  /** A message was read from the store in its turn. */
  async #takeUp(send: OutboundMessage): Promise<void> {
    if (this.#isStopped || this.#open.has(send.id) || !(await this.#owner.serves(send))) return;
    if (this.#refusals.of(send) === undefined) {
      this.found(send, Math.max(0, send.createdAt + PUBLICATION_GRACE_MS - this.#environment.clock.now()));
    } else this.#store.leave('failed');
  }

  #groupOf(send: InFlightMessage['outbound']): Publication[] {
    const name = orderingGroupOf(send);
    if (name === undefined) return [];
    const group = this.#groups.get(name) ?? [];
    this.#groups.set(name, group);
    return group;
  }

  // --- Attempts ---

  #mayGo({ message, group, isDue }: Publication): boolean {
    return !this.#isStopped && isDue && group[0]?.message === message;
  }

  /** A method, since a property that changes during an `await` looks constant to the compiler. */
  #mayGoAgain(publication: Publication): boolean {
    return publication.isWantedAgain && this.#mayGo(publication);
  }

  #go(publication: Publication): void {
    if (!this.#mayGo(publication)) return;
    if (publication.isTrying) {
      publication.isWantedAgain = true;
      return;
    }
    const run = this.#run(publication).finally(() => void this.#runs.delete(run));
    this.#runs.add(run);
  }

  async #run(publication: Publication): Promise<void> {
    publication.isTrying = true;
    try {
      do {
        publication.isWantedAgain = false;
        publication.cancel();
        this.#resting.delete(publication);
        try {
          await this.#try(publication);
        } catch (thrown) {
          this.#failed(publication, thrown);
        }
      } while (this.#mayGoAgain(publication));
    } finally {
      // At once, and not when the promise settles: what is asked for in between would be forgotten.
      publication.isTrying = false;
    }
  }

  async #try(publication: Publication): Promise<void> {
    const { message } = publication;
    if (this.#isRefused(publication)) return;
    // An earlier one may be in other hands still, or not known here yet.
    if (!(await isFirstInGroup(this.#environment.store, message.outbound))) {
      message.lastReason = 'an earlier message with its ordering key is not on the bus yet';
      this.#restAfterFailure(publication);
      return;
    }
    const registry = await registryOf(this.#environment);
    // Another message may have been refused meanwhile.
    if (this.#isRefused(publication)) return;
    const asked = this.#refusals.asks(message.outbound);
    try {
      const published = await publishOutbound(message.outbound.id, { ...this.#environment, registry }, this);
      this.#owner.published(message, published);
    } finally {
      asked();
    }
  }

  /** Whether the topics take nothing now; then it is told so, and rests. */
  #isRefused(publication: Publication): boolean {
    const { message } = publication;
    const refusal = this.#refusals.of(message.outbound);
    if (refusal === undefined) return false;
    this.#backOff(message, refusal.reason);
    this.#rest(publication, refusal.until - this.#environment.clock.now());
    return true;
  }

  #restAfterFailure(publication: Publication): void {
    publication.failures += 1;
    this.#rest(publication, this.#environment.backOff(publication.failures));
  }

  #rest(publication: Publication, ms: number): void {
    if (this.#isStopped || this.#open.get(publication.message.outbound.id) !== publication) return;
    if (this.#store.hasMore) {
      this.#giveBack(publication);
      return;
    }
    this.#resting.add(publication);
    publication.cancel = this.#environment.clock.after(ms, () => this.#go(publication));
  }

  #failed(publication: Publication, thrown: unknown): void {
    const { log, counters } = this.#environment;
    const { message } = publication;
    const { retryable, message: reason } = toCmbsError(thrown);
    log.warn('publication failed', { send: message.outbound.id, cause: thrown, retried: retryable });
    if (retryable) {
      counters.add('cmbs_retries', { layer: message.outbound.layer });
      this.#backOff(message, reason);
      this.#restAfterFailure(publication);
      return;
    }
    for (const key of openTopics(message))
      this.#owner.settle({ message, key, tries: 0 }, { state: 'failed', reason });
  }

  #backOff(message: InFlightMessage, reason: string): void {
    for (const key of openTopics(message)) {
      this.#owner.backOff({ message, key, tries: 0 }, { reason, state: 'waiting' });
    }
  }
}

const openTopics = ({ outbound: send }: InFlightMessage): readonly string[] =>
  send.receivers.filter((receiver) => receiver.via === 'bus' && isOpen(receiver)).map(deliveryKey);

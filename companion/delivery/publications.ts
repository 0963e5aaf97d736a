/**
 * Publishes outbound messages on the topic bus: those that members pass on, and those that a function queued and did not
 * publish, because it was cut off, the bus was unreachable, or an earlier message with the same ordering key was open.
 *
 * Messages of one ordering group are published in order: only the first of a group is tried. Memory holds a limited
 * number. While the store has more, a message that failed goes back there with its group, so that a topic that refuses
 * its messages, however many, keeps no others waiting.
 */
import { toCmbsError } from '@cmbs/shared';
import {
  deliveryKey,
  isFirstInGroup,
  isOpen,
  isPublishing,
  type OutboundMessage,
  publishOutbound,
  readOutbound,
  registryOf,
  type TopicListener,
} from '@cmbs/shared/broker';
import { PUBLICATION_GRACE_MS } from '../limits';
import type { PublicationEnvironment } from './environment';
import { HeldPublications, type Publication } from './held-publications';
import type { InFlightMessage, QueueOwner } from './in-flight-message';
import { TopicRefusals } from './topic-refusals';
import { WaitingPublications } from './waiting-publications';

/** Outbound messages that wait in memory for the topic bus; the others stay in the store until there is room for half. */
const MAX_HELD_PUBLICATIONS = 2000;

/** What the publications need of their outbox. */
export interface PublicationOwner extends Pick<QueueOwner, 'settle' | 'backOff'> {
  /** Holds an outbound message in memory. */
  hold(outbound: OutboundMessage): InFlightMessage;
  /** No topic of the message is published from here any more, or the message waits in the store. */
  removed(message: InFlightMessage): void;
  /** Whether the sending member is this companion's. */
  serves(outbound: OutboundMessage): Promise<boolean>;
  /** The store has outcomes of the topics; undefined when it no longer has the message. */
  published(message: InFlightMessage, stored: OutboundMessage | undefined): void;
}

/** Messages that a topic takes at the same time after it refused, from which on the store is read for more at once. */
const WORTH_READING = 4;

export class Publications implements TopicListener {
  readonly #environment: PublicationEnvironment;
  readonly #owner: PublicationOwner;
  /** Messages that may be held. */
  readonly #most: number;
  readonly #held = new HeldPublications();
  readonly #refusals: TopicRefusals;
  readonly #store: WaitingPublications;
  /** Attempts under way. */
  readonly #runs = new Set<Promise<void>>();
  #isStopped = false;

  constructor(environment: PublicationEnvironment, owner: PublicationOwner, most = MAX_HELD_PUBLICATIONS) {
    this.#environment = environment;
    this.#owner = owner;
    this.#most = most;
    this.#refusals = new TopicRefusals(environment);
    this.#store = new WaitingPublications({
      environment,
      room: () => (this.size > most / 2 ? 0 : most - this.size),
      take: (outbound) => this.#takeUp(outbound),
    });
  }

  /**
   * Publishes a message in its turn. False when there is no room for it: then it waits in the store.
   * @param afterMs milliseconds in which the function that queued the message may publish it
   */
  add(message: InFlightMessage, afterMs: number): boolean {
    if (!isPublishing(message.outbound) || this.has(message)) return true;
    if (!this.#hasRoom()) return false;
    const publication = this.#held.add(message, message.isPassedOn || afterMs === 0);
    if (publication.isDue) this.#go(publication);
    else publication.cancel = this.#environment.clock.after(afterMs, () => this.notify(message));
    return true;
  }

  /** The store has a message to publish. */
  found(outbound: OutboundMessage, afterMs: number): void {
    if (this.#held.get(outbound.id) !== undefined || this.#hasRoom()) {
      this.add(this.#owner.hold(outbound), afterMs);
    }
  }

  has({ outbound }: InFlightMessage): boolean {
    return this.#held.get(outbound.id) !== undefined;
  }

  get size(): number {
    return this.#held.size;
  }

  /** The function that queued a message leaves it to us, or has had its time. */
  notify(message: InFlightMessage): void {
    const publication = this.#held.get(message.outbound.id);
    if (publication === undefined) {
      this.add(message, 0);
      return;
    }
    publication.isDue = true;
    this.#go(publication);
  }

  /** The function that queued a message publishes it: takes over the outcomes that the function recorded. */
  async follow(message: InFlightMessage): Promise<void> {
    const { store, log } = this.#environment;
    try {
      const read = await readOutbound(store, message.outbound.id);
      if (read !== undefined) this.#owner.published(message, read.outbound);
    } catch (error) {
      // The grace ends with an attempt of our own, which reads again.
      log.warn('outbound message not read', { send: message.outbound.id, cause: error });
    }
  }

  /** No topic of a message is to be published any more: the next message of its group may go. */
  remove(message: InFlightMessage): void {
    const publication = this.#held.get(message.outbound.id);
    if (publication === undefined) return;
    this.#forget(publication);
    const [next] = publication.group;
    if (next !== undefined) this.#go(next);
    this.#store.readOn();
  }

  taken(layer: OutboundMessage['layer'], topic: string): void {
    let more = this.#refusals.taken(layer, topic);
    // A topic that takes a message now and then is no reason to read all that wait.
    if (more >= WORTH_READING) this.#store.notify();
    if (more === 0) return;
    for (const publication of this.#held.resting) {
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
    for (const { cancel } of this.#held.all) cancel();
  }

  /** Begins nothing more; resolves when the attempts under way have their outcomes. */
  async drain(): Promise<void> {
    this.stop();
    await Promise.all(this.#runs);
  }

  // --- What is held, and what the store has ---

  /** Whether there is room for one more, if need be by giving those that failed back to the store. */
  #hasRoom(): boolean {
    if (this.size < this.#most) return true;
    for (const publication of this.#held.resting) this.#giveBack(publication);
    if (this.size < this.#most) return true;
    this.#store.leave('crowded');
    return false;
  }

  /** Leaves a message to the store, with the later messages of its group. */
  #giveBack(publication: Publication): void {
    const publications = this.#held.withLater(publication);
    // It went back with an earlier message of its group.
    if (publications.length === 0) return;
    this.#store.leave('failed');
    for (const each of publications) this.#forget(each);
    this.#store.readOn();
  }

  #forget(publication: Publication): void {
    this.#held.remove(publication);
    this.#owner.removed(publication.message);
  }

  /** A message was read from the store in its turn. */
  async #takeUp(outbound: OutboundMessage): Promise<void> {
    const isHeld = this.#held.get(outbound.id) !== undefined;
    if (this.#isStopped || isHeld || !(await this.#owner.serves(outbound))) return;
    if (this.#refusals.of(outbound) === undefined) {
      const graceMs = outbound.createdAt + PUBLICATION_GRACE_MS - this.#environment.clock.now();
      this.found(outbound, Math.max(0, graceMs));
    } else this.#store.leave('failed');
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
        this.#held.wake(publication);
        try {
          await this.#try(publication);
        } catch (thrown) {
          this.#failed(publication, thrown);
        }
      } while (this.#mayGoAgain(publication));
    } finally {
      // At once, and not when the promise settles: an attempt that is asked for in between would be forgotten.
      publication.isTrying = false;
    }
  }

  async #try(publication: Publication): Promise<void> {
    const { message } = publication;
    if (this.#isRefused(publication)) return;
    // Another process may still work on an earlier message, or the message is not known here yet.
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

  /** Whether the topics take nothing now; then the message backs off. */
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
    if (this.#isStopped || !this.#held.has(publication)) return;
    if (this.#store.hasMore) {
      this.#giveBack(publication);
      return;
    }
    this.#held.rest(publication);
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

const openTopics = ({ outbound }: InFlightMessage): readonly string[] =>
  outbound.receivers.filter((receiver) => receiver.via === 'bus' && isOpen(receiver)).map(deliveryKey);

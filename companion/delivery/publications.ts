/**
 * What goes on the topic bus from here: what members pass on, and what a function queued and did not publish, since it
 * was cut off, the bus was away, or an earlier send with the same ordering key was still open.
 *
 * Sends that have to keep an order stand in a line, and only the first of a line is tried. A bounded number is held. While
 * the store has more, a send that failed goes back there with its line, and all take turns: a topic that refuses its
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
  /** Holds a send in memory, while it is open here. */
  hold(send: OutboundMessage): InFlightMessage;
  /** Nothing of it is to be published here any more, or it waits in the store. */
  removed(held: InFlightMessage): void;
  /** Whether its member is this companion's. */
  serves(send: OutboundMessage): Promise<boolean>;
  /** The store says so of a send; undefined when it is there no more. */
  published(held: InFlightMessage, stored: OutboundMessage | undefined): void;
}

/** A send with something to publish. */
interface Publication {
  readonly held: InFlightMessage;
  /** It and what has to keep an order with it, the first first. */
  readonly line: Publication[];
  readonly order: string;
  /** Whoever queued it has had its time, or has left it to us. */
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
  /** By the id of their sends. */
  readonly #open = new Map<string, Publication>();
  readonly #lines = new Map<string, Publication[]>();
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
   * @param afterMs how long the function that queued the send is given to publish it
   */
  add(held: InFlightMessage, afterMs: number): boolean {
    if (!isPublishing(held.outbound) || this.has(held)) return true;
    if (!this.#hasRoom()) return false;
    const publication: Publication = {
      held,
      line: this.#lineOf(held.outbound),
      order: orderOf(held.outbound),
      isDue: held.isPassedOn || afterMs === 0,
      isTrying: false,
      isWantedAgain: false,
      failures: 0,
      cancel: nothing,
    };
    const { line, order } = publication;
    const before = line.findLastIndex((other) => other.order < order);
    line.splice(before + 1, 0, publication);
    this.#open.set(held.outbound.id, publication);
    if (publication.isDue) this.#go(publication);
    else publication.cancel = this.#environment.clock.after(afterMs, () => this.notify(held));
    return true;
  }

  /** A send was found in the store. */
  found(send: OutboundMessage, afterMs: number): void {
    if (this.#open.has(send.id) || this.#hasRoom()) this.add(this.#owner.hold(send), afterMs);
  }

  has({ outbound: send }: InFlightMessage): boolean {
    return this.#open.has(send.id);
  }

  get size(): number {
    return this.#open.size;
  }

  /** Whoever queued it leaves it to us, or has had its time. */
  notify(held: InFlightMessage): void {
    const publication = this.#open.get(held.outbound.id);
    if (publication === undefined) {
      this.add(held, 0);
      return;
    }
    publication.isDue = true;
    this.#go(publication);
  }

  /** The function that queued a send publishes it: what it recorded is taken over. */
  async follow(held: InFlightMessage): Promise<void> {
    const { store, log } = this.#environment;
    try {
      const read = await readOutbound(store, held.outbound.id);
      if (read !== undefined) this.#owner.published(held, read.send);
    } catch (error) {
      // The grace ends with an attempt of our own, which reads again.
      log.warn('send not read', { send: held.outbound.id, cause: error });
    }
  }

  /** Nothing of it is to be published any more: the next one in its line may go. */
  remove(held: InFlightMessage): void {
    const publication = this.#open.get(held.outbound.id);
    if (publication === undefined) return;
    this.#forget(publication);
    const [next] = publication.line;
    if (next !== undefined) this.#go(next);
    this.#store.readOn();
  }

  taken(layer: OutboundMessage['layer'], topic: string): void {
    let more = this.#refusals.taken(layer, topic);
    // A topic that takes one now and then is no reason to read all that waits.
    if (more >= WORTH_READING) this.#store.notify();
    if (more === 0) return;
    for (const publication of [...this.#resting]) {
      if (this.#refusals.of(publication.held.outbound) !== undefined) continue;
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

  /** The store has it, and what comes behind it in its line. */
  #giveBack(publication: Publication): void {
    const { line } = publication;
    const at = line.indexOf(publication);
    // It went with one before it in its line.
    if (at < 0) return;
    this.#store.leave('failed');
    for (const each of line.slice(at)) this.#forget(each);
    this.#store.readOn();
  }

  #forget(publication: Publication): void {
    const { held, line, cancel } = publication;
    this.#open.delete(held.outbound.id);
    this.#resting.delete(publication);
    cancel();
    line.splice(line.indexOf(publication), 1);
    const name = orderingGroupOf(held.outbound);
    if (line.length === 0 && name !== undefined) this.#lines.delete(name);
    this.#owner.removed(held);
  }

  /** A send was read from the store in its turn. */
  async #takeUp(send: OutboundMessage): Promise<void> {
    if (this.#isStopped || this.#open.has(send.id) || !(await this.#owner.serves(send))) return;
    if (this.#refusals.of(send) === undefined) {
      this.found(send, Math.max(0, send.createdAt + PUBLICATION_GRACE_MS - this.#environment.clock.now()));
    } else this.#store.leave('failed');
  }

  #lineOf(send: InFlightMessage['outbound']): Publication[] {
    const name = orderingGroupOf(send);
    if (name === undefined) return [];
    const line = this.#lines.get(name) ?? [];
    this.#lines.set(name, line);
    return line;
  }

  // --- Attempts ---

  #mayGo({ held, line, isDue }: Publication): boolean {
    return !this.#isStopped && isDue && line[0]?.held === held;
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
    const { held } = publication;
    if (this.#isRefused(publication)) return;
    // An earlier one may be in other hands still, or not known here yet.
    if (!(await isFirstInGroup(this.#environment.store, held.outbound))) {
      held.lastReason = 'an earlier message with its ordering key is not on the bus yet';
      this.#restAfterFailure(publication);
      return;
    }
    const registry = await registryOf(this.#environment);
    // Another message may have been refused meanwhile.
    if (this.#isRefused(publication)) return;
    const asked = this.#refusals.asks(held.outbound);
    try {
      const published = await publishOutbound(held.outbound.id, { ...this.#environment, registry }, this);
      this.#owner.published(held, published);
    } finally {
      asked();
    }
  }

  /** Whether the topics take nothing now; then it is told so, and rests. */
  #isRefused(publication: Publication): boolean {
    const { held } = publication;
    const refusal = this.#refusals.of(held.outbound);
    if (refusal === undefined) return false;
    this.#backOff(held, refusal.reason);
    this.#rest(publication, refusal.until - this.#environment.clock.now());
    return true;
  }

  #restAfterFailure(publication: Publication): void {
    publication.failures += 1;
    this.#rest(publication, this.#environment.backOff(publication.failures));
  }

  #rest(publication: Publication, ms: number): void {
    if (this.#isStopped || this.#open.get(publication.held.outbound.id) !== publication) return;
    if (this.#store.hasMore) {
      this.#giveBack(publication);
      return;
    }
    this.#resting.add(publication);
    publication.cancel = this.#environment.clock.after(ms, () => this.#go(publication));
  }

  #failed(publication: Publication, thrown: unknown): void {
    const { log, counters } = this.#environment;
    const { held } = publication;
    const { retryable, message: reason } = toCmbsError(thrown);
    log.warn('publication failed', { send: held.outbound.id, cause: thrown, retried: retryable });
    if (retryable) {
      counters.add('cmbs_retries', { layer: held.outbound.layer });
      this.#backOff(held, reason);
      this.#restAfterFailure(publication);
      return;
    }
    for (const key of openTopics(held)) this.#owner.settle({ held, key, tries: 0 }, { state: 'failed', reason });
  }

  #backOff(held: InFlightMessage, reason: string): void {
    for (const key of openTopics(held)) {
      this.#owner.backOff({ held, key, tries: 0 }, { reason, state: 'waiting' });
    }
  }
}

const openTopics = ({ outbound: send }: InFlightMessage): readonly string[] =>
  send.receivers.filter((receiver) => receiver.via === 'bus' && isOpen(receiver)).map(deliveryKey);

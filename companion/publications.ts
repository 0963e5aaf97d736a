/**
 * What goes on the topic bus from here: what members pass on, and what a function queued and did not publish, since it
 * was cut off, the bus was away, or an earlier send with the same ordering key was still open.
 *
 * Sends that have to keep an order stand in a line, and only the first of a line is tried. A bounded number is held; the
 * rest lies in the store until half of these are out.
 */
import { toCmbsError } from '@cmbs/shared';
import { registryOf } from '@cmbs/shared/broker/context';
import { publishSend } from '@cmbs/shared/broker/publish';
import {
  ADDRESS_FIELD,
  busAddress,
  isItsTurn,
  isOpen,
  isPublishing,
  lineOf,
  orderOf,
  readSend,
  sendOf,
  SENDS,
  type Send,
} from '@cmbs/shared/broker/send';
import { MAX_HELD_PUBLICATIONS, MAX_READ_CHARS, PUBLICATION_GRACE_MS } from '@cmbs/shared/limits';
import type { PublicationEnvironment } from './environment';
import type { HeldSend, QueueOwner } from './held-send';

/** What publications need of the outbox that they work for. */
export interface PublicationOwner extends Pick<QueueOwner, 'settle' | 'park'> {
  /** Holds a send in memory, while it is open here. */
  hold(send: Send): HeldSend;
  /** Nothing of it is to be published here any more. */
  removed(held: HeldSend): void;
  /** Whether its member is this companion's. */
  serves(send: Send): Promise<boolean>;
  /** The store says so of a send; undefined when it is there no more. */
  published(held: HeldSend, stored: Send | undefined): void;
}

/** A send with something to publish. */
interface Publication {
  readonly held: HeldSend;
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
const TOPIC_LAYERS = ['l32', 'l4'] as const;

export class Publications {
  readonly #environment: PublicationEnvironment;
  readonly #owner: PublicationOwner;
  readonly #open = new Map<HeldSend, Publication>();
  readonly #lines = new Map<string, Publication[]>();
  /** What is being tried. */
  readonly #runs = new Set<Promise<void>>();
  /** The store may have more than is held. */
  #hasMore = false;
  #reading: Promise<void> | undefined;
  #isStopped = false;

  constructor(environment: PublicationEnvironment, owner: PublicationOwner) {
    this.#environment = environment;
    this.#owner = owner;
  }

  /** @param afterMs how long whoever queued the send is given to publish it */
  add(held: HeldSend, afterMs: number): void {
    if (!isPublishing(held.send) || this.#open.has(held)) return;
    if (this.#open.size >= MAX_HELD_PUBLICATIONS) {
      this.#hasMore = true;
      return;
    }
    const publication: Publication = {
      held,
      line: this.#lineOf(held.send),
      order: orderOf(held.send),
      isDue: held.isPassedOn || afterMs === 0,
      isTrying: false,
      isWantedAgain: false,
      failures: 0,
      cancel: nothing,
    };
    const { line, order } = publication;
    const before = line.findLastIndex((other) => other.order < order);
    line.splice(before + 1, 0, publication);
    this.#open.set(held, publication);
    if (publication.isDue) this.#go(publication);
    else publication.cancel = this.#environment.clock.after(afterMs, () => this.hurry(held));
  }

  /** A send was found in the store. */
  found(send: Send, afterMs: number): void {
    if (this.#open.size >= MAX_HELD_PUBLICATIONS) this.#hasMore = true;
    else this.add(this.#owner.hold(send), afterMs);
  }

  has(held: HeldSend): boolean {
    return this.#open.has(held);
  }

  get size(): number {
    return this.#open.size;
  }

  /** Whoever queued it leaves it to us, or has had its time. */
  hurry(held: HeldSend): void {
    const publication = this.#open.get(held);
    if (publication === undefined) return;
    publication.isDue = true;
    this.#go(publication);
  }

  /** The function that queued a send publishes it: what it recorded is taken over. */
  async follow(held: HeldSend): Promise<void> {
    const { store, log } = this.#environment;
    try {
      const read = await readSend(store, held.send.id);
      if (read !== undefined) this.#owner.published(held, read.send);
    } catch (error) {
      // The grace ends with an attempt of our own, which reads again.
      log.warn('send not read', { send: held.send.id, cause: error });
    }
  }

  /** Nothing of it is to be published any more: the next one in its line may go. */
  remove(held: HeldSend): void {
    const publication = this.#open.get(held);
    if (publication === undefined) return;
    this.#open.delete(held);
    publication.cancel();
    const { line } = publication;
    line.splice(line.indexOf(publication), 1);
    const [next] = line;
    if (next !== undefined) this.#go(next);
    else this.#forgetLine(held.send);
    this.#owner.removed(held);
    this.#readOn();
  }

  /** Reads on from the store when half are out. */
  #readOn(): void {
    if (!this.#hasMore || this.#reading !== undefined || this.#isStopped) return;
    if (this.#open.size > MAX_HELD_PUBLICATIONS / 2) return;
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      const { clock, backOff } = this.#environment;
      // What is there is on its way out of the store, or could not be read.
      if (this.#hasMore && this.#open.size === 0) clock.after(backOff(1), () => this.#readOn());
    });
  }

  async #read(): Promise<void> {
    const { store, clock, log } = this.#environment;
    this.#hasMore = false;
    try {
      for (const layer of TOPIC_LAYERS) {
        const page = await store.query({
          collection: SENDS,
          where: [{ field: ADDRESS_FIELD, value: busAddress(layer) }],
          by: 'order',
          limit: MAX_HELD_PUBLICATIONS,
          maxChars: MAX_READ_CHARS,
        });
        if (page.next !== undefined) this.#hasMore = true;
        for (const send of page.docs.map(sendOf)) {
          const age = clock.now() - send.createdAt;
          if (await this.#owner.serves(send)) this.found(send, Math.max(0, PUBLICATION_GRACE_MS - age));
        }
      }
    } catch (error) {
      log.warn('what waits for the topic bus not read', { cause: error });
      this.#hasMore = true;
    }
  }

  /** Begins nothing more. */
  stop(): void {
    this.#isStopped = true;
    for (const { cancel } of this.#open.values()) cancel();
  }

  /** Begins nothing more; resolves when what is being published has its outcome. */
  async drain(): Promise<void> {
    this.stop();
    await Promise.all(this.#runs);
  }

  #lineOf(send: HeldSend['send']): Publication[] {
    const name = lineOf(send);
    if (name === undefined) return [];
    const line = this.#lines.get(name) ?? [];
    this.#lines.set(name, line);
    return line;
  }

  #forgetLine(send: HeldSend['send']): void {
    const name = lineOf(send);
    if (name !== undefined) this.#lines.delete(name);
  }

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
    const { store } = this.#environment;
    // An earlier one may be in other hands still, or not known here yet.
    if (await isItsTurn(store, held.send)) {
      const registry = await registryOf(this.#environment);
      this.#owner.published(held, await publishSend(held.send.id, { ...this.#environment, registry }));
    } else {
      held.lastReason = 'an earlier message with its ordering key is not on the bus yet';
      this.#again(publication);
    }
  }

  #again(publication: Publication): void {
    if (this.#isStopped || !this.#open.has(publication.held)) return;
    const { clock, backOff } = this.#environment;
    publication.failures += 1;
    publication.cancel = clock.after(backOff(publication.failures), () => this.#go(publication));
  }

  #failed(publication: Publication, thrown: unknown): void {
    const { log, counters } = this.#environment;
    const { held } = publication;
    const { retryable, message: reason } = toCmbsError(thrown);
    log.warn('publication failed', { send: held.send.id, cause: thrown, retried: retryable });
    if (retryable) {
      counters.add('cmbs_retries', { layer: held.send.layer });
      this.#again(publication);
    }
    for (const { name, via } of held.send.receivers.filter(isOpen)) {
      if (via !== 'bus') continue;
      if (retryable) this.#owner.park({ held, name, tries: 0 }, { reason, state: 'waiting' });
      else this.#owner.settle({ held, name, tries: 0 }, { state: 'failed', reason });
    }
  }
}

/**
 * How far a deletion has looked, for a filter that the index does not answer. Where the index answers, what is deleted is
 * no longer found, so that the same request again continues by itself. Otherwise each repeated request would look at the
 * same first entities, and could end before it reaches one that matches.
 */
import type { Clock } from '../../clock';
import type { Principal } from '../../principal';
import type { Store } from '../../store';
import { fingerprint } from '../idempotency';
import type { Filter } from '../filter';
import type { Path } from '../model';

/**
 * Milliseconds for which a position is kept: long enough to repeat a request by hand. What is created before the position
 * in that time is not looked at.
 */
export const DELETION_POSITION_MS = 5 * 60_000;

/** Beside the answers to repeated requests, which expire too. */
const COLLECTION = 'idempotency';

export interface DeletionRequest {
  readonly principal: Principal;
  readonly collection: Path;
  readonly filter: Filter;
}

/** The position of one deletion, which the same request again by the same caller finds. */
export class DeletionProgress {
  readonly #store: Pick<Store, 'get' | 'transact'>;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #id: string;
  #isStored = false;

  constructor(
    store: Pick<Store, 'get' | 'transact'>,
    clock: Pick<Clock, 'now'>,
    { principal, collection, filter }: DeletionRequest,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#id = fingerprint('deletion', JSON.stringify([principal, collection, filter]));
  }

  /** Cursor of the entities that an earlier request did not look at. */
  async read(): Promise<string | undefined> {
    const cursor = (await this.#store.get(COLLECTION, this.#id))?.value.cursor;
    this.#isStored = typeof cursor === 'string';
    return typeof cursor === 'string' ? cursor : undefined;
  }

  /** @param cursor undefined when nothing is left */
  async write(cursor: string | undefined): Promise<void> {
    if (cursor === undefined && !this.#isStored) return;
    const expiresAt = this.#clock.now() + DELETION_POSITION_MS;
    await this.#store.transact((tx) => {
      if (cursor === undefined) tx.delete(COLLECTION, this.#id);
      else tx.put(COLLECTION, this.#id, { cursor }, { expiresAt });
      return Promise.resolve();
    });
    this.#isStored = cursor !== undefined;
  }
}

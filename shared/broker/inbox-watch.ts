/** Tells a waiting reader of an inbox that an entry has arrived. */
import { ENTITIES, type Path } from '../occi';
import type { Store, Watch } from '../store';
import { aborted } from '../waiting';

export class InboxWatch {
  readonly #arrivals: Watch;
  readonly #member: Watch;
  #hasNews = false;
  #wake = (): void => undefined;

  /** @param member path of the inbox's member, whose deletion also wakes the reader */
  constructor(store: Store, collection: string, member: Path) {
    this.#arrivals = store.watch({ collection, newest: true }, () => this.#notify());
    this.#member = store.watch({ collection: ENTITIES, id: member }, (changes) => {
      if (changes.some(({ deleted }) => deleted)) this.#notify();
    });
  }

  #notify(): void {
    this.#hasNews = true;
    this.#wake();
  }

  /** Resolves when no later arrival is missed, or when the signal aborts. */
  async ready(signal: AbortSignal): Promise<void> {
    await Promise.race([Promise.all([this.#arrivals.ready, this.#member.ready]), aborted(signal)]);
  }

  /** Resolves when an entry has arrived since the last call, or when the signal aborts. */
  async changed(signal: AbortSignal): Promise<void> {
    if (!this.#hasNews) {
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), aborted(signal)]);
    }
    this.#hasNews = false;
  }

  end(): void {
    this.#arrivals.end();
    this.#member.end();
  }
}

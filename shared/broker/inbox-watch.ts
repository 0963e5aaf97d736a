/** Tells a waiting reader of an inbox that an entry has arrived. */
import { ENTITIES, type Path } from '../occi';
import type { Clock } from '../clock';
import type { Store, Watch } from '../store';
import { untilOr } from '../waiting';

export class InboxWatch {
  readonly #arrivals: Watch;
  readonly #member: Watch;
  readonly #clock: Pick<Clock, 'after'>;
  #hasNews = false;
  #wake = (): void => undefined;

  /** @param member path of the inbox's member, whose deletion also wakes the reader */
  constructor(store: Store, clock: Pick<Clock, 'after'>, collection: string, member: Path) {
    this.#clock = clock;
    this.#arrivals = store.watch({ collection, newest: true }, () => this.#notify());
    this.#member = store.watch({ collection: ENTITIES, id: member }, (changes) => {
      if (changes.some(({ deleted }) => deleted)) this.#notify();
    });
  }

  #notify(): void {
    this.#hasNews = true;
    this.#wake();
  }

  /** Resolves when no later arrival is missed, after `ms` milliseconds, or when the signal aborts. */
  async ready(ms: number, signal: AbortSignal): Promise<void> {
    await untilOr(Promise.all([this.#arrivals.ready, this.#member.ready]), this.#clock, ms, signal);
  }

  /** Resolves when an entry has arrived since the last call, after `ms` milliseconds, or when the signal aborts. */
  async changed(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#hasNews) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      await untilOr(woken, this.#clock, ms, signal);
    }
    this.#hasNews = false;
  }

  end(): void {
    this.#arrivals.end();
    this.#member.end();
  }
}

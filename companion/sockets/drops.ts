/** Nothing is dropped silently: each drop is counted, and logged at most once a second per reason and socket. */
import { type Clock, type Counters, type Log, type LogFields } from '@cmbs/shared';
import { DROP_LOG_INTERVAL_MS } from '@cmbs/shared/limits';

export class Drops {
  /** When a reason was last logged, and how many times it was not since. */
  readonly #logged = new Map<string, { atMs: number; silent: number }>();

  constructor(
    private readonly socket: string,
    private readonly address: string,
    private readonly log: Log,
    private readonly counters: Counters,
    private readonly clock: Clock,
  ) {}

  /** @param reason one of few fixed words: it is a label of the counter `cmbs_socket_drops` */
  note(reason: string, fields: LogFields = {}): void {
    this.counters.add('cmbs_socket_drops', { socket: this.socket, reason });
    const now = this.clock.now();
    const last = this.#logged.get(reason);
    // A clock that was set back must not silence the log for as long.
    if (last !== undefined && now - last.atMs < DROP_LOG_INTERVAL_MS && now >= last.atMs) {
      last.silent += 1;
      return;
    }
    this.log.warn('dropped', {
      socket: this.socket,
      address: this.address,
      reason,
      ...(last !== undefined && last.silent > 0 ? { silentSince: last.silent } : {}),
      ...fields,
    });
    this.#logged.set(reason, { atMs: now, silent: 0 });
  }
}

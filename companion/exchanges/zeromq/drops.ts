/** Nothing is dropped silently: each drop is counted and logged. The program's log bounds the lines (bounded-log.ts). */
import { type Counters, type Log, type LogFields } from '@cmbs/shared';

export class Drops {
  constructor(
    private readonly socket: string,
    private readonly address: string,
    private readonly log: Log,
    private readonly counters: Counters,
  ) {}

  /** @param reason one of few fixed words: it is a label of the counter `cmbs_socket_drops` */
  note(reason: string, fields: LogFields = {}): void {
    this.counters.add('cmbs_socket_drops', { socket: this.socket, reason });
    this.log.warn(`dropped: ${reason}`, { socket: this.socket, address: this.address, ...fields });
  }
}

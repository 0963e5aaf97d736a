/** Nothing is dropped silently: each drop is counted and logged. The program's log limits the lines (bounded-log.ts). */
import { type Counters, type Log, type LogFields } from '@cmbs/shared';

export class Drops {
  readonly #socket: string;
  readonly #address: string;
  readonly #log: Log;
  readonly #counters: Counters;
  constructor(socket: string, address: string, log: Log, counters: Counters) {
    this.#socket = socket;
    this.#address = address;
    this.#log = log;
    this.#counters = counters;
  }

  /** @param reason one of a few fixed words, since it is a label of the counter `cmbs_socket_drops` */
  note(reason: string, fields: LogFields = {}): void {
    this.#counters.add('cmbs_socket_drops', { socket: this.#socket, reason });
    this.#log.warn(`dropped: ${reason}`, { socket: this.#socket, address: this.#address, ...fields });
  }
}

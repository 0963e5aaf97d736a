/** Takes up outbound messages of which the store or a caller told: each is read once, however many ask at the same time. */
import { type OutboundMessage, readOutbound } from '@cmbs/shared/broker';
import type { DeliveryEnvironment } from './environment';
import type { InFlightMessage } from './in-flight-message';

type TakingEnvironment = Pick<DeliveryEnvironment, 'store' | 'clock' | 'log' | 'backOff'>;

export class OutboundReader {
  readonly #environment: TakingEnvironment;
  /** Takes up what was read; undefined when it is not this companion's. */
  readonly #takeRead: (send: OutboundMessage) => Promise<InFlightMessage | undefined>;
  readonly #reading = new Map<string, Promise<InFlightMessage | undefined>>();
  #isStopped = false;

  constructor(
    environment: TakingEnvironment,
    takeRead: (send: OutboundMessage) => Promise<InFlightMessage | undefined>,
  ) {
    this.#environment = environment;
    this.#takeRead = takeRead;
  }

  /** When it cannot be read now, a little later. */
  soon(sendId: string, attempt = 1): void {
    this.take(sendId).catch(() => {
      if (this.#isStopped) return;
      const { clock, backOff } = this.#environment;
      clock.after(backOff(attempt), () => this.soon(sendId, attempt + 1));
    });
  }

  take(sendId: string): Promise<InFlightMessage | undefined> {
    let taking = this.#reading.get(sendId);
    if (taking === undefined) {
      const { store, log } = this.#environment;
      taking = readOutbound(store, sendId).then(
        (read) => (read === undefined ? undefined : this.#takeRead(read.outbound)),
        (error: unknown) => {
          log.error('send not read', { send: sendId, cause: error });
          throw error;
        },
      );
      this.#reading.set(sendId, taking);
      const done = (): void => void this.#reading.delete(sendId);
      taking.then(done, done);
    }
    return taking;
  }

  stop(): void {
    this.#isStopped = true;
  }
}

/** Reads outbound messages that the store or a caller named: each once, however many callers ask at the same time. */
import { OUTBOUND_MESSAGES, type OutboundMessage, outboundMessageOf } from '@cmbs/shared/broker';
import type { DeliveryEnvironment } from './environment';
import type { InFlightMessage } from './in-flight-message';

type ReaderEnvironment = Pick<DeliveryEnvironment, 'store' | 'clock' | 'log' | 'backOff'>;

export class OutboundReader {
  readonly #environment: ReaderEnvironment;
  /** Takes up a message that was read; undefined when another companion serves its member. */
  readonly #takeRead: (outbound: OutboundMessage) => Promise<InFlightMessage | undefined>;
  readonly #reading = new Map<string, Promise<InFlightMessage | undefined>>();
  #isStopped = false;

  constructor(
    environment: ReaderEnvironment,
    takeRead: (outbound: OutboundMessage) => Promise<InFlightMessage | undefined>,
  ) {
    this.#environment = environment;
    this.#takeRead = takeRead;
  }

  /** Reads a message in the background; if that fails, tries again a little later. */
  soon(outboundId: string, attempt = 1): void {
    this.take(outboundId).catch(() => {
      if (this.#isStopped) return;
      const { clock, backOff } = this.#environment;
      clock.after(backOff(attempt), () => this.soon(outboundId, attempt + 1));
    });
  }

  take(outboundId: string): Promise<InFlightMessage | undefined> {
    let taking = this.#reading.get(outboundId);
    if (taking === undefined) {
      const { store, log } = this.#environment;
      taking = store
        .get(OUTBOUND_MESSAGES, outboundId)
        .then((doc) => (doc === undefined ? undefined : this.#takeRead(outboundMessageOf(doc))))
        .catch((error: unknown) => {
          log.error('outbound message not read', { send: outboundId, cause: error });
          throw error;
        });
      this.#reading.set(outboundId, taking);
      const done = (): void => void this.#reading.delete(outboundId);
      taking.then(done, done);
    }
    return taking;
  }

  stop(): void {
    this.#isStopped = true;
  }
}

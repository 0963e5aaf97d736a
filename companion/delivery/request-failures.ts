/** Failures of one peer since its last reply: how many requests may be on their way to it, and when to back off. */

/** Requests in flight to one peer; more wait in order. */
const DESTINATION_WINDOW = 128;
/** Failures in a row before the queue backs off (Lazy Pirate). */
const ATTEMPTS_IN_A_ROW = 3;

export class RequestFailures {
  /** Counts the rounds of requests: one silence of the peer is one failure, however many requests were in flight. */
  #round = 0;
  /** Rounds that failed since the last reply. */
  #failures = 0;
  /** Messages that go one at a time: so many were on their way when the connection broke, and one may break it. */
  #suspects = 0;

  /** The present round; a request that fails names the round in which it was sent. */
  get round(): number {
    return this.#round;
  }

  get isFailing(): boolean {
    return this.#failures > 0 || this.#suspects > 0;
  }

  /** Any reply came, also an error. */
  replied(): void {
    this.#suspects = Math.max(0, this.#suspects - 1);
  }

  /** The peer took a message, or is connected again. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** The connection broke while several messages were on their way. */
  suspect(inFlight: number): void {
    this.#suspects = Math.max(this.#suspects, inFlight);
  }

  /** A request of a round failed. True when the queue is to back off. */
  failed(round: number): boolean {
    if (round === this.#round) {
      this.#round += 1;
      this.#failures += 1;
    }
    return this.#failures >= ATTEMPTS_IN_A_ROW;
  }
}

/** After a failure one request goes ahead, so that a peer that refuses some and then takes some changes no order. */
export const requestWindow = (isFailing: boolean): number => (isFailing ? 1 : DESTINATION_WINDOW);

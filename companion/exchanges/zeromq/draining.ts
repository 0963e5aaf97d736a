/** Before a bound socket closes, it handles the messages that have reached it, within a time. */
import type { Clock } from '@cmbs/shared';
import { untilQuiet } from './until-quiet';

export interface DrainedSocket {
  /** Messages received so far. */
  readonly received: () => number;
  /** Messages that peers have sent and that are not received yet. */
  readonly underWay: () => number;
  /** Whether a handler runs. */
  readonly isBusy: () => boolean;
}

export class Draining {
  readonly #clock: Clock;
  readonly #socket: DrainedSocket;
  #idle: (() => void) | undefined;

  constructor(clock: Clock, socket: DrainedSocket) {
    this.#clock = clock;
    this.#socket = socket;
  }

  /** The last handler has ended. */
  becameIdle(): void {
    this.#idle?.();
  }

  /** Resolves when every message has been handled, after `drainMs` at the latest. */
  async ended(drainMs: number): Promise<void> {
    const { received, underWay, isBusy } = this.#socket;
    const deadlineMs = this.#clock.now() + drainMs;
    const isLate = (): boolean => this.#clock.now() >= deadlineMs;
    do {
      await untilQuiet(received, underWay, isLate);
      if (!isBusy()) return;
      await this.#untilIdle(deadlineMs - this.#clock.now());
    } while (!isLate());
  }

  async #untilIdle(withinMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(Math.max(0, withinMs), resolve);
      this.#idle = () => {
        cancel();
        resolve();
      };
    });
    this.#idle = undefined;
  }
}

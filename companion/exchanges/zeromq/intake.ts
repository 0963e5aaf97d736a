/** What replier and listener share: they receive from a bound socket while they have room, and drain it at its close. */
import type { Counters, Log } from '@cmbs/shared';
import type { BoundSocket } from './bound';
import { Draining } from './draining';
import { clockOf, type SocketEnvironment } from './options';
import type { Receiving } from './private-socket';

export interface IntakeOwner {
  /** Word for the socket in counters. */
  readonly name: string;
  /** What a message of the socket is, in logs: `requests`. */
  readonly messages: string;
  /** Whether a handler runs. */
  readonly isBusy: () => boolean;
  /** While true, nothing is received; {@link Intake.resume} asks again. */
  readonly isFull: () => boolean;
  readonly take: (frames: readonly Buffer[]) => void;
  /** The time of the close is over: counts the messages that are not handled, and drops them. */
  readonly abandon: () => void;
}

export class Intake<S extends Receiving> {
  readonly #bound: BoundSocket<S>;
  readonly #owner: IntakeOwner;
  readonly #log: Log;
  readonly #counters: Counters;
  readonly #draining: Draining;
  #received = 0;
  /** Continues the loop that waits for room. */
  #resume: (() => void) | undefined;
  #isReleased = false;
  #closing: Promise<void> | undefined;

  /** Begins to receive: the owner must be ready to take. */
  constructor(bound: BoundSocket<S>, owner: IntakeOwner, environment: SocketEnvironment) {
    this.#bound = bound;
    this.#owner = owner;
    this.#log = environment.log;
    this.#counters = environment.counters;
    this.#draining = new Draining(clockOf(environment), {
      received: () => this.#received,
      underWay: () => bound.underWay,
      isBusy: owner.isBusy,
    });
    void this.#receive();
  }

  /** The owner may have room again. */
  resume(): void {
    this.#resume?.();
  }

  /** The owner's last handler has ended. */
  becameIdle(): void {
    this.#draining.becameIdle();
  }

  /** Lets the owner handle received messages, for `drainMs` at most, then frees the address. A second call waits too. */
  close(drainMs: number): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  async #close(drainMs: number): Promise<void> {
    await this.#draining.ended(drainMs);
    this.#isReleased = true;
    this.#owner.abandon();
    this.#resume?.();
    await this.#bound.close();
  }

  async #receive(): Promise<void> {
    const { name, messages, isFull, take } = this.#owner;
    try {
      while (!this.#isReleased) {
        if (isFull()) {
          this.#counters.add('cmbs_socket_paused', { socket: name });
          await new Promise<void>((resolve) => (this.#resume = resolve));
          this.#resume = undefined;
          continue;
        }
        const frames = await this.#bound.receive();
        this.#received += 1;
        take(frames);
      }
    } catch (cause) {
      if (this.#bound.closed) return;
      this.#log.error(`receiving ${messages} failed`, { address: this.#bound.endpoint, cause });
    }
  }
}

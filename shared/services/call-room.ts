/** The room that the calls of one request have together. */
import type { Call } from './codec';
import { Fault, FAULT } from './fault';
import { MULTICALL } from './multicall';
import type { Outcome } from './protocol';
import { charsOf, MAX_ANSWER_CHARS, unwritable } from './value';

/** Calls of one request, those inside its multicalls included: few bytes of a request must not cost minutes. */
export const MAX_REQUEST_CALLS = 1000;

/** Characters of an answer around each result, or in place of one that does not fit. */
const CHARS_AROUND = 256;

/** Characters of the results of all requests that wait for their answers: in memory they are several times as large. */
const MAX_HELD_CHARS = 64 * 1024 * 1024;

/** The room that the results of all requests of a program have until their answers are written. */
export class ResultRoom {
  #left: number;

  constructor(chars = MAX_HELD_CHARS) {
    this.#left = chars;
  }

  /** Whether there was room. */
  take(chars: number): boolean {
    if (chars > this.#left) return false;
    this.#left -= chars;
    return true;
  }

  give(chars: number): void {
    this.#left += chars;
  }
}

/**
 * What the calls of a request share with those inside its multicalls: their number, and the size of the results, which
 * all wait for the answer. Results that cannot be in the answer are not kept.
 */
export class CallRoom {
  #left = MAX_REQUEST_CALLS;
  #charsLeft = MAX_ANSWER_CHARS - MAX_REQUEST_CALLS * CHARS_AROUND;
  #held = 0;
  readonly #results: ResultRoom | undefined;

  /** @param results what the results of the request take their room from */
  constructor(results?: ResultRoom) {
    this.#results = results;
  }

  /** Gives the room of the results back: the answer is written. */
  end(): void {
    this.#results?.give(this.#held);
    this.#held = 0;
  }

  /** Counts a call; the fault when there are too many. */
  take({ method }: Pick<Call, 'method'>): Fault | undefined {
    if (method === MULTICALL || this.#left-- > 0) return undefined;
    const text = `A request has at most ${MAX_REQUEST_CALLS} calls, with those of its multicalls; send several.`;
    return new Fault(FAULT.invalidRequest, text);
  }

  /** Counts the size of an outcome; a fault in place of one that does not fit into the answer any more. */
  keep(outcome: Outcome): Outcome {
    const { value } = outcome;
    try {
      const chars = charsOf(value instanceof Fault ? [value.message, value.data] : value, this.#charsLeft);
      if (chars === undefined) {
        return { value: unwritable('the results of the request are too large for one answer with it') };
      }
      if (this.#results?.take(chars) === false) return { value: full() };
      this.#held += chars;
      this.#charsLeft -= chars;
      return outcome;
    } catch (thrown) {
      // The format refuses the value too, and says why.
      if (thrown instanceof Fault) return { value: thrown };
      throw thrown;
    }
  }
}

const full = (): Fault =>
  new Fault(
    FAULT.refused,
    'The method has run, but too many large results wait for their answers; call again later.',
    {
      code: 'queue_full',
    },
  );

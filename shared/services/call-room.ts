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

/**
 * What the calls of a request share with those inside its multicalls: their number, and the size of the results, which
 * all wait for the answer. Results that cannot be in the answer are not kept.
 */
export class CallRoom {
  #left = MAX_REQUEST_CALLS;
  #charsLeft = MAX_ANSWER_CHARS - MAX_REQUEST_CALLS * CHARS_AROUND;

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
      this.#charsLeft -= chars;
      return outcome;
    } catch (thrown) {
      // The format refuses the value too, and says why.
      if (thrown instanceof Fault) return { value: thrown };
      throw thrown;
    }
  }
}

/** Runs calls that a protocol or a codec has read, so that every way to a method is the same. */
import { concurrently } from '../concurrently';
import { MAX_SHOWN_NAME_LENGTH } from '../limits';
import { nextTurn } from '../waiting';
import type { Call } from './codec';
import type { Outcome } from './protocol';
import type { CallContext, Services } from './services';
import { Fault, FAULT } from './fault';
import { MULTICALL } from './multicall';
import { charsOf, MAX_ANSWER_CHARS, unwritable } from './value';

/** The name that JSON-RPC reserves for the description of a server (OpenRPC, "Service discovery method"). */
export const DISCOVER = 'rpc.discover';
/** The method that answers it. */
const DESCRIPTION = 'system.discover';

/** Calls of a batch that run at the same time: a caller gains little from more, and others wait for them. */
const CALLS_AT_ONCE = 8;

/** Calls of one request, those inside its multicalls included: few bytes of a request must not cost minutes. */
export const MAX_REQUEST_CALLS = 1000;

/** Calls a method. Rejects only where the program is wrong. */
export const outcomeOf = (
  services: Pick<Services, 'outcome'>,
  { method, params }: Pick<Call, 'method' | 'params'>,
  context: CallContext,
): Promise<Outcome> => services.outcome(method === DISCOVER ? DESCRIPTION : method, params, context);

/** Characters of an answer around each result, or in place of one that does not fit. */
const CHARS_AROUND = 256;

/**
 * What the calls of a request share with those inside its multicalls: their number, and the size of the results, which
 * all wait for the answer. Results that cannot be in the answer are not kept.
 */
export class CallRoom {
  #left = MAX_REQUEST_CALLS;
  #charsLeft = MAX_ANSWER_CHARS - MAX_REQUEST_CALLS * CHARS_AROUND;

  /** As {@link outcomeOf}, in a turn of its own, so that other requests are answered in between. */
  async outcome(
    services: Pick<Services, 'outcome'>,
    call: Pick<Call, 'method' | 'params'>,
    context: CallContext,
  ): Promise<Outcome> {
    const isSeveral = call.method === MULTICALL;
    if (!isSeveral && this.#left-- <= 0) {
      const text = `A request has at most ${MAX_REQUEST_CALLS} calls, with those of its multicalls; send several.`;
      return { value: new Fault(FAULT.invalidRequest, text) };
    }
    await nextTurn();
    if (context.signal.aborted) return notCalled(call);
    const outcome = await outcomeOf(services, call, { ...context, room: this });
    // The results inside have been counted.
    return isSeveral ? outcome : this.#kept(outcome);
  }

  #kept(outcome: Outcome): Outcome {
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

/**
 * Calls methods, some at a time; the order in which they run is open.
 * @returns one outcome for each call, in order
 */
export async function outcomesOf(
  services: Pick<Services, 'outcome'>,
  calls: readonly Pick<Call, 'method' | 'params'>[],
  context: CallContext,
): Promise<readonly Outcome[]> {
  const [only, ...more] = calls;
  if (only !== undefined && more.length === 0) return [await outcomeOf(services, only, context)];
  const outcomes: Outcome[] = [];
  const room = new CallRoom();
  await concurrently(calls.entries(), CALLS_AT_ONCE, async ([at, call]) => {
    outcomes[at] = await room.outcome(services, call, context);
  });
  return outcomes;
}

const notCalled = ({ method }: Pick<Call, 'method'>): Outcome => ({
  value: new Fault(
    FAULT.deadlineExceeded,
    `${method.slice(0, MAX_SHOWN_NAME_LENGTH)} was not called: the time for the request is over, or its caller is gone.`,
  ),
});

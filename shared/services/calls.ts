/** Runs calls that a protocol or a codec has read, so that every way to a method is the same. */
import { concurrently } from '../concurrently';
import { MAX_SHOWN_NAME_LENGTH } from '../limits';
import type { Call } from './codec';
import type { Outcome } from './protocol';
import type { CallContext, Services } from './services';
import { Fault, FAULT } from './fault';
import { charsOf, MAX_ANSWER_CHARS, unwritable } from './value';

/** The name that JSON-RPC reserves for the description of a server (OpenRPC, "Service discovery method"). */
export const DISCOVER = 'rpc.discover';
/** The method that answers it. */
const DESCRIPTION = 'system.discover';

/** Calls of a batch that run at the same time: a caller gains little from more, and others wait for them. */
const CALLS_AT_ONCE = 8;

/** Calls a method. Rejects only where the program is wrong. */
export const outcomeOf = (
  services: Pick<Services, 'outcome'>,
  { method, params }: Pick<Call, 'method' | 'params'>,
  context: CallContext,
): Promise<Outcome> => services.outcome(method === DISCOVER ? DESCRIPTION : method, params, context);

/**
 * Keeps the outcomes of several calls while one answer can have all of them: each alone may be as large as an answer, so
 * that many of them would exhaust the memory. One that does not fit any more is a fault.
 */
export class KeptOutcomes {
  #left = MAX_ANSWER_CHARS;

  keep(outcome: Outcome): Outcome {
    const { value } = outcome;
    const chars = this.#charsOf(value instanceof Fault ? [value.message, value.data] : value);
    if (chars === undefined) {
      return { value: unwritable(`the answer has more than ${MAX_ANSWER_CHARS} characters with it`) };
    }
    this.#left -= chars;
    return outcome;
  }

  #charsOf(value: unknown): number | undefined {
    try {
      return charsOf(value, this.#left);
    } catch (thrown) {
      // The format refuses the value, and says why.
      if (thrown instanceof Fault) return 0;
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
  const kept = new KeptOutcomes();
  await concurrently(calls.entries(), CALLS_AT_ONCE, async ([at, call]) => {
    outcomes[at] = kept.keep(context.signal.aborted ? notCalled(call) : await outcomeOf(services, call, context));
  });
  return outcomes;
}

const notCalled = ({ method }: Pick<Call, 'method'>): Outcome => ({
  value: new Fault(
    FAULT.deadlineExceeded,
    `${method.slice(0, MAX_SHOWN_NAME_LENGTH)} was not called: the time for the request is over, or its caller is gone.`,
  ),
});

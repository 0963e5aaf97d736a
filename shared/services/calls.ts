/** Runs calls that a protocol or a codec has read, so that every way to a method is the same. */
import { concurrently } from '../concurrently';
import { MAX_SHOWN_NAME_LENGTH } from '../limits';
import { nextTurn } from '../waiting';
import { CallRoom } from './call-room';
import type { Call } from './codec';
import type { Outcome } from './protocol';
import type { CallContext, Services } from './services';
import { Fault, FAULT } from './fault';
import { MULTICALL } from './multicall';

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

/** As {@link outcomeOf}, in a turn of its own, so that other requests are answered in between. */
export async function outcomeIn(
  room: CallRoom,
  services: Pick<Services, 'outcome'>,
  call: Pick<Call, 'method' | 'params'>,
  context: CallContext,
): Promise<Outcome> {
  const refused = room.take(call);
  if (refused !== undefined) return { value: refused };
  await nextTurn();
  if (context.signal.aborted) return notCalled(call);
  const outcome = await outcomeOf(services, call, { ...context, room });
  // The results inside have been counted.
  return call.method === MULTICALL ? outcome : room.keep(outcome);
}

/**
 * Calls methods, some at a time; the order in which they run is open.
 * @param room that the results take until the caller of this function ends it
 * @returns one outcome for each call, in order
 */
export async function outcomesOf(
  services: Pick<Services, 'outcome'>,
  calls: readonly Pick<Call, 'method' | 'params'>[],
  context: CallContext,
  room = new CallRoom(),
): Promise<readonly Outcome[]> {
  const [only, ...more] = calls;
  if (only !== undefined && more.length === 0) {
    const outcome = await outcomeOf(services, only, only.method === MULTICALL ? { ...context, room } : context);
    return [only.method === MULTICALL ? outcome : room.keep(outcome)];
  }
  const outcomes: Outcome[] = [];
  await concurrently(calls.entries(), CALLS_AT_ONCE, async ([at, call]) => {
    outcomes[at] = await outcomeIn(room, services, call, context);
  });
  return outcomes;
}

const notCalled = ({ method }: Pick<Call, 'method'>): Outcome => ({
  value: new Fault(
    FAULT.deadlineExceeded,
    `${method.slice(0, MAX_SHOWN_NAME_LENGTH)} was not called: the time for the request is over, or its caller is gone.`,
  ),
});

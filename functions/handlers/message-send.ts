/** `POST /cmbs/message/?send`: creates messages and sends them in one request. */
import { badRequest, CmbsError, toCmbsError } from '@cmbs/shared';
import { MESSAGES, sendIntent } from '@cmbs/shared/broker';
import type { ActionOutcome, Path, Payload } from '@cmbs/shared/occi';
import type { App } from '../app';
import { inDialectOf } from '../dialect';
import { checkQuery, renderContext, waitMs } from '../occi-context';
import { collectionPrecondition } from '../preconditions';
import { queryValue, type OcciRequest, type OcciResponse } from '../request';
import { answer, entityRendering, noted, parsePayload, responseRendering } from '../respond';
import { createAll, creating } from './collection';
import { showEntity } from './entity';

/** @throws CmbsError as `Entities.create`; `conflict` for a message that no member receives; `method_not_allowed` */
export async function messageSend(request: OcciRequest, app: App): Promise<OcciResponse> {
  if (request.method !== 'POST') {
    throw new CmbsError('method_not_allowed', 'This path takes POST, which creates and sends messages.', {
      headers: { Allow: 'POST, OPTIONS' },
    });
  }
  checkQuery(request, app, ['send', 'from']);
  await collectionPrecondition(request);
  const payload = parsePayload(request);
  return creating(request, app, () => createAndSend(request, app, payload));
}

async function createAndSend(request: OcciRequest, app: App, payload: Payload): Promise<OcciResponse> {
  if (payload.form === 'none') throw badRequest('The request has no payload; send a message.');
  const isOne = payload.entities.length <= 1;
  const rendering = isOne ? entityRendering(request) : responseRendering(request);
  const from = queryValue(request, 'from');
  const intent = sendIntent(from, request.trace);
  const asked = `send as ${from ?? ''}`;
  const { paths } = await createAll(request, app, MESSAGES, payload, { intent, asked, isShown: isOne });
  const waiting = {
    principal: request.principal,
    waitMs: waitMs(request, app.sendWaitS),
    signal: request.signal,
    ...(request.trace === undefined ? {} : { trace: request.trace }),
  };
  const [only] = paths;
  if (paths.length === 1 && only !== undefined) {
    const location = { Location: request.base + only };
    const outcome = await located(location, () => app.sends.outcome(only, intent, waiting));
    return showEntity(request, app, only, statusOf(outcome), { ...location, ...noted(reasonsOf(outcome)) });
  }
  const outcomes = await Promise.allSettled(paths.map((path) => app.sends.outcome(path, intent, waiting)));
  const isOpen = outcomes.some((outcome) => outcome.status === 'fulfilled' && statusOf(outcome.value) === 202);
  const failed = outcomes.flatMap((outcome, at) =>
    outcome.status === 'fulfilled' ? [] : [reasonOf(outcome.reason, paths[at])],
  );
  const { registry } = await app.categories.current();
  const shown = inDialectOf(rendering, registry.at(MESSAGES)).created(paths, renderContext(request, registry));
  return answer(isOpen ? 202 : 200, shown, noted(failed));
}

const statusOf = (outcome: ActionOutcome): number => (outcome.answer === 'entity' ? outcome.status : 200);
const reasonsOf = (outcome: ActionOutcome): readonly string[] =>
  outcome.answer === 'entity' && outcome.reason !== undefined ? [outcome.reason] : [];

/** Why one of several messages was refused. The message's `delivery` has the reason too. */
function reasonOf(thrown: unknown, path: Path = ''): string {
  const error = toCmbsError(thrown);
  if (error.code !== 'conflict') throw thrown;
  return `${path}: ${error.message}`;
}

/** Adds the location of the message to a refusal, since a message without a receiver is stored all the same. */
async function located<T>(headers: Readonly<Record<string, string>>, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const { code, message, headers: own } = toCmbsError(thrown);
    if (code !== 'conflict') throw thrown;
    throw new CmbsError(code, message, { cause: thrown, headers: { ...own, ...headers } });
  }
}

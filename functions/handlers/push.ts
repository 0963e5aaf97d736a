/**
 * `POST /push/<subscription>?topic=<topic>`: Pub/Sub pushes a topic message to a member
 * (https://cloud.google.com/pubsub/docs/push). 2xx acknowledges the message. After any other status Pub/Sub pushes again,
 * and after its last attempt it moves the message to the dead-letter topic, which pushes to `/push/dead-letter`.
 */
import { badRequest, CmbsError } from '@cmbs/shared';
import { isUtf8 } from 'node:buffer';
import { parseSubscriptionName } from '@cmbs/shared/broker';
import { type BusDelivery, DEAD_LETTER, DEAD_LETTERS, parseTopic, PUSH } from '@cmbs/shared/bus';
import { z } from 'zod';
import type { App } from '../app';
import { header, queryValue, type OcciRequest, type OcciResponse } from '../request';
import { answer } from '../respond';

/** Attributes of a pushed message: the 100 that Pub/Sub allows, and those that it adds to dead letters. */
const MAX_PUSH_ATTRIBUTES = 120;

const pushed = z.looseObject({
  subscription: z.string().max(1000),
  deliveryAttempt: z.number().int().min(1).optional(),
  message: z.looseObject({
    messageId: z.string().min(1).max(255),
    data: z.base64().optional(),
    attributes: z
      .record(z.string().max(256), z.string().max(1024))
      .refine((all) => Object.keys(all).length <= MAX_PUSH_ATTRIBUTES)
      .optional(),
    orderingKey: z.string().max(1024).optional(),
  }),
});

type Pushed = z.infer<typeof pushed>;

function pushedOf(request: OcciRequest): Pushed {
  let json: unknown;
  try {
    json = JSON.parse(request.body.toString('utf8'));
  } catch (cause) {
    throw badRequest('The body is not JSON; a push of Pub/Sub has a JSON body.', { cause });
  }
  const parsed = pushed.safeParse(json);
  if (!parsed.success) throw badRequest('The body is not a push of Pub/Sub; push a message in its JSON form.');
  return parsed.data;
}

function deliveryOf({ message, deliveryAttempt = 1 }: Pushed, topic: string): BusDelivery {
  const data = Buffer.from(message.data ?? '', 'base64');
  if (!isUtf8(data)) throw badRequest('The data of the message are not UTF-8; publish JSON in UTF-8.');
  const { orderingKey = '' } = message;
  return {
    id: message.messageId,
    topic,
    attempt: deliveryAttempt,
    message: {
      data: data.toString('utf8'),
      attributes: message.attributes ?? {},
      ...(orderingKey === '' ? {} : { orderingKey }),
    },
  };
}

/**
 * @throws CmbsError `not_found` without pushes or for an unknown subscription; `bad_request`, `method_not_allowed`; as
 *   `PushHandler.verify` and `PushHandler.take`
 */
export async function push(request: OcciRequest, app: App): Promise<OcciResponse> {
  if (request.method === 'OPTIONS') return answer(204, undefined, { Allow: 'POST, OPTIONS' });
  if (request.method !== 'POST') {
    throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
      headers: { Allow: 'POST, OPTIONS' },
    });
  }
  if (app.push === undefined)
    throw new CmbsError('not_found', 'This deployment takes no pushes; set CMBS_TOPIC_DELIVERY=push.');
  const principal = await app.push.verify(header(request, 'authorization'));
  const name = request.path.slice(PUSH.length);
  await (name === DEAD_LETTERS ? deadLettered(request, app) : taken({ ...request, principal }, app, name));
  return answer(204, undefined);
}

async function taken(request: OcciRequest, { push: handler, layers }: App, name: string): Promise<void> {
  const subscription = parseSubscriptionName(name, layers);
  if (subscription === undefined) {
    throw new CmbsError('not_found', `There is no subscription ${JSON.stringify(name.slice(0, 80))} here.`);
  }
  const topic = queryValue(request, 'topic');
  if (topic === undefined) throw badRequest('The query names no topic; add ?topic=TOPIC.');
  await handler?.take(name, subscription, deliveryOf(pushedOf(request), parseTopic(topic)), request.principal);
}

/** Reports a dead letter; the subscription of the dead-letter topic keeps the message. */
async function deadLettered(request: OcciRequest, { log, counters, layers }: App): Promise<void> {
  // The data are not read: they may be the reason why the message became a dead letter.
  const { messageId, attributes = {} } = pushedOf(request).message;
  counters.add('cmbs_dead_letters', { layer: layers.find(attributes.layer ?? '')?.name ?? 'unknown' });
  log.error('topic message given up', {
    event: 'dead_letter',
    publication: messageId,
    topic: attributes.topic,
    subscription: attributes[DEAD_LETTER.source] ?? attributes[DEAD_LETTER.subscription],
    reason: attributes[DEAD_LETTER.reason],
    trace: request.trace,
  });
}

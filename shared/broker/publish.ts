/** Puts the topics of a queued send on the bus (L3.2, L4). */
import type { Clock } from '../clock';
import { toCmbsError, type CmbsError } from '../errors';
import type { Bus, TopicLayer } from '../bus';
import type { Counters, Log } from '../log';
import type { CategoryRegistry } from '../occi';
import type { Store } from '../store';
import { parseTraceparent } from '../trace';
import { MESSAGE } from './cmbs';
import { stringList } from './member';
import { busMessageOf } from './publication';
import {
  applyOutcomes,
  deleteOrphan,
  isOpen,
  readOutbound,
  deliveryKey,
  writeOutbound,
  type Outcome,
  type OutboundMessage,
} from './outbound-message';
import { sentMessage, type SentMessage } from './sent-message';
import { messageFrame, parseFrame, senderUri, type Transfer } from './wire';

export interface PublishContext {
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly registry: CategoryRegistry;
  readonly log: Log;
  readonly counters: Counters;
  readonly deployment: string;
  /** URI of a local member. */
  readonly uriOf: (member: string) => string;
}

/** Is told what the bus says of each topic. */
export interface TopicListener {
  taken(layer: TopicLayer, topic: string): void;
  /** For now: the message may be tried again. */
  refused(layer: TopicLayer, topic: string, reason: string): void;
}

/** The frame of a send as it goes out from its member, with the sender in path history and hops. */
export function outgoingFrame(
  send: OutboundMessage,
  message: SentMessage,
  { deployment, uriOf, revision }: Pick<PublishContext, 'deployment' | 'uriOf'> & { readonly revision: number },
  { content, to }: { readonly content?: string | undefined; readonly to?: readonly string[] } = {},
): string {
  const id = send.from.slice(send.from.lastIndexOf('/') + 1);
  const transfer: Transfer = {
    v: 1,
    send_id: send.wireId,
    origin: { deployment, revision },
    hops: [`${deployment}/${id}`],
    ...(to === undefined ? {} : { to }),
    ...traceOf(send, message),
  };
  return messageFrame(message, {
    pathHistory: [...stringList(message.attributes[MESSAGE.pathHistory]), uriOf(send.from)],
    transfer,
    ...(content === undefined ? {} : { content }),
  });
}

/** Of the request that asked for the send; else what the message's own headers say. */
function traceOf({ trace }: OutboundMessage, message: SentMessage): Pick<Transfer, 'traceparent'> {
  const headers = message.attributes[MESSAGE.headers] as Readonly<Record<string, unknown>> | undefined;
  const traceparent = trace ?? headers?.traceparent;
  const known = typeof traceparent === 'string' ? parseTraceparent(traceparent) : undefined;
  return known === undefined ? {} : { traceparent: known };
}

/**
 * Publishes what is still open of a send's topics and records it. A crash between the two publishes again under the
 * same send id, which receivers recognise.
 */
export async function publishOutbound(
  sendId: string,
  context: PublishContext,
  listener?: TopicListener,
): Promise<OutboundMessage | undefined> {
  const { store, bus, clock, registry, log } = context;
  const read = await readOutbound(store, sendId);
  if (read === undefined) return undefined;
  const { send, message } = read;
  const topics = send.receivers.filter((receiver) => receiver.via === 'bus' && isOpen(receiver));
  if (topics.length === 0) return send;
  const frame =
    send.frame ??
    (message === undefined
      ? undefined
      : outgoingFrame(send, sentMessage(send, message.entity), { ...context, revision: 0 }));
  if (frame === undefined) {
    await deleteOrphan(store, sendId);
    return undefined;
  }
  const parsed = parseFrame(frame);
  const { orderingKey: ownKey, transfer } = parsed;
  // The one in whose line it stands, whatever became of the message meanwhile.
  const orderingKey = send.orderingKey ?? ownKey;
  const outcomes: Outcome[] = [];
  let failure: CmbsError | undefined;
  for (const { name } of topics) {
    const layer = send.layer as TopicLayer;
    let change: Outcome['change'];
    try {
      const publishId = await bus.publish(
        layer,
        name,
        busMessageOf({
          layer,
          topic: name,
          message: send.message,
          sendId: send.wireId,
          sender: senderUri(parsed) ?? context.uriOf(send.from),
          at: send.createdAt,
          frame,
          orderingKey,
          traceparent: transfer.traceparent,
        }),
      );
      change = { state: 'delivered', reply: JSON.stringify(publishId), attempts: 1 };
      listener?.taken(layer, name);
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (error.retryable) {
        failure ??= error;
        listener?.refused(layer, name, error.message);
        continue;
      }
      log.warn('a topic does not take a message', { topic: name, send: send.id, cause: thrown });
      change = { state: 'failed', reason: error.message, attempts: 1 };
    }
    log.info('sent', {
      event: 'delivery',
      direction: 'out',
      layer,
      member: send.from,
      id: send.message,
      send: send.id,
      receiver: name,
      outcome: change.state === 'failed' ? 'failed' : 'published',
      ms: clock.now() - send.createdAt,
      trace: transfer.traceparent,
    });
    context.counters.add('cmbs_deliveries', {
      layer,
      outcome: change.state === 'failed' ? 'failed' : 'published',
    });
    outcomes.push({ sendId, key: deliveryKey({ via: 'bus', name }), change });
  }
  const next = outcomes.length === 0 ? send : await record(outcomes);
  // What did go out is written down first, or it would go out again each time that the rest is tried.
  if (failure !== undefined) throw failure;
  return next;

  function record(known: readonly Outcome[]): Promise<OutboundMessage | undefined> {
    return store.transact(async (tx) => {
      const current = await readOutbound(tx, sendId);
      if (current === undefined) return undefined;
      const applied = applyOutcomes(current.send, known, clock.now());
      writeOutbound(tx, applied, current.message, registry, clock);
      return applied;
    });
  }
}

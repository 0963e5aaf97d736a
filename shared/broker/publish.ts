/** Publishes outbound messages on the topic bus. */
import type { FrameProofs } from './frame-proof';
import type { Clock } from '../clock';
import { toCmbsError, type CmbsError } from '../errors';
import type { Bus } from '../bus';
import type { Counters, Log } from '../log';
import type { CategoryRegistry } from '../occi';
import { ANONYMOUS, type Authorize } from '../principal';
import type { Store } from '../store';
import { topicResource } from './authorization';
import { parseTraceparent } from '../trace';
import { idAt, MESSAGE } from './cmbs';
import { deliveryKey, isOpen } from './delivery';
import type { Layer, Layers } from './layer-definition';
import { stringList } from './member';
import { applyOutcomes, type Outcome } from './outcome';
import { busMessageOf } from './publication';
import { deleteOrphan, readOutbound, writeOutbound, type OutboundMessage } from './outbound-message';
import { sentMessage, type SentMessage } from './sent-message';
import { messageFrame, parseFrame, senderUri, type Transfer } from './wire';

export interface PublishContext {
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly registry: CategoryRegistry;
  readonly layers: Layers;
  readonly authorize: Authorize;
  readonly log: Log;
  readonly counters: Counters;
  readonly deployment: string;
  /** URI of a local member from its path. */
  readonly uriOf: (member: string) => string;
}

/** Is told whether the bus accepts messages of a topic. */
export interface TopicListener {
  taken(layer: Layer, topic: string): void;
  /** The refusal is temporary: the message is tried again. */
  refused(layer: Layer, topic: string, reason: string): void;
}

type FrameContext = Pick<PublishContext, 'deployment' | 'uriOf'> & {
  readonly revision: number;
  /** Proves the frame to members of this deployment. */
  readonly proofs?: FrameProofs | undefined;
};

/** Whom a frame is for: members by their ids, or the addresses that it is sent to. */
interface FrameReceivers {
  readonly to?: readonly string[];
  readonly addresses?: readonly string[];
}

/** The frame of an outbound message, with its sender in path history and hops. */
export function outgoingFrame(
  outbound: OutboundMessage,
  message: SentMessage,
  { deployment, uriOf, revision, proofs }: FrameContext,
  { content, to, addresses }: FrameReceivers & { readonly content?: string | undefined } = {},
): string {
  // A frame that does not say whom it is for could be sent again to others.
  const isSealed = proofs !== undefined && (to ?? addresses) !== undefined;
  const transfer: Transfer = {
    v: 1,
    send_id: outbound.wireId,
    origin: { deployment, revision },
    hops: [`${deployment}/${idAt(outbound.from)}`],
    ...(to === undefined ? {} : { to }),
    ...(isSealed && to === undefined ? { addresses } : {}),
    ...(isSealed ? { ...tokenOf(outbound), sealed_at: proofs.now() } : {}),
    ...traceOf(outbound, message),
  };
  const frame = messageFrame(message, {
    pathHistory: [...stringList(message.attributes[MESSAGE.pathHistory]), uriOf(outbound.from)],
    transfer,
    ...(content === undefined ? {} : { content }),
  });
  return isSealed ? proofs.seal(frame, JSON.stringify(transfer)) : frame;
}

/** A request with a token may do less than its member: where the frame arrives, both are decided. */
function tokenOf({ principal }: OutboundMessage): Pick<Transfer, 'token'> {
  return principal?.token === undefined ? {} : { token: principal.token };
}

/** The trace of the request that sent the message, otherwise the trace in the message's headers. */
function traceOf({ trace }: OutboundMessage, message: SentMessage): Pick<Transfer, 'traceparent'> {
  const headers = message.attributes[MESSAGE.headers] as Readonly<Record<string, unknown>> | undefined;
  const traceparent = trace ?? headers?.traceparent;
  const known = typeof traceparent === 'string' ? parseTraceparent(traceparent) : undefined;
  return known === undefined ? {} : { traceparent: known };
}

/**
 * Publishes the open topics of an outbound message and records the outcomes. After a crash in between, the message is
 * published again with the same send id, which receivers recognise.
 * @throws CmbsError of a temporary refusal, after the outcomes of the other topics are recorded
 */
export async function publishOutbound(
  sendId: string,
  context: PublishContext,
  listener?: TopicListener,
): Promise<OutboundMessage | undefined> {
  const { store, bus, clock, log } = context;
  const read = await readOutbound(store, sendId);
  if (read === undefined) return undefined;
  const { outbound, message } = read;
  const topics = outbound.receivers.filter((receiver) => receiver.via === 'bus' && isOpen(receiver));
  if (topics.length === 0) return outbound;
  const frame =
    outbound.frame ??
    (message === undefined
      ? undefined
      : outgoingFrame(outbound, sentMessage(outbound, message.entity), { ...context, revision: 0 }));
  if (frame === undefined) {
    await deleteOrphan(store, sendId);
    return undefined;
  }
  const parsed = parseFrame(frame);
  const { orderingKey: ownKey, transfer } = parsed;
  // Use the key it was queued under, even if the message changed.
  const orderingKey = outbound.orderingKey ?? ownKey;
  const outcomes: Outcome[] = [];
  let failure: CmbsError | undefined;
  for (const { name } of topics) {
    const { layer } = outbound;
    let change: Outcome['change'];
    try {
      // Decided again: rules may have changed since the message was queued. Release 1.0 stored no principal.
      await context.authorize(outbound.principal ?? ANONYMOUS, 'topic.publish', topicResource(name));
      const publishId = await bus.publish(
        layer,
        name,
        busMessageOf({
          layer,
          topic: name,
          message: outbound.message,
          sendId: outbound.wireId,
          sender: senderUri(parsed) ?? context.uriOf(outbound.from),
          at: outbound.createdAt,
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
      log.warn('topic refused a message', { topic: name, send: outbound.id, cause: thrown });
      change = { state: 'failed', reason: error.message, attempts: 1 };
    }
    log.info('sent', {
      event: 'delivery',
      direction: 'out',
      layer,
      member: outbound.from,
      id: outbound.message,
      send: outbound.id,
      receiver: name,
      outcome: change.state === 'failed' ? 'failed' : 'published',
      ms: clock.now() - outbound.createdAt,
      trace: transfer.traceparent,
    });
    context.counters.add('cmbs_deliveries', {
      layer,
      outcome: change.state === 'failed' ? 'failed' : 'published',
    });
    outcomes.push({ sendId, key: deliveryKey({ via: 'bus', name }), change });
  }
  const next = outcomes.length === 0 ? outbound : await record(outcomes);
  // Record the published topics before failing, or each retry of the others would publish them again.
  if (failure !== undefined) throw failure;
  return next;

  function record(known: readonly Outcome[]): Promise<OutboundMessage | undefined> {
    return store.transact(async (tx) => {
      const current = await readOutbound(tx, sendId);
      if (current === undefined) return undefined;
      const applied = applyOutcomes(current.outbound, known, clock.now());
      writeOutbound(tx, applied, current.message, context);
      return applied;
    });
  }
}

/**
 * Sends messages: queues, publishes what goes on the topic bus, notifies the companion for the rest, and waits for the
 * outcome for as long as the caller wants.
 */
import { CmbsError, isOutage, toCmbsError } from '../errors';
import { RPC_TIMEOUT_MS } from './limits';
import type { Rpc } from '../rpc';
import type { Log } from '../log';
import {
  type ActionOutcome,
  type Categories,
  type Change,
  type Completion,
  type Entity,
  type IdempotentRequest,
  type Intent,
  type Path,
  readEntity,
} from '../occi';
import type { Transaction } from '../store';
import { MESSAGE } from './cmbs';
import { parseLayer, type Layer } from './layers';
import { outboundState, layerOf, type OutboundState } from './message';
import { publishOutbound, type PublishContext } from './publish';
import { beginSend, queueOutbound, outboundFor, type QueueOptions } from './queue';
import {
  addressesOf,
  isFirstInGroup,
  isOpen,
  isPublishing,
  nextSequence,
  putOutbound,
  type DeliveryCounts,
  readOutbound,
  withDelivery,
  type OutboundMessage,
} from './outbound-message';

/** Milliseconds beyond the caller's wait that the companion may take to say how far it is. */
export const RPC_MARGIN_MS = 1000;
/** Milliseconds that a send to topics waits for the bus at least, whatever its caller says: a function that has answered may stand still. */
const PUBLISH_PATIENCE_MS = 1000;

/** What sending needs. `categories` is asked when it is needed, since providers and categories need each other. */
export interface MessageSenderOptions extends QueueOptions {
  readonly rpc: Rpc;
  readonly log: Log;
  readonly categories: () => Categories;
  readonly publishing: Pick<PublishContext, 'bus' | 'counters' | 'deployment'>;
}

/** How long, and for whom, the outcome of a send is waited for. */
export interface WaitOptions {
  /** Milliseconds; 0: not at all. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
  readonly trace?: string;
}

export interface SendRequest extends WaitOptions {
  readonly message: Path;
  readonly layer: Layer;
  /** The local member that sends: id, path, URI or title. */
  readonly from: string | undefined;
  readonly idempotent?: IdempotentRequest;
}

/** {@link Intent} of a request that creates messages and sends them. */
const SEND = 'send';

export const sendIntent = (from: string | undefined, trace: string | undefined): Intent => ({
  [SEND]: { ...(from === undefined ? {} : { from }), ...(trace === undefined ? {} : { trace }) },
});

export const asEntity: ActionOutcome = { answer: 'entity', status: 200 };

/** Nothing is open any more: what the states of the receivers come to (docs/layers.md, Sending). */
function settled(state: OutboundState, why: string | undefined): ActionOutcome {
  const reason = why ?? `the message is ${state}`;
  switch (state) {
    case 'failed':
    case 'expired':
      throw new CmbsError(
        'conflict',
        `Nobody gets the message: ${reason}. It is a dead letter now; resend it when that has changed, or purge it.`,
        { headers: { 'X-OCCI-Reason': reason } },
      );
    case 'partial':
      return { answer: 'entity', status: 200, reason };
    case 'published':
      return {
        answer: 'entity',
        status: 200,
        reason: 'the message is out; no member that is known here receives it',
      };
    case 'queued':
    case 'sending':
      // Another request has sent the message again meanwhile.
      return later(why);
    case 'created':
    case 'delivered':
      return asEntity;
  }
}

/** Stored, and the outcome is not known yet. */
export const later = (reason: string | undefined): ActionOutcome => ({
  answer: 'entity',
  status: 202,
  ...(reason === undefined ? {} : { reason }),
});

interface Published {
  readonly send?: OutboundMessage;
  readonly failure?: CmbsError;
}

export class MessageSender {
  readonly #options: MessageSenderOptions;

  constructor(options: MessageSenderOptions) {
    this.#options = options;
  }

  /** Sends a stored message. Asking again while it is on its way is the same send. */
  async send({ message, layer, from, idempotent, ...waiting }: SendRequest): Promise<ActionOutcome> {
    const { registry } = await this.#options.categories().current();
    const { trace } = waiting;
    const queued = await queueOutbound(
      {
        message,
        layer,
        from,
        registry,
        ...(idempotent === undefined ? {} : { idempotent }),
        ...(trace === undefined ? {} : { trace }),
      },
      this.#options,
    );
    return this.#finish(queued, waiting);
  }

  /** Queues the messages of a request that is to send what it creates, in the transaction that creates them. */
  async complete(tx: Transaction, changes: readonly Change[], intent: Intent | undefined): Promise<Completion> {
    const { clock } = this.#options;
    const wanted = intent?.[SEND] as { readonly from?: string; readonly trace?: string } | undefined;
    if (wanted === undefined) return { entities: changes.map(({ next }) => next) };
    const { newId } = this.#options;
    const layers = changes.map(({ next }) => layerToSendOn(next));
    const begun = await beginSend(
      // Only L1 can do without the members.
      { layer: layers.find((layer) => layer !== 'l1') ?? 'l1', from: wanted.from, ...wanted },
      this.#options,
    );
    const entities: Entity[] = [];
    const sends: OutboundMessage[] = [];
    const alsoQueued = new Map<string, number>();
    for (const [at, { next }] of changes.entries()) {
      const sending = { ...begun, layer: layers[at] as Layer, id: newId(), sequence: nextSequence(), alsoQueued };
      const send = await outboundFor(next, sending, this.#options);
      sends.push(send);
      for (const address of addressesOf(send.layer, send.receivers)) {
        alsoQueued.set(address, (alsoQueued.get(address) ?? 0) + 1);
      }
      entities.push(withDelivery(next, send, clock.now()));
    }
    return {
      entities,
      write: () => {
        for (const send of sends) if (send.receivers.some(isOpen)) putOutbound(tx, send);
      },
    };
  }

  /** The outcome of the latest send of a message: waited for while it is open. */
  async outcome(path: Path, waiting: WaitOptions): Promise<ActionOutcome> {
    const { store } = this.#options;
    const stored = await readEntity(store, path);
    const delivery = stored?.entity.attributes[MESSAGE.delivery] as { readonly send_id?: string } | undefined;
    const read = delivery?.send_id === undefined ? undefined : await readOutbound(store, delivery.send_id);
    return read === undefined ? this.#outcomeOf(path) : this.#finish(read.send, waiting);
  }

  /** The send is stored, so a bus that does not take it now is not the caller's trouble: the outbox tries again. */
  async #publish(queued: OutboundMessage): Promise<Published> {
    const { store, clock, log, categories, publishing, uriOf } = this.#options;
    // The outbox has all that stands in line.
    if (!isPublishing(queued) || !(await isFirstInGroup(store, queued))) return { send: queued };
    const { registry } = await categories().current();
    try {
      const send = await publishOutbound(queued.id, { ...publishing, store, clock, registry, log, uriOf });
      return send === undefined ? {} : { send };
    } catch (thrown) {
      log.warn('publication failed; the outbox has the send', { send: queued.id, cause: thrown });
      return { failure: toCmbsError(thrown) };
    }
  }

  /** Publishes what goes on the bus, notifies the companion for the rest, and waits as long as the caller wants. */
  async #finish(queued: OutboundMessage, { waitMs, signal, trace }: WaitOptions): Promise<ActionOutcome> {
    const { rpc: link, log } = this.#options;
    let published: Published;
    try {
      published = await this.#withDeadline(this.#publish(queued), Math.max(waitMs, PUBLISH_PATIENCE_MS));
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (isOutage(error)) return later(error.message);
      throw thrown;
    }
    if (published.failure !== undefined) return later(published.failure.message);
    const { send: current } = published;
    if (!current?.receivers.some(isOpen)) return this.#outcomeOf(queued.message);
    const notified = link.call(
      queued.from,
      'send',
      { sendId: queued.id },
      {
        deadlineMs: waitMs === 0 ? RPC_TIMEOUT_MS : waitMs + RPC_MARGIN_MS,
        ...(waitMs === 0 ? {} : { signal }),
        ...(trace === undefined ? {} : { trace }),
      },
    );
    if (waitMs === 0) {
      notified.catch((thrown: unknown) =>
        log.warn('the companion was not notified; the outbox has the send', { send: queued.id, cause: thrown }),
      );
      return later('the outcome was not waited for');
    }
    try {
      const outcome = await this.#withDeadline(notified, waitMs);
      if (outcome.outcome === 'settled') return await this.#outcomeOf(queued.message);
      return {
        answer: 'entity',
        status: 202,
        ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
      };
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (isOutage(error)) return later(error.message);
      throw thrown;
    }
  }

  /** What the message says of its send. */
  async #outcomeOf(path: Path): Promise<ActionOutcome> {
    const stored = await readEntity(this.#options.store, path);
    // Deleted while it was on its way: the request for the entity says so.
    if (stored === undefined) return asEntity;
    const { entity } = stored;
    const delivery = entity.attributes[MESSAGE.delivery] as
      { readonly reason?: string; readonly counts?: DeliveryCounts } | undefined;
    // Another request has sent the message again meanwhile.
    if ((delivery?.counts?.waiting ?? 0) > 0) return later(delivery?.reason);
    return settled(outboundState(entity), delivery?.reason);
  }

  #withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const cancel = clock.after(ms, () =>
        reject(new CmbsError('deadline_exceeded', 'no outcome within the time that the request waits')),
      );
      work.then(resolve, reject).finally(cancel);
    });
  }
}

/** The layer of a message that is sent as it is created. */
function layerToSendOn(message: Entity): Layer {
  const named = message.attributes[MESSAGE.layer];
  const layer = layerOf(message) ?? (typeof named === 'string' ? parseLayer(named) : undefined);
  if (layer !== undefined) return layer;
  throw new CmbsError(
    'bad_request',
    `A message is sent on the layer of its mixin, or of ${MESSAGE.layer}; name one.`,
  );
}

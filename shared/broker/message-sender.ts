/**
 * Sends messages: queues them, publishes on the topic bus, notifies the companion of the other deliveries, and waits for
 * the outcome as long as the caller wants.
 */
import { CmbsError, isOutage, toCmbsError } from '../errors';
import { RPC_TIMEOUT_MS } from './limits';
import type { Principal } from '../principal';
import type { Rpc } from '../rpc';
import type { Log } from '../log';
import {
  type ActionOutcome,
  type Categories,
  type Change,
  type ChangeRequest,
  type Completion,
  type Entity,
  type IdempotentRequest,
  type Intent,
  type Path,
  readEntity,
} from '../occi';
import type { Transaction } from '../store';
import { inTime } from '../waiting';
import { MESSAGE } from './cmbs';
import { isOpen, isOutboundState, type OutboundState, reasonOf, stateOf } from './delivery';
import type { Layer } from './layer-definition';
import { layerOf, outboundState, shownDelivery } from './message';
import { withDelivery } from './message-delivery';
import { publishOutbound, type PublishContext } from './publish';
import { beginSend, queueOutbound, outboundFor, type QueueOptions } from './queue';
import {
  isFirstInGroup,
  isPublishing,
  nextSequence,
  OUTBOUND_MESSAGES,
  outboundMessageOf,
  putOutbound,
  type OutboundMessage,
} from './outbound-message';
import { addressesOf } from './queue-room';

/** Milliseconds beyond the caller's wait in which the companion may answer. */
export const RPC_MARGIN_MS = 1000;
/** Least milliseconds for which publishing is waited for: the platform may freeze a function that has answered. */
const PUBLISH_PATIENCE_MS = 1000;

/** `categories` is a function, since providers and categories need each other. */
export interface MessageSenderOptions extends QueueOptions {
  readonly rpc: Rpc;
  readonly log: Log;
  readonly categories: () => Categories;
  readonly publishing: Pick<PublishContext, 'bus' | 'counters' | 'deployment'>;
}

/** How long a caller waits for the outcome. */
export interface WaitOptions {
  readonly principal: Principal;
  /** Milliseconds; 0: the caller does not wait. */
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

/** Key in the {@link Intent} of a request that creates messages and sends them. */
const SEND = 'send';

export const sendIntent = (from: string | undefined, trace: string | undefined): Intent => ({
  [SEND]: {
    ...(from === undefined ? {} : { from }),
    ...(trace === undefined ? {} : { trace }),
  },
});

export const asEntity: ActionOutcome = { answer: 'entity', status: 200 };

/** The answer once every delivery has its outcome (docs/guarantees.md). */
function settled(state: OutboundState, why: string | undefined): ActionOutcome {
  const reason = why ?? `the message is ${state}`;
  switch (state) {
    case 'failed':
    case 'expired':
      throw new CmbsError(
        'conflict',
        `Nobody gets the message: ${reason.replace(/\.$/, '')}. It is a dead letter now; resend it when that has changed, or purge it.`,
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
      // Another request has sent the message again.
      return later(why);
    case 'created':
    case 'delivered':
      return asEntity;
  }
}

/** The message is stored, and the outcome is not known yet. */
export const later = (reason: string | undefined): ActionOutcome => ({
  answer: 'entity',
  status: 202,
  ...(reason === undefined ? {} : { reason }),
});

interface Published {
  readonly outbound?: OutboundMessage;
  readonly failure?: CmbsError;
}

/**
 * What was queued for the intent of a request, by message, so that the request need not read it again. The provider of
 * messages and the functions have a sender each.
 */
const queuedFor = new WeakMap<Intent, ReadonlyMap<Path, OutboundMessage>>();

export class MessageSender {
  readonly #options: MessageSenderOptions;

  constructor(options: MessageSenderOptions) {
    this.#options = options;
  }

  /** Sends a stored message. A message that is being sent already is not sent twice. */
  async send({ message, layer, from, idempotent, ...waiting }: SendRequest): Promise<ActionOutcome> {
    const { registry } = await this.#options.categories().current();
    const { trace, principal } = waiting;
    const queued = await queueOutbound(
      {
        message,
        principal,
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

  /** Queues messages in the transaction that creates them, for a request that creates and sends. */
  async complete(
    tx: Transaction,
    changes: readonly Change[],
    { principal, intent }: ChangeRequest,
  ): Promise<Completion> {
    const { clock, layers, newId } = this.#options;
    const wanted = intent?.[SEND] as { readonly from?: string; readonly trace?: string } | undefined;
    if (intent === undefined || wanted === undefined) return { entities: changes.map(({ next }) => next) };
    const names = changes.map(({ next }) => this.#layerToSendOn(next));
    const begun = await beginSend(
      { layer: names[0] ?? '', principal, from: wanted.from, ...wanted },
      this.#options,
    );
    const entities: Entity[] = [];
    const queued: OutboundMessage[] = [];
    const alsoQueued = new Map<string, number>();
    for (const [at, { next }] of changes.entries()) {
      const sending = { ...begun, layer: names[at] as Layer, id: newId(), sequence: nextSequence(), alsoQueued };
      const outbound = await outboundFor(next, sending, this.#options);
      queued.push(outbound);
      for (const address of addressesOf(outbound.layer, outbound.receivers)) {
        alsoQueued.set(address, (alsoQueued.get(address) ?? 0) + 1);
      }
      entities.push(withDelivery(next, outbound, { clock, layers }));
    }
    return {
      entities,
      afterwards: async () => {
        queuedFor.set(intent, new Map(queued.map((outbound) => [outbound.message, outbound])));
      },
      write: () => {
        for (const outbound of queued) if (outbound.receivers.some(isOpen)) putOutbound(tx, outbound);
      },
    };
  }

  /**
   * The outcome of a message that was created and sent with this intent; waits for the outcome while deliveries are open.
   * A repeated request has queued nothing; its message and what is queued of it are read.
   */
  async outcome(path: Path, intent: Intent, waiting: WaitOptions): Promise<ActionOutcome> {
    const queued = queuedFor.get(intent)?.get(path) ?? (await this.#stillQueued(path));
    return queued === undefined ? this.#outcomeOf(path) : this.#finish(queued, waiting);
  }

  async #stillQueued(path: Path): Promise<OutboundMessage | undefined> {
    const { store } = this.#options;
    const stored = await readEntity(store, path);
    const sendId = stored === undefined ? undefined : shownDelivery(stored.entity).send_id;
    const doc = sendId === undefined ? undefined : await store.get(OUTBOUND_MESSAGES, sendId);
    return doc === undefined ? undefined : outboundMessageOf(doc);
  }

  /** The message is stored: if the bus does not accept it now, the outbox tries again. */
  async #publish(queued: OutboundMessage): Promise<Published> {
    const { store, clock, log, layers, authorize, categories, publishing, uriOf } = this.#options;
    // The outbox publishes a message that has to wait for earlier ones with its ordering key.
    if (!isPublishing(queued) || !(await isFirstInGroup(store, queued))) return { outbound: queued };
    const { registry } = await categories().current();
    try {
      const context = { ...publishing, store, clock, registry, layers, authorize, log, uriOf };
      const outbound = await publishOutbound(queued.id, context);
      return outbound === undefined ? {} : { outbound };
    } catch (thrown) {
      log.warn('publishing failed; the outbox will publish the message', { send: queued.id, cause: thrown });
      return { failure: toCmbsError(thrown) };
    }
  }

  /** Publishes, notifies the companion of the other deliveries, and waits as long as the caller wants. */
  async #finish(
    queued: OutboundMessage,
    { principal, waitMs, signal, trace }: WaitOptions,
  ): Promise<ActionOutcome> {
    const { rpc, log } = this.#options;
    let published: Published;
    try {
      published = await this.#withDeadline(this.#publish(queued), Math.max(waitMs, PUBLISH_PATIENCE_MS));
    } catch (thrown) {
      const error = toCmbsError(thrown);
      if (isOutage(error)) return later(error.message);
      throw thrown;
    }
    if (published.failure !== undefined) return later(published.failure.message);
    const { outbound: current } = published;
    // A repeated request whose message is settled has no deliveries here.
    if (current === undefined || current.receivers.length === 0) return this.#outcomeOf(queued.message);
    if (!current.receivers.some(isOpen)) return settled(stateOf(current, false), reasonOf(current));
    const notified = rpc.call(
      queued.from,
      'send',
      { sendId: queued.id },
      {
        principal,
        deadlineMs: waitMs === 0 ? RPC_TIMEOUT_MS : waitMs + RPC_MARGIN_MS,
        ...(waitMs === 0 ? {} : { signal }),
        ...(trace === undefined ? {} : { trace }),
      },
    );
    if (waitMs === 0) {
      notified.catch((thrown: unknown) =>
        log.warn('companion not notified; the outbox will find the message', { send: queued.id, cause: thrown }),
      );
      return later('the outcome was not waited for');
    }
    try {
      const outcome = await this.#withDeadline(notified, waitMs);
      if (outcome.outcome === 'settled') {
        const { state, reason } = outcome;
        return isOutboundState(state) ? settled(state, reason) : await this.#outcomeOf(queued.message);
      }
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

  /** The answer from the message's `delivery`. */
  async #outcomeOf(path: Path): Promise<ActionOutcome> {
    const stored = await readEntity(this.#options.store, path);
    // Deleted meanwhile: showing the entity answers 404.
    if (stored === undefined) return asEntity;
    const { counts, reason } = shownDelivery(stored.entity);
    // Another request has sent the message again.
    if ((counts?.waiting ?? 0) > 0) return later(reason);
    return settled(outboundState(stored.entity), reason);
  }

  #withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
    return inTime(
      this.#options.clock,
      ms,
      () => work,
      () => new CmbsError('deadline_exceeded', 'no outcome within the time that the request waits'),
    );
  }

  /** The layer of a message that is sent as it is created. */
  #layerToSendOn(message: Entity): Layer {
    const { layers } = this.#options;
    const named = message.attributes[MESSAGE.layer];
    const layer = layerOf(message, layers) ?? (typeof named === 'string' ? layers.parse(named) : undefined);
    if (layer !== undefined) return layer;
    throw new CmbsError(
      'bad_request',
      `A message is sent on the layer of its mixin, or of ${MESSAGE.layer}; name one.`,
    );
  }
}

/** Puts the domain together on given engines: the same for the local stack, a deployed function, and tests. */
import {
  allowAll,
  newId as randomId,
  silentCounters,
  type Authorize,
  type Clock,
  type Counters,
  type Log,
  type NewId,
} from '@cmbs/shared';
import {
  type AddressSchemes,
  type BrokerOptions,
  Inbox,
  type Layers,
  layersOf,
  MessageSender,
  OrderClock,
  type PortSettings,
} from '@cmbs/shared/broker';
import type { Bus } from '@cmbs/shared/bus';
import type { Config } from '@cmbs/shared/config';
import { extensionsOf } from '@cmbs/shared/extensions';
import type { Rpc } from '@cmbs/shared/rpc';
import {
  Actions,
  AnsweredRequests,
  Categories,
  Entities,
  type Extension,
  type Freshness,
  RENDERINGS,
  type Renderings,
} from '@cmbs/shared/occi';
import { type Codecs, codecsOf } from '@cmbs/shared/services';
import type { Store } from '@cmbs/shared/store';
import type { App } from './app';
import { LargeAnswers, type LargeAnswersLimits } from './large-answers';
import { pushHandler, type PushOptions } from './push-handler';

export interface Engines {
  readonly store: Store;
  readonly bus: Bus;
  readonly rpc: Rpc;
  /** The built-in layers when absent. */
  readonly layers?: Layers;
  /** Formats of the calls that pushed messages carry; JSON-RPC alone when absent. */
  readonly codecs?: Codecs;
  readonly clock: Clock;
  /** What orders go by; the order of this process alone when absent. */
  readonly order?: OrderClock;
  /** Random identifiers when absent. */
  readonly newId?: NewId;
  readonly log: Log;
  /** Silent when absent. */
  readonly counters?: Counters;
  readonly deployment: string;
  /** Besides those of the product. */
  readonly extensions?: (options: BrokerOptions) => readonly Extension[];
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
  readonly ready: () => Promise<void>;
  /** The program's own when absent. */
  readonly renderings?: Renderings;
  /** Decides who may do what; everybody may do everything when absent. */
  readonly authorize?: Authorize;
  /** How categories that other processes change are noticed; by the store's word when absent. */
  readonly freshness?: Freshness;
  /** The defaults when absent. */
  readonly answerLimits?: LargeAnswersLimits;
  /** Hosts at which others reach members here, the usual one first; the loopback address when absent. */
  readonly memberHosts?: PortSettings['hosts'];
  /** Forms of address that members may have; those of ZeroMQ when absent. */
  readonly schemes?: AddressSchemes;
  /** Where topic messages are pushed. */
  readonly push?: PushOptions;
}

export type AppConfig = Pick<
  Config,
  | 'CMBS_EXTENSIONS'
  | 'CMBS_QUEUE_LIMIT'
  | 'CMBS_INBOX_LIMIT'
  | 'CMBS_INBOX_BYTES'
  | 'CMBS_SEND_WAIT_S'
  | 'CMBS_DISCOVERY'
  | 'CMBS_PORT_RANGE'
  | 'CMBS_IGNORED_QUERY'
>;

export function assemble(engines: Engines, config: AppConfig): App {
  const { store, bus, rpc, clock, newId = randomId, log, counters = silentCounters } = engines;
  const { deployment, uriOf, ready, push, authorize = allowAll } = engines;
  const { order = OrderClock.ofProcess(clock), layers = layersOf(), codecs = codecsOf() } = engines;
  // Providers act on entities, whose rules come from the categories that the providers stand behind.
  const ring: { categories?: Categories } = {};
  const current = (): Categories => {
    if (ring.categories === undefined) throw new Error('used before it was assembled');
    return ring.categories;
  };
  const broker: BrokerOptions = {
    store,
    clock,
    order,
    newId,
    rpc,
    layers,
    authorize,
    log,
    queueLimit: config.CMBS_QUEUE_LIMIT,
    ports: { hosts: engines.memberHosts ?? ['127.0.0.1'], ranges: config.CMBS_PORT_RANGE },
    ...(engines.schemes === undefined ? {} : { schemes: engines.schemes }),
    categories: current,
    uriOf,
    publishing: { bus, counters, deployment },
  };
  const extensions = [...extensionsOf(config.CMBS_EXTENSIONS, broker), ...(engines.extensions?.(broker) ?? [])];
  const categories = new Categories(store, extensions, { watch: true, clock, ...engines.freshness, authorize });
  ring.categories = categories;
  const entities = new Entities({ store, categories, clock, newId, authorize });
  const { CMBS_DISCOVERY: discovery, CMBS_INBOX_LIMIT: inboxLimit, CMBS_INBOX_BYTES: inboxBytes } = config;
  const base = { store, categories, layers, authorize, clock, order, newId, log, counters, uriOf };
  const context = { ...base, codecs, discovery, inboxLimit, inboxBytes };
  return {
    categories,
    entities,
    layers,
    actions: new Actions(categories, entities, authorize),
    sends: new MessageSender(broker),
    inbox: new Inbox(store, clock, newId, authorize),
    answered: new AnsweredRequests(store, clock),
    renderings: engines.renderings ?? RENDERINGS,
    clock,
    log,
    counters,
    answers: new LargeAnswers(clock, engines.answerLimits),
    ignoredQuery: new Set(config.CMBS_IGNORED_QUERY),
    sendWaitS: config.CMBS_SEND_WAIT_S,
    ready,
    push: push === undefined ? undefined : pushHandler(context, push),
  };
}

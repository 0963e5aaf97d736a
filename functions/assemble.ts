/** Assembles the domain on given engines, for the local stack, a deployed function, and tests. */
import {
  newId as randomId,
  silentCounters,
  type Authorize,
  type Clock,
  type Counters,
  type Log,
  type NewId,
  type Principal,
} from '@cmbs/shared';
import { type Access, openAccess } from '@cmbs/shared/access';
import {
  type AddressSchemes,
  type BrokerOptions,
  type Layers,
  layersOf,
  ONLY_SHARD,
  OrderClock,
  type PortSettings,
} from '@cmbs/shared/broker';
import type { Bus } from '@cmbs/shared/bus';
import type { Config } from '@cmbs/shared/config';
import { openDomain } from '@cmbs/shared/domain';
import type { Rpc } from '@cmbs/shared/rpc';
import {
  type Entity,
  type Extension,
  type Freshness,
  IdempotentRuns,
  RENDERINGS,
  type Renderings,
} from '@cmbs/shared/occi';
import { type Codecs, codecsOf, ResultRoom, type Services, standardServices } from '@cmbs/shared/services';
import type { GovernedFiles } from '@cmbs/shared/services/builtin';
import type { Store } from '@cmbs/shared/store';
import type { App } from './app';
import { RPC_DEADLINE_MS } from './handlers/rpc';
import type { OcciRequest } from './request';
import { LargeAnswers, type LargeAnswersLimits } from './large-answers';
import { pushHandler, type PushOptions } from './push-handler';

/** The engines and the additions of a program. */
export interface Engines {
  readonly store: Store;
  readonly bus: Bus;
  readonly rpc: Rpc;
  /** The built-in layers when absent. */
  readonly layers?: Layers;
  /** The methods that callers reach over HTTP; the standard modules when absent. */
  readonly services?: Services;
  /** Whether no other process uses the store at the same time. */
  readonly isAlone?: boolean;
  /** Formats of the calls that pushed messages carry; JSON-RPC and XML-RPC when absent. */
  readonly codecs?: Codecs;
  readonly clock: Clock;
  /** Orders messages; a clock of this process alone when absent. */
  readonly order?: OrderClock;
  /** Random identifiers when absent. */
  readonly newId?: NewId;
  readonly log: Log;
  /** Silent when absent. */
  readonly counters?: Counters;
  readonly deployment: string;
  /** Extensions besides those of the product. */
  readonly extensions?: (options: BrokerOptions) => readonly Extension[];
  /** The URI of a member of this deployment, from its path. */
  readonly uriOf: (path: string) => string;
  /** As `App.ready`. */
  readonly ready: () => Promise<void>;
  /** The built-in renderings when absent. */
  readonly renderings?: Renderings;
  /** Who callers are and what they may do; everybody may do everything when absent. */
  readonly access?: Access;
  /** Tells who sent a request; the principal that the adapter set when absent. */
  readonly authenticate?: (request: OcciRequest) => Promise<Principal>;
  /** Who may do what, in place of the access rules. */
  readonly authorize?: Authorize;
  /** How a process notices that another one changed the categories; by a watch on the store when absent. */
  readonly freshness?: Freshness;
  /** The default limits when absent. */
  readonly answerLimits?: LargeAnswersLimits;
  /** Entities that one step of a bulk deletion deletes; the default when absent. */
  readonly deletionStep?: number;
  /** Hosts at which peers reach the members here, the default first; the loopback address when absent. */
  readonly memberHosts?: PortSettings['hosts'];
  /** Name of the shard of a local member; the only shard when absent. */
  readonly shardOf?: (member: Entity) => string;
  /** The schemes of members' addresses; those of ZeroMQ when absent. */
  readonly schemes?: AddressSchemes;
  /** Absent where there is no disk. */
  readonly files?: GovernedFiles | undefined;
  /** Absent where the companion pulls topic messages. */
  readonly push?: PushOptions;
}

/** The settings that the domain uses. */
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

/** Milliseconds after which calls with an `Idempotency-Key` and without an answer count as cut off. */
const RPC_RUN_MS = RPC_DEADLINE_MS + 10_000;

/** Assembles the domain. The caller closes `categories` of the result, and the engines. */
export function assemble(engines: Engines, config: AppConfig): App {
  const { store, clock, newId = randomId, log, counters = silentCounters } = engines;
  const { deployment, uriOf, ready, push, access = openAccess(store, clock) } = engines;
  const { authorize = access.authorize, authenticate = async ({ principal }: OcciRequest) => principal } = engines;
  const { order = OrderClock.ofProcess(clock), layers = layersOf(), codecs = codecsOf() } = engines;
  const domain = openDomain(
    {
      ...engines,
      newId,
      counters,
      access,
      authorize,
      order,
      layers,
      memberHosts: engines.memberHosts ?? ['127.0.0.1'],
      shardOf: engines.shardOf ?? (() => ONLY_SHARD),
    },
    config,
  );
  const { categories } = domain;
  const { CMBS_DISCOVERY: discovery, CMBS_INBOX_LIMIT: inboxLimit, CMBS_INBOX_BYTES: inboxBytes } = config;
  const base = { store, categories, layers, authorize, clock, order, newId, log, counters, uriOf, deployment };
  const context = { ...base, codecs, discovery, inboxLimit, inboxBytes };
  return {
    ...domain,
    authenticate,
    authorize,
    layers,
    files: engines.files,
    runs: new IdempotentRuns({
      store,
      clock,
      runner: newId(),
      isAlone: engines.isAlone ?? false,
      runMs: RPC_RUN_MS,
    }),
    results: new ResultRoom(),
    services: engines.services ?? standardServices({ clock, newId, authorize, log }),
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

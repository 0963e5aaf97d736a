/** Opens the domain on the engines of a program: a function, the local stack, or a companion, whose methods use it. */
import { type Access } from '../access';
import {
  BrokerMessaging,
  type BrokerOptions,
  type AddressSchemes,
  Inbox,
  type Layers,
  MessageSender,
  type OrderClock,
  type PortSettings,
} from '../broker';
import type { Bus } from '../bus';
import type { Clock, NewId } from '../clock';
import type { Config } from '../config';
import { extensionsOf } from '../extensions';
import type { Counters, Log } from '../log';
import {
  Actions,
  AnsweredRequests,
  Categories,
  Entities,
  type Entity,
  type Extension,
  type Freshness,
  JsonEntities,
} from '../occi';
import type { Authorize } from '../principal';
import type { Rpc } from '../rpc';
import type { DomainPorts } from '../services/builtin';
import type { Store } from '../store';
import { rightsOf } from './rights';

/**
 * Seconds that a method waits for an outcome, at most: less than the deadline of a call, so that its caller learns that the
 * outcome is open.
 */
const MAX_CALL_WAIT_S = 20;

export interface DomainEngines {
  readonly store: Store;
  readonly bus: Bus;
  readonly rpc: Rpc;
  readonly layers: Layers;
  readonly clock: Clock;
  /** Orders messages. */
  readonly order: OrderClock;
  readonly newId: NewId;
  readonly log: Log;
  readonly counters: Counters;
  readonly deployment: string;
  /** Extensions besides those of the product. */
  readonly extensions?: (options: BrokerOptions) => readonly Extension[];
  /** The URI of a member of this deployment, from its path. */
  readonly uriOf: (path: string) => string;
  /** Who callers are, and what they see. */
  readonly access: Pick<Access, 'extension' | 'visibility' | 'cursors'>;
  /** Who may do what. */
  readonly authorize: Authorize;
  /** How the program notices that another one changed the categories; by a watch on the store when absent. */
  readonly freshness?: Freshness;
  /** Entities that one step of a bulk deletion deletes; the default when absent. */
  readonly deletionStep?: number;
  /** Hosts at which peers reach the members here, the default first. */
  readonly memberHosts: PortSettings['hosts'];
  /** Name of the shard of a local member. */
  readonly shardOf: (member: Entity) => string;
  /** The schemes of members' addresses; those of ZeroMQ when absent. */
  readonly schemes?: AddressSchemes;
}

export type DomainConfig = Pick<
  Config,
  'CMBS_EXTENSIONS' | 'CMBS_QUEUE_LIMIT' | 'CMBS_PORT_RANGE' | 'CMBS_SEND_WAIT_S'
>;

export interface Domain {
  /** To be closed by the program. */
  readonly categories: Categories;
  readonly entities: Entities;
  readonly actions: Actions;
  readonly sends: MessageSender;
  readonly inbox: Inbox;
  /** Answers to requests with an `Idempotency-Key`. */
  readonly answered: AnsweredRequests;
  /** What service modules use. */
  readonly ports: DomainPorts;
}

export function openDomain(engines: DomainEngines, config: DomainConfig): Domain {
  const { store, bus, clock, newId, counters, layers, deployment, uriOf, authorize, access } = engines;
  // Categories need the providers, and the providers need the categories, so these are set later.
  const late: { categories?: Categories } = {};
  const current = (): Categories => {
    if (late.categories === undefined) throw new Error('The categories are not assembled yet.');
    return late.categories;
  };
  const { order, rpc, log } = engines;
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
    ports: { hosts: engines.memberHosts, ranges: config.CMBS_PORT_RANGE },
    ...(engines.schemes === undefined ? {} : { schemes: engines.schemes }),
    categories: current,
    uriOf,
    shardOf: engines.shardOf,
    publishing: { bus, counters, deployment },
  };
  const extensions = [
    ...extensionsOf(config.CMBS_EXTENSIONS, broker, access.extension),
    ...(engines.extensions?.(broker) ?? []),
  ];
  const categories = new Categories(store, extensions, { watch: true, clock, ...engines.freshness, authorize });
  late.categories = categories;
  const entities = new Entities({
    store,
    categories,
    clock,
    newId,
    authorize,
    visibility: access.visibility,
    cursors: access.cursors,
    ...(engines.deletionStep === undefined ? {} : { deletionStep: engines.deletionStep }),
  });
  const actions = new Actions(categories, entities, authorize);
  const sends = new MessageSender(broker);
  const inbox = new Inbox(store, clock, newId, authorize);
  const answered = new AnsweredRequests(store, clock);
  const waitMs = (seconds = config.CMBS_SEND_WAIT_S): number => Math.min(seconds, MAX_CALL_WAIT_S) * 1000;
  const json = new JsonEntities({ entities, actions, categories, answered, base: () => uriOf(''), waitMs });
  const messaging = new BrokerMessaging({ entities: json, sends, inbox, layers, waitMs });
  const ports = { entities: json, messaging, rights: rightsOf({ entities, categories, authorize }) };
  return { categories, entities, actions, sends, inbox, answered, ports };
}

/** The options of a companion, and the environment that its parts get. */
import {
  allowAll,
  type Authorize,
  backOff,
  type Clock,
  type Counters,
  type Log,
  type NewId,
  type Random,
} from '@cmbs/shared';
import { type Layers, layersOf, OrderClock, FrameProofs } from '@cmbs/shared/broker';
import type { Bus } from '@cmbs/shared/bus';
import type { Categories } from '@cmbs/shared/occi';
import { type Codecs, codecsOf, type Services } from '@cmbs/shared/services';
import type { Store } from '@cmbs/shared/store';
import { DELIVERY_LIMITS, type DeliveryLimits } from './delivery/limits';
import type { Environment } from './environment';
import type { ExchangeDefinition } from './exchanges/exchange';
import { Exchanges } from './exchanges/exchanges';
import { BACKOFF_FIRST_MS, BACKOFF_MAX_MS } from './limits';
import { Members } from './members';
import { wholeDeployment, type ShardLease } from './shard-lease';

/** Milliseconds that a stopping companion gives to work in flight; Ctrl-C ends everything within two seconds. */
export const COMPANION_DRAIN_MS = 1200;

export interface CompanionOptions {
  readonly store: Store;
  readonly bus: Bus;
  readonly categories: Categories;
  readonly services: Services;
  /** Allows everything when absent. */
  readonly authorize?: Authorize;
  /** Frames between members of this deployment prove who sent them; needed where not everybody may do everything. */
  readonly provesFrames?: boolean;
  /** JSON-RPC and XML-RPC when absent. */
  readonly codecs?: Codecs;
  /** The built-in layers when absent. */
  readonly layers?: Layers;
  readonly clock: Clock;
  /** Orders outbound messages; those of this process alone when absent. */
  readonly order?: OrderClock;
  readonly newId: NewId;
  readonly random?: Random;
  readonly log: Log;
  readonly counters: Counters;
  /** Identifies this deployment in hops and origins (docs/wire.md). */
  readonly deployment: string;
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
  /** Whether members that peers describe are stored (`CMBS_DISCOVERY`). */
  readonly discovery: 'open' | 'closed';
  /** Entries that one member's inbox may have. */
  readonly inboxLimit: number;
  /** Bytes that one member's inbox may have. */
  readonly inboxBytes: number;
  /** Outbound messages that may wait for one address. */
  readonly queueLimit: number;
  /** They bring frames in from peers and carry ours out. */
  readonly exchanges: readonly ExchangeDefinition[];
  /** Limits of delivery in place of the defaults. */
  readonly delivery?: Partial<DeliveryLimits>;
  /** The members that this companion serves, and for how long; all of them, for ever, when absent. */
  readonly shard?: ShardLease;
  /** Milliseconds that a stopping companion gives to work in flight; {@link COMPANION_DRAIN_MS} when absent. */
  readonly drainMs?: () => number;
  /** Milliseconds between two looks at the whole store, where a watch may fail. */
  readonly lookAgainMs?: number;
  /** Aborts when nothing may be opened any more: a start that is under way closes its parts, and rejects. */
  readonly over?: AbortSignal;
}

/** Reads the members, and puts together what the parts of the companion need. */
export async function environmentOf(options: CompanionOptions): Promise<Environment> {
  const layers = options.layers ?? layersOf();
  const { shard = wholeDeployment(options.newId), random = Math.random } = options;
  const { store, deployment, provesFrames = false } = options;
  const proofs = provesFrames ? await FrameProofs.open(store, { deployment, clock: options.clock }) : undefined;
  const members = await Members.load({ ...options, layers, shard });
  return {
    ...options,
    order: options.order ?? OrderClock.ofProcess(options.clock),
    layers,
    authorize: options.authorize ?? allowAll,
    codecs: options.codecs ?? codecsOf(),
    members,
    proofs,
    exchanges: new Exchanges(options.exchanges, options),
    shard,
    shardOf: (member) => shard.of(member),
    backOff: (failures) => backOff(failures, BACKOFF_FIRST_MS, BACKOFF_MAX_MS, random),
    runner: shard.name,
    isOurs: (runner) => shard.isOurs(runner),
    lookAgainMs: options.lookAgainMs,
    limits: { ...DELIVERY_LIMITS, ...options.delivery },
  };
}

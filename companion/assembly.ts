/** The assembly that all programs with a companion share: the local stack and the container. */
import { allowAll, type Authorize, type Clock, type Log, type NewId } from '@cmbs/shared';
import { type AddressSchemes, type LayerDefinition, type Layers, layersOf } from '@cmbs/shared/broker';
import type { Config } from '@cmbs/shared/config';
import type { Restarts } from '@cmbs/shared/restarts';
import {
  type Codec,
  type Codecs,
  codecsOf,
  type ServiceModule,
  type Services,
  type Sessions,
  standardServices,
} from '@cmbs/shared/services';
import type { FileLimits } from '@cmbs/shared/services/builtin';
import { Companion } from './companion';
import type { CompanionOptions } from './companion-options';
import type { DeliveryLimits } from './delivery/limits';
import type { ExchangeDefinition } from './exchanges/exchange';
import { schemesOf } from './exchanges/exchanges';
import { type Metrics, prometheusMetrics } from './metrics';
import type { ModuleAdditions } from '@cmbs/shared/services/modules';
import type { ScheduleLimits } from './schedules';

/** Additions of a program to its companion (docs/extending.md). The functions of the deployment need the same. */
export interface CompanionAdditions {
  /** Who may do what; allows everything when absent. */
  readonly authorize?: Authorize;
  /** Service modules besides the standard ones. */
  readonly services?: readonly ServiceModule[];
  /** Limits of the files of `CMBS_FILES_DIR` in place of the defaults. */
  readonly files?: Partial<FileLimits>;
  /** Additions to the modules of `CMBS_MODULES_DIR`. */
  readonly modules?: ModuleAdditions;
  /** Limits of the runs of schedules, in place of the defaults. */
  readonly schedules?: ScheduleLimits;
  /** Codecs besides JSON-RPC and XML-RPC. */
  readonly codecs?: readonly Codec[];
  /** Layers besides the built-in ones. */
  readonly layers?: readonly LayerDefinition[];
  /** Exchanges besides ZeroMQ. */
  readonly exchanges?: readonly ExchangeDefinition[];
  /** Limits of delivery in place of the defaults. */
  readonly delivery?: Partial<DeliveryLimits>;
  /** Restarts of the process by its supervisor, by reason. */
  readonly restarts?: Restarts;
}

export interface AssemblyOptions extends CompanionAdditions {
  readonly config: Pick<
    Config,
    | 'CMBS_IDENTITIES'
    | 'CMBS_DISCOVERY'
    | 'CMBS_QUEUE_LIMIT'
    | 'CMBS_INBOX_LIMIT'
    | 'CMBS_INBOX_BYTES'
    | 'CMBS_DEBUG_FAULTS'
    | 'CMBS_SLOW_CALL_MS'
  >;
  readonly clock: Clock;
  readonly log: Log;
  readonly newId: NewId;
  /** Where callers log in by `system.auth`; the method is refused when absent. */
  readonly sessions?: Sessions | undefined;
  /** The exchange of the product, for the layers of the program. */
  readonly zeroMq: (layers: Layers) => ExchangeDefinition;
}

/** Options that differ between programs, and between two starts of a companion. */
type StartOptions = Pick<
  CompanionOptions,
  'store' | 'bus' | 'categories' | 'order' | 'deployment' | 'uriOf' | 'shard' | 'lookAgainMs' | 'drainMs' | 'over'
>;

/** A companion's parts that need no engine. */
export class CompanionAssembly {
  readonly layers: Layers;
  readonly authorize: Authorize;
  readonly metrics: Metrics;
  /** Schemes of the addresses that members may have. */
  readonly schemes: AddressSchemes;
  readonly services: Services;
  readonly #options: AssemblyOptions;
  readonly #codecs: Codecs;
  readonly #exchanges: readonly ExchangeDefinition[];

  /** @throws Error when an addition has a name or a scheme that is taken */
  constructor(options: AssemblyOptions) {
    const { clock, newId, authorize = allowAll, services = [], codecs = [], layers = [], restarts = {} } = options;
    this.#options = options;
    this.layers = layersOf(layers);
    this.authorize = authorize;
    this.metrics = prometheusMetrics();
    this.services = standardServices({
      clock,
      newId,
      authorize,
      log: options.log,
      debugFaults: options.config.CMBS_DEBUG_FAULTS,
      histograms: this.metrics,
      slowMs: options.config.CMBS_SLOW_CALL_MS,
      sessions: options.sessions,
    });
    for (const module of services) this.services.register(module);
    this.#codecs = codecsOf(codecs);
    this.#exchanges = [options.zeroMq(this.layers), ...(options.exchanges ?? [])];
    this.schemes = schemesOf(this.#exchanges);
    for (const [reason, n] of Object.entries(restarts)) this.metrics.add('cmbs_restarts_total', { reason }, n);
  }

  /** @throws CmbsError when a part cannot be opened; then none is open */
  start(options: StartOptions): Promise<Companion> {
    const { config, clock, log, newId, delivery = {} } = this.#options;
    return Companion.start({
      ...options,
      services: this.services,
      codecs: this.#codecs,
      authorize: this.authorize,
      provesFrames: config.CMBS_IDENTITIES.length > 0,
      layers: this.layers,
      exchanges: this.#exchanges,
      delivery,
      clock,
      newId,
      log,
      counters: this.metrics,
      discovery: config.CMBS_DISCOVERY,
      queueLimit: config.CMBS_QUEUE_LIMIT,
      inboxLimit: config.CMBS_INBOX_LIMIT,
      inboxBytes: config.CMBS_INBOX_BYTES,
    });
  }
}

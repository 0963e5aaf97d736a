/**
 * The long-lived part of a deployment: sockets, discovery, outbox. A library; a program assembles it with engines
 * (the local stack, the container's main, later a guest agent).
 */
import {
  aborted,
  allowAll,
  type Authorize,
  type Principal,
  backOff,
  CmbsError,
  type Counters,
  type Log,
  type Clock,
  type NewId,
  type Random,
} from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus';
import {
  Execution,
  InboundHandler,
  isLocal,
  type Layer,
  type Layers,
  layersOf,
  MEMBER_KIND,
  MemberRegistration,
  OrderClock,
} from '@cmbs/shared/broker';
import { BACKOFF_FIRST_MS, BACKOFF_MAX_MS } from './limits';
import { RPC_ARGUMENTS, type RpcArguments, type RpcMethod, type RpcResult } from '@cmbs/shared/rpc';
import type { Categories, Entity, Path } from '@cmbs/shared/occi';
import { type Codecs, codecsOf, type Services } from '@cmbs/shared/services';
import type { Store } from '@cmbs/shared/store';
import { Discovery } from './discovery';
import type { Environment } from './environment';
import { wholeDeployment, type ShardLease } from './shard-lease';
import { Forwarding } from './forwarding';
import { LayerReconciler } from './layer-reconciler';
import { Members } from './members';
import type { OutboxStatus } from './delivery/backlog';
import { DELIVERY_LIMITS, type DeliveryLimits } from './delivery/limits';
import { Outbox } from './delivery/outbox';
import { FrameHandler } from './frame-handler';
import type { ExchangeDefinition } from './exchanges/exchange';
import { Exchanges } from './exchanges/exchanges';
import { Verification } from './verification';

/** Milliseconds that a stopping companion gives to what is in flight; Ctrl-C ends everything within two seconds. */
const COMPANION_DRAIN_MS = 1200;
/** Milliseconds that it gives to writing down how far it is, after that. */
const COMPANION_WRITE_MS = 2000;

export interface CompanionOptions {
  readonly store: Store;
  readonly bus: Bus;
  readonly categories: Categories;
  readonly services: Services;
  /** Allows everything when absent. */
  readonly authorize?: Authorize;
  /** JSON-RPC alone when absent. */
  readonly codecs?: Codecs;
  /** The built-in layers when absent. */
  readonly layers?: Layers;
  readonly clock: Clock;
  /** What orders go by; the order of this process alone when absent. */
  readonly order?: OrderClock;
  readonly newId: NewId;
  readonly random?: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly deployment: string;
  readonly uriOf: (path: string) => string;
  readonly discovery: 'open' | 'closed';
  /** Entries of one member's inbox, at most. */
  readonly inboxLimit: number;
  /** Bytes of the same. */
  readonly inboxBytes: number;
  /** Outbound messages that may wait for one address. */
  readonly queueLimit: number;
  /** What brings frames in from peers and carries ours out. */
  readonly exchanges: readonly ExchangeDefinition[];
  /** In place of the defaults. */
  readonly delivery?: Partial<DeliveryLimits>;
  /** Where several companions could hold what this one does. */
  readonly shard?: ShardLease;
  /** Milliseconds that {@link Companion.close} gives to what is in flight; {@link COMPANION_DRAIN_MS} when absent. */
  readonly drainMs?: () => number;
  /** Milliseconds between two looks at everything that is desired, where what tells of changes may fail. */
  readonly lookAgainMs?: number;
  /** Aborts when nothing may be opened any more: a start that is under way closes what it opened, and rejects. */
  readonly over?: AbortSignal;
}

/** Who calls, and until when. */
interface Caller {
  readonly principal: Principal;
  readonly signal: AbortSignal;
}

export interface CompanionStatus {
  /** Outbound messages in memory: those that can go now, or are tried. */
  readonly inFlight: number;
  /** Addresses to which messages go, or for which they wait. */
  readonly destinations: number;
  /** Layers that are wanted and not open. */
  readonly failing: number;
  /** Sockets that are open, by layer. */
  readonly open: Readonly<Record<Layer, number>>;
}

export class Companion {
  readonly #environment: Environment;
  readonly #layers: LayerReconciler;
  readonly #outbox: Outbox;
  readonly #discovery: Discovery;
  readonly #verification: Verification;
  readonly #execution: Execution;
  readonly #inbound: InboundHandler;
  readonly #drainMs: () => number;
  #closing: Promise<void> | undefined;
  #cancelRecovery: () => void = () => undefined;
  #stopNoticing: () => void = () => undefined;

  private constructor(environment: Environment, drainMs: () => number) {
    this.#environment = environment;
    this.#drainMs = drainMs;
    const registration = new MemberRegistration(environment);
    this.#execution = new Execution(environment);
    this.#outbox = new Outbox(environment, registration);
    const forwarding = new Forwarding(environment);
    const { clock, log, counters, members } = environment;
    this.#discovery = new Discovery(environment, registration);
    this.#verification = new Verification({
      clock,
      log,
      counters,
      ask: (...claim) => this.#discovery.confirm(...claim),
      isKnown: (member) => members.get(member) !== undefined,
    });
    this.#inbound = new InboundHandler({
      context: environment,
      registration,
      execution: this.#execution,
      onClaim: (...claim) => this.#verification.claimed(...claim),
    });
    const heard = (address: string): void => this.#outbox.notify(address);
    this.#layers = new LayerReconciler(
      environment,
      new FrameHandler(environment, this.#inbound, forwarding, heard),
    );
  }

  /** Answers calls that a crash cut off, opens what was started, opens the outbox; then it is ready. */
  static async start(options: CompanionOptions): Promise<Companion> {
    const layers = options.layers ?? layersOf();
    const members = await Members.load({ ...options, layers });
    const {
      shard = wholeDeployment(options.newId),
      drainMs = () => COMPANION_DRAIN_MS,
      random = Math.random,
    } = options;
    const environment: Environment = {
      ...options,
      order: options.order ?? OrderClock.ofProcess(options.clock),
      layers,
      authorize: options.authorize ?? allowAll,
      codecs: options.codecs ?? codecsOf(),
      members,
      exchanges: new Exchanges(options.exchanges, options),
      shard,
      backOff: (failures) => backOff(failures, BACKOFF_FIRST_MS, BACKOFF_MAX_MS, random),
      runner: shard.name,
      isOurs: (runner) => shard.isOurs(runner),
      lookAgainMs: options.lookAgainMs,
      limits: { ...DELIVERY_LIMITS, ...options.delivery },
    };
    const companion = new Companion(environment, drainMs);
    const { over = new AbortController().signal } = options;
    const opening = companion.#open();
    opening.catch(() => undefined); // it may go on failing after it was given up
    try {
      await Promise.race([opening, aborted(over)]);
      if (over.aborted) throw new CmbsError('unavailable', 'The companion was stopped before it was ready.');
    } catch (error) {
      await companion.close();
      throw error;
    }
    return companion;
  }

  async #open(): Promise<void> {
    this.#stopNoticing = this.#environment.members.onChange((path, before) => this.#noticeMove(path, before));
    const steps = [() => this.#execution.recover(), () => this.#layers.open(), () => this.#outbox.open()];
    for (const step of steps) if (this.#closing === undefined) await step();
    this.#recoverLater();
  }

  /** A member that comes from another shard brings what is desired of it, and what it has queued. */
  #noticeMove(path: Path, before: Entity | undefined): void {
    const { shard, members } = this.#environment;
    const now = members.get(path);
    if (before === undefined || now === undefined || shard.serves(before) || !shard.serves(now)) return;
    if (!isLocal(before) || !isLocal(now)) return;
    this.#layers.arrived(path);
    this.#outbox.lookNow();
  }

  /** A push function has no start at which it would find calls that were cut off; we look for them. */
  #recoverLater(): void {
    const { clock, lookAgainMs, log } = this.#environment;
    if (lookAgainMs === undefined || this.#closing !== undefined) return;
    this.#cancelRecovery = clock.after(lookAgainMs, () => {
      this.#execution
        .recover({ late: true })
        .catch((error: unknown) => log.warn('calls that were cut off not answered', { cause: error }))
        .finally(() => this.#recoverLater());
    });
  }

  /** Handles one RPC; its schema checks the arguments. */
  async handle<A extends RpcMethod>(
    memberPath: string,
    action: A,
    args: RpcArguments<A>,
    caller: Caller,
  ): Promise<RpcResult<A>> {
    if (this.#closing !== undefined) throw new CmbsError('unavailable', 'The companion is stopping.');
    const run = this.#actions[action] as (
      path: string,
      given: RpcArguments<A>,
      caller: Caller,
    ) => Promise<RpcResult<A>>;
    return run(memberPath, RPC_ARGUMENTS[action].parse(args) as RpcArguments<A>, caller);
  }

  readonly #actions: {
    readonly [A in RpcMethod]: (path: string, args: RpcArguments<A>, caller: Caller) => Promise<RpcResult<A>>;
  } = {
    reconcile: (path, { layer }) => this.#layers.reconcile(path, this.#environment.layers.of(layer).name),
    release: async (path) => {
      await this.#layers.release(path);
      return {};
    },
    check_neighbors: async (path, _args, { signal }) =>
      this.#discovery.check(await this.#localMember(path), signal),
    send: (_path, { sendId }, { signal }) => this.#outbox.attempt(sendId, signal),
    execute: async (path, { message, runId }, { principal }) => {
      const sender = this.#environment.uriOf(path);
      return { outcome: await this.#execution.executeMessage(message, runId, { principal, sender }) };
    },
  };

  async #localMember(path: string): Promise<Entity> {
    const member = await this.#environment.members.refresh(path);
    if (member?.kind !== MEMBER_KIND) throw new CmbsError('not_found', `There is no member at ${path}.`);
    if (!isLocal(member)) throw new CmbsError('conflict', `${path} is not a member of this deployment.`);
    return member;
  }

  /** What gauges show. */
  get status(): CompanionStatus {
    return {
      inFlight: this.#outbox.inFlight,
      destinations: this.#outbox.destinationCount,
      failing: this.#layers.failing,
      open: this.#layers.openByLayer,
    };
  }

  /** What waits to go out; as it was when the store does not answer. */
  outbox(): Promise<OutboxStatus> {
    return this.#outbox.status();
  }

  /** Takes nothing new, finishes what is in flight within the time for that, closes every socket. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { members, clock, exchanges } = this.#environment;
    const deadline = new Promise<void>((resolve) => void clock.after(this.#drainMs(), resolve));
    this.#cancelRecovery();
    this.#stopNoticing();
    // Each step whatever becomes of the others: what stays open keeps its port, or the process.
    const sent = this.#ending('sends', Promise.race([this.#outbox.drain(), deadline]));
    await this.#ending('layers', Promise.race([this.#layers.close(), deadline]));
    await this.#ending('questions', Promise.race([this.#verification.close(), deadline]));
    await sent;
    await this.#ending('calls', this.#execution.close(deadline));
    // What cannot be written by then is sent again, and recognised.
    const last = new Promise<void>((resolve) => void clock.after(COMPANION_WRITE_MS, resolve));
    await this.#ending('receipts', Promise.race([this.#inbound.flush(), last]));
    await this.#ending('outbox', Promise.race([this.#outbox.close(), last]));
    members.close();
    exchanges.close();
  }

  async #ending(part: string, end: Promise<void>): Promise<void> {
    try {
      await end;
    } catch (error) {
      this.#environment.log.error('part of the companion not closed', { part, cause: error });
    }
  }
}

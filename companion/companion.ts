/**
 * The long-lived part of a deployment: sockets, discovery, outbox. This is a library; a program assembles it with engines
 * (the local stack, the container's main, later a guest agent).
 */
import { aborted, CmbsError } from '@cmbs/shared';
import {
  Execution,
  InboundHandler,
  isLocal,
  type Layer,
  MEMBER_KIND,
  type MemberMove,
  MemberRegistration,
} from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';
import {
  RPC_ARGUMENTS,
  type RpcArguments,
  type RpcCaller,
  type RpcMethod,
  type RpcResult,
} from '@cmbs/shared/rpc';
import { COMPANION_DRAIN_MS, type CompanionOptions, environmentOf } from './companion-options';
import type { OutboxStatus } from './delivery/backlog';
import { Outbox } from './delivery/outbox';
import { Discovery } from './discovery';
import type { Environment } from './environment';
import { Forwarding } from './forwarding';
import { FrameHandler, type WaitingMessages } from './frame-handler';
import { LayerReconciler } from './layer-reconciler';
import { MemberMoves } from './member-moves';
import { Verification } from './verification';

/** Milliseconds that a stopping companion gives to the last writes, after the work in flight has ended. */
const COMPANION_WRITE_MS = 2000;

export interface CompanionStatus {
  /** Outbound messages in memory: those that can go now, or are tried. */
  readonly inFlight: number;
  /** Addresses that messages go to or wait for. */
  readonly destinations: number;
  /** Layers that are desired and not open. */
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
  #moves: MemberMoves | undefined;

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
      isKnown: async (member) => (await members.find(member)) !== undefined,
    });
    this.#inbound = new InboundHandler({
      context: environment,
      registration,
      execution: this.#execution,
      onClaim: (...claim) => this.#verification.claimed(...claim),
    });
    const waiting: WaitingMessages = {
      areSome: () => this.#outbox.destinationCount > 0,
      heard: (address) => this.#outbox.notify(address),
    };
    this.#layers = new LayerReconciler(
      environment,
      new FrameHandler(environment, this.#inbound, forwarding, waiting),
    );
  }

  /** Answers calls that a crash interrupted, opens the started layers and the outbox; then the companion is ready. */
  static async start(options: CompanionOptions): Promise<Companion> {
    const { drainMs = () => COMPANION_DRAIN_MS } = options;
    const companion = new Companion(await environmentOf(options), drainMs);
    const { over = new AbortController().signal } = options;
    const opening = companion.#open();
    opening.catch(() => undefined); // it may fail after the start was given up
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
    this.#moves = new MemberMoves(this.#environment, (move, now) => this.#memberMoved(move, now));
    await this.#moves.ready;
    const steps = [() => this.#execution.recover(), () => this.#layers.open(), () => this.#outbox.open()];
    for (const step of steps) if (this.#closing === undefined) await step();
    this.#recoverLater();
  }

  /** A member that comes from another shard brings its desired state and its outbound messages. */
  #memberMoved({ member, sockets, shard }: MemberMove, now: Entity | undefined): void {
    this.#outbox.memberMoved(member, sockets, now);
    if (shard !== this.#environment.shard.shard || this.#environment.members.get(member) === undefined) return;
    this.#layers.arrived(member);
    this.#outbox.memberCame();
  }

  /** Looks for calls that were interrupted in a push function, which has no start at which it could look itself. */
  #recoverLater(): void {
    const { clock, lookAgainMs, log } = this.#environment;
    if (lookAgainMs === undefined || this.#closing !== undefined) return;
    this.#cancelRecovery = clock.after(lookAgainMs, () => {
      this.#execution
        .recover({ late: true })
        .catch((error: unknown) => log.warn('interrupted calls not answered', { cause: error }))
        .finally(() => this.#recoverLater());
    });
  }

  /** Handles one RPC; its schema checks the arguments. */
  async handle<A extends RpcMethod>(
    memberPath: string,
    action: A,
    args: RpcArguments<A>,
    caller: RpcCaller,
  ): Promise<RpcResult<A>> {
    if (this.#closing !== undefined) throw new CmbsError('unavailable', 'The companion is stopping.');
    const run = this.#actions[action] as (
      path: string,
      given: RpcArguments<A>,
      caller: RpcCaller,
    ) => Promise<RpcResult<A>>;
    return run(memberPath, RPC_ARGUMENTS[action].parse(args) as RpcArguments<A>, caller);
  }

  readonly #actions: {
    readonly [A in RpcMethod]: (path: string, args: RpcArguments<A>, caller: RpcCaller) => Promise<RpcResult<A>>;
  } = {
    reconcile: (path, { layer }) => this.#layers.reconcile(path, this.#environment.layers.of(layer).name),
    release: async (path) => {
      await this.#layers.release(path);
      return {};
    },
    check_neighbors: async (path, _args, caller) => this.#discovery.check(await this.#localMember(path), caller),
    send: (_path, { sendId }, { signal }) => this.#outbox.attempt(sendId, signal),
    execute: async (path, { message, runId }, { principal, trace }) => {
      const caller = { principal, sender: this.#environment.uriOf(path), way: 'execute', trace } as const;
      return { outcome: await this.#execution.executeMessage(message, runId, caller) };
    },
  };

  async #localMember(path: string): Promise<Entity> {
    const member = await this.#environment.members.refresh(path);
    if (member?.kind !== MEMBER_KIND) throw new CmbsError('not_found', `There is no member at ${path}.`);
    if (!isLocal(member)) throw new CmbsError('conflict', `${path} is not a member of this deployment.`);
    return member;
  }

  /** For gauges. */
  get status(): CompanionStatus {
    return {
      inFlight: this.#outbox.inFlight,
      destinations: this.#outbox.destinationCount,
      failing: this.#layers.failing,
      open: this.#layers.openByLayer,
    };
  }

  /** Messages that wait to go out; the last known figures when the store does not answer. */
  outbox(): Promise<OutboxStatus> {
    return this.#outbox.status();
  }

  /** Takes no more calls, finishes the work in flight within its time, and closes every socket. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { members, clock, exchanges } = this.#environment;
    const deadline = new Promise<void>((resolve) => void clock.after(this.#drainMs(), resolve));
    this.#cancelRecovery();
    this.#moves?.close();
    // A step that fails must not stop the others: a part that stays open keeps its port, or the process.
    const sent = this.#ending('sends', Promise.race([this.#outbox.drain(), deadline]));
    await this.#ending('layers', Promise.race([this.#layers.close(), deadline]));
    await this.#ending('questions', Promise.race([this.#verification.close(), deadline]));
    await sent;
    await this.#ending('calls', this.#execution.close(deadline));
    // If a receipt cannot be written by then, its peer sends the message again, and it is recognised.
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

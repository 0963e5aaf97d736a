/**
 * A provider is the code behind a kind: it checks what the categories cannot say, knows which actions apply now, and
 * carries actions out. Kinds are bound to providers by name, also at run time (`PUT /-/`, Q11).
 *
 * To add one: implement {@link Provider}, put it into an {@link Extension}, list the extension where the program is
 * assembled.
 */
import type { Json } from '../json';
import type { Principal } from '../principal';
import type { Transaction } from '../store';
import type { Values } from './attributes';
import type { Category, CategoryId, Entity } from './model';
import type { Aliases } from './category-registry';

export interface ActionCall {
  readonly entity: Entity;
  readonly action: CategoryId;
  readonly attributes: Values;
  readonly principal: Principal;
  /** Milliseconds that the caller wants to wait for the outcome (`Prefer: wait`, RFC 7240 §4.3); 0: do not wait. */
  readonly waitMs: number;
  /** Makes a repeated call one call; kept 24 hours. */
  readonly idempotencyKey?: string;
  /** Aborts when the caller's deadline has passed. */
  readonly signal: AbortSignal;
  /** The trace that the call is part of (W3C Trace Context). */
  readonly trace?: string;
}

export type ActionOutcome =
  /** Answered with the entity as it is now: 200, or 202 when the outcome is not known yet. */
  | { readonly answer: 'entity'; readonly status: 200 | 202; readonly reason?: string }
  /** Answered with values of its own. */
  | { readonly answer: 'attributes'; readonly values: Values };

/** An entity as it is about to be written; `before` is absent at creation. */
export interface Change {
  readonly next: Entity;
  readonly before: Entity | undefined;
}

/** What the client wants besides the entities that a request creates, in words that a provider knows. */
export type Intent = Readonly<Record<string, Json>>;

/** The request that changes entities. */
export interface ChangeRequest {
  readonly principal: Principal;
  readonly intent?: Intent | undefined;
}

/** What a provider makes of the changes of one request. */
export interface Completion {
  /** The entities to write, in the order of the changes. */
  readonly entities: readonly Entity[];
  /** Writes that go with them. */
  readonly write?: () => void;
  /** One sentence each, for the client: what was written all the same and may not be what the client wants. */
  readonly notes?: readonly string[];
  /** Follows the commit and is waited for; what fails then changes nothing about what was written. */
  readonly afterwards?: (signal: AbortSignal | undefined) => Promise<void>;
}

export interface Provider {
  readonly name: string;
  /**
   * Checks and completes an entity that a client creates or changes. Runs inside a transaction that may run again:
   * no effects. `before` is absent at creation.
   */
  prepare?(next: Entity, before: Entity | undefined): Entity;
  /**
   * Inside the writing transaction, after {@link prepare}: completes the entities of one request with what only the
   * store can say. Reads only; the transaction may run again.
   */
  complete?(tx: Transaction, changes: readonly Change[], request: ChangeRequest): Promise<Completion>;
  /** Of the actions that the categories give, those that apply in the present state (#65). */
  applicable?(entity: Entity, actions: readonly CategoryId[]): readonly CategoryId[];
  act?(call: ActionCall): Promise<ActionOutcome>;
  /** Before the entity is deleted, outside the transaction: let go of what it holds. */
  releasing?(entity: Entity, signal: AbortSignal): Promise<void>;
  /** Inside the deleting transaction: reads what goes with the entity and returns the writes that remove it. */
  removing?(tx: Transaction, entity: Entity): Promise<() => void>;
}

/** A set of categories with the code behind them. */
export interface Extension {
  readonly name: string;
  readonly categories: readonly Category[];
  readonly providers: readonly Provider[];
  /** Kind to provider name, until a client binds it otherwise. */
  readonly bindings: Readonly<Record<CategoryId, string>>;
  readonly aliases?: Aliases;
  /** Ids whose definitions a client may POST again; they are merged (DESIGN decisions 2 and 16). */
  readonly mergeable?: readonly CategoryId[];
}

/** Accepts every action and changes nothing: for kinds that a client defined and somebody else acts for. */
export const dummyProvider: Provider = {
  name: 'dummy',
  act: async () => ({ answer: 'entity', status: 200 }),
};

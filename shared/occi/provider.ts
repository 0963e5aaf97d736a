/**
 * A provider is the code of a kind: it checks what definitions cannot express, knows which actions apply, and carries actions
 * out. Kinds are bound to providers by name, also at run time (`PUT /-/`; docs/occi.md, "Categories").
 *
 * To add a provider, implement {@link Provider}, put it into an {@link Extension}, and list the extension where the program
 * is assembled (docs/extending.md).
 */
import type { Json } from '../json';
import type { Principal } from '../principal';
import type { Transaction } from '../store';
import type { Values } from './attributes';
import type { Category, CategoryId, Entity, Path } from './model';
import type { Aliases } from './category-registry';

export interface ActionCall {
  readonly entity: Entity;
  readonly action: CategoryId;
  readonly attributes: Values;
  readonly principal: Principal;
  /** Milliseconds that the caller waits for the outcome (`Prefer: wait`, RFC 7240 §4.3); 0: the caller does not wait. */
  readonly waitMs: number;
  /** Calls with the same key count as one call, for 24 hours. */
  readonly idempotencyKey?: string;
  /** Aborts when the caller's deadline has passed. */
  readonly signal: AbortSignal;
  /** The trace of the call (W3C Trace Context). */
  readonly trace?: string;
}

export type ActionOutcome =
  /** The answer shows the entity: 200, or 202 if the outcome is not known yet. */
  | { readonly answer: 'entity'; readonly status: 200 | 202; readonly reason?: string }
  /** The answer shows values of the action. */
  | { readonly answer: 'attributes'; readonly values: Values };

/** An entity that is about to be written. `before` is undefined at creation. */
export interface Change {
  readonly next: Entity;
  readonly before: Entity | undefined;
}

/** What a client wants besides the entities that a request creates. The provider defines the members. */
export type Intent = Readonly<Record<string, Json>>;

/** The request that changes entities. */
export interface ChangeRequest {
  readonly principal: Principal;
  readonly intent?: Intent | undefined;
}

/** A provider's completion of the changes of one request. */
export interface Completion {
  /** The entities to write, in the order of the changes. */
  readonly entities: readonly Entity[];
  /** Writes that accompany them. */
  readonly write?: () => void;
  /** Texts that the answer to this request shows, and nothing shows later: secrets of new entities, by path. */
  readonly secrets?: Readonly<Record<Path, string>>;
  /** Remarks for the client, one sentence each, about entities that were written but may not be what the client wants. */
  readonly notes?: readonly string[];
  /** Runs after the commit, and the request waits for it. A failure does not undo the writes. */
  readonly afterwards?: (signal: AbortSignal | undefined) => Promise<void>;
}

export interface Provider {
  readonly name: string;
  /**
   * Checks and completes an entity that a client creates or changes. Runs inside a transaction that may run again, so it
   * must have no side effects. `before` is undefined at creation.
   */
  prepare?(next: Entity, before: Entity | undefined): Entity;
  /**
   * Completes the entities of one request with data from the store. Runs inside the writing transaction, after
   * {@link prepare}. Must only read, since the transaction may run again.
   */
  complete?(tx: Transaction, changes: readonly Change[], request: ChangeRequest): Promise<Completion>;
  /** Those of the actions of the categories that apply in the present state. */
  applicable?(entity: Entity, actions: readonly CategoryId[]): readonly CategoryId[];
  /** Carries out an action. */
  act?(call: ActionCall): Promise<ActionOutcome>;
  /** Releases what the entity holds, before the transaction that deletes the entity. */
  releasing?(entity: Entity, signal: AbortSignal): Promise<void>;
  /** Inside the deleting transaction: reads data of the entity, and returns the writes that remove the data. */
  removing?(tx: Transaction, entity: Entity): Promise<() => void>;
  /** Runs after the commit that deleted the entity. A failure does not undo the deletion. */
  removed?(entity: Entity): Promise<void>;
}

/** A set of categories with their providers. */
export interface Extension {
  readonly name: string;
  readonly categories: readonly Category[];
  readonly providers: readonly Provider[];
  /** Provider names by kind, until a client binds the kind to another provider. */
  readonly bindings: Readonly<Record<CategoryId, string>>;
  readonly aliases?: Aliases;
  /** Categories that clients may define again; the definitions are merged (docs/occi.md, "The original"). */
  readonly mergeable?: readonly CategoryId[];
}

/** Accepts every action and changes nothing: for kinds of clients that carry out the actions themselves. */
export const dummyProvider: Provider = {
  name: 'dummy',
  act: async () => ({ answer: 'entity', status: 200 }),
};

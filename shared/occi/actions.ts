/** Actions on one entity and on collections (GFD.223 §10.3.2, §11.3.3). */
import { CmbsError, type CmbsErrorOptions } from '../errors';
import type { JsonObject } from '../json';
import type { Authorize } from '../principal';
import { requireWanted } from '../waiting';
import { checkAttributes, type Values } from './attributes';
import type { Categories } from './categories/categories';
import type { CategorySnapshot } from './categories/snapshot';
import { resourceOf, type Precondition } from './entities/context';
import type { Entities } from './entities/entities';
import { applicableActions } from './entities/reading';
import { type AnsweredRequests, fingerprint, type IdempotentRequest } from './idempotency';
import type { ActionInput } from './drafts';
import {
  categoryId,
  splitCategoryId,
  termOf,
  type CategoryId,
  type Entity,
  type Kind,
  type Mixin,
  type Path,
} from './model';
import type { ActionCall, ActionOutcome } from './provider';
import type { CategoryRegistry } from './category-registry';

/** Simultaneous actions of one request on a collection. */
export const COLLECTION_ACTION_CONCURRENCY = 16;

/** A request for an action, without the entity that it addresses. */
export interface ActionRequest {
  /** The term in `?action=` or in the URL of the action's function. */
  readonly term: string;
  readonly input: ActionInput;
  readonly caller: Pick<ActionCall, 'principal' | 'waitMs' | 'idempotencyKey' | 'signal' | 'trace'>;
}

/** The outcome of an action, and the kind of the entity. */
export interface ActedOn {
  readonly outcome: ActionOutcome;
  readonly kind: CategoryId;
}

/** Characters of JSON; a longer answer is not stored under its `Idempotency-Key`. */
const MAX_STORED_ANSWER_CHARS = 64 * 1024;

/**
 * Runs an action once for its `Idempotency-Key`. A repeated request gets the stored answer; an outcome that is still open
 * is looked up again, and a large answer is not stored.
 */
export const actOnce = (
  answered: AnsweredRequests,
  request: IdempotentRequest | undefined,
  act: () => Promise<ActedOn>,
): Promise<ActedOn> =>
  answered.once(request, act, ({ outcome }) =>
    outcome.answer === 'entity'
      ? outcome.status === 200
      : JSON.stringify(outcome.values).length <= MAX_STORED_ANSWER_CHARS,
  );

export class Actions {
  readonly #categories: Categories;
  readonly #entities: Entities;
  readonly #authorize: Authorize;

  constructor(categories: Categories, entities: Entities, authorize: Authorize) {
    this.#categories = categories;
    this.#entities = entities;
    this.#authorize = authorize;
  }

  /**
   * Runs an action on an entity. The answer may show the entity, so the caller must be allowed to read it too.
   * @returns the outcome, and the kind of the entity
   * @throws CmbsError `not_found`, `forbidden`, `precondition_failed`, `bad_action`, `bad_attribute`, `conflict`, and
   *   what the provider throws
   */
  async actOn(path: Path, request: ActionRequest, expect: Precondition | undefined): Promise<ActedOn> {
    const snapshot = await this.#categories.current();
    const stored = await this.#entities.read(path, request.caller.principal);
    const { entity } = stored;
    const action = resolveFor(entity, request, snapshot);
    await this.#authorizeAction(entity, action, request);
    expect?.(stored);
    return { outcome: await act(entity, action, request, snapshot), kind: entity.kind };
  }

  /**
   * Refuses an action that the kind or mixin of a collection does not define. The collection of a mixin also offers the
   * actions that all its entities have in common, because mixins without actions serve to group entities.
   * @throws CmbsError `bad_action`
   */
  requireOffered(
    request: Pick<ActionRequest, 'term' | 'input'>,
    at: Kind | Mixin,
    members: readonly Entity[],
    registry: CategoryRegistry,
  ): void {
    const own =
      at.class === 'kind'
        ? registry.actionsOf(categoryId(at), [])
        : registry.withDependencies([categoryId(at)]).flatMap(({ actions }) => actions);
    const [first, ...others] = members.map(({ kind, mixins }) => registry.actionsOf(kind, mixins));
    const common = (first ?? []).filter((id) => others.every((offered) => offered.includes(id)));
    resolve(request, at.class === 'kind' ? own : [...new Set([...own, ...common])], registry);
  }

  /**
   * Runs an action on those entities to which it applies in their present state, if the caller may run it on all of them.
   * If the action fails for some entities, the error is the first one, and its details name the entities for which the
   * action succeeded and failed.
   * @returns paths of the entities on which the action ran
   * @throws CmbsError as {@link actOn}
   */
  async actOnAll(entities: readonly Entity[], request: ActionRequest): Promise<readonly Path[]> {
    const snapshot = await this.#categories.current();
    const applicable = entities
      .map((entity) => ({ entity, action: resolveFor(entity, request, snapshot) }))
      .filter(({ entity, action }) => applicableActions(entity, snapshot).includes(action));
    for (const { entity, action } of applicable) await this.#authorizeAction(entity, action, request);
    const succeeded: Path[] = [];
    const failed: { readonly path: Path; readonly error: unknown }[] = [];
    const waiting = [...applicable];
    const worker = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        // The caller would not learn of further actions. Actions under way continue.
        if (request.caller.signal.aborted) return;
        const { entity, action } = next;
        try {
          await act(entity, action, { ...request, caller: callerOn(entity, request.caller) }, snapshot);
          succeeded.push(entity.path);
        } catch (error) {
          failed.push({ path: entity.path, error });
        }
      }
    };
    await Promise.all(Array.from({ length: COLLECTION_ACTION_CONCURRENCY }, worker));
    requireWanted(request.caller.signal);
    const first = failed[0];
    if (first === undefined) return succeeded;
    if (!(first.error instanceof CmbsError)) throw first.error;
    const details: JsonObject = {
      succeeded,
      failed: failed.map(({ path, error }) => ({
        path,
        message: error instanceof CmbsError ? error.message : 'The server failed; its log has the cause.',
      })),
    };
    const options: CmbsErrorOptions = { cause: first.error, details, headers: first.error.headers };
    throw new CmbsError(
      first.error.code,
      `The action failed for ${failed.length} of ${applicable.length} entities; the first: ${first.error.message}`,
      options,
    );
  }

  #authorizeAction(entity: Entity, action: CategoryId, { caller }: ActionRequest): Promise<void> {
    return this.#authorize(caller.principal, 'action.invoke', { ...resourceOf(entity), action });
  }
}

/** The calls on the entities differ, so each gets a key derived from the key of the request. */
function callerOn(
  { path }: Entity,
  { idempotencyKey, ...caller }: ActionRequest['caller'],
): ActionRequest['caller'] {
  return idempotencyKey === undefined ? caller : { ...caller, idempotencyKey: fingerprint(idempotencyKey, path) };
}

const resolveFor = (
  { kind, mixins }: Entity,
  request: ActionRequest,
  { registry }: CategorySnapshot,
): CategoryId => resolve(request, registry.actionsOf(kind, mixins), registry);

/**
 * The offered action that the term and the body name.
 * @throws CmbsError `bad_action`
 */
function resolve(
  { term, input }: Pick<ActionRequest, 'term' | 'input'>,
  offered: readonly CategoryId[],
  registry: CategoryRegistry,
): CategoryId {
  const id = offered.find((candidate) => {
    const split = splitCategoryId(candidate);
    if (split === undefined) return false;
    return split.term === term || registry.canonicalId(split.scheme + term) === candidate;
  });
  if (id === undefined) {
    const terms = offered.map(termOf).join(', ');
    const adding = registry.all.flatMap((category) =>
      category.class === 'mixin' && category.actions.some((action) => termOf(action) === term)
        ? [categoryId(category)]
        : [],
    );
    const more = adding.length === 0 ? '' : ` The mixin ${adding.slice(0, 3).join(' or ')} adds it.`;
    throw new CmbsError(
      'bad_action',
      `There is no action ${JSON.stringify(term.slice(0, 100))} here; the actions here are: ${terms || 'none'}.${more}`,
    );
  }
  if (input.id !== undefined && input.id !== id) {
    throw new CmbsError(
      'bad_action',
      `The URL names the action ${id}, but the body names ${input.id}; name one action.`,
    );
  }
  return id;
}

async function act(
  entity: Entity,
  action: CategoryId,
  { input, caller }: ActionRequest,
  snapshot: CategorySnapshot,
): Promise<ActionOutcome> {
  const { registry } = snapshot;
  const specs = registry.action(action)?.attributes ?? {};
  const attributes: Values = checkAttributes(input.values, specs, { partial: false });
  if (!applicableActions(entity, snapshot).includes(action)) {
    throw new CmbsError(
      'conflict',
      `${action} does not apply to ${entity.path} in its present state; GET shows the actions that do.`,
    );
  }
  const provider = snapshot.providerOf(entity.kind);
  if (provider?.act === undefined) {
    throw new CmbsError(
      'not_implemented',
      `No provider is bound to ${entity.kind} to carry out its actions; bind one with PUT /-/.`,
    );
  }
  return provider.act({ entity, action, attributes, ...caller });
}

/** Actions on one entity and on collections (#62 to #64). */
import { CmbsError, type CmbsErrorOptions } from '../errors';
import type { JsonObject } from '../json';
import { requireWanted } from '../waiting';
import { checkAttributes, type Values } from './attributes';
import type { CategorySnapshot, Categories } from './categories';
import { applicableActions, type Entities, type Precondition } from './entities';
import { fingerprint } from './idempotency';
import type { ActionInput } from './interpret';
import {
  categoryId,
  splitCategoryId,
  type CategoryId,
  type Entity,
  type Kind,
  type Mixin,
  type Path,
} from './model';
import type { ActionCall, ActionOutcome } from './provider';
import type { CategoryRegistry } from './registry';

/** Actions of one request on a collection that run at the same time. */
export const COLLECTION_ACTION_CONCURRENCY = 16;

/** How an action was asked for, without the entity. */
export interface ActionRequest {
  /** From `?action=` or the function's own URL. */
  readonly term: string;
  readonly input: ActionInput;
  readonly caller: Pick<ActionCall, 'principal' | 'waitMs' | 'idempotencyKey' | 'signal' | 'trace'>;
}

export class Actions {
  private readonly categories: Categories;
  private readonly entities: Entities;

  constructor(categories: Categories, entities: Entities) {
    this.categories = categories;
    this.entities = entities;
  }

  /** `kind`: of the entity acted on. */
  async actOn(
    path: Path,
    request: ActionRequest,
    expect: Precondition | undefined,
  ): Promise<{ readonly outcome: ActionOutcome; readonly kind: CategoryId }> {
    const snapshot = await this.categories.current();
    const stored = await this.entities.read(path);
    expect?.(stored);
    return { outcome: await act(stored.entity, request, snapshot), kind: stored.entity.kind };
  }

  /**
   * Refuses (`bad_action`) an action that the kind or mixin of a collection does not define (#64). In a mixin's
   * collection one that all members have is offered as well: a mixin without actions groups entities.
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
   * Runs an action on every entity given that it applies to now; those in another state are passed over. When one
   * fails the answer is its refusal, with what succeeded and what failed in the details.
   */
  async actOnAll(entities: readonly Entity[], request: ActionRequest): Promise<readonly Path[]> {
    const snapshot = await this.categories.current();
    const willing = entities.filter((entity) => {
      const id = resolve(request, snapshot.registry.actionsOf(entity.kind, entity.mixins), snapshot.registry);
      return applicableActions(entity, snapshot).includes(id);
    });
    const succeeded: Path[] = [];
    const failed: { readonly path: Path; readonly error: unknown }[] = [];
    const waiting = [...willing];
    const worker = async (): Promise<void> => {
      for (let entity = waiting.shift(); entity !== undefined; entity = waiting.shift()) {
        // Nobody hears of what would be done now; what is under way ends as it does for one entity.
        if (request.caller.signal.aborted) return;
        try {
          await act(entity, { ...request, caller: callerOn(entity, request.caller) }, snapshot);
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
        message: error instanceof CmbsError ? error.message : 'The server failed; the cause is in its log.',
      })),
    };
    const options: CmbsErrorOptions = { cause: first.error, details, headers: first.error.headers };
    throw new CmbsError(
      first.error.code,
      `The action failed for ${failed.length} of ${willing.length} entities; the first: ${first.error.message}`,
      options,
    );
  }
}

/** A key on a collection is one key for each entity: they are asked different things under it. */
function callerOn(
  { path }: Entity,
  { idempotencyKey, ...caller }: ActionRequest['caller'],
): ActionRequest['caller'] {
  return idempotencyKey === undefined ? caller : { ...caller, idempotencyKey: fingerprint(idempotencyKey, path) };
}

/** The action that a term, and perhaps the body, name among those that the entity has (#63). */
export function resolve(
  { term, input }: Pick<ActionRequest, 'term' | 'input'>,
  offered: readonly CategoryId[],
  registry: CategoryRegistry,
): CategoryId {
  const id = offered.find((one) => {
    const split = splitCategoryId(one);
    if (split === undefined) return false;
    return split.term === term || registry.canonicalId(split.scheme + term) === one;
  });
  if (id === undefined) {
    const terms = offered.map((one) => splitCategoryId(one)?.term ?? one).join(', ');
    const adding = registry.all.flatMap((one) =>
      one.class === 'mixin' && one.actions.some((action) => splitCategoryId(action)?.term === term)
        ? [categoryId(one)]
        : [],
    );
    const more = adding.length === 0 ? '' : ` The mixin ${adding.slice(0, 3).join(' or ')} adds it.`;
    throw new CmbsError(
      'bad_action',
      `There is no action ${JSON.stringify(term.slice(0, 100))} here; offered are: ${terms || 'none'}.${more}`,
    );
  }
  if (input.id !== undefined && input.id !== id) {
    throw new CmbsError('bad_action', `The URL asks for ${id}, the body for ${input.id}.`);
  }
  return id;
}

async function act(entity: Entity, request: ActionRequest, snapshot: CategorySnapshot): Promise<ActionOutcome> {
  const { registry } = snapshot;
  const id = resolve(request, registry.actionsOf(entity.kind, entity.mixins), registry);
  const values: Values = checkAttributes(request.input.values, registry.action(id)?.attributes ?? {}, {
    partial: false,
  });
  if (!applicableActions(entity, snapshot).includes(id)) {
    throw new CmbsError('conflict', `${id} does not apply to ${entity.path} in its present state.`);
  }
  const provider = snapshot.providerOf(entity.kind);
  if (provider?.act === undefined) {
    throw new CmbsError(
      'not_implemented',
      `No provider is bound to ${entity.kind}, so nothing carries out its actions.`,
    );
  }
  return provider.act({ entity, action: id, attributes: values, ...request.caller });
}

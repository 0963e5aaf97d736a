/** The effects of definitions, updates and removals on categories and entities, and the changes that are refused. */
import { badRequest, CmbsError } from '../../errors';
import type { CategoryDocument } from './snapshot';
import {
  categoryId,
  ENTITY_KIND,
  RESOURCE_KIND,
  type AttributeSpecs,
  type Category,
  type CategoryId,
  type Entity,
} from '../model';
import type { CategoryInput } from '../payload';
import type { CategoryRegistry } from '../category-registry';

/** Kinds from a kind up to the root of the core, both included. Every entity of the kind costs a look at each of them. */
export const MAX_KIND_DEPTH = 16;

/**
 * The kinds and mixins that name a removed action, without the action.
 * @param going categories that are removed
 * @throws CmbsError `conflict` if other categories are derived from a removed one or depend on it
 */
export function detached(
  registry: CategoryRegistry,
  going: ReadonlyMap<CategoryId, CategoryDocument | undefined>,
): readonly (readonly [CategoryId, Category])[] {
  const found: (readonly [CategoryId, Category])[] = [];
  const dependents = new Map<CategoryId, readonly CategoryId[]>();
  for (const category of registry.all) {
    const id = categoryId(category);
    if (category.class === 'action' || going.has(id)) continue;
    if (category.class === 'kind' && category.parent !== undefined && going.has(category.parent)) {
      throw new CmbsError('conflict', `${category.parent} is the parent of ${id}; delete ${id} first.`);
    }
    const needed = category.class === 'mixin' ? category.depends.filter((one) => going.get(one)?.removing) : [];
    for (const one of needed) dependents.set(one, [...(dependents.get(one) ?? []), id]);
    const actions = category.actions.filter((action) => !going.has(action));
    if (actions.length < category.actions.length && category.origin === 'runtime') {
      found.push([id, { ...category, actions }]);
    }
  }
  for (const [needed, ids] of dependents) {
    throw new CmbsError('conflict', `${ids.join(' and ')} depend on ${needed}; delete or change them first.`);
  }
  return found;
}

/**
 * The class of a category in a request.
 * @throws CmbsError `bad_request` if neither the request nor the registry shows the class
 */
export function classOf(input: CategoryInput, registry: CategoryRegistry): Category['class'] {
  const known = input.class ?? registry.find(categoryId(input))?.class ?? input.likelyClass;
  if (known === undefined) throw badRequest(`${categoryId(input)} has no class; write kind, mixin or action.`);
  return known;
}

/** @throws CmbsError `bad_request` if the request gives a known category another class */
export function refuseOtherClass(category: Category, input: CategoryInput): void {
  if (input.class === undefined || input.class === category.class) return;
  throw badRequest(
    `${categoryId(category)} is of class ${category.class}, not ${input.class}; correct the class.`,
  );
}

/**
 * Refuses a definition with the id of another category: the same id with another class or location.
 * @throws CmbsError `conflict`
 */
export function refuseOtherShape(existing: Category, given: Category): void {
  const id = categoryId(existing);
  if (existing.class !== given.class) {
    throw new CmbsError(
      'conflict',
      `${id} is of class ${existing.class}, which cannot change; choose another id.`,
    );
  }
  if (existing.class !== 'action' && given.class !== 'action' && existing.location !== given.location) {
    const location = existing.location ?? 'none';
    throw new CmbsError('conflict', `${id} has the location ${location}, which cannot change; send that one.`);
  }
}

/** What `given` adds to `existing`. Added attributes are optional, so that clients without them can continue. */
export function additions(existing: Category, given: Category): Category {
  const attributes = Object.fromEntries(
    Object.entries(given.attributes)
      .filter(([name]) => !Object.hasOwn(existing.attributes, name))
      .map(([name, spec]) => [name, { ...spec, required: false }]),
  );
  if (given.class === 'action' || existing.class === 'action') return { ...given, attributes };
  return { ...given, attributes, actions: given.actions.filter((id) => !existing.actions.includes(id)) };
}

/** Whether {@link additions} are empty. */
export function addsNothing(category: Category): boolean {
  return (
    Object.keys(category.attributes).length === 0 && (category.class === 'action' || category.actions.length === 0)
  );
}

/** The category after an update, which changes the keys that the client gave. */
export function changedBy(existing: Category, given: Category, { given: keys, dialect }: CategoryInput): Category {
  const attributes = dialect === 'text' ? inFlags(existing.attributes, given.attributes) : given.attributes;
  const base = {
    ...existing,
    ...(given.title !== undefined ? { title: given.title } : {}),
    ...(keys.includes('attributes') ? { attributes } : {}),
  };
  if (base.class === 'action' || given.class === 'action') return base;
  const acting = { ...base, ...(keys.includes('actions') ? { actions: given.actions } : {}) };
  if (acting.class === 'mixin' && given.class === 'mixin') {
    return {
      ...acting,
      ...(keys.includes('depends') || keys.includes('related') || keys.includes('rel')
        ? { depends: given.depends }
        : {}),
      ...(keys.includes('applies') ? { applies: given.applies } : {}),
    };
  }
  return acting;
}

/** A definition in text has only two flags of an attribute, so the rest of the attribute stays. */
function inFlags(existing: AttributeSpecs, given: AttributeSpecs): AttributeSpecs {
  return Object.fromEntries(
    Object.entries(given).map(([name, spec]) => {
      const known = Object.hasOwn(existing, name) ? existing[name] : undefined;
      const { required, mutable } = spec;
      return [name, known === undefined ? spec : { ...known, required, mutable }];
    }),
  );
}

/**
 * Checks the categories that a category names.
 * @throws CmbsError `unknown_category`, `bad_request`, `too_large`
 */
export function checkReferences(category: Category, registry: CategoryRegistry): void {
  const id = categoryId(category);
  if (category.class === 'action') return;
  for (const action of category.actions) {
    if (registry.action(action) === undefined) {
      throw new CmbsError(
        'unknown_category',
        `${id} names the action ${action}, which does not exist; define it too.`,
      );
    }
  }
  if (category.class === 'kind' && category.parent !== undefined) {
    if (registry.kind(category.parent) === undefined) {
      throw new CmbsError(
        'unknown_category',
        `${id} has the parent ${category.parent}, which does not exist; define it too.`,
      );
    }
    const ancestors = registry.ancestors(id);
    if (category.parent === id || !ancestors.includes(ENTITY_KIND)) {
      throw badRequest(`${id} does not descend from a kind of the core; make ${RESOURCE_KIND} its parent.`);
    }
    if (ancestors.length > MAX_KIND_DEPTH) {
      throw new CmbsError(
        'too_large',
        `A kind has ${MAX_KIND_DEPTH} ancestors at most; name a parent nearer to the core.`,
      );
    }
  }
}

/** The entity without a mixin and without the attributes that only the mixin declared. */
export function without(entity: Entity, mixin: CategoryId, registry: CategoryRegistry): Entity {
  const mixins = entity.mixins.filter((id) => id !== mixin);
  const specs = registry.specs(entity.kind, mixins);
  const declared = ([name]: readonly [string, unknown]): boolean => Object.hasOwn(specs, name);
  return {
    ...entity,
    mixins,
    attributes: Object.fromEntries(Object.entries(entity.attributes).filter(declared)),
    rawJson: Object.fromEntries(Object.entries(entity.rawJson).filter(declared)),
  };
}

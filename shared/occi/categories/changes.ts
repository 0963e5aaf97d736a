/** What a change of categories comes to: what an update leaves, what a definition adds, and what is refused. */
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

/** Kinds from one to the root of the core, both included: each is looked at for every entity. */
export const MAX_KIND_DEPTH = 16;

/** Kinds and mixins that name an action that goes, without it; refuses when what goes is what others are made of. */
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
      throw new CmbsError('conflict', `${category.parent} is the parent of ${id}; delete that first.`);
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

export function classOf(input: CategoryInput, registry: CategoryRegistry): Category['class'] {
  const known = input.class ?? registry.find(categoryId(input))?.class ?? input.likelyClass;
  if (known === undefined) throw badRequest(`${categoryId(input)} needs a class: kind, mixin or action.`);
  return known;
}

/** Same id, other class or location: a collision, not a second definition (#21). */
export function refuseOtherShape(existing: Category, given: Category): void {
  const id = categoryId(existing);
  if (existing.class !== given.class) throw new CmbsError('conflict', `${id} is of class ${existing.class}.`);
  if (existing.class !== 'action' && given.class !== 'action' && existing.location !== given.location) {
    throw new CmbsError('conflict', `${id} has the location ${existing.location ?? 'none'}, which cannot change.`);
  }
}

/** What `given` has beyond `existing`. Nothing of it is required: who does not know of the addition goes on as before. */
export function additions(existing: Category, given: Category): Category {
  const attributes = Object.fromEntries(
    Object.entries(given.attributes)
      .filter(([name]) => !Object.hasOwn(existing.attributes, name))
      .map(([name, spec]) => [name, { ...spec, required: false }]),
  );
  if (given.class === 'action' || existing.class === 'action') return { ...given, attributes };
  return { ...given, attributes, actions: given.actions.filter((id) => !existing.actions.includes(id)) };
}

export function addsNothing(category: Category): boolean {
  return (
    Object.keys(category.attributes).length === 0 && (category.class === 'action' || category.actions.length === 0)
  );
}

/** An update changes what the client gave and leaves the rest. */
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

/** Text says no more of an attribute than two flags, so the rest stays. */
function inFlags(existing: AttributeSpecs, given: AttributeSpecs): AttributeSpecs {
  return Object.fromEntries(
    Object.entries(given).map(([name, spec]) => {
      const known = Object.hasOwn(existing, name) ? existing[name] : undefined;
      const { required, mutable } = spec;
      return [name, known === undefined ? spec : { ...known, required, mutable }];
    }),
  );
}

export function checkReferences(category: Category, registry: CategoryRegistry): void {
  const id = categoryId(category);
  if (category.class === 'action') return;
  for (const action of category.actions) {
    if (registry.action(action) === undefined) {
      throw new CmbsError('unknown_category', `${id} names the action ${action}, which is not defined.`);
    }
  }
  if (category.class === 'kind' && category.parent !== undefined) {
    if (registry.kind(category.parent) === undefined) {
      throw new CmbsError('unknown_category', `${id} has the parent ${category.parent}, which is not defined.`);
    }
    const ancestors = registry.ancestors(id);
    if (category.parent === id || !ancestors.includes(ENTITY_KIND)) {
      throw badRequest(`${id} does not descend from ${RESOURCE_KIND} or another kind of the core.`);
    }
    if (ancestors.length > MAX_KIND_DEPTH) {
      throw new CmbsError('too_large', `A kind has ${MAX_KIND_DEPTH} ancestors at most; name a nearer parent.`);
    }
  }
}

/** The entity without a mixin, and without the attributes that only the mixin declared. */
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

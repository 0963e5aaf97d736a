/** Chooses the dialect of a media type that has several: that in which the category was defined (docs/occi.md). */
import {
  type CategoryId,
  type CategoryRegistry,
  dialectOf,
  type Kind,
  type Mixin,
  type Rendering,
} from '@cmbs/shared/occi';

/** The rendering for entities of a category. @param category undefined for entities of several categories */
export function inDialectOf(rendering: Rendering, category: Kind | Mixin | undefined): Rendering {
  return category === undefined ? rendering : (rendering.inDialect?.(dialectOf(category)) ?? rendering);
}

/** The rendering for a list of entities with these kinds. */
export function inDialectOfKinds(
  rendering: Rendering,
  kinds: readonly (CategoryId | undefined)[],
  registry: CategoryRegistry,
): Rendering {
  const [kind, ...others] = new Set(kinds);
  return kind === undefined || others.length > 0 ? rendering : inDialectOf(rendering, registry.kind(kind));
}

/** Under a media type that leaves the dialect open, what an answer is about decides (DESIGN decision 1). */
import { dialectOf } from '@cmbs/shared/occi/dialect';
import type { CategoryId, Kind, Mixin } from '@cmbs/shared/occi/model';
import type { Registry } from '@cmbs/shared/occi/registry';
import type { Rendering } from '@cmbs/shared/occi/rendering';

/** The rendering for a category's entities; undefined stands for entities of several categories. */
export function inDialectOf(rendering: Rendering, category: Kind | Mixin | undefined): Rendering {
  return category === undefined ? rendering : (rendering.inDialect?.(dialectOf(category)) ?? rendering);
}

/** The rendering for a list of entities of these kinds. */
export function inDialectOfKinds(
  rendering: Rendering,
  kinds: readonly (CategoryId | undefined)[],
  registry: Registry,
): Rendering {
  const [kind, ...others] = new Set(kinds);
  return kind === undefined || others.length > 0 ? rendering : inDialectOf(rendering, registry.kind(kind));
}

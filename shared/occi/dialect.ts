/** In which dialect a category and its entities are shown under `application/occi+json` (DESIGN decision 1). */
import type { Dialect, Kind, Mixin } from './model';

/** The dialect in which the category was defined. */
export function dialectOf(category: Kind | Mixin): Dialect {
  if (category.dialect !== undefined) return category.dialect;
  if (category.origin !== 'runtime') return 'gfd226';
  // Version 1.0 did not store the dialect. It shows in the attributes; where there are none, 1.0 showed the nested one.
  return Object.values(category.attributes).every(({ lenient }) => lenient) ? 'nested' : 'gfd226';
}

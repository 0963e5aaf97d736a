/** The dialect in which `application/occi+json` shows a category and its entities (docs/occi.md, "Renderings"). */
import type { Dialect, Kind, Mixin } from '../model';

/** The dialect in which the category was defined. */
export function dialectOf(category: Kind | Mixin): Dialect {
  if (category.dialect !== undefined) return category.dialect;
  if (category.origin !== 'runtime') return 'gfd226';
  // Release 1.0 stored no dialect. The attributes reveal it; without attributes, release 1.0 showed the nested dialect.
  return Object.values(category.attributes).every(({ lenient }) => lenient) ? 'nested' : 'gfd226';
}

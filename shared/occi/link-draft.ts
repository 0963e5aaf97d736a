/** Reads a link that is named inside its source (#51), in any rendering. */
import { CmbsError } from '../errors';
import type { Json } from '../json';
import { leaves, requireExact, type Values } from './attributes';
import { CORE_ID, CORE_SOURCE, CORE_TARGET, DERIVED_NAMES, LINK_KIND, type CategoryId } from './model';
import type { LinkInput } from './payload';
import type { CategoryRegistry } from './category-registry';
import { valueFromText } from './renderings/text/quoted-json';

export interface LinkDraft {
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
  /** Flat names, without the id and the ends. */
  readonly values: Values;
}

/** @throws CmbsError `unknown_category` when the categories of the link have no kind of link */
export function linkDraft(link: LinkInput, registry: CategoryRegistry): LinkDraft {
  const known = link.categories.map((id) => registry.canonicalId(id));
  const kind = kindOf(link, known, registry);
  const mixins = known.filter((id) => registry.mixin(id) !== undefined);
  const specs = registry.specs(kind, mixins);
  const isDeclared = (name: string): boolean => Object.hasOwn(specs, registry.canonicalAttribute(name));
  const values: Record<string, Json> = {};
  for (const leaf of leaves(link.attributes, isDeclared)) {
    const name = registry.canonicalAttribute(leaf.name);
    if (name === CORE_ID || name === CORE_SOURCE || name === CORE_TARGET || DERIVED_NAMES.has(name)) continue;
    const token = link.tokens?.get(leaf.name);
    const spec = specs[name];
    if (token !== undefined && spec?.type === 'string') values[name] = token;
    else {
      const value = link.tokens === undefined ? leaf.value : valueFromText(leaf.value, spec);
      const source = (): string | undefined => token ?? link.sourceText?.(leaf.keys);
      requireExact(name, value, () => (typeof leaf.value === 'string' ? leaf.value : source()));
      values[name] = value;
    }
  }
  return { kind, mixins, values };
}

/** GFD.229 §3.6: `category` may be left out. `rel` then names the kind of the target, or in older clients of the link. */
function kindOf(
  { categories, rel, target }: LinkInput,
  known: readonly CategoryId[],
  registry: CategoryRegistry,
): CategoryId {
  const isLinkKind = (id: CategoryId): boolean => registry.kind(id) !== undefined && registry.isLink(id);
  const kind = known.find(isLinkKind);
  if (kind !== undefined) return kind;
  if (categories.length > 0) {
    throw new CmbsError('unknown_category', `A link to ${target} names no kind of link that is known here.`);
  }
  const related = (rel ?? []).map((id) => registry.canonicalId(id)).find(isLinkKind);
  return related ?? LINK_KIND;
}

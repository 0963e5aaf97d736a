/** Interprets a link inside its source as a draft (GFD.185 §3.4.5). */
import { CmbsError } from '../errors';
import type { Json } from '../json';
import { exactValue, leaves } from './attribute-input';
import type { Values } from './attributes';
import type { CategoryRegistry } from './category-registry';
import { CORE_ID, CORE_SOURCE, CORE_TARGET, DERIVED_NAMES, LINK_KIND, type CategoryId } from './model';
import type { LinkInput } from './payload';

export interface LinkDraft {
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
  /** Values by flat name, without the id and the ends. */
  readonly values: Values;
}

/** @throws CmbsError `unknown_category` if the link names categories but no kind of link; `bad_attribute` */
export function linkDraft(link: LinkInput, registry: CategoryRegistry): LinkDraft {
  const known = link.categories.map((id) => registry.canonicalId(id));
  const kind = kindOf(link, known, registry);
  const mixins = known.filter((id) => registry.mixin(id) !== undefined);
  const specs = registry.specs(kind, mixins);
  const isDeclared = (name: string): boolean => Object.hasOwn(specs, registry.canonicalAttribute(name));
  const values: Record<string, Json> = {};
  for (const { name: written, value, keys } of leaves(link.attributes, isDeclared)) {
    const name = registry.canonicalAttribute(written);
    if (name === CORE_ID || name === CORE_SOURCE || name === CORE_TARGET || DERIVED_NAMES.has(name)) continue;
    const token = link.tokens?.get(written);
    const spec = specs[name];
    const source = (): string | undefined => token ?? link.sourceText?.(keys);
    values[name] =
      token !== undefined && spec?.type === 'string'
        ? token
        : exactValue(name, value, { isText: link.tokens !== undefined, spec, source });
  }
  return { kind, mixins, values };
}

/**
 * The kind of the link. A client may leave out `category` (GFD.229 §3.6): then `rel` names the kind of the target, or in
 * older clients the kind of the link.
 */
function kindOf(
  { categories, rel, target }: LinkInput,
  known: readonly CategoryId[],
  registry: CategoryRegistry,
): CategoryId {
  const isLinkKind = (id: CategoryId): boolean => registry.kind(id) !== undefined && registry.isLink(id);
  const kind = known.find(isLinkKind);
  if (kind !== undefined) return kind;
  if (categories.length > 0) {
    throw new CmbsError(
      'unknown_category',
      `The categories of the link to ${target} include no known kind of link; GET /-/ lists all kinds.`,
    );
  }
  const related = (rel ?? []).map((id) => registry.canonicalId(id)).find(isLinkKind);
  return related ?? LINK_KIND;
}

/** Which members a reference means: an id, a path, a URI or a title (docs/layers.md, "Sending"). */
import { hostNames } from '../authority';
import { CORE_TITLE, ENTITIES, type Entity, splitLocation } from '../occi';
import type { Store } from '../store';
import { isLocal, memberPath } from './member';
import { isUnverified, provenanceOf } from './provenance';

/** URI of a path of this deployment, from its public base. */
export type UriOf = (path: string) => string;

/** Whether two URIs are the same apart from their scheme, which a proxy may have changed. */
function isSameUri(one: string, other: string): boolean {
  const [first, second] = [splitLocation(one), splitLocation(other)];
  if (first?.authority === undefined || second?.authority === undefined) return false;
  return first.path === second.path && hostNames(first.authority).includes(second.authority);
}

/** Whether a URI belongs to this deployment: it has the authority of the public base and is below its path. */
function isOwnUri(uri: string, uriOf: UriOf): boolean {
  const [location, own] = [splitLocation(uri), splitLocation(uriOf('/'))];
  if (location?.authority === undefined) return true;
  return own?.authority === location.authority && location.path.startsWith(own.path);
}

/**
 * Whether a URI is the member's. A member of another deployment has a URI under another authority; where that URI is not
 * recorded, the path decides.
 */
function isUriOf(member: Entity, uri: string, uriOf: UriOf): boolean {
  if (isSameUri(uri, uriOf(member.path))) return true;
  if (isLocal(member) || isOwnUri(uri, uriOf)) return false;
  const recorded = provenanceOf(member)?.uri;
  return recorded === undefined ? uri.endsWith(member.path) : isSameUri(uri, recorded);
}

/** Whether a reference is this member's id, path or URI. */
export function isIdentified(member: Entity, reference: string, uriOf: UriOf): boolean {
  const { id, path } = member;
  return (
    reference === id || reference === path || (reference.includes('://') && isUriOf(member, reference, uriOf))
  );
}

/** Whether a reference (id, URI, path or title) may mean this member. */
export function isNamed(member: Entity, reference: string, uriOf: UriOf): boolean {
  return isIdentified(member, reference, uriOf) || reference === member.attributes[CORE_TITLE];
}

/**
 * The members that a reference means: the member with that id, path or URI, otherwise the members with that title.
 * Unverified members count only if all members with the title are unverified. Callers refuse a reference that means
 * several members ({@link SEVERAL_NAMED}).
 */
export function membersNamed(members: readonly Entity[], reference: string, uriOf: UriOf): readonly Entity[] {
  const named = members.filter((member) => isNamed(member, reference, uriOf));
  if (named.length < 2) return named;
  const exact = named.filter((member) => isIdentified(member, reference, uriOf));
  if (exact.length > 0) return exact;
  const known = named.filter((member) => !isUnverified(member));
  return known.length > 0 ? known : named;
}

export const SEVERAL_NAMED = 'several members have this title; name one by its id or path';

/**
 * Whether a message that lists providers means the member, or lists none. A title does not mean the member where another
 * member has that text as its id.
 */
export async function isListed(
  store: Pick<Store, 'getAll'>,
  member: Entity,
  providers: readonly string[],
  uriOf: UriOf,
): Promise<boolean> {
  if (providers.length === 0 || providers.some((one) => isIdentified(member, one, uriOf))) return true;
  for (const title of providers.filter((one) => isNamed(member, one, uriOf))) {
    const path = title.startsWith('/') ? title : memberPath(title);
    const [other] = await store.getAll(ENTITIES, [path]);
    if (other === undefined) return true;
  }
  return false;
}

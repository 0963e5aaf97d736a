/** The local member that acts for a request (docs/layers.md, "Sending"). */
import { CmbsError } from '../errors';
import type { Entity } from '../occi';
import type { MemberLookup } from './member-lookup';

/**
 * The named local member, or the only one. Members of which the caller may not know count as absent.
 * @throws CmbsError `bad_attribute` where the name means no local member or several; `bad_request` where there is no
 * name and there are several local members; `conflict` where there is none
 */
export async function actingMember(
  lookup: Pick<MemberLookup, 'localNamed' | 'twoLocal'>,
  from: string | undefined,
  mayKnow: (member: Entity) => Promise<boolean>,
): Promise<Entity> {
  if (from !== undefined) {
    const named: Entity[] = [];
    for (const member of await lookup.localNamed(from)) if (await mayKnow(member)) named.push(member);
    if (named.length === 1) return named[0] as Entity;
    throw new CmbsError(
      'bad_attribute',
      named.length === 0
        ? `"from" names no local member: ${JSON.stringify(from)}. Name the sending member by its id or path.`
        : `"from" names several local members: ${JSON.stringify(from)}. Name one by its id or path.`,
    );
  }
  const [only, ...others] = await lookup.twoLocal();
  if (only !== undefined && others.length === 0 && (await mayKnow(only))) return only;
  if (others.length === 0)
    throw new CmbsError('conflict', 'There is no local member here that could send; create one.');
  throw new CmbsError(
    'bad_request',
    'There are several local members here; say which one acts with the attribute "from".',
  );
}

/** The local member that acts for a request (docs/layers.md, "Sending"). */
import { CmbsError } from '../errors';
import type { Entity } from '../occi';
import type { ActingFor } from './authorization';
import type { MemberLookup } from './member-lookup';

/**
 * The named local member, or the only one of the caller, or the only one. Members of which the caller may not know count as absent.
 * @throws CmbsError `bad_attribute` where the name means no local member or several; `bad_request` where there is no
 * name and there are several local members; `conflict` where there is none
 */
export async function actingMember(
  lookup: Pick<MemberLookup, 'localNamed' | 'twoLocal'>,
  from: string | undefined,
  { mayKnow, owner }: ActingFor,
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
  const own = owner === undefined ? [] : await lookup.twoLocal(owner);
  const found = own.length > 0 ? own : await lookup.twoLocal();
  const known: Entity[] = [];
  for (const member of found) if (await mayKnow(member)) known.push(member);
  const [only] = known;
  if (only !== undefined && found.length === 1) return only;
  // The same whether there is no member, or only members that the caller may not know of.
  if (only === undefined) {
    throw new CmbsError(
      'conflict',
      'You have no local member here that could send; create one, or name one with the attribute "from".',
    );
  }
  throw new CmbsError(
    'bad_request',
    'There are several local members here; name the sender: "from" of message.send or of an action, or &from= after ?send.',
  );
}

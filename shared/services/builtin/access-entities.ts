/** What the modules of the access kinds share. */
import { CmbsError } from '../../errors';
import type { ExactJson } from '../../exact-json';
import { type ExactObject, isSegment, type JsonListOptions } from '../../occi';
import type { EntityAccess, PortPrincipal } from './ports';

/** Entities that one answer lists. */
const MAX_LISTED = 1000;
/** Pages that are read for them: a page may have few entities of the caller, or few because they are large. */
const MAX_PAGES = 200;

/**
 * What an answer shows of each entity of a collection.
 * @throws CmbsError `too_large` for more than {@link MAX_LISTED}
 */
export async function listAll<T>(
  { entities, caller }: { readonly entities: EntityAccess; readonly caller: PortPrincipal },
  collection: string,
  shown: (entity: ExactObject) => T,
  options: Omit<JsonListOptions, 'number' | 'cursor'> = {},
): Promise<readonly T[]> {
  const found: T[] = [];
  let cursor: string | undefined;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page = await entities.list(caller, collection, {
      ...options,
      number: MAX_LISTED,
      ...(cursor === undefined ? {} : { cursor }),
    });
    found.push(...page.entities.map(shown));
    cursor = page.next;
    if (found.length > MAX_LISTED) break;
    if (cursor === undefined) return found;
  }
  throw new CmbsError('too_large', `There are more than ${MAX_LISTED}; list ${collection} page by page.`);
}

/** An attribute of an entity. */
export const attributeOf = ({ attributes }: ExactObject, name: string): ExactJson | undefined =>
  Object.entries(attributes ?? {}).find(([key]) => key === name)?.[1] as ExactJson | undefined;

/** The members that are there: a struct has no member without a value. */
export const present = (members: Readonly<Record<string, ExactJson | undefined>>): ExactObject =>
  Object.fromEntries(
    Object.entries(members).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );

/** @throws CmbsError `not_found` for a text that is no name: a path would lead elsewhere */
export function pathIn(collection: string, name: string): string {
  if (isSegment(name)) return collection + name;
  throw new CmbsError('not_found', `There is nothing in ${collection} with that name.`);
}

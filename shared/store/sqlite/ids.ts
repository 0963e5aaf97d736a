/** Looks up many documents with one statement: for each of a thousand half the time of a statement of its own. */

/** Ids from which on one statement for all is faster. */
export const TOGETHER_FROM = 4;
/** Ids of one statement, so that their list stays small. */
const IDS_TOGETHER = 512;

/** The FROM and WHERE of a look-up; its parameters are those of {@link idLists}, with the collection. */
export const WITH_IDS =
  'FROM json_each(?) j CROSS JOIN document d INDEXED BY document_id ON d.collection = ? AND d.id = j.value';

/** The ids in lists of bounded size, as JSON. */
export function* idLists(ids: readonly string[]): IterableIterator<string> {
  for (let at = 0; at < ids.length; at += IDS_TOGETHER) yield JSON.stringify(ids.slice(at, at + IDS_TOGETHER));
}

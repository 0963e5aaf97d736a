/** A collection is asked for without the slash at its end: the client is sent there (RFC 9110 §15.4.9). */
import { isCollectionPath } from '@cmbs/shared/occi';
import type { App } from '../app';
import type { OcciRequest, OcciResponse } from '../request';
import { answer } from '../respond';

/** Collections that no category has. */
const UNCATEGORIZED = /^\/(?:-|\.well-known\/org\/ogf\/occi\/-|cmbs\/member\/[^/]+\/inbox)$/;

/**
 * Methods that are sent on. A PUT creates an entity at just this path; a DELETE that was meant for one entity must not
 * empty a collection.
 */
const SENT_ON = new Set(['GET', 'HEAD', 'POST']);

/** The redirect to the collection that is meant; undefined where an entity is, or may be, meant. */
export async function toCollection(request: OcciRequest, app: App): Promise<OcciResponse | undefined> {
  const { path, method, query, base } = request;
  if (isCollectionPath(path) || !SENT_ON.has(method)) return undefined;
  const { registry } = await app.categories.current();
  if (!UNCATEGORIZED.test(path)) {
    if (registry.at(`${path}/`) === undefined) return undefined;
    if ((await app.entities.find(path)) !== undefined) return undefined;
  }
  const pairs = new URLSearchParams(query.map(([name, value]): [string, string] => [name, value]));
  const asked = query.length === 0 ? '' : `?${pairs.toString()}`;
  // An entity may come to this path later.
  return answer(308, undefined, { Location: `${base}${encodeURI(path)}/${asked}`, 'Cache-Control': 'no-store' });
}

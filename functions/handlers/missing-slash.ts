/** Redirects a client that asks for a collection without the slash at the end (RFC 9110 §15.4.9). */
import { isCollectionPath } from '@cmbs/shared/occi';
import type { App } from '../app';
import type { OcciRequest, OcciResponse } from '../request';
import { answer } from '../respond';

/** Collections that belong to no category. */
const UNCATEGORIZED = /^\/(?:-|\.well-known\/org\/ogf\/occi\/-|cmbs\/member\/[^/]+\/inbox)$/;

/**
 * The methods that are redirected. A PUT creates an entity at the path itself, and a DELETE of one entity must not empty a
 * collection.
 */
const REDIRECTED = new Set(['GET', 'HEAD', 'POST']);

/** The redirect to the collection; undefined when the request may mean an entity. */
export async function toCollection(request: OcciRequest, app: App): Promise<OcciResponse | undefined> {
  const { path, method, query, base } = request;
  if (isCollectionPath(path) || !REDIRECTED.has(method)) return undefined;
  const { registry } = await app.categories.current();
  if (!UNCATEGORIZED.test(path)) {
    if (registry.at(`${path}/`) === undefined) return undefined;
    if ((await app.entities.find(path)) !== undefined) return undefined;
  }
  const pairs = new URLSearchParams(query.map(([name, value]): [string, string] => [name, value]));
  const asked = query.length === 0 ? '' : `?${pairs.toString()}`;
  // An entity may be created at this path later.
  return answer(308, undefined, { Location: `${base}${encodeURI(path)}/${asked}`, 'Cache-Control': 'no-store' });
}

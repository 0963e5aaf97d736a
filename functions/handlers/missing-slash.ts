/** Redirects a client that asks for a collection without the slash at the end (RFC 9110 §15.4.9). */
import { type ErrorCode, toCmbsError } from '@cmbs/shared';
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

/** Refusals of a caller who may not know whether there is an entity. */
const HIDES: ReadonlySet<ErrorCode> = new Set(['not_found', 'forbidden', 'unauthenticated']);

/** Whether there is an entity that the caller may read. */
async function showsEntity({ path, principal }: OcciRequest, app: App): Promise<boolean> {
  try {
    await app.entities.read(path, principal);
    return true;
  } catch (thrown) {
    if (HIDES.has(toCmbsError(thrown).code)) return false;
    throw thrown;
  }
}

/**
 * The redirect to the collection; undefined when the request may mean an entity.
 * @throws CmbsError `forbidden` for a caller who may not list the collection
 */
export async function toCollection(request: OcciRequest, app: App): Promise<OcciResponse | undefined> {
  const { path, method, query, base, principal } = request;
  if (isCollectionPath(path) || !REDIRECTED.has(method)) return undefined;
  const { registry } = await app.categories.current();
  if (!UNCATEGORIZED.test(path)) {
    if (registry.at(`${path}/`) === undefined) return undefined;
    if (await showsEntity(request, app)) return undefined;
  }
  await app.entities.authorizePath(`${path}/`, principal);
  const pairs = new URLSearchParams(query.map(([name, value]): [string, string] => [name, value]));
  const asked = query.length === 0 ? '' : `?${pairs.toString()}`;
  // An entity may be created at this path later.
  return answer(308, undefined, { Location: `${base}${encodeURI(path)}/${asked}`, 'Cache-Control': 'no-store' });
}

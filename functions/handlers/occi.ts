/**
 * The OCCI requests that no other function takes. A path with a slash at the end is a collection, other paths are
 * entities (docs/occi.md).
 */
import { CmbsError } from '@cmbs/shared';
import { isCollectionPath } from '@cmbs/shared/occi';
import type { App } from '../app';
import { queryValue, type OcciRequest, type OcciResponse } from '../request';
import { answer } from '../respond';
import { action } from './action';
import { collection, collectionMethods } from './collection';
import { entity, ENTITY_METHODS } from './entity';
import { toCollection } from './missing-slash';

export async function occi(request: OcciRequest, app: App): Promise<OcciResponse> {
  const path = request.path;
  if (request.method === 'OPTIONS') {
    const { registry } = await app.categories.current();
    await app.entities.authorizePath(path, request.principal);
    const methods = isCollectionPath(path) ? collectionMethods(path, registry) : ENTITY_METHODS;
    return answer(204, undefined, { Allow: methods.join(', ') });
  }
  if (!path.startsWith('/')) throw new CmbsError('not_found', 'There is nothing at this path.');
  const asked = queryValue(request, 'action');
  const redirect = await toCollection(request, app);
  if (redirect !== undefined) return redirect;
  if (asked !== undefined) return action(request, app);
  return isCollectionPath(path) ? collection(request, app) : entity(request, app);
}

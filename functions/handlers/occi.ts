/** Every OCCI request that no narrower function takes: the trailing slash decides collection or entity (occi.md §1.1). */
import { CmbsError } from '@cmbs/shared';
import { isCollectionPath } from '@cmbs/shared/occi/paths';
import type { App } from '../app';
import { decodedPath } from '../occi-context';
import { queryValue, type OcciRequest, type OcciResponse } from '../request';
import { answer } from '../respond';
import { action } from './action';
import { collection, collectionMethods } from './collection';
import { entity, ENTITY_METHODS } from './entity';

/** Paths of functions of their own, which end with a slash: they got here since theirs is missing. */
const WITHOUT_SLASH = /^(?:\/-|\/cmbs\/member\/[^/]+\/inbox)$/;

export async function occi(request: OcciRequest, app: App): Promise<OcciResponse> {
  const path = decodedPath(request);
  if (request.method === 'OPTIONS') {
    const { registry } = await app.categories.current();
    const methods = isCollectionPath(path) ? collectionMethods(path, registry) : ENTITY_METHODS;
    return answer(204, undefined, { Allow: methods.join(', ') });
  }
  if (queryValue(request, 'action') !== undefined) return action(request, app);
  if (!path.startsWith('/')) throw new CmbsError('not_found', 'There is nothing at this path.');
  if (WITHOUT_SLASH.test(path)) {
    throw new CmbsError('not_found', `There is nothing at ${path}; ask for ${path}/, with a slash at the end.`);
  }
  return isCollectionPath(path) ? collection(request, app) : entity(request, app);
}

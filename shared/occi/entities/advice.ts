/** Refusals that hide whether there is an entity, with the advice that callers get where there is none. */
import { CmbsError } from '../../errors';
import type { Authorize } from '../../principal';
import { collectionAdvice, nothingAt, type EntityContext } from './context';
import { collectionResource, isLocation } from './listing';

/**
 * Decides as before. A refusal with `not_found` names the collection of a category whose slash is missing, to a caller who
 * may list the collection; the sentence depends on the path alone, so it does not tell whether there is an entity.
 */
export function withAdvice({ authorize, categories }: Pick<EntityContext, 'authorize' | 'categories'>): Authorize {
  return async (principal, operation, resource) => {
    try {
      await authorize(principal, operation, resource);
    } catch (refusal) {
      if (!(refusal instanceof CmbsError) || refusal.code !== 'not_found') throw refusal;
      const { registry } = await categories.current();
      const collection = `${resource.path}/`;
      if (!isLocation(collection, registry)) throw refusal;
      try {
        await authorize(principal, 'entity.list', collectionResource(collection, registry));
      } catch {
        throw refusal;
      }
      throw nothingAt(resource.path, collectionAdvice(resource.path));
    }
  };
}

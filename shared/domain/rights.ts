/** The port `Rights`: what callers may do, and which rules count for a target. */
import { chainsOf, checkTarget } from '../access';
import { isAllowed, MEMBER_KIND } from '../broker';
import { type Categories, collectionResource, type Entities, isCollectionPath, type Path } from '../occi';
import type { Authorize, Operation, Resource } from '../principal';
import type { PortPrincipal, Rights } from '../services/builtin';

export interface RightsOptions {
  readonly entities: Pick<Entities, 'find'>;
  readonly categories: Pick<Categories, 'current'>;
  readonly authorize: Authorize;
}

export function rightsOf({ entities, categories, authorize }: RightsOptions): Rights {
  /** The resource at a path as the decision about an operation sees one. */
  const resourceAt = async (path: Path, operation: Operation, { principal }: PortPrincipal): Promise<Resource> => {
    const stored = isCollectionPath(path) ? undefined : (await entities.find(path))?.entity;
    if (stored !== undefined) {
      const { kind, mixins, owner } = stored;
      return { path, kind, mixins, owner };
    }
    const isNew = operation === 'entity.create';
    // Without the entity the question is about the path alone, except where the caller asks for a new entity.
    if (!isCollectionPath(path) && !isNew) return { path };
    const { registry } = await categories.current();
    const collection = path.slice(0, path.lastIndexOf('/') + 1);
    return { ...collectionResource(collection, registry), path, ...(isNew ? { owner: principal.name } : {}) };
  };

  const resourceOf = async (
    target: string,
    operation: Operation,
    caller: PortPrincipal,
    callers?: Resource['callers'],
  ): Promise<Resource> => {
    checkTarget(target);
    const colon = target.indexOf(':');
    const rest = target.slice(colon + 1);
    switch (target.slice(0, colon)) {
      case 'topic':
        return { path: target };
      case 'method':
        return { path: `service:${rest}`, ...(callers === undefined ? {} : { callers }) };
      case 'category':
        return { path: rest };
      default:
        return resourceAt(rest, operation, caller);
    }
  };

  return {
    may: async (caller, operation, target, callers) => {
      const resource = await resourceOf(target, operation, caller, callers);
      return isAllowed(authorize(caller.principal, operation, resource));
    },
    levels: async (caller, target) => {
      const resource = await resourceOf(target, 'entity.read', caller);
      // What the categories of an entity are is for callers only who may read it.
      const mayKnow =
        resource.kind === undefined || (await isAllowed(authorize(caller.principal, 'entity.read', resource)));
      const { path, kind } = resource;
      const isMember = kind === MEMBER_KIND || target.startsWith('member:');
      return [...new Set(chainsOf(mayKnow ? resource : { path }, isMember).flat(2))];
    },
  };
}

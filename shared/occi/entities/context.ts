/** The dependencies of the parts of `Entities`, and what they know of a caller. */
import type { Clock, NewId } from '../../clock';
import { CmbsError } from '../../errors';
import type { Authorize, Operation, Principal, Resource } from '../../principal';
import type { Store } from '../../store';
import type { Categories } from '../categories/categories';
import type { StoredEntity } from '../entity-store';
import type { Entity, Path } from '../model';
import type { Cursors } from './cursors';
import type { Visibility } from './visibility';
import { splitLocation, type Location } from '../paths';

export interface EntityContext {
  readonly store: Store;
  readonly categories: Categories;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly authorize: Authorize;
  /** Which entities callers see; everybody sees everything when absent. */
  readonly visibility?: Visibility;
  /** The form of cursors for callers; {@link READABLE_CURSORS} when absent. */
  readonly cursors?: Cursors;
  /** Entities that one step of a bulk deletion deletes; {@link MAX_BATCH_ENTITIES} when absent. */
  readonly deletionStep?: number;
  /** Entities that one page reads for a filter that the index cannot answer; {@link MAX_FILTER_SCAN} when absent. */
  readonly filterScan?: number;
}

/** The caller of an operation, and the locations that belong to this deployment. */
export interface Requester {
  readonly principal: Principal;
  /** The path of a location of this deployment; undefined for other locations. */
  readonly pathHere: (location: Location) => Path | undefined;
  /** Aborts when the caller no longer waits for the answer. */
  readonly signal?: AbortSignal;
}

/**
 * Checks that the stored entity (undefined: absent) is in the state that the caller expects.
 * @throws CmbsError `precondition_failed`
 */
export type Precondition = (current: StoredEntity | undefined) => void;

/** Remarks for the client about a request that succeeded: one sentence each. */
export interface Noted {
  readonly notes: readonly string[];
  /** Secrets of new entities, by path, which only the answer to this request shows. */
  readonly secrets?: Readonly<Record<Path, string>>;
}

/** Present when a change gave an entity another owner, so that the client may not see the entity any more. */
export interface HandedOver {
  readonly isHandedOver?: true;
}

/** What a change of an entity tells the client. */
export interface Written extends Noted, HandedOver {}

/** An entity as access rules see one. */
export const resourceOf = ({ path, kind, mixins, owner }: Entity): Resource => ({ path, kind, mixins, owner });

/**
 * Asks whether the principal may do the operation on each entity.
 * @throws CmbsError `forbidden` or `not_found`, for the first entity that is refused
 */
export async function authorizeEach(
  authorize: Authorize,
  principal: Principal,
  operation: Operation,
  entities: Iterable<Entity>,
): Promise<void> {
  for (const entity of entities) await authorize(principal, operation, resourceOf(entity));
}

/** The path of a location that a client wrote; undefined for a location of another deployment. */
export function localPath(location: string, requester: Pick<Requester, 'pathHere'>): Path | undefined {
  const split = splitLocation(location);
  return split === undefined ? undefined : requester.pathHere(split);
}

/** @param advice a sentence, with a space in front */
export const nothingAt = (path: Path, advice = ''): CmbsError =>
  new CmbsError('not_found', `There is nothing at ${path}.${advice}`);

/** For {@link nothingAt}, where a collection has the path with a slash. */
export const collectionAdvice = (path: Path): string => ` The collection is at ${path}/, with a slash at the end.`;

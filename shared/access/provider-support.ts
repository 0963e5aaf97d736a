/** What the providers of users, groups, tokens and rules share. */
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import type { CategoryId, Entity } from '../occi';
import { type Principal, SYSTEM } from '../principal';
import type { Store } from '../store';
import type { ScryptRuns } from './identities';
import { LOCATIONS, OWNED_MIXIN } from './names';

/** What the providers need of the access model. */
export interface AccessProviders {
  readonly store: Pick<Store, 'count'>;
  readonly clock: Clock;
  /** Whether everything is allowed to everybody, so that rules may be written by everybody too. */
  readonly isOpen: boolean;
  /** Names of users who are administrators by configuration. */
  readonly administrators: readonly string[];
  readonly scryptRuns: ScryptRuns;
  readonly isAdministrator: (principal: Principal) => Promise<boolean>;
  /** Called after a change, so that it counts at once in this process. */
  readonly changed: () => void;
}

/** Work after the commit of a change. */
export type Changed = () => Promise<void>;

export const refuse = (message: string): CmbsError => new CmbsError('bad_attribute', message);

/** @throws CmbsError `bad_attribute` for an entity that would be handed over; `conflict` for an entity of an access kind elsewhere, or of a kind below it, which would give no rights */
export function checkPlace({ path, id, kind, mixins }: Entity, own: CategoryId): void {
  if (mixins.includes(OWNED_MIXIN)) throw refuse(`An entity of ${own} cannot be handed over.`);
  if (kind === own && path === `${LOCATIONS[own] ?? ''}${id}`) return;
  throw new CmbsError(
    'conflict',
    `Entities of ${own} are at ${LOCATIONS[own] ?? ''}<name> only; choose that path.`,
  );
}

/**
 * An entity that belongs to the deployment: what an administrator made as such must not remain in the hands of somebody
 * who is no administrator any more. What was made while everything was open belongs to nobody already.
 */
export const ofDeployment = (entity: Entity, isOpen: boolean): Entity =>
  isOpen ? entity : { ...entity, owner: SYSTEM.name };

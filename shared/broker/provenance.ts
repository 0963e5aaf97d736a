/**
 * How a remote member became known, and which later descriptions may change it.
 *
 * Peers do not prove their identity. So the first description of a member is kept, and a later description is accepted
 * only from an address of the member that is known already. A description that a client wrote over HTTP is changed by
 * clients only.
 */
import { isJsonObject, type JsonObject } from '../json';
import type { Entity } from '../occi';
import { MEMBER } from './cmbs';
import type { Description } from './description';
import { DISCOVERY_LAYER, type Layers } from './layer-definition';
import { describedAttributes, isLocal, socketOf } from './member';
import type { Transfer } from './wire';

export type Origin = NonNullable<Transfer['origin']>;

/** Kept with a member that peers described. */
export interface Provenance {
  /** Whether the description came in the reply to a request of this deployment. */
  readonly isVerified: boolean;
  /** The deployment that described the member, if the description names it. */
  readonly deployment?: string;
  /** Milliseconds since the epoch of the change that the description shows, by the clock there. */
  readonly revision?: number;
  /** The member's own URI, if the description gives it. */
  readonly uri?: string | undefined;
  /** The address at which the member first answered, if the description does not name that address. */
  readonly reachedAt?: string;
}

/** How a description reached this deployment. */
export interface Evidence {
  /** The address that this deployment asked; absent for a description that came unasked. */
  readonly asked?: string;
  /** No peer answers for the member at its recorded address. */
  readonly isRecordGone?: boolean;
}

/** For members that earlier releases registered: those did not record how. */
const UNKNOWN: Provenance = { isVerified: false };
/** Owner of members that discovery registered. */
export const DISCOVERY_OWNER = 'discovery';

/** Undefined for a member that a client created or changed. */
export function provenanceOf({ internal, owner }: Entity): Provenance | undefined {
  if (internal === undefined) return owner === DISCOVERY_OWNER ? UNKNOWN : undefined;
  return isJsonObject(internal.learnt) ? (internal.learnt as unknown as Provenance) : undefined;
}

/** {@link Entity.internal} of a registered member; the key is that of release 1.0. */
export const withProvenance = (provenance: Provenance): JsonObject => ({
  learnt: provenance as unknown as JsonObject,
});

/** A remote member that peers described and that has never answered this deployment. */
export function isUnverified(member: Entity): boolean {
  return !isLocal(member) && provenanceOf(member)?.isVerified === false;
}

export type Verdict =
  /** The description says nothing new, or nothing that counts. */
  | 'nothing'
  | 'take'
  /** The member itself has to confirm the description, at its recorded address. */
  | 'ask'
  /** As `ask`; if no peer answers there, this description replaces the stored one. */
  | 'contested'
  /** The description contradicts the stored one. */
  | 'conflict';

/** Decides about a description of a remote member that is known already. */
export function judge(
  known: Entity,
  described: Description,
  origin: Origin | undefined,
  { asked, isRecordGone = false }: Evidence,
  layers: Layers,
): Verdict {
  const provenance = provenanceOf(known);
  const isSame = textOf(known.attributes, layers) === textOf(described.attributes, layers);
  if (provenance === undefined) {
    const address = described.attributes[MEMBER.socket(DISCOVERY_LAYER)];
    return isSame || socketOf(known, DISCOVERY_LAYER) === address ? 'nothing' : 'conflict';
  }
  if (asked === undefined) return isSame ? 'nothing' : 'ask';
  const { isVerified, deployment, revision = -Infinity, uri, reachedAt } = provenance;
  if (asked === reachedAt || hasSocket(known.attributes, asked, layers)) {
    if (!isVerified) return 'take';
    // The deployment may have a new public base.
    const isMoved = origin?.uri !== undefined && origin.uri !== uri && origin.deployment === deployment;
    if (isSame) return isMoved ? 'take' : 'nothing';
    if (deployment !== undefined && deployment !== origin?.deployment) return 'conflict';
    return origin !== undefined && origin.revision <= revision ? 'nothing' : 'take';
  }
  if (isSame) return 'nothing';
  if (isVerified || !hasSocket(described.attributes, asked, layers)) return 'conflict';
  return isRecordGone ? 'take' : 'contested';
}

type Attributes = Entity['attributes'];

/** The description, as one text. */
const textOf = (attributes: Attributes, layers: Layers): string =>
  JSON.stringify(describedAttributes(layers).map((name) => attributes[name] ?? null));

const hasSocket = (attributes: Attributes, address: string, { names }: Layers): boolean =>
  names.some((layer) => attributes[MEMBER.socket(layer)] === address);

/**
 * How a remote member came to be known, and what a description of the member may change because of that.
 *
 * Nobody proves who they are here. So the first description of a member is kept, and a later one is taken only from the
 * address under which the member is known already. What a client wrote over HTTP is changed by clients only.
 */
import { isJsonObject, type JsonObject } from '../json';
import type { Entity } from '../occi';
import { MEMBER } from './cmbs';
import { LAYERS } from './layers';
import { DESCRIBED, isLocal, socketOf, type Description } from './member';
import type { Transfer } from './wire';

export type Origin = NonNullable<Transfer['origin']>;

/** What is kept of a member that others described. */
export interface Provenance {
  /** Whether the description came in the answer to a request of ours. */
  readonly isVerified: boolean;
  /** The deployment that described the member, where the description named one. */
  readonly deployment?: string;
  /** Milliseconds since the epoch of the change that the description shows, by the clock there. */
  readonly revision?: number;
  /** The member's own URI, where the description gave it. */
  readonly uri?: string | undefined;
  /** The address at which the member answered first, where the description names others only. */
  readonly reachedAt?: string;
}

/** How a description reached this deployment. */
export interface Evidence {
  /** The address that this deployment had asked; absent when somebody told it unasked. */
  readonly asked?: string;
  /** Nobody answers for the member at its recorded address. */
  readonly isRecordGone?: boolean;
}

/** Kept with members that earlier releases learnt: they kept nothing of how. */
const UNKNOWN: Provenance = { isVerified: false };
/** The owner of members that others described first. */
export const DISCOVERY_OWNER = 'discovery';

/** Undefined for a member that clients made, or changed since. */
export function provenanceOf({ internal, owner }: Entity): Provenance | undefined {
  if (internal === undefined) return owner === DISCOVERY_OWNER ? UNKNOWN : undefined;
  return isJsonObject(internal.learnt) ? (internal.learnt as unknown as Provenance) : undefined;
}

/** For {@link Entity.internal}. */
export const learnt = (provenance: Provenance): JsonObject => ({ learnt: provenance as unknown as JsonObject });

/** A remote member that was only told of, and never answered this deployment. */
export function isStranger(member: Entity): boolean {
  return !isLocal(member) && provenanceOf(member)?.isVerified === false;
}

export type Verdict =
  /** It says nothing new, or nothing that counts. */
  | 'nothing'
  | 'take'
  /** Only the member itself can tell, at its recorded address. */
  | 'ask'
  /** As `ask`; but when nobody answers there, this description is as good as the one that is kept. */
  | 'contested'
  /** It contradicts what is kept. */
  | 'conflict';

/** What a description of a known remote member is worth. */
export function judge(
  known: Entity,
  described: Description,
  origin: Origin | undefined,
  { asked, isRecordGone = false }: Evidence,
): Verdict {
  const provenance = provenanceOf(known);
  const isSame = textOf(known.attributes) === textOf(described.attributes);
  if (provenance === undefined) {
    return isSame || socketOf(known, 'l1') === described.attributes[MEMBER.socket('l1')] ? 'nothing' : 'conflict';
  }
  if (asked === undefined) return isSame ? 'nothing' : 'ask';
  const { isVerified, deployment, revision = -Infinity, uri, reachedAt } = provenance;
  if (asked === reachedAt || hasSocket(known.attributes, asked)) {
    if (!isVerified) return 'take';
    // A deployment may have another public base since.
    const isMoved = origin?.uri !== undefined && origin.uri !== uri && origin.deployment === deployment;
    if (isSame) return isMoved ? 'take' : 'nothing';
    if (deployment !== undefined && deployment !== origin?.deployment) return 'conflict';
    return origin !== undefined && origin.revision <= revision ? 'nothing' : 'take';
  }
  if (isSame) return 'nothing';
  if (isVerified || !hasSocket(described.attributes, asked)) return 'conflict';
  return isRecordGone ? 'take' : 'contested';
}

type Attributes = Entity['attributes'];

/** What a description says, in one text. */
const textOf = (attributes: Attributes): string =>
  JSON.stringify(DESCRIBED.map((name) => attributes[name] ?? null));

const hasSocket = (attributes: Attributes, address: string): boolean =>
  LAYERS.some((layer) => attributes[MEMBER.socket(layer)] === address);

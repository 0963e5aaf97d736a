/** Entities of the members that peers describe. */
import { deleteEntity, ENTITIES, type Entity, type Path, readEntity, TARGET_FIELD } from '../occi';
import type { Principal } from '../principal';
import type { Transaction } from '../store';
import { MEMBER_KIND } from './cmbs';
import type { Description } from './description';
import type { Layers } from './layer-definition';
import { memberPath, socketOf } from './member';
import { originSchema } from './message-rules';
import {
  DISCOVERY_OWNER,
  isUnverified,
  provenanceOf,
  type Evidence,
  type Origin,
  withProvenance,
} from './provenance';
import { isAwaited } from './queue-room';

/** Collection of earlier releases: the deployment that last described a member. */
const ORIGINS = 'member-origins';

/** A description of a remote member, who brought it, and where it came from. */
export interface DescriptionWithSource {
  readonly description: Description;
  readonly origin: Origin | undefined;
  readonly evidence: Evidence;
  readonly principal: Principal;
}

/**
 * Reads the origin that a peer claims; undefined for anything else. A revision is the time of a change. A revision in the
 * future counts as now, so that the next true revision is later.
 */
export function parseOrigin(claimed: unknown, now: number): Origin | undefined {
  const origin = originSchema.safeParse(claimed).data;
  if (origin === undefined) return undefined;
  const { deployment, revision, uri } = origin;
  return { deployment, revision: Math.min(revision, now), ...(uri === undefined ? {} : { uri }) };
}

/** The entity of a described member. */
export function remoteMember(
  { description: { id, attributes }, origin, evidence: { asked }, principal }: DescriptionWithSource,
  { before, layers, now }: { readonly before: Entity | undefined; readonly layers: Layers; readonly now: number },
): Entity {
  const earlier = before === undefined ? undefined : provenanceOf(before);
  const isNamed = layers.names.some((layer) => asked === socketOf({ attributes }, layer));
  const createdBy = before === undefined ? principal : before.createdBy;
  const reachedAt = before === undefined && !isNamed ? asked : earlier?.reachedAt;
  return {
    path: memberPath(id),
    id,
    kind: MEMBER_KIND,
    mixins: before?.mixins ?? [],
    attributes,
    rawJson: {},
    owner: before?.owner ?? DISCOVERY_OWNER,
    ...(createdBy === undefined ? {} : { createdBy }),
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
    isLinked: before === undefined ? false : (before.isLinked ?? true),
    internal: withProvenance({
      isVerified: asked !== undefined,
      ...origin,
      ...(reachedAt === undefined ? {} : { reachedAt }),
    }),
  };
}

/** Deletes what an earlier release stored about a member's origin. */
export const deleteOldOrigin = (tx: Transaction, path: Path): void => tx.delete(ORIGINS, path);

/** Reads an unverified member; the result deletes it. Undefined for a member that is in use or has answered since. */
export async function removalOf(tx: Transaction, path: Path, layers: Layers): Promise<(() => void) | undefined> {
  const member = (await readEntity(tx, path))?.entity;
  if (member === undefined) return () => undefined;
  if (member.kind !== MEMBER_KIND || !isUnverified(member) || member.isLinked !== false) return undefined;
  const links = await tx.query({ collection: ENTITIES, where: [{ field: TARGET_FIELD, value: path }], limit: 1 });
  if (links.docs.length > 0) return undefined;
  const addresses = layers.names.flatMap((layer) => socketOf(member, layer) ?? []);
  if (await isAwaited(tx, addresses)) return undefined;
  return () => {
    deleteEntity(tx, member);
    deleteOldOrigin(tx, path);
  };
}

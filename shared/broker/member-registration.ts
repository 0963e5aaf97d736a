/**
 * Registers the members that peers describe (docs/wire.md), and updates known ones ({@link judge}). Unverified members,
 * which never answered this deployment, share a limit: at the limit the least recently used are removed.
 */
import { MAX_RECEIVERS } from './limits';
import {
  type CategoryRegistry,
  deleteEntity,
  ENTITIES,
  type Entity,
  type Path,
  readEntity,
  TARGET_FIELD,
  writeEntity,
} from '../occi';
import { toCmbsError } from '../errors';
import { ANONYMOUS, type Principal } from '../principal';
import type { Transaction } from '../store';
import { resourceOf } from './authorization';
import { MEMBER_KIND } from './cmbs';
import { registryOf, type BrokerContext } from './context';
import type { Layers } from './layer-definition';
import { descriptionChars, parseDescription, type Description } from './description';
import { isLocal, memberPath, socketOf } from './member';
import { originSchema } from './message-rules';
import {
  DISCOVERY_OWNER,
  isUnverified,
  judge,
  provenanceOf,
  type Evidence,
  type Origin,
  withProvenance,
} from './provenance';
import { isAwaited } from './queue-room';

/** Unverified members: half of what one message may reach, so that there is room for members that answer. */
const MAX_UNVERIFIED = 500;
/** Characters of their descriptions: an honest description has less than a thousand. */
const MAX_UNVERIFIED_CHARS = 2 * 1024 * 1024;

/** Collection of earlier releases: the deployment that last described a member. */
const ORIGINS = 'member-origins';

/** The members in memory. */
export interface KnownMembers {
  get(path: Path): Entity | undefined;
  /** How many there are. */
  size(): number;
  /** Members that never answered this deployment. */
  unverified(): Iterable<UnverifiedMember>;
  /** Reads the member again. */
  refresh(path: Path): Promise<unknown>;
}

export interface UnverifiedMember {
  readonly path: Path;
  /** Characters of the description. */
  readonly chars: number;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export interface RegistrationContext extends BrokerContext {
  readonly members: KnownMembers;
  /** Whether members that peers describe are stored (`CMBS_DISCOVERY`). */
  readonly discovery: 'open' | 'closed';
}

export interface RegistrationLimits {
  /** Most unverified members, and characters of their descriptions. */
  readonly unverified: number;
  readonly unverifiedChars: number;
  /** Members of all kinds beyond which no member is registered. */
  readonly members: number;
}

const LIMITS: RegistrationLimits = {
  unverified: MAX_UNVERIFIED,
  unverifiedChars: MAX_UNVERIFIED_CHARS,
  members: MAX_RECEIVERS,
};

export interface RegistrationResult {
  readonly outcome: 'stored' | 'known' | 'refused' | 'too large' | 'no description';
  /** Path of the member that the description names. */
  readonly member?: Path;
  /** The stored description differs and was kept ({@link Verdict}). */
  readonly doubt?: 'ask' | 'contested' | 'conflict';
}

/** A transaction found that members which it was to remove are in use. */
interface InUse {
  readonly inUse: readonly Path[];
}

/** Attempts at finding members that can be removed, before the new member is refused. */
const REMOVAL_ATTEMPTS = 4;
/** Milliseconds for which a member that is in use is not tried again. */
const IN_USE_MS = 60_000;

export class MemberRegistration {
  readonly #context: RegistrationContext;
  readonly #limits: RegistrationLimits;
  /** Members that are being stored. */
  readonly #arriving = { unverified: 0, chars: 0, members: 0 };
  /** Unverified members that are being removed. */
  readonly #leaving = new Set<Path>();
  /** Milliseconds since the epoch at which an unverified member was last described, or until which it is in use. */
  readonly #usedAt = new Map<Path, number>();

  constructor(context: RegistrationContext, limits: RegistrationLimits = LIMITS) {
    this.#context = context;
    this.#limits = limits;
  }

  /**
   * Registers or updates the member that a description names.
   * @param value the description, unchecked
   * @param claimed its origin, unchecked
   * @param exceptId id of the local member that received it, which is not registered
   */
  async register(
    value: unknown,
    claimed: unknown,
    exceptId: string,
    evidence: Evidence = {},
    principal: Principal = ANONYMOUS,
  ): Promise<RegistrationResult> {
    const { members, discovery, clock, counters, layers } = this.#context;
    const description = parseDescription(value, layers);
    if (description === undefined) return { outcome: 'no description' };
    if (description === 'too large') {
      counters.add('cmbs_members_refused');
      return { outcome: 'too large' };
    }
    const path = memberPath(description.id);
    const known = members.get(path);
    if (description.id === exceptId || (known !== undefined && isLocal(known)))
      return { outcome: 'known', member: path };
    // With discovery closed, members stay as clients created them.
    if (discovery === 'closed')
      return known === undefined ? { outcome: 'refused' } : { outcome: 'known', member: path };
    if (!(await this.#mayRegister(principal, path, known))) return { outcome: 'refused' };
    const origin = originOf(claimed, clock.now());
    if (known === undefined) return this.#registerNew(description, origin, evidence);
    const verdict = judge(known, description, origin, evidence, layers);
    if (verdict === 'take') return this.#write(description, origin, evidence);
    if (evidence.asked === undefined && isUnverified(known)) this.#noteUse(path, clock.now());
    return this.#kept(path, verdict);
  }

  /** A denial refuses the description, not the message that it came with. */
  async #mayRegister(principal: Principal, path: Path, known: Entity | undefined): Promise<boolean> {
    const { authorize, counters } = this.#context;
    try {
      await authorize(
        principal,
        'member.register',
        known === undefined ? { path, kind: MEMBER_KIND } : resourceOf(known),
      );
      return true;
    } catch (thrown) {
      if (toCmbsError(thrown).code !== 'forbidden') throw thrown;
      counters.add('cmbs_members_refused');
      return false;
    }
  }

  /** The stored description stays. */
  #kept(member: Path, verdict: Exclude<ReturnType<typeof judge>, 'take'>): RegistrationResult {
    if (verdict === 'conflict') this.#context.counters.add('cmbs_member_claims', { outcome: 'conflict' });
    return { outcome: 'known', member, ...(verdict === 'nothing' ? {} : { doubt: verdict }) };
  }

  /** Registers a new member if there is room, or if unverified members can be removed for it. */
  async #registerNew(
    description: Description,
    origin: Origin | undefined,
    evidence: Evidence,
  ): Promise<RegistrationResult> {
    const { counters, layers } = this.#context;
    const arriving = this.#arriving;
    const unverified = evidence.asked === undefined ? 1 : 0;
    const chars = unverified * descriptionChars(description.attributes, layers);
    arriving.members += 1;
    arriving.unverified += unverified;
    arriving.chars += chars;
    try {
      for (let attempt = 0; attempt < REMOVAL_ATTEMPTS; attempt++) {
        const leaving = this.#toRemove();
        if (leaving === undefined) break;
        const result = await this.#replacing(leaving, description, origin, evidence);
        if (result !== undefined) return result;
      }
    } finally {
      arriving.members -= 1;
      arriving.unverified -= unverified;
      arriving.chars -= chars;
    }
    counters.add('cmbs_members_refused');
    return { outcome: 'refused' };
  }

  /** The unverified members whose removal makes room, least recently used first; undefined if there are too few. */
  #toRemove(): readonly Path[] | undefined {
    const { members, clock } = this.#context;
    const now = clock.now();
    const arriving = this.#arriving;
    const known = [...members.unverified()].filter(({ path }) => !this.#leaving.has(path));
    let count = known.length + arriving.unverified - this.#limits.unverified;
    let chars = known.reduce((sum, member) => sum + member.chars, arriving.chars) - this.#limits.unverifiedChars;
    let all = members.size() - this.#leaving.size + arriving.members - this.#limits.members;
    if (count <= 0 && chars <= 0 && all <= 0) return [];
    const usedAt = ({ path, since }: UnverifiedMember): number => this.#usedAt.get(path) ?? since;
    const leaving: Path[] = [];
    for (const member of known.sort((a, b) => usedAt(a) - usedAt(b))) {
      if (count <= 0 && chars <= 0 && all <= 0) break;
      if (usedAt(member) > now) return undefined;
      leaving.push(member.path);
      count -= 1;
      chars -= member.chars;
      all -= 1;
    }
    return count <= 0 && chars <= 0 && all <= 0 ? leaving : undefined;
  }

  /** Undefined when a member that was to be removed is in use. */
  async #replacing(
    leaving: readonly Path[],
    description: Description,
    origin: Origin | undefined,
    evidence: Evidence,
  ): Promise<RegistrationResult | undefined> {
    const { counters, log, clock, members } = this.#context;
    for (const path of leaving) this.#leaving.add(path);
    try {
      const result = await this.#write(description, origin, evidence, leaving);
      if ('inUse' in result) {
        for (const path of result.inUse) this.#noteUse(path, clock.now() + IN_USE_MS);
        return undefined;
      }
      if (result.outcome !== 'stored') return result;
      for (const path of leaving) {
        counters.add('cmbs_members_removed');
        log.info('unverified member removed to make room for another', { member: path });
        this.#usedAt.delete(path);
        await members.refresh(path);
      }
      return result;
    } finally {
      for (const path of leaving) this.#leaving.delete(path);
    }
  }

  #noteUse(path: Path, at: number): void {
    // It also contains members that were removed by other means.
    if (this.#usedAt.size >= 2 * this.#limits.unverified) this.#usedAt.clear();
    this.#usedAt.set(path, at);
  }

  async #write(
    description: Description,
    origin: Origin | undefined,
    evidence: Evidence,
  ): Promise<RegistrationResult>;
  async #write(
    description: Description,
    origin: Origin | undefined,
    evidence: Evidence,
    leaving: readonly Path[],
  ): Promise<RegistrationResult | InUse>;
  async #write(
    description: Description,
    origin: Origin | undefined,
    evidence: Evidence,
    leaving: readonly Path[] = [],
  ): Promise<RegistrationResult | InUse> {
    const { store, members, clock, layers } = this.#context;
    const registry = await registryOf(this.#context);
    const path = memberPath(description.id);
    const result = await store.transact(async (tx): Promise<RegistrationResult | InUse> => {
      const before = (await readEntity(tx, path))?.entity;
      // Clients may create entities of any kind at any path.
      if (before !== undefined && before.kind !== MEMBER_KIND) return { outcome: 'refused' };
      if (before !== undefined && isLocal(before)) return { outcome: 'known', member: path };
      const verdict = before === undefined ? 'take' : judge(before, description, origin, evidence, layers);
      if (verdict !== 'take') return this.#kept(path, verdict);
      if (before === undefined) {
        const removals = await Promise.all(leaving.map((other) => removal(tx, other, { registry, layers })));
        const inUse = leaving.filter((_, at) => removals[at] === undefined);
        if (inUse.length > 0) return { inUse };
        for (const remove of removals) remove?.();
      }
      const context = { before, layers, now: clock.now() };
      writeEntity(tx, remoteMember(description, origin, evidence, context), before, registry);
      if (before?.internal === undefined) tx.delete(ORIGINS, path);
      return { outcome: before === undefined ? 'stored' : 'known', member: path };
    });
    if ('outcome' in result && result.outcome === 'refused') this.#context.counters.add('cmbs_members_refused');
    else await members.refresh(path);
    return result;
  }
}

/** A revision is the time of a change. A revision in the future counts as now, so that the next true one is later. */
function originOf(claimed: unknown, now: number): Origin | undefined {
  const origin = originSchema.safeParse(claimed).data;
  if (origin === undefined) return undefined;
  const { deployment, revision, uri } = origin;
  return { deployment, revision: Math.min(revision, now), ...(uri === undefined ? {} : { uri }) };
}

/** Reads an unverified member; the result deletes it. Undefined for a member that is in use or has answered since. */
async function removal(
  tx: Transaction,
  path: Path,
  { registry, layers }: { readonly registry: CategoryRegistry; readonly layers: Layers },
): Promise<(() => void) | undefined> {
  const member = (await readEntity(tx, path))?.entity;
  if (member === undefined) return () => undefined;
  if (member.kind !== MEMBER_KIND || !isUnverified(member) || member.isLinked !== false) return undefined;
  const links = await tx.query({ collection: ENTITIES, where: [{ field: TARGET_FIELD, value: path }], limit: 1 });
  if (links.docs.length > 0) return undefined;
  if (
    await isAwaited(
      tx,
      layers.names.flatMap((layer) => socketOf(member, layer) ?? []),
    )
  )
    return undefined;
  return () => {
    deleteEntity(tx, member, registry);
    tx.delete(ORIGINS, path);
  };
}

/** The entity of a described member. */
function remoteMember(
  { id, attributes }: Description,
  origin: Origin | undefined,
  { asked }: Evidence,
  { before, layers, now }: { readonly before: Entity | undefined; readonly layers: Layers; readonly now: number },
): Entity {
  const earlier = before === undefined ? undefined : provenanceOf(before);
  const isNamed = layers.names.some((layer) => asked === socketOf({ attributes }, layer));
  const reachedAt = before === undefined && !isNamed ? asked : earlier?.reachedAt;
  return {
    path: memberPath(id),
    id,
    kind: MEMBER_KIND,
    mixins: before?.mixins ?? [],
    attributes,
    rawJson: {},
    owner: before?.owner ?? DISCOVERY_OWNER,
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

/**
 * Stores the members that peers describe (layers.md, L1 on the wire), and follows what known ones say of themselves
 * ({@link judge}). Members that were only told of share a bound; those of them that are not used leave first.
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
import type { Transaction } from '../store';
import { MEMBER_KIND } from './cmbs';
import { registryOf, type BrokerContext } from './context';
import { LAYERS } from './layers';
import { descriptionChars, isLocal, memberPath, parseDescription, socketOf, type Description } from './member';
import {
  DISCOVERY_OWNER,
  isStranger,
  judge,
  learnt,
  provenanceOf,
  type Evidence,
  type Origin,
} from './provenance';
import { originSchema } from './message-rules';
import { isAwaited } from './outbound-message';

/**
 * Members that this deployment was only told of: half of what one message may reach, so that those which answer have
 * room. Characters of their descriptions: an honest one has less than a thousand.
 */
const MAX_STRANGERS = 500;
const MAX_STRANGERS_CHARS = 2 * 1024 * 1024;

/** Earlier releases kept here which deployment described a member last. */
const ORIGINS = 'member-origins';

/** The members that are known without asking the store. */
export interface KnownMembers {
  get(path: Path): Entity | undefined;
  /** How many there are. */
  size(): number;
  /** Those that this deployment was only told of. */
  strangers(): Iterable<Stranger>;
  /** Takes notice of a change. */
  refresh(path: Path): Promise<unknown>;
}

export interface Stranger {
  readonly path: Path;
  /** Of the description. */
  readonly chars: number;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export interface RegistrationContext extends BrokerContext {
  readonly members: KnownMembers;
  /** Whether members that others describe are stored. */
  readonly discovery: 'open' | 'closed';
}

export interface RegistrationLimits {
  /** Members that were only told of, and characters of their descriptions. */
  readonly strangers: number;
  readonly strangersChars: number;
  /** Members of all kinds beyond which none is learnt. */
  readonly members: number;
}

const LIMITS: RegistrationLimits = {
  strangers: MAX_STRANGERS,
  strangersChars: MAX_STRANGERS_CHARS,
  members: MAX_RECEIVERS,
};

export interface RegistrationResult {
  readonly outcome: 'stored' | 'known' | 'refused' | 'too large' | 'no description';
  /** The member that was described. */
  readonly member?: Path;
  /** What is known of the member says otherwise, and was kept ({@link Verdict}). */
  readonly doubt?: 'ask' | 'contested' | 'conflict';
}

/** What one transaction may find: a member that has to leave is in use. */
interface InUse {
  readonly inUse: readonly Path[];
}

/** Choices of members that leave for one that comes, before the one that comes is refused. */
const CHOICES = 4;
/** Milliseconds for which a member that was found in use is not chosen again. */
const IN_USE_MS = 60_000;

export class MemberRegistration {
  readonly #context: RegistrationContext;
  readonly #limits: RegistrationLimits;
  /** Strangers on their way into the store, and other members that are. */
  readonly #arriving = { strangers: 0, chars: 0, members: 0 };
  /** Strangers on their way out of it. */
  readonly #leaving = new Set<Path>();
  /** Milliseconds since the epoch at which a stranger was told of again, or until which one counts as in use. */
  readonly #usedAt = new Map<Path, number>();

  constructor(context: RegistrationContext, limits: RegistrationLimits = LIMITS) {
    this.#context = context;
    this.#limits = limits;
  }

  /** @param exceptId the member on whose behalf this happens */
  async register(
    value: unknown,
    claimed: unknown,
    exceptId: string,
    evidence: Evidence = {},
  ): Promise<RegistrationResult> {
    const { members, discovery, clock, counters } = this.#context;
    const description = parseDescription(value);
    if (description === undefined) return { outcome: 'no description' };
    if (description === 'too large') {
      counters.add('cmbs_members_refused');
      return { outcome: 'too large' };
    }
    const path = memberPath(description.id);
    const known = members.get(path);
    if (description.id === exceptId || (known !== undefined && isLocal(known)))
      return { outcome: 'known', member: path };
    // Closed, the members that were created here are known as they were created.
    if (discovery === 'closed')
      return known === undefined ? { outcome: 'refused' } : { outcome: 'known', member: path };
    const origin = originOf(claimed, clock.now());
    if (known === undefined) return this.#meet(description, origin, evidence);
    const verdict = judge(known, description, origin, evidence);
    if (verdict === 'take') return this.#write(description, origin, evidence);
    if (evidence.asked === undefined && isStranger(known)) this.#noteUse(path, clock.now());
    return this.#lesson(path, verdict);
  }

  #lesson(member: Path, verdict: Exclude<ReturnType<typeof judge>, 'take'>): RegistrationResult {
    if (verdict === 'conflict') this.#context.counters.add('cmbs_member_claims', { outcome: 'conflict' });
    return { outcome: 'known', member, ...(verdict === 'nothing' ? {} : { doubt: verdict }) };
  }

  /** Stores a member that is not known yet, where there is room or somebody leaves. */
  async #meet(
    description: Description,
    origin: Origin | undefined,
    evidence: Evidence,
  ): Promise<RegistrationResult> {
    const { counters } = this.#context;
    const arriving = this.#arriving;
    const strangers = evidence.asked === undefined ? 1 : 0;
    const chars = strangers * descriptionChars(description.attributes);
    arriving.members += 1;
    arriving.strangers += strangers;
    arriving.chars += chars;
    try {
      for (let choice = 0; choice < CHOICES; choice++) {
        const leaving = this.#whoLeaves();
        if (leaving === undefined) break;
        const lesson = await this.#replacing(leaving, description, origin, evidence);
        if (lesson !== undefined) return lesson;
      }
    } finally {
      arriving.members -= 1;
      arriving.strangers -= strangers;
      arriving.chars -= chars;
    }
    counters.add('cmbs_members_refused');
    return { outcome: 'refused' };
  }

  /** Strangers whose leaving makes room for those that arrive, those used longest ago first; undefined without enough. */
  #whoLeaves(): readonly Path[] | undefined {
    const { members, clock } = this.#context;
    const now = clock.now();
    const arriving = this.#arriving;
    const known = [...members.strangers()].filter(({ path }) => !this.#leaving.has(path));
    let count = known.length + arriving.strangers - this.#limits.strangers;
    let chars = known.reduce((sum, one) => sum + one.chars, arriving.chars) - this.#limits.strangersChars;
    let all = members.size() - this.#leaving.size + arriving.members - this.#limits.members;
    if (count <= 0 && chars <= 0 && all <= 0) return [];
    const usedAt = ({ path, since }: Stranger): number => this.#usedAt.get(path) ?? since;
    const leaving: Path[] = [];
    for (const one of known.sort((a, b) => usedAt(a) - usedAt(b))) {
      if (count <= 0 && chars <= 0 && all <= 0) break;
      if (usedAt(one) > now) return undefined;
      leaving.push(one.path);
      count -= 1;
      chars -= one.chars;
      all -= 1;
    }
    return count <= 0 && chars <= 0 && all <= 0 ? leaving : undefined;
  }

  /** Undefined when a member that was to leave is in use. */
  async #replacing(
    leaving: readonly Path[],
    description: Description,
    origin: Origin | undefined,
    evidence: Evidence,
  ): Promise<RegistrationResult | undefined> {
    const { counters, log, clock, members } = this.#context;
    for (const path of leaving) this.#leaving.add(path);
    try {
      const lesson = await this.#write(description, origin, evidence, leaving);
      if ('inUse' in lesson) {
        for (const path of lesson.inUse) this.#noteUse(path, clock.now() + IN_USE_MS);
        return undefined;
      }
      if (lesson.outcome !== 'stored') return lesson;
      for (const path of leaving) {
        counters.add('cmbs_members_removed');
        log.info('a member that was only told of has left for another', { member: path });
        this.#usedAt.delete(path);
        await members.refresh(path);
      }
      return lesson;
    } finally {
      for (const path of leaving) this.#leaving.delete(path);
    }
  }

  #noteUse(path: Path, at: number): void {
    // Members that left some other way stand in it too.
    if (this.#usedAt.size >= 2 * this.#limits.strangers) this.#usedAt.clear();
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
    const { store, members, clock } = this.#context;
    const registry = await registryOf(this.#context);
    const path = memberPath(description.id);
    const lesson = await store.transact(async (tx): Promise<RegistrationResult | InUse> => {
      const before = (await readEntity(tx, path))?.entity;
      // Clients put entities of any kind at any path.
      if (before !== undefined && before.kind !== MEMBER_KIND) return { outcome: 'refused' };
      if (before !== undefined && isLocal(before)) return { outcome: 'known', member: path };
      const verdict = before === undefined ? 'take' : judge(before, description, origin, evidence);
      if (verdict !== 'take') return this.#lesson(path, verdict);
      if (before === undefined) {
        const removals = await Promise.all(leaving.map((one) => removal(tx, one, registry)));
        const inUse = leaving.filter((_, at) => removals[at] === undefined);
        if (inUse.length > 0) return { inUse };
        for (const remove of removals) remove?.();
      }
      writeEntity(tx, remoteMember(description, origin, evidence, before, clock.now()), before, registry);
      if (before?.internal === undefined) tx.delete(ORIGINS, path);
      return { outcome: before === undefined ? 'stored' : 'known', member: path };
    });
    if ('outcome' in lesson && lesson.outcome === 'refused') this.#context.counters.add('cmbs_members_refused');
    else await members.refresh(path);
    return lesson;
  }
}

/** A revision is the time of a change. One that lies ahead counts as now, so that the next true one is later. */
function originOf(claimed: unknown, now: number): Origin | undefined {
  const origin = originSchema.safeParse(claimed).data;
  if (origin === undefined) return undefined;
  const { deployment, revision, uri } = origin;
  return { deployment, revision: Math.min(revision, now), ...(uri === undefined ? {} : { uri }) };
}

/** What removes a member that nobody uses; undefined for one that is in use, or no stranger any more. */
async function removal(
  tx: Transaction,
  path: Path,
  registry: CategoryRegistry,
): Promise<(() => void) | undefined> {
  const member = (await readEntity(tx, path))?.entity;
  if (member === undefined) return () => undefined;
  if (member.kind !== MEMBER_KIND || !isStranger(member) || member.isLinked !== false) return undefined;
  const links = await tx.query({ collection: ENTITIES, where: [{ field: TARGET_FIELD, value: path }], limit: 1 });
  if (links.docs.length > 0) return undefined;
  if (
    await isAwaited(
      tx,
      LAYERS.flatMap((layer) => socketOf(member, layer) ?? []),
    )
  )
    return undefined;
  return () => {
    deleteEntity(tx, member, registry);
    tx.delete(ORIGINS, path);
  };
}

/** The entity under which a described member is kept. */
function remoteMember(
  { id, attributes }: Description,
  origin: Origin | undefined,
  { asked }: Evidence,
  before: Entity | undefined,
  now: number,
): Entity {
  const earlier = before === undefined ? undefined : provenanceOf(before);
  const isNamed = LAYERS.some((layer) => asked === socketOf({ attributes }, layer));
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
    internal: learnt({
      isVerified: asked !== undefined,
      ...origin,
      ...(reachedAt === undefined ? {} : { reachedAt }),
    }),
  };
}

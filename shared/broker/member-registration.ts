/** Registers the members that peers describe (docs/wire.md), and updates known members ({@link judge}). */
import { type Entity, type Path, readEntity, writeEntity } from '../occi';
import { ANONYMOUS, type Principal } from '../principal';
import { authorizeSubscribing, isAllowed, resourceOf } from './authorization';
import { MEMBER_KIND } from './cmbs';
import { registryOf, type BrokerContext } from './context';
import { descriptionChars, parseDescription } from './description';
import { isLocal, memberPath } from './member';
import { inGroup, type ShardOf } from './member-groups';
import { putMove } from './member-moves';
import { isUnverified, judge, type Evidence } from './provenance';
import { RegistrationRoom, type KnownMembers, type RegistrationLimits } from './registration-room';
import {
  deleteOldOrigin,
  parseOrigin,
  remoteMember,
  removalOf,
  type DescriptionWithSource,
} from './remote-member';

export interface RegistrationContext extends BrokerContext {
  readonly members: KnownMembers;
  /** Name of the shard of a local member. */
  readonly shardOf: ShardOf;
  /** Whether members that peers describe are stored (`CMBS_DISCOVERY`). */
  readonly discovery: 'open' | 'closed';
}

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

/** Attempts to find members that can be removed, before the new member is refused. */
const REMOVAL_ATTEMPTS = 4;

export class MemberRegistration {
  readonly #context: RegistrationContext;
  readonly #room: RegistrationRoom;

  constructor(context: RegistrationContext, limits?: RegistrationLimits) {
    this.#context = context;
    this.#room = new RegistrationRoom(context, limits);
  }

  /**
   * Registers or updates the member that a description names.
   * @param value the description, unchecked
   * @param claimed its origin, unchecked
   * @param exceptId id of the local member that received it, which is not registered
   * @param principal who describes the member
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
    if (description.id === exceptId) return { outcome: 'known', member: path };
    const known = await members.find(path);
    if (known !== undefined && isLocal(known)) return { outcome: 'known', member: path };
    // With discovery closed, members stay as clients created them.
    if (discovery === 'closed')
      return known === undefined ? { outcome: 'refused' } : { outcome: 'known', member: path };
    const described = { description, origin: parseOrigin(claimed, clock.now()), evidence, principal };
    if (!(await this.#mayRegister(described, known))) return { outcome: 'refused' };
    if (known === undefined) return this.#registerNew(described);
    const verdict = judge(known, description, described.origin, evidence, layers);
    if (verdict === 'take') return this.#write(described);
    if (evidence.asked === undefined && isUnverified(known)) this.#room.noteUse(path);
    return this.#kept(path, verdict);
  }

  /** A denial refuses the description, not the message that it came with. */
  async #mayRegister(
    { description: { id, attributes }, principal }: DescriptionWithSource,
    known: Entity | undefined,
  ): Promise<boolean> {
    const { authorize, counters } = this.#context;
    const resource = known === undefined ? { path: memberPath(id), kind: MEMBER_KIND } : resourceOf(known);
    const asked = async (): Promise<void> => {
      await authorize(principal, 'member.register', resource);
      await authorizeSubscribing(authorize, principal, { attributes }, known);
    };
    if (await isAllowed(asked())) return true;
    counters.add('cmbs_members_refused');
    return false;
  }

  /** The stored description stays. */
  #kept(member: Path, verdict: Exclude<ReturnType<typeof judge>, 'take'>): RegistrationResult {
    if (verdict === 'conflict') this.#context.counters.add('cmbs_member_claims', { outcome: 'conflict' });
    return { outcome: 'known', member, ...(verdict === 'nothing' ? {} : { doubt: verdict }) };
  }

  /** Registers a new member if there is room, or if unverified members can be removed for it. */
  async #registerNew(described: DescriptionWithSource): Promise<RegistrationResult> {
    const { counters, layers } = this.#context;
    const isNotAsked = described.evidence.asked === undefined;
    const chars = isNotAsked ? descriptionChars(described.description.attributes, layers) : 0;
    const result = await this.#room.whileArriving(isNotAsked, chars, async () => {
      for (let attempt = 0; attempt < REMOVAL_ATTEMPTS; attempt++) {
        const replaced = await this.#room.withRoom((leaving) => this.#replace(leaving, described));
        if (replaced !== 'in use') return replaced;
      }
      return undefined;
    });
    if (result !== undefined) return result;
    counters.add('cmbs_members_refused');
    return { outcome: 'refused' };
  }

  /** `in use`: a member that was to be removed is. */
  async #replace(
    leaving: readonly Path[],
    described: DescriptionWithSource,
  ): Promise<RegistrationResult | 'in use'> {
    const { counters, log, members } = this.#context;
    const result = await this.#write(described, leaving);
    if ('inUse' in result) {
      for (const path of result.inUse) this.#room.noteInUse(path);
      return 'in use';
    }
    if (result.outcome !== 'stored') return result;
    for (const path of leaving) {
      counters.add('cmbs_members_removed');
      log.info('unverified member removed to make room for another', { member: path });
      this.#room.noteRemoved(path);
      await members.refresh(path);
    }
    return result;
  }

  async #write(described: DescriptionWithSource): Promise<RegistrationResult>;
  async #write(described: DescriptionWithSource, leaving: readonly Path[]): Promise<RegistrationResult | InUse>;
  async #write(
    described: DescriptionWithSource,
    leaving: readonly Path[] = [],
  ): Promise<RegistrationResult | InUse> {
    const { store, members, clock, layers, newId, shardOf } = this.#context;
    const { description, origin, evidence } = described;
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
        const removals = await Promise.all(leaving.map((other) => removalOf(tx, other, layers)));
        const inUse = leaving.filter((_, at) => removals[at] === undefined);
        if (inUse.length > 0) return { inUse };
        for (const remove of removals) remove?.();
      }
      const member = inGroup(remoteMember(described, { before, layers, now: clock.now() }), shardOf);
      writeEntity(tx, member, before, registry);
      if (before !== undefined) putMove(tx, before, member, { layers, clock, newId, shardOf });
      if (before?.internal === undefined) deleteOldOrigin(tx, path);
      return { outcome: before === undefined ? 'stored' : 'known', member: path };
    });
    if ('outcome' in result && result.outcome === 'refused') this.#context.counters.add('cmbs_members_refused');
    else if ('outcome' in result) {
      this.#room.noteWritten(path, await members.refresh(path), result.outcome === 'stored');
    }
    return result;
  }
}

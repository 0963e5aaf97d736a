/**
 * The members that a companion serves, in memory: the local members of its shard, followed in the store. Other members are
 * read when they are needed, and remembered for a few seconds.
 */
import type { Clock } from '@cmbs/shared';
import {
  areSomeWithoutGroup,
  groupOf,
  groupTerm,
  isLocal,
  type KnownMembers,
  type Layers,
  LOCAL,
  MEMBER_KIND,
  membersInPages,
  REMOTE_GROUPS,
} from '@cmbs/shared/broker';
import { ENTITIES, type Entity, type Path, readEntities, readEntity, type StoredEntity } from '@cmbs/shared/occi';
import type { Watch } from '@cmbs/shared/store';
import { IndexRenewal, type IndexRenewalOptions } from './index-renewal';
import { KnownSockets } from './known-sockets';
import { RecentMembers } from './recent-members';
import type { ShardLease } from './shard-lease';

/** Members that are put into their group again between two looks. A later look finds the others. */
const MAX_REGROUPED = 10_000;

export interface MembersOptions extends Omit<IndexRenewalOptions, 'shardOf'> {
  readonly layers: Layers;
  readonly clock: Clock;
  /** The members that the companion serves. */
  readonly shard: Pick<ShardLease, 'shard' | 'shards' | 'servesAll' | 'of' | 'serves'>;
  /** Milliseconds between two reads of the companion's members, where the watch may fail. */
  readonly lookAgainMs?: number;
}

/**
 * Called after a change of a member that the companion serves or has served.
 * @param before the member as it was known; undefined if the companion did not serve it
 * @param now the member as it is stored; undefined if it was deleted
 */
export type MemberListener = (path: Path, before: Entity | undefined, now: Entity | undefined) => void;

export class Members implements KnownMembers {
  readonly #options: MembersOptions;
  readonly #renewal: IndexRenewal;
  readonly #own = new Map<Path, Entity>();
  readonly #recent: RecentMembers;
  readonly #sockets: KnownSockets;
  readonly #listeners = new Set<MemberListener>();
  readonly #watch: Watch;
  /** Reads of single members that are under way, for callers that want the same member. */
  readonly #finding = new Map<Path, Promise<Entity | undefined>>();
  /** Numbers the reads, so that a slow read does not undo the result of a later one. */
  #lastRead = 0;
  /** Reads under way, the oldest first. */
  readonly #reading = new Set<number>();
  /** The read that found a member, or found that the companion does not serve it. */
  readonly #applied = new Map<Path, number>();
  /** Members that are not served; remembered while a read is under way that may have seen them otherwise. */
  readonly #gone = new Set<Path>();
  /** Members that were put into their group since the last look. */
  readonly #regrouped = new Set<Path>();
  /** Members had no group at the last look. */
  #areSomeOld = false;
  #cancelLook: () => void = () => undefined;
  #isClosed = false;

  private constructor(options: MembersOptions) {
    const { store, clock, log, shard } = options;
    this.#options = options;
    this.#renewal = new IndexRenewal({ ...options, shardOf: (member) => shard.of(member) });
    this.#recent = new RecentMembers(clock);
    const otherShards = shard.shards.filter((name) => name !== shard.shard);
    const [remote = '', ...rest] = REMOTE_GROUPS;
    this.#sockets = new KnownSockets({
      store,
      clock,
      log,
      own: () => this.#own.values(),
      isOwn: (path) => this.#own.has(path),
      others: () =>
        this.#areSomeOld ? [[]] : [remote, ...otherShards, ...rest].map((group) => [groupTerm(group)]),
    });
    this.#watch = store.watch({ collection: ENTITIES, where: this.#where }, (changes) => {
      for (const { id } of changes) void this.refresh(id);
    });
  }

  /** A companion that serves all members finds them also where release 1.0 stored them. */
  get #where(): typeof LOCAL {
    const { servesAll, shard } = this.#options.shard;
    return servesAll ? LOCAL : groupTerm(shard);
  }

  static async load(options: MembersOptions): Promise<Members> {
    const members = new Members(options);
    try {
      await members.#watch.ready;
      await members.#read();
      members.#lookSoon();
      return members;
    } catch (error) {
      members.close();
      throw error;
    }
  }

  /** A member that the companion serves. */
  get(path: Path): Entity | undefined {
    return this.#own.get(path);
  }

  /** The members that the companion serves. */
  local(): readonly Entity[] {
    return [...this.#own.values()];
  }

  /**
   * Any member; one that the companion does not serve as it was in the last seconds.
   * @throws CmbsError when the store does not answer
   */
  async find(path: Path): Promise<Entity | undefined> {
    const own = this.#own.get(path);
    if (own !== undefined) return own;
    const recent = this.#recent.get(path);
    if (recent !== undefined) return recent.member;
    let finding = this.#finding.get(path);
    if (finding === undefined) {
      finding = this.#readOne(path).finally(() => this.#finding.delete(path));
      this.#finding.set(path, finding);
    }
    return finding;
  }

  /** {@link find} for several members, by path; absent members are left out. */
  async findAll(paths: Iterable<Path>): Promise<ReadonlyMap<Path, Entity>> {
    const found = new Map<Path, Entity>();
    const missing: Path[] = [];
    for (const path of new Set(paths)) {
      const recent = this.#recent.get(path);
      const member = this.#own.get(path) ?? recent?.member;
      if (member !== undefined) found.set(path, member);
      else if (recent === undefined) missing.push(path);
    }
    if (missing.length === 0) return found;
    return this.#inOrder(async (read) => {
      const stored = await readEntities(this.#options.store, missing);
      for (const path of missing) {
        const one = stored.get(path);
        this.#apply(path, one, read);
        const member = memberIn(one);
        if (member !== undefined) found.set(path, member);
      }
      return found;
    });
  }

  /** A member has changed: if it is not served, what was read of it before counts no more. */
  forget(path: Path): void {
    this.#recent.delete(path);
    // A read that is under way may have seen the member before the change.
    this.#finding.delete(path);
    this.#applied.set(path, (this.#lastRead += 1));
    this.#gone.add(path);
  }

  /** The L1 sockets of all members, for replies; the same list until it changes. */
  l1Sockets(isAsked: boolean): Promise<readonly string[]> {
    return this.#sockets.list(isAsked);
  }

  /** Reads one member again, for callers that must see their own write. The last known state when the store does not answer. */
  async refresh(path: Path): Promise<Entity | undefined> {
    try {
      return await this.#readOne(path);
    } catch (error) {
      // The next change of the member, or the next action on it, reads it again.
      this.#options.log.warn('member not read', { member: path, cause: error });
      return this.#own.get(path) ?? this.#recent.last(path)?.member;
    }
  }

  #readOne(path: Path): Promise<Entity | undefined> {
    return this.#inOrder(async (read) => {
      const stored = await readEntity(this.#options.store, path);
      this.#apply(path, stored, read);
      // A later read takes precedence.
      return this.#own.get(path) ?? (this.#recent.last(path) ?? { member: memberIn(stored) }).member;
    });
  }

  #apply(path: Path, stored: StoredEntity | undefined, read: number): void {
    if ((this.#applied.get(path) ?? 0) > read) return;
    this.#applied.set(path, read);
    const { shard } = this.#options;
    const found = memberIn(stored);
    const own = found !== undefined && isLocal(found) && shard.serves(found) ? found : undefined;
    const before = this.#own.get(path);
    if (stored !== undefined && found !== undefined) this.#renew(path, stored, before);
    if (own !== undefined) {
      this.#own.set(path, own);
      this.#gone.delete(path);
      this.#recent.delete(path);
    } else {
      this.#own.delete(path);
      this.#gone.add(path);
      this.#recent.put(path, found);
    }
    this.#sockets.note(path, own === undefined ? found : undefined);
    // Without a change nothing is reported: a listener that writes the member would otherwise cause its own next call.
    if (JSON.stringify(before) === JSON.stringify(own)) return;
    this.#sockets.ownChanged();
    for (const listener of [...this.#listeners]) listener(path, before, found);
  }

  /**
   * Writes a member again that release 1.0 stored, or that is not in its group. The group is written once between two
   * looks: while companions run with different settings of the shards, each would undo what the other has written.
   */
  #renew(path: Path, { entity, hasOldIndex }: StoredEntity, before: Entity | undefined): void {
    const { shard } = this.#options;
    const shardOf = (member: Entity): string => shard.of(member);
    if (hasOldIndex !== true) {
      if (entity.group === groupOf(entity, shardOf) || this.#regrouped.has(path)) return;
      if (this.#regrouped.size >= MAX_REGROUPED) return;
      this.#regrouped.add(path);
    }
    this.#renewal.add(path, before === undefined ? undefined : shardOf(before));
  }

  /** Numbers a read of members, and then forgets members that were gone before every read under way began. */
  async #inOrder<T>(work: (read: number) => Promise<T>): Promise<T> {
    const read = (this.#lastRead += 1);
    this.#reading.add(read);
    try {
      return await work(read);
    } finally {
      this.#reading.delete(read);
      const [oldest = Infinity] = this.#reading;
      for (const path of this.#gone) {
        if ((this.#applied.get(path) ?? 0) >= oldest) continue;
        this.#gone.delete(path);
        this.#applied.delete(path);
      }
    }
  }

  /** Calls `listener` after each change of a member that is or was served, until the returned function is called. */
  onChange(listener: MemberListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #lookSoon(): void {
    const { clock, lookAgainMs } = this.#options;
    if (lookAgainMs === undefined || this.#isClosed) return;
    this.#cancelLook = clock.after(lookAgainMs, () => void this.#look());
  }

  /** Finds changes that the watch may have missed. */
  async #look(): Promise<void> {
    try {
      const gone = new Set(this.#own.keys());
      for (const path of await this.#read()) gone.delete(path);
      for (const path of gone) await this.refresh(path);
    } catch (error) {
      this.#options.log.warn('members not read', { cause: error });
    }
    this.#lookSoon();
  }

  /**
   * Reads the companion's members; all members of the deployment when some have no group. Resolves with the paths of the
   * members that were found.
   */
  async #read(): Promise<readonly Path[]> {
    const { store, shard } = this.#options;
    this.#regrouped.clear();
    const areSomeOld = (this.#areSomeOld = await areSomeWithoutGroup(store, shard.shards));
    return this.#inOrder(async (read) => {
      const paths: Path[] = [];
      for await (const member of membersInPages(store, areSomeOld ? [] : [this.#where])) {
        this.#apply(member.entity.path, member, read);
        paths.push(member.entity.path);
      }
      this.#renewal.allRead();
      return paths;
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelLook();
    this.#watch.end();
    this.#renewal.close();
    this.#listeners.clear();
  }
}

/** Clients may create entities of any kind at the paths of members. */
const memberIn = (stored: StoredEntity | undefined): Entity | undefined =>
  stored?.entity.kind === MEMBER_KIND ? stored.entity : undefined;

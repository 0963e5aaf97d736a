/** Stores the members that peers describe (layers.md, L1 on the wire): unknown ones, and newer descriptions of remote ones. */
import { hash } from 'node:crypto';
import { isJsonObject } from '../json';
import { MAX_CLOCK_AHEAD_MS, MAX_RECEIVERS } from '../limits';
import { readEntity, writeEntity } from '../occi/entity-store';
import type { Entity, Path } from '../occi/model';
import type { Transaction } from '../store/store';
import { MEMBER_KIND } from './cmbs';
import { registryOf, type BrokerContext } from './context';
import { describe, isLocal, memberPath, parseDescription, remoteMember } from './member';
import type { Transfer } from './wire';

/** Which deployment described a remote member last, and how new that was. */
const ORIGINS = 'member-origins';

/** The members that are known without asking the store. */
export interface KnownMembers {
  get(path: Path): Entity | undefined;
  /** How many there are. */
  size(): number | Promise<number>;
  /** Takes notice of a change. */
  refresh(path: Path): Promise<unknown>;
}

export interface LearningContext extends BrokerContext {
  readonly members: KnownMembers;
  /** Whether members that others describe are stored. */
  readonly discovery: 'open' | 'closed';
}

export type Learnt = 'stored' | 'known' | 'refused' | 'no description';

export interface Lesson {
  readonly learnt: Learnt;
  readonly member?: Path;
}

/** Descriptions seen lately, so that the one in each reply costs no read. */
const RECENT = 1000;

export class Learning {
  readonly #context: LearningContext;
  /** Path to the digest of what described it. */
  readonly #recent = new Map<string, string>();
  /** Unknown members on their way into the store, which count as there. */
  #arriving = 0;

  constructor(context: LearningContext) {
    this.#context = context;
  }

  async learn(value: unknown, claimed: unknown, exceptId: string): Promise<Lesson> {
    const description = parseDescription(value);
    if (description === undefined) return { learnt: 'no description' };
    const path = memberPath(description.id);
    const { members, store, discovery, counters, clock } = this.#context;
    const known = members.get(path);
    if (description.id === exceptId || (known !== undefined && isLocal(known)))
      return { learnt: 'known', member: path };
    // Closed, the members that were created here are known as they were created.
    if (discovery === 'closed')
      return known === undefined ? { learnt: 'refused' } : { learnt: 'known', member: path };
    const origin = isCredible(claimed, clock.now()) ? claimed : undefined;
    const fingerprint = hash('sha256', JSON.stringify([description.attributes, origin ?? null]));
    if (known !== undefined && this.#recent.get(path) === fingerprint) return { learnt: 'known', member: path };
    const registry = await registryOf(this.#context);
    let isRoom = true;
    const write = async (tx: Transaction): Promise<Learnt> => {
      const before = await readEntity(tx, path);
      // Clients put entities of any kind at any path.
      if (before !== undefined && before.entity.kind !== MEMBER_KIND) return 'refused';
      if (before !== undefined && isLocal(before.entity)) return 'known';
      if (before === undefined && !isRoom) return 'refused';
      const seen = await tx.get(ORIGINS, path);
      const isOlder =
        origin !== undefined &&
        seen?.value.deployment === origin.deployment &&
        Number(seen.value.revision) >= origin.revision;
      if (before !== undefined && isOlder) return 'known';
      const after = remoteMember(description, before, clock.now());
      if (before === undefined || JSON.stringify(describe(before.entity)) !== JSON.stringify(describe(after))) {
        writeEntity(tx, after, before?.entity, registry);
      }
      if (origin !== undefined)
        tx.put(ORIGINS, path, { deployment: origin.deployment, revision: origin.revision });
      return before === undefined ? 'stored' : 'known';
    };
    this.#arriving += 1;
    try {
      if (known === undefined) isRoom = (await members.size()) + this.#arriving <= MAX_RECEIVERS;
      const learnt = await store.transact(write);
      if (learnt === 'refused') {
        counters.add('cmbs_members_refused');
        return { learnt };
      }
      if (this.#recent.size >= RECENT) this.#recent.clear();
      this.#recent.set(path, fingerprint);
      await members.refresh(path);
      return { learnt, member: path };
    } finally {
      this.#arriving -= 1;
    }
  }
}

/** A revision is the time of a change; one that lies ahead would keep every true one out. */
function isCredible(origin: unknown, now: number): origin is NonNullable<Transfer['origin']> {
  if (!isJsonObject(origin) || typeof origin.deployment !== 'string') return false;
  return typeof origin.revision === 'number' && origin.revision <= now + MAX_CLOCK_AHEAD_MS;
}

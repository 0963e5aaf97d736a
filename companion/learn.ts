/** Stores the members that peers describe (layers.md, L1 on the wire): unknown ones, and newer descriptions of remote ones. */
import { hash } from 'node:crypto';
import { isJsonObject } from '@cmbs/shared';
import { MEMBER_KIND } from '@cmbs/shared/broker/cmbs';
import { describe, isLocal, memberPath, parseDescription, remoteMember } from '@cmbs/shared/broker/member';
import type { Transfer } from '@cmbs/shared/broker/wire';
import { MAX_CLOCK_AHEAD_MS, MAX_RECEIVERS } from '@cmbs/shared/limits';
import { readEntity, writeEntity } from '@cmbs/shared/occi/entity-store';
import type { Path } from '@cmbs/shared/occi/model';
import type { Transaction } from '@cmbs/shared/store/store';
import { registryOf, type Environment } from './environment';

/** Which deployment described a remote member last, and how new that was. */
const ORIGINS = 'member-origins';

export type Learnt = 'stored' | 'known' | 'refused' | 'no description';

export interface Lesson {
  readonly learnt: Learnt;
  readonly member?: Path;
}

/** Descriptions seen lately, so that the one in each reply costs no read. */
const RECENT = 1000;

export class Learning {
  readonly #environment: Environment;
  /** Path to the digest of what described it. */
  readonly #recent = new Map<string, string>();
  /** Unknown members on their way into the store, which count as there. */
  #arriving = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  async learn(value: unknown, claimed: unknown, exceptId: string): Promise<Lesson> {
    const description = parseDescription(value);
    if (description === undefined) return { learnt: 'no description' };
    const path = memberPath(description.id);
    const { members, store, discovery, counters, clock } = this.#environment;
    const known = members.get(path);
    if (description.id === exceptId || (known !== undefined && isLocal(known)))
      return { learnt: 'known', member: path };
    // Closed, the members that were created here are known as they were created.
    if (discovery === 'closed')
      return known === undefined ? { learnt: 'refused' } : { learnt: 'known', member: path };
    const origin = isCredible(claimed, clock.now()) ? claimed : undefined;
    const fingerprint = hash('sha256', JSON.stringify([description.attributes, origin ?? null]));
    if (known !== undefined && this.#recent.get(path) === fingerprint) return { learnt: 'known', member: path };
    const registry = await registryOf(this.#environment);
    const isRoom = members.size + this.#arriving < MAX_RECEIVERS;
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

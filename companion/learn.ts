/** Stores the members that peers describe (layers.md, L1 on the wire): unknown ones, and newer descriptions of remote ones. */
import { describe, isLocal, memberPath, parseDescription, remoteMember } from '@cmbs/shared/broker/member';
import type { Transfer } from '@cmbs/shared/broker/wire';
import { MAX_RECEIVERS } from '@cmbs/shared/limits';
import { readEntity, writeEntity } from '@cmbs/shared/occi/entity-store';
import type { Path } from '@cmbs/shared/occi/model';
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
  readonly #recent = new Map<string, string>();

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  async learn(value: unknown, origin: Transfer['origin'], exceptId: string): Promise<Lesson> {
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
    const fingerprint = JSON.stringify([description.attributes, origin ?? null]);
    if (known !== undefined && this.#recent.get(path) === fingerprint) return { learnt: 'known', member: path };
    const registry = await registryOf(this.#environment);
    const learnt = await store.transact(async (tx): Promise<Learnt> => {
      const before = await readEntity(tx, path);
      if (before !== undefined && isLocal(before.entity)) return 'known';
      if (before === undefined && [...members.all()].length >= MAX_RECEIVERS) return 'refused';
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
    });
    if (learnt === 'refused') {
      counters.add('cmbs_members_refused');
      return { learnt };
    }
    if (this.#recent.size >= RECENT) this.#recent.clear();
    this.#recent.set(path, fingerprint);
    await members.refresh(path);
    return { learnt, member: path };
  }
}

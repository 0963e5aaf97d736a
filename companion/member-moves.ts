/**
 * Follows the records of members that have moved or were deleted (`shared/broker/member-moves.ts`), also of members that
 * this companion does not serve: messages wait here for them, or they come here.
 */
import type { Log } from '@cmbs/shared';
import { MEMBER_MOVES, type MemberMove, memberOfMove, moveOf } from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';
import type { Store, Watch } from '@cmbs/shared/store';
import type { Members } from './members';

/** Records that are remembered, because a watch may report one again. */
const MAX_SEEN = 1000;

export interface MemberMovesEnvironment {
  readonly store: Pick<Store, 'watch' | 'get'>;
  readonly members: Pick<Members, 'refresh' | 'forget'>;
  readonly log: Log;
}

/** @param now the member as it is stored; undefined if it was deleted */
export type MoveListener = (move: MemberMove, now: Entity | undefined) => void;

export class MemberMoves {
  readonly #environment: MemberMovesEnvironment;
  readonly #watch: Watch;
  readonly #seen = new Set<string>();

  constructor(environment: MemberMovesEnvironment, listener: MoveListener) {
    this.#environment = environment;
    this.#watch = environment.store.watch({ collection: MEMBER_MOVES }, (changes) => {
      for (const { id, deleted } of changes) {
        if (deleted || !this.#isNew(id)) continue;
        environment.members.forget(memberOfMove(id));
        void this.#read(id, listener);
      }
    });
  }

  /** Resolves when later moves will be reported. */
  get ready(): Promise<void> {
    return this.#watch.ready;
  }

  #isNew(id: string): boolean {
    if (this.#seen.has(id)) return false;
    const [oldest] = this.#seen;
    if (this.#seen.size >= MAX_SEEN && oldest !== undefined) this.#seen.delete(oldest);
    this.#seen.add(id);
    return true;
  }

  async #read(id: string, listener: MoveListener): Promise<void> {
    const { store, members, log } = this.#environment;
    try {
      const doc = await store.get(MEMBER_MOVES, id);
      if (doc === undefined) return;
      const move = moveOf(doc);
      listener(move, await members.refresh(move.member));
    } catch (error) {
      // The next look at all messages finds those that wait at old addresses.
      log.warn('move of a member not read', { record: id, cause: error });
    }
  }

  close(): void {
    this.#watch.end();
  }
}

/**
 * Asks known members to confirm claims of others about them. Any peer can make a deployment ask, so each member is asked
 * once at a time and then after longer and longer pauses, and few members are asked at the same time.
 */
import { backOff, type Clock, type Counters, type Log } from '@cmbs/shared';
import type { RegistrationResult } from '@cmbs/shared/broker';
import type { Entity, Path } from '@cmbs/shared/occi';

/** Members that are asked at the same time: each question may take 4 s. */
const VERIFICATION_CONCURRENCY = 4;
/** Members with a claim to confirm, or with one that was confirmed just now: as many as can be registered. */
const MAX_VERIFICATIONS = 1000;
/** Milliseconds until a member is asked again because of another claim, at first and at most. */
const VERIFICATION_FIRST_MS = 10_000;
const VERIFICATION_MAX_MS = 15 * 60_000;

export interface VerificationOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Asks a member at its recorded address; undefined when no member there answers for it. Never rejects. */
  readonly ask: (member: Path, asking: Entity, signal: AbortSignal) => Promise<RegistrationResult | undefined>;
  /** Whether a member is still known. */
  readonly isKnown: (member: Path) => Promise<boolean>;
  /** Members that are asked at the same time; {@link VERIFICATION_CONCURRENCY} when absent. */
  readonly concurrency?: number;
  /** Members with a claim; {@link MAX_VERIFICATIONS} when absent. */
  readonly limit?: number;
}

/** A member with a claim to confirm, or with one that was confirmed just now. */
interface Case {
  readonly member: Path;
  /** The member that received the claim, and asks. */
  asking: Entity | undefined;
  /** `resting`: was asked just now. */
  state: 'waiting' | 'asking' | 'resting';
  /** Times that the member was asked since the claims about it began. */
  times: number;
  cancelRest: () => void;
}

export class Verification {
  readonly #options: VerificationOptions;
  readonly #cases = new Map<Path, Case>();
  readonly #waiting: Case[] = [];
  readonly #stop = new AbortController();
  readonly #asking = new Set<Promise<void>>();

  constructor(options: VerificationOptions) {
    this.#options = options;
  }

  /** A peer claimed to `asking` to be a known member. */
  claimed(member: Path, asking: Entity): void {
    const { counters, limit = MAX_VERIFICATIONS } = this.#options;
    if (this.#stop.signal.aborted) return;
    const known = this.#cases.get(member);
    if (known !== undefined) {
      // A member that is being asked, or was just now, is asked once more after the rest.
      known.asking = asking;
      return;
    }
    if (this.#cases.size >= limit) {
      counters.add('cmbs_member_claims', { outcome: 'dropped' });
      return;
    }
    const one: Case = { member, asking, state: 'waiting', times: 0, cancelRest: () => undefined };
    this.#cases.set(member, one);
    this.#waiting.push(one);
    this.#next();
  }

  #next(): void {
    const { concurrency = VERIFICATION_CONCURRENCY } = this.#options;
    while (this.#asking.size < concurrency && !this.#stop.signal.aborted) {
      const one = this.#waiting.shift();
      if (one === undefined) return;
      const asking = this.#ask(one).finally(() => {
        this.#asking.delete(asking);
        this.#next();
      });
      this.#asking.add(asking);
    }
  }

  async #ask(one: Case): Promise<void> {
    const { ask, isKnown, log, counters } = this.#options;
    const { member, asking } = one;
    one.state = 'asking';
    one.asking = undefined;
    const isGone = asking === undefined || !(await isKnown(member));
    const result = isGone ? undefined : await ask(member, asking, this.#stop.signal);
    if (isGone || this.#stop.signal.aborted) {
      this.#cases.delete(member);
      return;
    }
    const outcome = result === undefined ? 'unanswered' : result.doubt === undefined ? 'answered' : 'conflict';
    // A conflict was counted where it was found.
    if (outcome !== 'conflict') counters.add('cmbs_member_claims', { outcome });
    if (outcome !== 'answered') {
      log.warn('claim about a member not confirmed; the known description is kept', { member, outcome });
    }
    this.#rest(one);
  }

  #rest(one: Case): void {
    const { clock } = this.#options;
    one.state = 'resting';
    one.times += 1;
    const restMs = backOff(one.times, VERIFICATION_FIRST_MS, VERIFICATION_MAX_MS, () => 1);
    one.cancelRest = clock.after(restMs, () => {
      if (one.asking === undefined) {
        this.#cases.delete(one.member);
        return;
      }
      one.state = 'waiting';
      this.#waiting.push(one);
      this.#next();
    });
  }

  /** Asks no more members; resolves when the last answer is in. */
  async close(): Promise<void> {
    this.#stop.abort();
    for (const { cancelRest } of this.#cases.values()) cancelRest();
    await Promise.all(this.#asking);
  }
}

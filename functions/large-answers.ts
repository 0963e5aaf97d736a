/**
 * Turns for large answers. Each holds a page of entities and takes the event loop for a while, so only some are made at
 * the same time; the others wait, and what is small goes between. A reader that does not read keeps its turn while
 * nobody else wants one.
 */
import { CmbsError, type Clock } from '@cmbs/shared';
import { MAX_PAGE_CHARS } from '@cmbs/shared/limits';
import type { OcciRequest, OcciResponse } from './request';

/**
 * Characters of all pages that are held at the same time. A function has 512 MiB, of which Node gives half to its heap.
 * A page is there as the documents' text, as values, and as the lease's second reading of an inbox, at two bytes a
 * character: 16 Mi × 3 × 2 bytes are 96 MiB, beside 60 MiB of the program and 64 MiB of caches.
 */
export const LARGE_ANSWERS_CHARS = 4 * MAX_PAGE_CHARS;
/** Large answers that wait for one of those to end, and milliseconds that each waits: below the caller's own patience. */
const MAX_LARGE_ANSWERS_WAITING = 1000;
const LARGE_ANSWER_WAIT_MS = 20_000;
/**
 * Milliseconds that a client may take for such a piece: when others wait for what its answer holds (13 KiB a second), and when nobody does.
 */
const STALLED_READER_MS = 5000;
const ANSWER_IDLE_MS = 30_000;

export interface LargeAnswersLimits {
  /** Large answers at the same time. */
  readonly atOnce: number;
  /** Large answers that wait for a turn; beyond, they are refused. */
  readonly waiting: number;
  /** Milliseconds that an answer waits for its turn before it is refused. */
  readonly waitMs: number;
  /** Milliseconds that a client may take to read a piece: when others wait for its turn, and when nobody does. */
  readonly stalledMs: number;
  readonly idleMs: number;
}

export const LARGE_ANSWERS_LIMITS: LargeAnswersLimits = {
  atOnce: LARGE_ANSWERS_CHARS / MAX_PAGE_CHARS,
  waiting: MAX_LARGE_ANSWERS_WAITING,
  waitMs: LARGE_ANSWER_WAIT_MS,
  stalledMs: STALLED_READER_MS,
  idleMs: ANSWER_IDLE_MS,
};

export class LargeAnswers {
  readonly limits: LargeAnswersLimits;
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #underWay = 0;

  constructor(clock: Clock, limits: LargeAnswersLimits = LARGE_ANSWERS_LIMITS) {
    this.#clock = clock;
    this.limits = limits;
  }

  /** Whether an answer waits for a turn. */
  get isContended(): boolean {
    return this.#waiting.size > 0;
  }

  /**
   * Resolves with what gives the turn back; when the signal aborts it goes back by itself. Rejects with `queue_full`
   * when no turn came in time, or too many wait.
   */
  async turn(signal: AbortSignal): Promise<() => void> {
    if (this.#underWay < this.limits.atOnce) this.#underWay += 1;
    else await this.#place(signal);
    let isMine = true;
    const leave = (): void => {
      signal.removeEventListener('abort', leave);
      if (!isMine) return;
      isMine = false;
      const [next] = this.#waiting;
      if (next === undefined) this.#underWay -= 1;
      else next();
    };
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
    return leave;
  }

  #place(signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.limits.waiting) return Promise.reject(tooMany());
    return new Promise((resolve, reject) => {
      const over = (settle: () => void) => (): void => {
        this.#waiting.delete(go);
        cancel();
        signal.removeEventListener('abort', giveUp);
        settle();
      };
      const go = over(resolve);
      const giveUp = over(() => reject(tooMany()));
      const cancel = this.#clock.after(this.limits.waitMs, giveUp);
      this.#waiting.add(go);
      signal.addEventListener('abort', giveUp, { once: true });
      if (signal.aborted) giveUp();
    });
  }
}

/** The turn of one answer. */
export interface LargeTurn {
  /** Whether the answer turned out large. */
  readonly isTaken: boolean;
  readonly claim: () => Promise<void>;
  /** Gives the turn back: there is nothing to answer yet. */
  readonly release: () => void;
}

/** Makes an answer that may turn out large; the turn that it took then ends when it is written, or cannot be made. */
export async function inTurn(
  { signal }: Pick<OcciRequest, 'signal'>,
  answers: LargeAnswers,
  make: (turn: LargeTurn) => Promise<OcciResponse>,
): Promise<OcciResponse> {
  let done: (() => void) | undefined;
  const turn: LargeTurn = {
    get isTaken() {
      return done !== undefined;
    },
    claim: async () => {
      done ??= await answers.turn(signal);
    },
    release: () => {
      done?.();
      done = undefined;
    },
  };
  try {
    const response = await make(turn);
    return done === undefined ? response : { ...response, done };
  } catch (error) {
    done?.();
    throw error;
  }
}

const tooMany = (): CmbsError =>
  new CmbsError(
    'queue_full',
    'Many large answers are under way; ask again later, or for smaller pages (?number=20).',
    {
      headers: { 'Retry-After': '2' },
    },
  );

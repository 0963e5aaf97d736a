/**
 * Turns for large answers. A large answer holds a page of entities in memory and blocks the event loop for a while, so
 * only a few are made at the same time and the others wait; small answers need no turn. A client that does not read
 * keeps its turn as long as no other answer waits for one.
 */
import { CmbsError, type Clock } from '@cmbs/shared';
import { MAX_PAGE_CHARS } from '@cmbs/shared/limits';
import type { OcciRequest, OcciResponse } from './request';

/**
 * Characters of all pages in memory at the same time. A function has 512 MiB, and Node gives half of that to the heap.
 * A page is in memory up to three times, at two bytes a character: the text of its documents, their values, and the
 * documents that an inbox reads again to lease them. 16 Mi × 3 × 2 bytes are 96 MiB, beside 60 MiB of the program and
 * 64 MiB of caches.
 */
export const LARGE_ANSWERS_CHARS = 4 * MAX_PAGE_CHARS;
/** Large answers that wait for a turn, and milliseconds of that wait: shorter than clients wait for an answer. */
const MAX_LARGE_ANSWERS_WAITING = 1000;
const LARGE_ANSWER_WAIT_MS = 20_000;
/**
 * Milliseconds in which a client must read a piece: while other answers wait for a turn (13 KiB a second), and otherwise.
 */
const STALLED_READER_MS = 5000;
const ANSWER_IDLE_MS = 30_000;

/** Limits of {@link LargeAnswers}. */
export interface LargeAnswersLimits {
  /** Large answers at the same time. */
  readonly atOnce: number;
  /** Large answers that wait for a turn; further ones are refused. */
  readonly waiting: number;
  /** Milliseconds that an answer waits for its turn before it is refused. */
  readonly waitMs: number;
  /** Milliseconds in which a client must read a piece: while other answers wait for a turn, and otherwise. */
  readonly stalledMs: number;
  readonly idleMs: number;
}

/** The default limits. */
export const LARGE_ANSWERS_LIMITS: LargeAnswersLimits = {
  atOnce: LARGE_ANSWERS_CHARS / MAX_PAGE_CHARS,
  waiting: MAX_LARGE_ANSWERS_WAITING,
  waitMs: LARGE_ANSWER_WAIT_MS,
  stalledMs: STALLED_READER_MS,
  idleMs: ANSWER_IDLE_MS,
};

/** Gives out the turns. */
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
   * Takes a turn. Resolves with a function that ends it; the turn also ends when the signal aborts.
   * @throws CmbsError `queue_full` when too many answers wait, or this one has waited too long
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
  /** Whether the answer has a turn, because it is large. */
  readonly isTaken: boolean;
  /** Takes a turn, once: the answer is large. */
  readonly claim: () => Promise<void>;
  /** Ends the turn, for an answer that has to wait for something else. */
  readonly release: () => void;
}

/** Makes an answer that may be large. Its turn ends when the answer is written, or when making it fails. */
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
    'Too many large answers are being sent; repeat the request later, or ask for smaller pages (?number=20).',
    {
      headers: { 'Retry-After': '2' },
    },
  );

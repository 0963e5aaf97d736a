/**
 * The rules for single entities. A page of a listing asks for the rules of very many entities at the same time, and few
 * entities have any: then all rules for entities of the collection are read together.
 */
import type { Kept } from './kept';
import type { Rule } from './rule';
import { entityOf } from './targets';

/** Targets in one collection that are asked for at the same time, from which on their rules are read together. */
const MIN_TOGETHER = 8;
/** Rules for entities of one collection that are read together, at most. */
export const MAX_TOGETHER = 64;

export interface EntityRulesParts {
  /** The rules for one target. */
  readonly one: (target: string) => Promise<Kept<readonly Rule[]>>;
  /** The rules for the entities right below a level; undefined if there are more than {@link MAX_TOGETHER}. */
  readonly all: (level: string) => Promise<Kept<readonly Rule[] | undefined>>;
}

interface Asking {
  readonly target: string;
  readonly answer: (rules: Promise<Kept<readonly Rule[]>>) => void;
}

export class EntityRules {
  readonly #parts: EntityRulesParts;
  /** Questions of this turn, by level. */
  #asking = new Map<string, Asking[]>();

  constructor(parts: EntityRulesParts) {
    this.#parts = parts;
  }

  get(target: string, level: string): Promise<Kept<readonly Rule[]>> {
    return new Promise((answer) => {
      // All questions that are on their way already come before the microtask.
      if (this.#asking.size === 0) queueMicrotask(() => this.#answerAll());
      const asking = this.#asking.get(level);
      if (asking === undefined) this.#asking.set(level, [{ target, answer }]);
      else asking.push({ target, answer });
    });
  }

  #answerAll(): void {
    const all = this.#asking;
    this.#asking = new Map();
    for (const [level, asking] of all) {
      for (const { target, answer } of asking) {
        answer(asking.length < MIN_TOGETHER ? this.#parts.one(target) : this.#together(target, level));
      }
    }
  }

  async #together(target: string, level: string): Promise<Kept<readonly Rule[]>> {
    const { value: rules, until } = await this.#parts.all(level);
    if (rules === undefined) return this.#parts.one(target);
    return { value: rules.filter((rule) => rule.target === target), until };
  }
}

/** The level right above a target that names one entity; undefined for other targets. */
export function levelAbove(target: string): string | undefined {
  return entityOf(target) === undefined ? undefined : target.slice(0, target.lastIndexOf('/') + 1);
}

/** What the demo claims, it checks: a statement that does not hold ends it. */
import { isDeepStrictEqual } from 'node:util';
import type { Narrator } from './terminal';

/** Names what differs. */
export class Differs extends Error {
  override readonly name = 'Differs';
}

export interface Statements {
  /** Tells the statement when the values are equal; throws {@link Differs} otherwise. */
  check(statement: string, actual: unknown, expected: unknown): void;
  /** Statements that held so far. */
  readonly count: number;
}

export function statements(narrator: Pick<Narrator, 'holds'>): Statements {
  let count = 0;
  return {
    check(statement, actual, expected) {
      if (!isDeepStrictEqual(actual, expected)) {
        throw new Differs(
          `Not so: ${statement}\n  expected ${JSON.stringify(expected)}\n  but was  ${JSON.stringify(actual)}`,
        );
      }
      count += 1;
      narrator.holds(statement);
    },
    get count() {
      return count;
    },
  };
}

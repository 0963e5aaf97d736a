/** The demo checks its statements and ends at the first one that does not hold. */
import { isDeepStrictEqual } from 'node:util';
import type { Narrator } from './terminal';

/** A statement does not hold; the message says what differs. */
export class Differs extends Error {
  override readonly name = 'Differs';
}

export interface Statements {
  /** Shows the statement when the values are equal. @throws Differs when they are not */
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
          `This does not hold: ${statement}\n  expected ${JSON.stringify(expected)}\n  but was  ${JSON.stringify(actual)}`,
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

/** Runs the cases of the bench one after the other. If a case fails, the figures of the others are kept. */
import type { Row, Unmeasured } from './rounds';

export type Cases = Readonly<Record<string, () => Promise<readonly (Row | Unmeasured)[]>>>;

export interface Failure {
  /** Name of the case. */
  readonly name: string;
  /** The first line of its error. */
  readonly why: string;
}

export interface Outcome {
  readonly rows: readonly (Row | Unmeasured)[];
  readonly failures: readonly Failure[];
}

/** Runs the named cases, or all without a name; `tell` gets a line for each start, and the stack of each error. */
export async function runCases(
  cases: Cases,
  names: readonly string[],
  tell: (line: string) => void,
): Promise<Outcome> {
  const rows: (Row | Unmeasured)[] = [];
  const failures: Failure[] = [];
  for (const [name, run] of Object.entries(cases)) {
    if (names.length > 0 && !names.includes(name)) continue;
    tell(`${name} …`);
    try {
      rows.push(...(await run()));
    } catch (error) {
      const text = String(error instanceof Error ? (error.stack ?? error.message) : error);
      tell(text);
      failures.push({ name, why: text.split('\n', 1).join() });
    }
  }
  return { rows, failures };
}

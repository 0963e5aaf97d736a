/**
 * Ratios that are stable on a noisy machine: the contestants run in turn, for several rounds in one process, each
 * round in another order. The result is the median of the ratios of all rounds. Absolute figures are shown but not
 * compared.
 */

/** A contestant; `run` returns operations per second, or another figure of which more is better, for one round. */
export interface Contestant {
  readonly name: string;
  readonly run: () => Promise<number>;
}

/** A ratio, ours divided by the other's, with its meaning. */
export interface Row {
  readonly what: string;
  readonly ours: number;
  readonly against: string;
  readonly other: number;
  /** Unit of both figures. */
  readonly unit: string;
  readonly ratio: number;
  /** The lowest and the highest ratio of a round. */
  readonly low: number;
  readonly high: number;
  readonly aim?: Aim;
  /** One sentence that says what limits a ratio without an aim, or a ratio that misses its aim. */
  readonly limit?: string;
  /** One sentence on how the two differ in what they do. */
  readonly note?: string;
}

/** A row without figures, because the counterpart is not on this machine. */
export interface Unmeasured {
  readonly what: string;
  readonly against: string;
  readonly why: string;
}

export interface Aim {
  readonly kind: 'at least' | 'at most';
  readonly ratio: number;
}

export const atLeast = (ratio: number): Aim => ({ kind: 'at least', ratio });
export const atMost = (ratio: number): Aim => ({ kind: 'at most', ratio });

export function isMet({ aim, ratio }: Pick<Row, 'aim' | 'ratio'>): boolean {
  if (aim === undefined) return true;
  return aim.kind === 'at least' ? ratio >= aim.ratio : ratio <= aim.ratio;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** Unmeasured rounds at the start, so that hot code is compiled at both ends. */
const WARM_UPS = 3;

/** Runs each contestant a few times unmeasured, then `rounds` times in turn. */
export async function inTurn(
  contestants: readonly Contestant[],
  rounds: number,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const figures = new Map(contestants.map(({ name }): [string, number[]] => [name, []]));
  for (const { run } of contestants) for (let at = 0; at < WARM_UPS; at++) await run();
  for (let round = 0; round < rounds; round++) {
    const order = contestants.map((_, at) => contestants[(at + round) % contestants.length] as Contestant);
    for (const { name, run } of order) figures.get(name)?.push(await run());
  }
  return figures;
}

export interface Comparison {
  readonly what: string;
  readonly unit: string;
  readonly ours: string;
  readonly against: string;
  readonly aim?: Aim;
  readonly limit?: string;
  readonly note?: string;
}

/** The row of two contestants that ran in turn. */
export function compared(
  figures: ReadonlyMap<string, readonly number[]>,
  { ours, against, ...rest }: Comparison,
): Row {
  const mine = figures.get(ours) ?? [];
  const theirs = figures.get(against) ?? [];
  const ratios = mine.map((figure, round) => figure / (theirs[round] ?? NaN));
  return {
    ...rest,
    against,
    ours: median(mine),
    other: median(theirs),
    ratio: median(ratios),
    low: Math.min(...ratios),
    high: Math.max(...ratios),
  };
}

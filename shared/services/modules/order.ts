/** The order in which modules start. */

/** What decides about a module's place. */
export interface Startable {
  readonly name: string;
  /** Lower numbers start first. */
  readonly priority: number;
  /** Names of modules that must have started before. */
  readonly depends: readonly string[];
}

export interface StartOrder<M extends Startable> {
  readonly order: readonly M[];
  /** Modules that depend on each other in a circle, with the circle. */
  readonly circles: ReadonlyMap<string, readonly string[]>;
}

/**
 * A module comes after those that it depends on; among modules that may start, the lowest priority comes first, then the
 * first name. Dependencies that are not among the modules do not count here.
 */
export function startOrder<M extends Startable>(modules: readonly M[]): StartOrder<M> {
  const left = new Map(modules.map((module) => [module.name, module]));
  const order: M[] = [];
  for (;;) {
    const free = [...left.values()].filter(({ depends }) => !depends.some((name) => left.has(name)));
    const first = free.sort(byPriority)[0];
    if (first === undefined) break;
    left.delete(first.name);
    order.push(first);
  }
  const circles = new Map<string, readonly string[]>();
  const behind: M[] = [];
  for (const module of left.values()) {
    const circle = circleThrough(module.name, left);
    if (circle === undefined) behind.push(module);
    else circles.set(module.name, circle);
  }
  // They depend on a module of a circle, which will not start, and are told so when their turn comes.
  return { order: [...order, ...behind.sort(byPriority)], circles };
}

const byPriority = (a: Startable, b: Startable): number =>
  a.priority - b.priority || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** The names from a module back to itself; undefined when no way leads back. */
function circleThrough(name: string, modules: ReadonlyMap<string, Startable>): readonly string[] | undefined {
  const seen = new Set<string>();
  const ways: string[][] = [[name]];
  for (let way = ways.pop(); way !== undefined; way = ways.pop()) {
    for (const next of modules.get(way.at(-1) ?? '')?.depends ?? []) {
      if (next === name) return [...way, name];
      if (seen.has(next) || !modules.has(next)) continue;
      seen.add(next);
      ways.push([...way, next]);
    }
  }
  return undefined;
}

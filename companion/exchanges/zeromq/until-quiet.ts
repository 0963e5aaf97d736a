/** Waiting for what ZeroMQ has received and not handed over yet; it offers no way to ask without taking. */

/**
 * Resolves when two turns of the event loop have passed in which `count` did not change and nothing was under way, or
 * when `isLate`: what had reached the process before has then reached its reader.
 */
export function untilQuiet(count: () => number, underWay: () => number, isLate: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    let seen = count();
    let quietTurns = 0;
    const turn = (): void => {
      const now = count();
      quietTurns = now === seen && underWay() === 0 ? quietTurns + 1 : 0;
      seen = now;
      if (quietTurns >= 2 || isLate()) resolve();
      else setImmediate(turn);
    };
    setImmediate(turn);
  });
}

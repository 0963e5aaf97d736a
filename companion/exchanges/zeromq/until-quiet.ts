/** Waits for messages that ZeroMQ has received and not handed over. ZeroMQ has no call that tells without receiving. */

/**
 * Resolves when `count` did not change in two turns of the event loop and nothing was under way, or when `isLate`. Then
 * the messages that had reached the process have reached their reader.
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

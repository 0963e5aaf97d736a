/** Runs `work` on every item, at most `limit` at a time. After a failure no more work starts; rejects when all has ended. */
export async function concurrently<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = [...items].reverse();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    while (failures.length === 0) {
      if (waiting.length === 0) return;
      try {
        await work(waiting.pop() as T);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, waiting.length) }, worker));
  if (failures.length > 0) throw failures[0];
}

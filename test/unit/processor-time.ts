/**
 * Milliseconds of processor time within which an algorithm in linear time ends, on a slow and busy machine. The inputs of
 * these tests are so large that one in quadratic time takes minutes.
 */
export const LINEAR_MS = 15_000;

/**
 * Milliseconds of processor time that the work took in this process. On a busy machine, wall-clock time says
 * nothing about the work.
 */
export function processorMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

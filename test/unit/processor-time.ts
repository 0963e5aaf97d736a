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

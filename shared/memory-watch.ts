/** A bound on the memory of this process: beyond it the program hands over and is started again. */
import type { Clock } from './clock';

/** Milliseconds between two looks at the memory, and looks in a row that have to be above the limit. */
const MEMORY_LOOK_MS = 500;
const MEMORY_LOOKS = 2;

export interface MemoryWatchOptions {
  /** Megabytes (1024 * 1024 bytes) of resident memory; 0 for no limit. */
  readonly limitMb: number;
  readonly clock: Clock;
  /** Called once, with the megabytes in use, when the limit was exceeded at several looks in a row. */
  readonly onExceeded: (usedMb: number) => void;
  /** Bytes of resident memory; the operating system's figure by default. */
  readonly resident?: () => number;
}

/** Starts to watch; returns what ends that. A single peak, as one large request makes, is let pass. */
export function watchMemory({
  limitMb,
  clock,
  onExceeded,
  resident = () => process.memoryUsage.rss(),
}: MemoryWatchOptions): () => void {
  if (limitMb === 0) return () => undefined;
  let above = 0;
  let cancel = (): void => undefined;
  const look = (): void => {
    const usedMb = Math.round(resident() / (1024 * 1024));
    above = usedMb > limitMb ? above + 1 : 0;
    if (above >= MEMORY_LOOKS) {
      onExceeded(usedMb);
      return;
    }
    cancel = clock.after(MEMORY_LOOK_MS, look);
  };
  cancel = clock.after(MEMORY_LOOK_MS, look);
  return () => cancel();
}

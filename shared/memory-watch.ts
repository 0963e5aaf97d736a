/** Watches the memory of this process, so that a program can stop and be restarted before memory runs out. */
import type { Clock } from './clock';

/** Milliseconds between two measurements, and measurements in a row above the limit that count. */
const MEMORY_LOOK_MS = 500;
const MEMORY_LOOKS = 2;

export interface MemoryWatchOptions {
  /** Megabytes (1024 * 1024 bytes) of resident memory; 0 for no limit. */
  readonly limitMb: number;
  readonly clock: Clock;
  /** Called once, with the megabytes in use, after several measurements in a row above the limit. */
  readonly onExceeded: (usedMb: number) => void;
  /** Bytes of resident memory; the operating system's figure by default. */
  readonly resident?: () => number;
}

/** Starts the watch; returns a function that ends it. A single peak, as of one large request, does not count. */
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

/** Waits of tests: each ends with an event, or with an error that names the missing event. */
import { PATIENCE_MS } from './patience';

/** `promise`, or an error that names the missing event after the deadline. */
export async function within<T>(promise: Promise<T>, what: string, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when `listener` was called with a value that `wanted` accepts. */
export function next<T>(
  subscribe: (listener: (value: T) => void) => () => void,
  wanted: (value: T) => boolean,
  what: string,
): Promise<void> {
  let stop = (): void => undefined;
  const seen = new Promise<void>((resolve) => {
    stop = subscribe((value) => {
      if (wanted(value)) resolve();
    });
  });
  return within(seen, what).finally(() => stop());
}

/** Milliseconds between two looks at a condition; a busier loop would take the processor from what it waits for. */
const LOOK_AGAIN_MS = 2;

/** Resolves soon after `condition` holds. */
export async function becomes(condition: () => boolean, what: string, ms = PATIENCE_MS): Promise<void> {
  const started = performance.now();
  while (!condition()) {
    if (performance.now() - started > ms) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

/** A promise and the function that resolves it. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}

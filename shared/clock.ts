/**
 * Time, randomness and identifiers are passed in, never reached for: a test can hold the clock still and a
 * replayed transaction makes the same decision twice.
 */
import { randomUUID } from 'node:crypto';

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Runs `task` once after `delayMs`; the returned function cancels it. Does not keep the process alive. */
  after(delayMs: number, task: () => void): () => void;
}

/** A source of fresh identifiers (random UUIDs, RFC 9562 version 4). */
export type NewId = () => string;

export const systemClock: Clock = {
  now: () => Date.now(),
  after: (delayMs, task) => {
    const timer = setTimeout(task, delayMs);
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};

export const newId: NewId = () => randomUUID();

/** Sortable text of a time in milliseconds: lexical order is time order until the year 5138. */
export function orderKey(timeMs: number, tieBreak = ''): string {
  const padded = Math.trunc(timeMs).toString().padStart(14, '0');
  return tieBreak === '' ? padded : `${padded}-${tieBreak}`;
}

/** Texts of modules in the log. */
import { inspect } from 'node:util';
import { describeError } from '../../errors';
import { MAX_LINE_CHARS } from './limits';

/** A text on one line, so that it cannot forge another line. */
export function singleLine(value: unknown): string {
  const text = typeof value === 'string' ? value : value instanceof Error ? describeError(value) : inspect(value);
  return text.slice(0, MAX_LINE_CHARS).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

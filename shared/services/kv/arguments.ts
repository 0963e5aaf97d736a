/** Checks of arguments, which come from modules and from remote callers. */
import type { z } from 'zod';
import { Fault, FAULT } from '../fault';
import { fitsI8, type Value } from '../value';
import { wholeIn } from './database';

const wrong = (what: string): Fault => new Fault(FAULT.invalidParams, what);

/** @param what names the argument, such as `the key` */
export function textIn(args: readonly Value[], at: number, what: string): string {
  const value = args[at];
  if (typeof value !== 'string') throw wrong(`Argument ${at + 1} is ${what}, a string.`);
  return value;
}

/** The number to add: 1 when absent. */
export function stepIn(value: Value | undefined): bigint {
  const whole = value === undefined || value === null ? 1n : wholeIn(value);
  if (whole === undefined || !fitsI8(whole)) throw wrong('An increment is a whole number of at most 64 bits.');
  return whole;
}

/** An argument that a schema describes. */
export function argumentIn<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? what : `${what}.${issue.path.join('.')}`;
  throw wrong(`${where}: ${issue?.message ?? 'it is wrong'}.`);
}

/** @throws Fault for fewer or more arguments */
export function requireCount(args: readonly Value[], least: number, most: number): void {
  if (args.length >= least && args.length <= most) return;
  throw wrong(`This takes ${least === most ? least : `${least} to ${most}`} arguments, not ${args.length}.`);
}

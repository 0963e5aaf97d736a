/** Reads the arguments of methods and of functions for modules. */
import { z } from 'zod';
import type { ExactJson } from '../../exact-json';
import { Fault, FAULT } from '../fault';
import { jsonOf, type Value } from '../value';

/** Any value as JSON: bytes are text in base64, times as in RFC 3339. */
export const anyJson = z.custom<ExactJson>((value) => value !== undefined);
/** An object of JSON values with any names. */
export const anyObject = z.custom<Readonly<Record<string, ExactJson>>>(
  (value) => z.looseObject({}).safeParse(value).success,
  'takes an object',
);
/** A text for a path, a name or a key; the domain has the exact rules. */
export const shortText = z.string().min(1).max(1000);

/** @throws Fault -32602 for values that JSON cannot carry, or that are nested too deeply */
function jsonArguments(args: readonly Value[], form: string): readonly ExactJson[] {
  try {
    return args.map((value) => jsonOf(value));
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown;
    const text = `The arguments of ${form} are no JSON values, or are nested too deeply.`;
    throw new Fault(FAULT.invalidParams, text, undefined, { cause: thrown });
  }
}

/**
 * The arguments of a call, by the schema of a tuple.
 * @param form of the call, for the caller: `message.read(member, options)`
 * @throws Fault -32602
 */
export function argumentsOf<T>(schema: z.ZodType<T>, args: readonly Value[], form: string): T {
  const read = schema.safeParse(jsonArguments(args, form));
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const place = issue === undefined || issue.path.length === 0 ? '' : ` at ${issue.path.slice(0, 4).join('.')}`;
  throw new Fault(
    FAULT.invalidParams,
    `The arguments do not fit ${form}: ${issue?.message ?? 'they are wrong'}${place}.`.slice(0, 500),
  );
}

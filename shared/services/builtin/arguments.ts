/** Reads the arguments of methods and of functions for modules. */
import { z } from 'zod';
import type { ExactJson } from '../../exact-json';
import { Fault, FAULT } from '../fault';
import { asType, jsonOf, type Value } from '../value';

/** Any value as JSON: bytes are text in base64, times as in RFC 3339. */
export const anyJson = z.custom<ExactJson>((value) => value !== undefined);
/** An object of JSON values with any names. */
export const anyObject = z.custom<Readonly<Record<string, ExactJson>>>(
  (value) => z.looseObject({}).safeParse(value).success,
  'takes an object',
);
/** A text for a path, a name or a key; the domain has the exact rules. */
export const shortText = z.string().min(1).max(1000);

/** Bytes, which a caller of JSON-RPC writes as text in base64. */
export const bytesArgument = z.unknown().transform((given, check): Uint8Array => {
  const bytes = asType('base64', given as Value);
  if (bytes instanceof Uint8Array) return bytes;
  check.addIssue({ code: 'custom', message: 'takes bytes, in base64' });
  return z.NEVER;
});

/**
 * The arguments of a call, by the schema of a tuple.
 * @param usage says what the method takes, as "read takes a name, …"
 * @throws Fault -32602
 */
export function argumentsOf<T extends z.ZodType>(schema: T, args: readonly Value[], usage: string): z.output<T> {
  const parsed = schema.safeParse([...args]);
  if (parsed.success) return parsed.data;
  const problem = problemOf(parsed.error);
  throw new Fault(FAULT.invalidParams, `${usage}${problem === '' ? '' : ` A${problem.slice(1)}`}`.slice(0, 500));
}

/** What is wrong, and where: `argument 1: layer: expected …`; empty when it is about no argument in particular. */
function problemOf({ issues: [issue] }: z.ZodError): string {
  const [at, ...path] = issue?.path.slice(0, 4) ?? [];
  if (issue === undefined || typeof at !== 'number') return '';
  return `${[`argument ${at + 1}`, path.join('.'), issue.message].filter((part) => part !== '').join(': ')}.`;
}

/** @throws Fault -32602 for values that JSON cannot carry, or that are nested too deeply */
function asJson(args: readonly Value[], form: string): readonly ExactJson[] {
  try {
    return args.map((value) => jsonOf(value));
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown;
    const text = `The arguments of ${form} are no JSON values, or are nested too deeply.`;
    throw new Fault(FAULT.invalidParams, text, undefined, { cause: thrown });
  }
}

/**
 * As {@link argumentsOf}, of arguments as JSON.
 * @param form of the call, for the caller: `message.read(member, options)`
 * @throws Fault -32602
 */
export function jsonArgumentsOf<T>(schema: z.ZodType<T>, args: readonly Value[], form: string): T {
  const read = schema.safeParse(asJson(args, form));
  if (read.success) return read.data;
  const problem = problemOf(read.error);
  const text = `The arguments do not fit ${form}${problem === '' ? '.' : `; ${problem}`}`;
  throw new Fault(FAULT.invalidParams, text.slice(0, 500));
}

/** Reads the arguments of a method of a built-in module. */
import { z } from 'zod';
import { Fault, FAULT } from '../fault';
import { asType, type Value } from '../value';

/** Bytes, which a caller of JSON-RPC writes as text in base64. */
export const bytesArgument = z.unknown().transform((given, check): Uint8Array => {
  const bytes = asType('base64', given as Value);
  if (bytes instanceof Uint8Array) return bytes;
  check.addIssue({ code: 'custom', message: 'takes bytes, in base64' });
  return z.NEVER;
});

/**
 * The arguments in their types.
 * @param usage says what the method takes, as "read takes a name, …"
 * @throws Fault -32602
 */
export function argumentsOf<T extends z.ZodType>(schema: T, args: readonly Value[], usage: string): z.output<T> {
  const parsed = schema.safeParse([...args]);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path[0];
  const at = typeof where === 'number' ? ` Argument ${where + 1}: ${issue?.message ?? 'wrong'}.` : '';
  throw new Fault(FAULT.invalidParams, `${usage}${at}`);
}

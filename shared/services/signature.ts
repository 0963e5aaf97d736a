/** The arguments of a call against the signatures of its method. */
import { Fault, FAULT } from './fault';
import type { ServiceMethod } from './module';
import { asType, typeOf, type Value } from './value';

/** Characters of the signatures that a fault shows. */
const MAX_SHOWN = 500;

/** Arguments that fit a signature. */
export interface Fitted {
  /** Text in base64 and times as text have become bytes and dates where the signature says so. */
  readonly args: readonly Value[];
  /** Type of the result; absent where signatures differ and none of them fits. */
  readonly type?: string;
}

/**
 * Fits arguments to the first signature that takes them.
 * @throws Fault -32602 when none takes them, unless the method takes any arguments
 */
export function fitted(
  methodName: string,
  { signatures, flags }: Pick<ServiceMethod, 'signatures' | 'flags'>,
  args: readonly Value[],
): Fitted {
  for (const [type = 'any', ...types] of signatures) {
    const values = types.length === args.length ? valuesOf(types, args) : undefined;
    if (values !== undefined) return { args: values, type };
  }
  if (flags?.anyArguments !== true) {
    const taken = signatures.map(([, ...types]) => `(${types.join(', ')})`).join(' or ');
    const given = `(${args.map(typeOf).join(', ')})`;
    throw new Fault(FAULT.invalidParams, `${methodName} takes ${shown(taken)}, not ${shown(given)}.`);
  }
  const results = new Set(signatures.map(([type]) => type));
  const [only] = results;
  return results.size === 1 && only !== undefined ? { args, type: only } : { args };
}

function valuesOf(types: readonly string[], args: readonly Value[]): readonly Value[] | undefined {
  const values: Value[] = [];
  for (const [at, type] of types.entries()) {
    const value = asType(type, args[at] as Value);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values;
}

const shown = (text: string): string => (text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`);

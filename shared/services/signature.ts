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
 * @param options `hasAllTypes`: the format of the call has bytes and times of its own, so that text is text
 * @throws Fault -32602 when none takes them, unless the method takes any arguments
 */
export function fitted(
  methodName: string,
  { signatures, flags }: Pick<ServiceMethod, 'signatures' | 'flags'>,
  args: readonly Value[],
  { hasAllTypes = false } = {},
): Fitted {
  for (const [type = 'any', ...types] of signatures) {
    const values = types.length === args.length ? valuesOf(types, args, hasAllTypes) : undefined;
    if (values !== undefined) return { args: values, type };
  }
  if (flags?.anyArguments !== true) {
    const taken = signatures.map(([, ...types]) => `(${types.join(', ')})`).join(' or ');
    const given = `(${args.map(typeOf).join(', ')})`;
    const text = `${methodName} takes ${shown(taken)}, not ${shown(given)}.${hasAllTypes ? '' : textHint(signatures, args)}`;
    throw new Fault(FAULT.invalidParams, text);
  }
  const results = new Set(signatures.map(([type]) => type));
  const [only] = results;
  return results.size === 1 && only !== undefined ? { args, type: only } : { args };
}

function valuesOf(
  types: readonly string[],
  args: readonly Value[],
  hasAllTypes: boolean,
): readonly Value[] | undefined {
  const values: Value[] = [];
  for (const [at, type] of types.entries()) {
    if (hasAllTypes && typeof args[at] === 'string' && Object.hasOwn(TEXT_FORMS, type)) return undefined;
    const value = asType(type, args[at] as Value);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values;
}

/** Forms of the types that are written as text where a format does not have them. */
const TEXT_FORMS = {
  base64: ' As text, base64 has padding: "aGVsbG8=".',
  'dateTime.iso8601': ' As text, a time is one such as "2030-01-31T12:00:00Z".',
};

/** How an argument is written, where a text was given in place of bytes or a time. */
function textHint(signatures: ServiceMethod['signatures'], args: readonly Value[]): string {
  const types = new Set(signatures.flatMap(([, ...all]) => all.filter((_, at) => typeof args[at] === 'string')));
  return Object.entries(TEXT_FORMS)
    .filter(([type]) => types.has(type))
    .map(([, text]) => text)
    .join('');
}

const shown = (text: string): string => (text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`);

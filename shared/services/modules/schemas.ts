/**
 * Signatures of a module with schemas in place of names of types, in the thread of the module: those of zod, or any other
 * that follows Standard Schema (https://standardschema.dev, version 1). Callers see names of types and JSON Schemas.
 */
import { Fault, FAULT } from '../fault';
import type { Method, Schema, Value } from './kit';

/** Characters of a fault about arguments. */
const MAX_TEXT = 1000;

type Element = string | Schema;

/** A signature as the program knows it. */
export interface DescribedSignature {
  readonly types: readonly string[];
  /** JSON Schemas in the place of schemas; null for names of types, and for schemas that JSON Schema cannot say. */
  readonly schemas: readonly (object | null)[];
}

/** Whether a value of a module is a schema. */
function isSchema(value: unknown): value is Schema {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  const standard: unknown = (value as { readonly '~standard'?: unknown })['~standard'];
  return (
    typeof standard === 'object' &&
    standard !== null &&
    (standard as { readonly version?: unknown }).version === 1 &&
    typeof (standard as { readonly validate?: unknown }).validate === 'function'
  );
}

/** Whether any element of the signatures is a schema. Other signatures are passed on as they are. */
export function hasSchemas(signatures: unknown): signatures is readonly (readonly Element[])[] {
  return (
    Array.isArray(signatures) &&
    signatures.some((one: unknown) => Array.isArray(one) && (one as readonly unknown[]).some(isSchema))
  );
}

/** @throws Error for an element that is neither the name of a type nor a schema */
export function describeSignature(signature: readonly Element[]): DescribedSignature {
  const schemas = signature.map((element, at) => {
    if (isSchema(element)) return jsonSchemaOf(element, at === 0 ? 'output' : 'input');
    if (typeof element !== 'string') throw new Error('A signature has names of types and schemas.');
    return null;
  });
  const types = signature.map((element, at) =>
    typeof element === 'string' ? element : typeIn(schemas[at] ?? null),
  );
  return { types, schemas };
}

/** The JSON Schema of a schema; null where there is none, as for bytes and times. */
function jsonSchemaOf(schema: Schema, side: 'input' | 'output'): object | null {
  const { jsonSchema } = schema['~standard'];
  if (jsonSchema === undefined) return null;
  try {
    const { $schema: _dialect, ...described } = jsonSchema[side]({ target: 'draft-07' });
    return described;
  } catch {
    // The schema has something that JSON Schema cannot say; Standard Schema reports that by an error.
    return null;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'string',
  integer: 'i8',
  number: 'double',
  boolean: 'boolean',
  array: 'array',
  object: 'struct',
  null: 'nil',
};

/** The type of a signature for the values that a JSON Schema describes; `any` where there are several. */
function typeIn(schema: object | null): string {
  const { type } = (schema ?? {}) as { readonly type?: unknown };
  return typeof type === 'string' && Object.hasOwn(TYPES, type) ? (TYPES[type] ?? 'any') : 'any';
}

/** The outcome of a schema: a value, or what is wrong with it. */
async function validated(
  schema: Schema,
  value: unknown,
): Promise<{ readonly value: unknown } | { readonly problem: string }> {
  const result = await schema['~standard'].validate(value);
  if (result.issues === undefined) return { value: result.value };
  const [issue] = result.issues;
  const path = (issue?.path ?? []).map((key) => String(typeof key === 'object' && 'key' in key ? key.key : key));
  return { problem: `${path.length === 0 ? '' : `${path.join('.')}: `}${issue?.message ?? 'it is not valid'}` };
}

/**
 * Calls a method with arguments that its schemas have checked and changed, and checks the result.
 * @param call runs the method with the changed arguments
 * @throws Fault -32602 for arguments that fit no signature; Error for a result that its schema does not take
 */
export async function callChecked(
  { signatures }: Pick<Method, 'signatures'>,
  methodName: string,
  args: readonly Value[],
  call: (args: readonly Value[]) => Promise<unknown>,
): Promise<unknown> {
  let problem = 'their number is wrong';
  for (const signature of signatures) {
    if (typeof signature === 'string' || signature.length !== args.length + 1) continue;
    const [result, ...elements] = signature;
    const checked: unknown[] = [];
    let isFitting = true;
    for (const [at, element] of elements.entries()) {
      // The program has checked the types that have names.
      const outcome = isSchema(element) ? await validated(element, args[at]) : { value: args[at] };
      if ('problem' in outcome) {
        problem = `argument ${at + 1}: ${outcome.problem}`;
        isFitting = false;
        break;
      }
      checked.push(outcome.value);
    }
    if (!isFitting) continue;
    const answer = await call(checked as readonly Value[]);
    const outcome = isSchema(result) ? await validated(result, answer) : { value: answer };
    if ('problem' in outcome) {
      throw new Error(`The result of ${methodName} does not fit its signature: ${outcome.problem}`);
    }
    return outcome.value;
  }
  throw new Fault(FAULT.invalidParams, `The arguments of ${methodName} are wrong; ${problem}.`.slice(0, MAX_TEXT));
}

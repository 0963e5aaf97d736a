/** The description of the methods in OpenRPC 1.3 (https://spec.open-rpc.org), which `rpc.discover` returns. */
import type { JsonObject } from '../json';
import { VERSION } from '../version';
import type { MethodDescription } from './services';

const INT = { minimum: -(2 ** 31), maximum: 2 ** 31 - 1 };

/** JSON Schemas of the types of signatures, as JSON-RPC writes their values; every other type takes any value. */
const SCHEMAS: Readonly<Record<string, JsonObject>> = {
  int: { type: 'integer', ...INT },
  i4: { type: 'integer', ...INT },
  i8: { type: 'integer' },
  double: { type: 'number' },
  boolean: { type: 'boolean' },
  string: { type: 'string' },
  'dateTime.iso8601': { type: 'string', format: 'date-time' },
  base64: { type: 'string', contentEncoding: 'base64' },
  array: { type: 'array' },
  struct: { type: 'object' },
  nil: { type: 'null' },
};

/** Types whose values include those of the others: exactly one schema of `oneOf` may fit a value. */
const WIDER: readonly (readonly string[])[] = [
  ['double', 'i8', 'i4', 'int'],
  ['string', 'dateTime.iso8601', 'base64'],
];

function schemaOf(types: readonly string[]): JsonObject {
  const distinct = [...new Set(types)];
  if (distinct.some((type) => !Object.hasOwn(SCHEMAS, type))) return {};
  const isCovered = (type: string): boolean =>
    WIDER.some((row) => row.slice(0, Math.max(0, row.indexOf(type))).some((wider) => distinct.includes(wider)));
  const schemas = distinct.filter((type) => !isCovered(type)).map((type) => SCHEMAS[type] as JsonObject);
  const [only, ...more] = schemas;
  return only !== undefined && more.length === 0 ? only : { oneOf: schemas };
}

/** The schema of the values at a position of the signatures, of which 0 is the result. */
function schemaAt({ signatures, schemas }: MethodDescription, at: number): JsonObject {
  const given = signatures.flatMap((types, signature) =>
    types.slice(at, at + 1).map((type) => ({ type, own: schemas?.[signature]?.[at] ?? undefined })),
  );
  if (given.every(({ own }) => own === undefined)) return schemaOf(given.map(({ type }) => type));
  const all = given.map(({ type, own }) => own ?? schemaOf([type]));
  const [only, ...more] = all;
  // Schemas of a module may overlap.
  return only !== undefined && more.length === 0 ? only : { anyOf: all };
}

function methodOf(method: MethodDescription): JsonObject {
  const { name, documentation, signatures, flags } = method;
  const [summary = ''] = documentation.trim().split(/(?<=\.)\s/, 1);
  const most = Math.max(...signatures.map(({ length }) => length));
  const positions = Array.from({ length: most - 1 }, (_, at) => at + 1);
  return {
    name,
    summary,
    description: documentation,
    paramStructure: 'by-position',
    params: positions.map((at) => {
      const isOpen = flags.anyArguments === true;
      const isRequired = !isOpen && signatures.every(({ length }) => at < length);
      return { name: `argument${at}`, required: isRequired, schema: isOpen ? {} : schemaAt(method, at) };
    }),
    result: { name: 'result', schema: schemaAt(method, 0) },
    'x-signatures': signatures,
  };
}

/** The OpenRPC document of methods. A method with several signatures has `oneOf`, and `x-signatures` lists them. */
export function openRpcDocument(methods: readonly MethodDescription[]): JsonObject {
  return {
    openrpc: '1.3.2',
    info: {
      title: 'CMBS',
      version: VERSION,
      description: 'The methods of the service modules of this deployment.',
    },
    methods: methods.map(methodOf),
  };
}

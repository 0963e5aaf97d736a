/** SenML in CBOR (RFC 8428 §6). */
import { ExactNumber } from '../../exact-json';
import { plainDecimal } from '../../services';
import type { DeviceObjects } from '../objects/objects';
import { type Cbor, readCbor, writeCbor } from './cbor';
import { Allowance, type DeviceFormat, inFormat, type ParseOptions } from './format';
import { isLabel, LABELS, listOf, recordsOf, type SenmlForms, type SenmlRecord, type SenmlValue } from './senml';
import { checkOptional, packOf } from './senml-json';

const NAME = 'senml-cbor';
const LABEL_OF_NUMBER: ReadonlyMap<bigint, string> = new Map(
  Object.entries(LABELS).map(([label, number]) => [number, label]),
);

const FORMS: SenmlForms = {
  name: NAME,
  // A decimal fraction where a double is another number of nanoseconds.
  seconds: (decimal) => {
    if (!decimal.includes('.')) return BigInt(decimal);
    return plainDecimal(String(Number(decimal))) === decimal ? Number(decimal) : new ExactNumber(decimal);
  },
  data: (base64url) => Uint8Array.from(Buffer.from(base64url, 'base64url')),
};

/** The mapping is in `senml.ts`. Whole numbers are written as integers. */
export function senmlCbor(objects: DeviceObjects): DeviceFormat {
  return {
    name: NAME,
    mediaTypes: ['application/senml+cbor'],
    numbers: [112],
    parse: (bytes, options = {}) => inFormat(NAME, () => objects.make(read(bytes, options))),
    render: (object) => inFormat(NAME, () => writeCbor(recordsOf(object, FORMS).map(cborOf))),
  };
}

function read(bytes: Uint8Array, options: ParseOptions): ReturnType<typeof listOf> {
  const allowance = new Allowance(NAME, bytes, options);
  const records = packOf(readCbor(bytes, allowance), allowance).map((record) =>
    recordOf(record as Cbor, allowance),
  );
  return listOf(records, allowance, options.now);
}

function recordOf(value: Cbor, allowance: Allowance): SenmlRecord {
  if (!(value instanceof Map)) throw allowance.error('A record is a map.');
  const record = new Map<string, SenmlValue>();
  for (const [key, field] of value as ReadonlyMap<bigint | string, Cbor>) {
    const label = typeof key === 'bigint' ? (LABEL_OF_NUMBER.get(key) ?? String(key)) : key;
    if (!isLabel(label)) {
      checkOptional(label, allowance);
      continue;
    }
    if (field === null || Array.isArray(field) || field instanceof Map || record.has(label)) {
      throw allowance.error(`The field ${label} is one text, number, boolean or bytes.`);
    }
    record.set(label, field as SenmlValue);
  }
  return record;
}

function cborOf(record: SenmlRecord): Cbor {
  const entries = [...record].map(([label, value]): [bigint | string, Cbor] => {
    const key = isLabel(label) ? LABELS[label] : label;
    const isWhole = Number.isSafeInteger(value) && !Object.is(value, -0);
    return [key, isWhole ? BigInt(value as number) : value];
  });
  return new Map(entries);
}

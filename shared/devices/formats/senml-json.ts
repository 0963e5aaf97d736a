/** SenML in JSON (RFC 8428 §5). */
import { type ExactJson, ExactNumber, parseExactJson, stringifyExactJson } from '../../exact-json';
import { nestsWithin } from '../../json-depth';
import { exactOf } from '../../services';
import { DeviceFormatError, shown } from '../errors';
import type { DeviceObjects } from '../objects/objects';
import { Allowance, type DeviceFormat, inFormat, type ParseOptions, utf8 } from './format';
import { isLabel, listOf, recordsOf, type SenmlForms, type SenmlRecord, type SenmlValue } from './senml';

const NAME = 'senml-json';
/** An array, and an object in it. Fields that are not known may nest too. */
const MAX_DEPTH = 16;

const FORMS: SenmlForms = {
  name: NAME,
  seconds: (decimal) => new ExactNumber(decimal),
  data: (base64url) => base64url,
};

/**
 * The mapping is in `senml.ts`. Times are read with microseconds, as precise as a double; those of CBOR are exact.
 */
export function senmlJson(objects: DeviceObjects): DeviceFormat {
  return {
    name: NAME,
    mediaTypes: ['application/senml+json'],
    numbers: [110],
    parse: (bytes, options = {}) => inFormat(NAME, () => objects.make(read(bytes, options))),
    render: (object) =>
      inFormat(NAME, () => Buffer.from(stringifyExactJson(recordsOf(object, FORMS).map(jsonOf)))),
  };
}

function read(bytes: Uint8Array, options: ParseOptions): ReturnType<typeof listOf> {
  const allowance = new Allowance(NAME, bytes, options);
  const text = utf8(allowance, bytes);
  if (!nestsWithin(text, MAX_DEPTH)) throw allowance.error(`Fields nest at most ${MAX_DEPTH} levels deep.`);
  let value: ExactJson;
  try {
    value = parseExactJson(text);
  } catch (thrown) {
    throw allowance.error('The document is no JSON.', { cause: thrown });
  }
  const records = packOf(value, allowance).map((record) => recordOf(record as ExactJson, allowance));
  return listOf(records, allowance, options.now);
}

/** The records of a pack. @throws DeviceFormatError */
export function packOf(value: unknown, allowance: Allowance): readonly unknown[] {
  if (!Array.isArray(value)) throw allowance.error('A pack is an array of records.');
  const { maxObjects } = allowance.limits;
  if (value.length > maxObjects) throw allowance.error(`A pack has at most ${maxObjects} records.`);
  return value;
}

const isScalar = (value: ExactJson): value is string | boolean | number | ExactNumber =>
  ['string', 'boolean', 'number'].includes(typeof value) || value instanceof ExactNumber;

function recordOf(value: ExactJson, allowance: Allowance): SenmlRecord {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof ExactNumber) {
    throw allowance.error('A record is an object.');
  }
  const record = new Map<string, SenmlValue>();
  for (const [label, field] of Object.entries(value) as [string, ExactJson][]) {
    if (!isLabel(label)) {
      checkOptional(label, allowance);
      continue;
    }
    if (!isScalar(field)) throw allowance.error(`The field ${label} is a text, a number or a boolean.`);
    record.set(label, field);
  }
  return record;
}

/** Reports a field that is not known. @throws DeviceFormatError for one that has to be understood (§4.4) */
export function checkOptional(label: string, allowance: Allowance): void {
  if (label.endsWith('_'))
    throw allowance.error(`The field ${shown(label)} has to be understood, and is not known.`);
  allowance.unknown({ kind: 'field', name: label });
}

const jsonOf = (record: SenmlRecord): ExactJson =>
  Object.fromEntries([...record].map(([label, value]) => [label, jsonValue(value)]));

function jsonValue(value: SenmlValue): ExactJson {
  if (typeof value === 'bigint') return exactOf(value);
  if (Object.is(value, -0)) return new ExactNumber('-0');
  if (value instanceof Uint8Array) throw new DeviceFormatError(NAME, 'Data is in base64url.');
  return value;
}

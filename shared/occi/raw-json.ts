/**
 * Writes objects some of whose members are JSON text already. Attributes that are kept as raw JSON stay as they came, with
 * large numbers, number spellings and duplicate keys.
 */
import type { Json } from '../json';

/** JSON text to write unchanged. */
export class RawJson {
  /** @param text valid JSON; nothing checks it */
  constructor(readonly text: string) {}
}

/** A value for {@link stringifyJson}: JSON with raw text in it. A map is written as an object, in the order of its keys. */
export type JsonOutput = Json | RawJson | JsonOutputMap | readonly JsonOutput[] | JsonOutputObject;
export type JsonOutputMap = ReadonlyMap<string, JsonOutput>;
export interface JsonOutputObject {
  readonly [name: string]: JsonOutput | undefined;
}

/** Like `JSON.stringify`, but writes {@link RawJson} unchanged. Undefined members are left out. */
export function stringifyJson(value: JsonOutput): string {
  switch (typeof value) {
    case 'string':
      return stringifyString(value);
    case 'number':
    case 'boolean':
      return JSON.stringify(value);
    default:
      if (value === null) return 'null';
      if (value instanceof RawJson) return value.text;
      if (isList(value)) return stringifyList(value);
      return isMap(value) ? stringifyMap(value) : stringifyObject(value);
  }
}

function isList(value: object): value is readonly JsonOutput[] {
  return Array.isArray(value);
}

function isMap(value: object): value is JsonOutputMap {
  return value instanceof Map;
}

function stringifyList(list: readonly JsonOutput[]): string {
  let text = '';
  for (const item of list) text += (text === '' ? '[' : ',') + stringifyJson(item);
  return text === '' ? '[]' : text + ']';
}

function stringifyMap(map: JsonOutputMap): string {
  let text = '';
  for (const [name, value] of map) text += (text === '' ? '{' : ',') + stringifyMember(name, value);
  return text === '' ? '{}' : text + '}';
}

function stringifyObject(object: JsonOutputObject): string {
  let text = '';
  for (const name of Object.keys(object)) {
    const value = object[name];
    if (value !== undefined) text += (text === '' ? '{' : ',') + stringifyMember(name, value);
  }
  return text === '' ? '{}' : text + '}';
}

function stringifyMember(name: string, value: JsonOutput): string {
  return stringifyString(name) + ':' + stringifyJson(value);
}

/** Characters that may need an escape in a JSON string: quote, backslash, control characters, surrogates. */
const ESCAPED_IN_JSON = /[^ !#-[\]-\ud7ff\ue000-\uffff]/;

/** Most strings need no escape, and this test costs a third of `JSON.stringify`. */
function stringifyString(value: string): string {
  return ESCAPED_IN_JSON.test(value) ? JSON.stringify(value) : `"${value}"`;
}

/**
 * JSON in the text renderings. Their attributes are strings, numbers and booleans (GFD.229 §4), so a list, an object or
 * null is written as its JSON text in quotes. A string that would be read as such a text is itself written as JSON. Every
 * value is therefore read back unchanged.
 */
import type { Json } from '../../../json';
import { nestsWithin } from '../../../json-depth';
import { MAX_JSON_DEPTH } from '../../../limits';
import type { AttributeSpec } from '../../model';

/** The start of a list, an object, a string in quotes, or null. Numbers and booleans have no quotes in text. */
const BEGINNING = /^(?:[[{"]|null$)/;

function isJsonText(text: string): boolean {
  if (!BEGINNING.test(text) || !nestsWithin(text, MAX_JSON_DEPTH)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    // The string only begins like JSON.
    return false;
  }
}

/** The JSON text that a quoted string stands for, in an attribute that may hold any JSON. */
export function jsonTextOf(quoted: string): string {
  return isJsonText(quoted) ? quoted : JSON.stringify(quoted);
}

/** The string to quote for a JSON text other than a number or a boolean. Reverses {@link jsonTextOf}. */
export function quotableOf(json: string): string {
  if (!json.startsWith('"')) return json;
  const value = JSON.parse(json) as string;
  return isJsonText(value) ? json : value;
}

/** The value that an attribute from a text rendering stands for. */
export function valueFromText(value: Json, spec: AttributeSpec | undefined): Json {
  return typeof value === 'string' && spec?.type === 'any' ? (JSON.parse(jsonTextOf(value)) as Json) : value;
}

/** Reads the values that JSON bodies are made of. Every function throws `bad_request` that names the wrong value. */
import { badRequest, type CmbsError } from '../../../errors';
import { isJsonObject, type Json, type JsonObject } from '../../../json';
import { checkMemberName } from '../body';

/** Whether a value is given. Clients write null for values that they do not know, so null counts as absent. */
export function isPresent(value: Json | undefined): value is Exclude<Json, null> {
  return value !== undefined && value !== null;
}

/** @param where names the value, for example `"title" of the entity` */
export function wrong(where: string, expected: string): CmbsError {
  return badRequest(`${where} must be ${expected}; correct it.`);
}

export function readString(value: Json, where: string): string {
  if (typeof value !== 'string') throw wrong(where, 'a string');
  return value;
}

export function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

/** An absent list is empty. */
export function readList(value: Json | undefined, where: string): readonly Json[] {
  if (!isPresent(value)) return [];
  if (!isList(value)) throw wrong(where, 'a list');
  return value;
}

export function readStrings(value: Json | undefined, where: string): string[] {
  return readList(value, where).map((item) => {
    if (typeof item !== 'string') throw wrong(where, 'a list of strings');
    return item;
  });
}

export function readObjects(value: Json | undefined, where: string): JsonObject[] {
  return readList(value, where).map((item) => {
    if (!isJsonObject(item)) throw wrong(where, 'a list of objects');
    return item;
  });
}

/** The identifier of a category, if the value has one of the forms of {@link readIdentifier}. */
export function identifierIn(value: Json): string | undefined {
  if (typeof value === 'string') return value;
  if (!isJsonObject(value)) return undefined;
  const { term, scheme, category } = value;
  if (typeof term === 'string' && typeof scheme === 'string' && term !== '') return scheme + term;
  return typeof category === 'string' ? category : undefined;
}

/** A category as `"scheme#term"`, `{"term","scheme"}` or `{"category":"scheme#term"}`, the nested form of an action. */
export function readIdentifier(value: Json, where: string): string {
  const id = identifierIn(value);
  if (id !== undefined && id !== '') return id;
  throw wrong(where, 'a category identifier such as "http://schemas.ogf.org/occi/core#resource"');
}

export function readIdentifiers(value: Json | undefined, where: string): string[] {
  return readList(value, where).map((item) => readIdentifier(item, where));
}

/** An end of a link: a URL or path, or GFD.226's `{"location","kind"}`. */
export function readReference(value: Json, where: string): string {
  const location = isJsonObject(value) ? value.location : value;
  if (typeof location !== 'string' || location === '') throw wrong(where, 'a location or {"location","kind"}');
  return location;
}

/** The `attributes` of an object, with nested or flat names. */
export function readAttributes(value: Json | undefined, where: string): JsonObject {
  if (!isPresent(value)) return {};
  if (!isJsonObject(value)) throw wrong(`"attributes" of ${where}`, 'an object');
  Object.keys(value).forEach(checkMemberName);
  return value;
}

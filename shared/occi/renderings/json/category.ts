/** Reads categories from JSON: names and definitions, in the nested form or in GFD.226's. */
import { isJsonObject, type Json, type JsonObject } from '../../../json';
import { CORE_SCHEME, isCategoryClass, splitCategoryId, type CategoryClass } from '../../model';
import type { CategoryInput } from '../../payload';
import type { Mutable } from '../body';
import { isList, isPresent, readAttributes, readIdentifier, readIdentifiers, readString, wrong } from './values';

/**
 * @param categoryClass class that the place of the category implies; undefined for a category that is the whole body
 * @param byType dialect of definitions that do not show theirs
 * @param where names the category, for error messages
 * @throws CmbsError `bad_request`
 */
export function readCategoryInput(
  item: Json,
  categoryClass: CategoryClass | undefined,
  byType: CategoryInput['dialect'],
  where: string,
): CategoryInput {
  const named = namedCategory(item, where);
  if (named !== undefined) {
    return {
      ...named,
      ...(categoryClass === undefined ? {} : { class: categoryClass }),
      dialect: byType,
      given: [],
    };
  }
  if (!isJsonObject(item)) throw wrong(where, 'a category');
  const at = (key: string): string => `"${key}" of ${where}`;
  if (typeof item.term !== 'string' || item.term === '') throw wrong(at('term'), 'a string that is not empty');
  const known = categoryClass ?? statedClass(item, at('class'));
  const input: Mutable<CategoryInput> = {
    term: item.term,
    // Filters may name a term alone. A definition without a scheme is refused when it is checked.
    scheme: isPresent(item.scheme) ? readString(item.scheme, at('scheme')) : '',
    dialect: shownDialect(item) ?? byType,
    given: givenKeys(item, known),
  };
  if (known !== undefined) input.class = known;
  else input.likelyClass = likelyClass(item);
  for (const key of ['title', 'location'] as const) {
    const value = item[key];
    if (isPresent(value)) input[key] = readString(value, at(key));
  }
  for (const key of ['applies', 'actions'] as const) {
    if (isPresent(item[key])) input[key] = readIdentifiers(item[key], at(key));
  }
  if (isPresent(item.attributes)) input.attributes = readAttributes(item.attributes, where);
  // The nested form has one key, `related`, for the parent of a kind and for the dependencies of a mixin.
  if (known === undefined || known === 'kind') {
    const [parent] = oneOrMore(item.parent ?? item.related, at('parent'));
    if (parent !== undefined) input.parent = parent;
  }
  if ((known === undefined || known === 'mixin') && isPresent(item.depends ?? item.related)) {
    input.depends = oneOrMore(item.depends ?? item.related, at('depends'));
  }
  return input;
}

function statedClass(item: JsonObject, where: string): CategoryClass | undefined {
  const { class: stated } = item;
  if (!isPresent(stated)) return undefined;
  if (isCategoryClass(stated)) return stated;
  throw wrong(where, '"kind", "mixin" or "action"');
}

/** The class that the definition of an unknown category suggests. The standard lets clients add mixins only. */
function likelyClass(item: JsonObject): CategoryClass | undefined {
  const related = isList(item.related ?? null) ? (item.related as readonly Json[]) : [];
  const isKind = related.some((id) => typeof id === 'string' && id.startsWith(CORE_SCHEME));
  if (isPresent(item.parent) || isKind) return 'kind';
  return isPresent(item.location) ? 'mixin' : undefined;
}

/** A category that is named and not defined: an identifier, or `{"category":id}`. */
function namedCategory(item: Json, where: string): { term: string; scheme: string } | undefined {
  const id = isJsonObject(item) ? (isPresent(item.term) ? undefined : item.category) : item;
  if (!isPresent(id)) return undefined;
  const named = typeof id === 'string' ? splitCategoryId(id) : undefined;
  if (named === undefined) throw wrong(where, 'a category or its identifier (scheme#term)');
  return named;
}

function oneOrMore(value: Json | undefined, where: string): string[] {
  if (!isPresent(value)) return [];
  return isList(value) ? readIdentifiers(value, where) : [readIdentifier(value, where)];
}

function givenKeys(item: JsonObject, categoryClass: CategoryClass | undefined): string[] {
  const given = new Set<string>();
  for (const key of Object.keys(item)) {
    if (key === 'term' || key === 'scheme' || key === 'class') continue;
    if (key !== 'related') given.add(key);
    else if (categoryClass === undefined) given.add('parent').add('depends');
    else if (categoryClass !== 'action') given.add(categoryClass === 'kind' ? 'parent' : 'depends');
  }
  return [...given];
}

/** The dialect that a definition shows: levels of names and `related` are nested, the other forms are GFD.226's. */
function shownDialect(item: JsonObject): CategoryInput['dialect'] | undefined {
  const attributes = Object.entries(isJsonObject(item.attributes) ? item.attributes : {});
  if (Object.hasOwn(item, 'related') || attributes.some(([, value]) => isLevel(value))) return 'nested';
  const isStrict =
    attributes.some(([name]) => name.includes('.')) ||
    ['parent', 'depends', 'applies'].some((key) => Object.hasOwn(item, key));
  return isStrict ? 'strict' : undefined;
}

/** A level of names. The definition of an attribute has objects only as its default and its pattern. */
function isLevel(value: Json): boolean {
  return (
    isJsonObject(value) &&
    Object.entries(value).some(([key, inner]) => isJsonObject(inner) && key !== 'default' && key !== 'pattern')
  );
}

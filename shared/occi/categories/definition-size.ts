/** Limits of the size of one definition. The largest definition of the infrastructure has 2,000 characters. */
import { CmbsError } from '../../errors';
import type { Category } from '../model';

/** Characters of one definition as it is stored. */
export const MAX_DEFINITION_CHARS = 128 * 1024;
/** Attributes of one category. */
export const MAX_CATEGORY_ATTRIBUTES = 500;
/** Actions of one category, and as many dependencies and applicable kinds. */
export const MAX_CATEGORY_REFERENCES = 200;

const sizes = new WeakMap<Category, number>();

/** Characters of a definition as it is stored. */
export function definitionChars(category: Category): number {
  const known = sizes.get(category) ?? JSON.stringify(category).length;
  sizes.set(category, known);
  return known;
}

export const tooManyAttributes = (): CmbsError =>
  new CmbsError(
    'too_large',
    `A category has ${MAX_CATEGORY_ATTRIBUTES} attributes at most; spread them over several categories.`,
  );

/**
 * Refuses a definition that is larger than any real one.
 * @throws CmbsError `too_large`
 */
export function checkSize(category: Category): void {
  if (Object.keys(category.attributes).length > MAX_CATEGORY_ATTRIBUTES) throw tooManyAttributes();
  const lists = category.class === 'action' ? [] : [category.actions];
  if (category.class === 'mixin') lists.push(category.depends, category.applies);
  if (lists.some(({ length }) => length > MAX_CATEGORY_REFERENCES)) {
    throw new CmbsError(
      'too_large',
      `A list of a category has ${MAX_CATEGORY_REFERENCES} elements at most; define several categories.`,
    );
  }
  if (definitionChars(category) > MAX_DEFINITION_CHARS) {
    throw new CmbsError('too_large', `A definition has ${MAX_DEFINITION_CHARS} characters at most; shorten it.`);
  }
}

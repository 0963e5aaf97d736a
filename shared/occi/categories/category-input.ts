/** Reads a client's definition of a kind, mixin or action, in any dialect (docs/occi.md, "Categories"). */
import { badRequest, CmbsError } from '../../errors';
import { MAX_NAME_LENGTH } from '../../limits';
import { MAX_PATH_LENGTH } from '../limits';
import { categoryId, RESOURCE_KIND, type Category, type CategoryClass, type CategoryId } from '../model';
import { isReservedPath } from '../paths';
import type { CategoryInput } from '../payload';
import { attributeSpecs } from './attribute-definitions';

const TERM = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:[^\s"'<>\\^`{|}]*#$/;
const LOCATION = /^\/(?:[A-Za-z0-9_.~!$&()*+,;=:@-]+\/)+$/;

/** @throws CmbsError `bad_request` for a term or scheme that is not valid */
export function checkIdentity(input: { readonly term: string; readonly scheme: string }): void {
  if (!TERM.test(input.term) || input.term.length > MAX_NAME_LENGTH) {
    throw badRequest(`${JSON.stringify(input.term)} is not a term: use a–z, A–Z, 0–9, "_", "." and "-".`);
  }
  if (!SCHEME.test(input.scheme) || input.scheme.length > MAX_PATH_LENGTH) {
    throw badRequest(`${JSON.stringify(input.scheme)} is not a scheme: use a URI that ends with "#".`);
  }
}

/**
 * The path of a category's collection. Of an absolute URL, the path counts.
 * @throws CmbsError `bad_request`, or `conflict` for a reserved path
 */
export function locationPath(given: string): string {
  let path = given;
  if (/^https?:\/\//i.test(given)) {
    try {
      path = new URL(given).pathname;
    } catch (cause) {
      throw badRequest(`${JSON.stringify(given)} is not a location; send a path or a URL.`, { cause });
    }
  }
  if (!LOCATION.test(path) || path.length > MAX_PATH_LENGTH || /\/\.{1,2}\//.test(path)) {
    throw badRequest(
      `${JSON.stringify(given)} is not a location: use a path that starts and ends with "/" and has no empty segment.`,
    );
  }
  if (isReservedPath(path)) throw new CmbsError('conflict', `The location ${path} is reserved; choose another.`);
  return path;
}

/**
 * The category that a client defines.
 * @throws CmbsError `bad_request`, `bad_attribute`, `conflict`, `too_large`
 */
export function categoryFrom(input: CategoryInput, category: CategoryClass): Category {
  checkIdentity(input);
  const attributes = attributeSpecs(input.attributes ?? {}, input.dialect);
  const dialect = input.dialect === 'nested' ? 'nested' : 'gfd226';
  const base = {
    term: input.term,
    scheme: input.scheme,
    ...(input.title === undefined ? {} : { title: input.title }),
    attributes,
    origin: 'runtime' as const,
  };
  switch (category) {
    case 'action':
      return { ...base, class: 'action' };
    case 'kind':
      return {
        ...base,
        class: 'kind',
        dialect,
        parent: input.parent ?? RESOURCE_KIND,
        actions: unique(input.actions),
        location: requireLocation(input),
      };
    case 'mixin':
      return {
        ...base,
        class: 'mixin',
        dialect,
        depends: unique(input.depends),
        applies: unique(input.applies),
        actions: unique(input.actions),
        location: requireLocation(input),
      };
  }
}

function unique(ids: readonly CategoryId[] | undefined): readonly CategoryId[] {
  return [...new Set(ids ?? [])];
}

function requireLocation(input: CategoryInput): string {
  if (input.location === undefined) {
    throw badRequest(`${categoryId(input)} has no location; send the path of its collection.`);
  }
  return locationPath(input.location);
}

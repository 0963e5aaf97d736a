/** Reads entities and the links inside them from JSON, in the nested form or in GFD.226's. */
import type { JsonObject } from '../../../json';
import { CORE_TITLE } from '../../model';
import type { EntityInput, LinkInput } from '../../payload';
import type { Mutable } from '../body';
import {
  isPresent,
  readAttributes,
  readIdentifier,
  readIdentifiers,
  readObjects,
  readReference,
  readString,
  wrong,
} from './values';

/** The source text at a path of member names and array indexes, counted from some object. */
export type SourceAt = (path: readonly (string | number)[]) => string | undefined;

/**
 * @param sourceAt source texts from the entity's object down
 * @param where names the entity, for error messages
 * @throws CmbsError `bad_request`
 */
export function readEntityInput(
  item: JsonObject,
  sourceAt: SourceAt,
  where: string,
  isLink: boolean,
): EntityInput {
  const at = (key: string): string => `"${key}" of ${where}`;
  const entity: Mutable<EntityInput> = {
    mixins: readIdentifiers(item.mixins, at('mixins')),
    attributes: readAttributes(item.attributes, where),
    links: readObjects(item.links, at('links')).map((link, index) =>
      readLinkInput(link, (path) => sourceAt(['links', index, ...path]), `links[${index}] of ${where}`),
    ),
    isLink,
    sourceText: (names) => sourceAt(['attributes', ...names]),
  };
  if (isPresent(item.kind)) entity.kind = readIdentifier(item.kind, at('kind'));
  for (const key of ['id', 'title', 'summary'] as const) {
    const value = item[key];
    if (isPresent(value)) entity[key] = readString(value, at(key));
  }
  for (const key of ['source', 'target'] as const) {
    const value = item[key];
    if (isPresent(value)) entity[key] = readReference(value, at(key));
  }
  return entity;
}

function readLinkInput(link: JsonObject, sourceAt: SourceAt, where: string): LinkInput {
  const at = (key: string): string => `"${key}" of ${where}`;
  if (!isPresent(link.target)) throw wrong(at('target'), 'given, since a link needs a target');
  const attributes = readAttributes(link.attributes, where);
  const input: Mutable<LinkInput> = {
    target: readReference(link.target, at('target')),
    categories: [
      ...(isPresent(link.kind) ? [readIdentifier(link.kind, at('kind'))] : []),
      ...readIdentifiers(link.mixins, at('mixins')),
    ],
    attributes: isPresent(link.title)
      ? { ...attributes, [CORE_TITLE]: readString(link.title, at('title')) }
      : attributes,
    sourceText: (names) => sourceAt(['attributes', ...names]),
  };
  for (const key of ['self', 'id'] as const) {
    const value = link[key];
    if (isPresent(value)) input[key] = readString(value, at(key));
  }
  return input;
}

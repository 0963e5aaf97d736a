/** Conditional requests (RFC 9110 §13): `If-Match` and `If-None-Match`, each in as many header lines as a client sends. */
import { createHash } from 'node:crypto';
import { CmbsError } from '@cmbs/shared';
import { type Precondition, type Rendered, stateOf, type StoredEntity } from '@cmbs/shared/occi';
import type { OcciRequest, OcciResponse } from './request';
import { answer } from './respond';

type Conditional = Pick<OcciRequest, 'headers'>;

/** An entity tag, or `*`, of a conditional header. */
interface Tag {
  readonly isWeak: boolean;
  /** Without quotes; undefined for `*`. */
  readonly opaque: string | undefined;
}

/** A tag, or `*` alone between commas; what is neither is passed over. */
const TAG = /(W\/)?"([^"]*)"|(?<![^,\s])\*(?![^,\s])/g;

/** The tags of a header; undefined without the header. What is no tag matches nothing. */
function tagsOf({ headers }: Conditional, name: 'if-match' | 'if-none-match'): readonly Tag[] | undefined {
  const lines = headers[name];
  if (lines === undefined) return undefined;
  return [...lines.join(',').matchAll(TAG)].map(([, weak, opaque]) => ({ isWeak: weak !== undefined, opaque }));
}

const isAny = ({ opaque }: Tag): boolean => opaque === undefined;

/**
 * The strong validator of an entity in one rendering. The first part is the state of the entity, by which a write is
 * conditional whatever rendering it came from; the second part covers all that is shown: links, actions, the host in
 * URLs.
 */
export function etagOf(stored: StoredEntity, { headers, body }: Rendered): string {
  const shown = createHash('sha256');
  for (const [name, value] of Object.entries(headers)) shown.update(`${name}:${value}\n`);
  return `"${stateOf(stored)}-${shown.update(body).digest('base64url').slice(0, 16)}"`;
}

const failed = (message: string): CmbsError => new CmbsError('precondition_failed', message);

/**
 * For a write to an entity: holds as long as the entity is in the state that a tag was given for. Undefined for a request
 * without a condition.
 */
export function preconditionOf(request: Conditional): Precondition | undefined {
  const match = tagsOf(request, 'if-match');
  const noneMatch = tagsOf(request, 'if-none-match');
  if (match === undefined && noneMatch === undefined) return undefined;
  return (current) => {
    const state = current === undefined ? undefined : stateOf(current);
    const isNamed = ({ opaque }: Tag): boolean => opaque === state || opaque?.startsWith(`${state}-`) === true;
    const has = (tag: Tag): boolean => state !== undefined && (isAny(tag) || isNamed(tag));
    // Weak tags never match strongly.
    if (match?.some((tag) => !tag.isWeak && has(tag)) === false) {
      throw failed(
        state === undefined
          ? 'If-Match needs an entity, and there is none.'
          : 'If-Match does not hold: the entity has changed; read it again.',
      );
    }
    if (noneMatch?.some(has) === true) throw failed('If-None-Match does not hold: the entity is there.');
  };
}

/**
 * For a read of a representation with a tag: a 304 where the client has it already.
 * @throws CmbsError `precondition_failed`
 */
export function notModified(request: Conditional, etag: string): OcciResponse | undefined {
  const has = (tag: Tag): boolean => isAny(tag) || `"${tag.opaque}"` === etag;
  if (tagsOf(request, 'if-match')?.some((tag) => !tag.isWeak && has(tag)) === false) {
    throw failed(`If-Match does not hold; the ETag is ${etag}.`);
  }
  return tagsOf(request, 'if-none-match')?.some(has) === true ? answer(304, undefined, { ETag: etag }) : undefined;
}

/**
 * For a collection, which has no tag: `*` says whether it is there, and a listed tag is never its own. A read for which
 * `If-None-Match: *` does not hold is a 304.
 * @throws CmbsError `precondition_failed`
 */
export async function collectionPrecondition(
  request: Conditional & Pick<OcciRequest, 'method'>,
  isThere: () => boolean | Promise<boolean> = () => true,
): Promise<OcciResponse | undefined> {
  const match = tagsOf(request, 'if-match');
  const isNone = tagsOf(request, 'if-none-match')?.some(isAny) === true;
  if (match === undefined && !isNone) return undefined;
  const isHere = await isThere();
  if (match !== undefined && !(isHere && match.some(isAny))) {
    throw failed(
      isHere
        ? 'Collections have no ETag: If-Match may be * only.'
        : 'If-Match needs a collection, and there is none.',
    );
  }
  if (!isNone || !isHere) return undefined;
  if (request.method === 'GET' || request.method === 'HEAD') return answer(304, undefined);
  throw failed('If-None-Match does not hold: the collection is there.');
}

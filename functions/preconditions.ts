/** Conditional requests (RFC 9110 §13): `If-Match` and `If-None-Match`, each in one or several header lines. */
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

/** A tag, or `*` alone between commas. Other text is ignored. */
const TAG = /(W\/)?"([^"]*)"|(?<![^,\s])\*(?![^,\s])/g;

/** The tags of a header; undefined without the header. */
function tagsOf({ headers }: Conditional, name: 'if-match' | 'if-none-match'): readonly Tag[] | undefined {
  const lines = headers[name];
  if (lines === undefined) return undefined;
  return [...lines.join(',').matchAll(TAG)].map(([, weak, opaque]) => ({ isWeak: weak !== undefined, opaque }));
}

const isAny = ({ opaque }: Tag): boolean => opaque === undefined;

/**
 * The strong validator of an entity in one rendering. The first part is the state of the entity, which the condition of a
 * write compares, so a tag from any rendering will do. The second part covers all that the rendering shows: links,
 * actions, the host in URLs.
 */
export function etagOf(stored: StoredEntity, { headers, body }: Rendered): string {
  const shown = createHash('sha256');
  for (const [name, value] of Object.entries(headers)) shown.update(`${name}:${value}\n`);
  return `"${stateOf(stored)}-${shown.update(body).digest('base64url').slice(0, 16)}"`;
}

const failed = (message: string): CmbsError => new CmbsError('precondition_failed', message);

/**
 * The condition of a write to an entity: the entity is still in the state of the tag. Undefined for a request without a
 * condition. The condition throws `precondition_failed`.
 */
export function preconditionOf(request: Conditional): Precondition | undefined {
  const match = tagsOf(request, 'if-match');
  const noneMatch = tagsOf(request, 'if-none-match');
  if (match === undefined && noneMatch === undefined) return undefined;
  return (current) => {
    const state = current === undefined ? undefined : stateOf(current);
    const isNamed = ({ opaque }: Tag): boolean => opaque === state || opaque?.startsWith(`${state}-`) === true;
    const has = (tag: Tag): boolean => state !== undefined && (isAny(tag) || isNamed(tag));
    // If-Match compares strongly (RFC 9110 §13.1.1), so weak tags never match.
    if (match?.some((tag) => !tag.isWeak && has(tag)) === false) {
      throw failed(
        state === undefined
          ? 'If-Match needs an entity, and there is none; create it without If-Match.'
          : 'If-Match does not hold: the entity has changed; read it again.',
      );
    }
    if (noneMatch?.some(has) === true)
      throw failed('If-None-Match does not hold: the entity exists; update it without the header.');
  };
}

/** What the conditions of a request for a file are about. */
export interface Current {
  readonly isThere: boolean;
  /** The strong tag; absent where there is none. */
  readonly etag?: string;
  /** Milliseconds since the epoch. */
  readonly modified?: number;
}

const isTagged = ({ isThere, etag }: Current, tag: Tag): boolean =>
  isThere && (isAny(tag) || (etag !== undefined && `"${tag.opaque}"` === etag));

/** Whether the time of a header, which has seconds, is before the last change; undefined without a valid header. */
function changedSince(request: Conditional, name: string, { modified }: Current): boolean | undefined {
  const since = Date.parse(request.headers[name]?.[0] ?? '');
  return Number.isNaN(since) || modified === undefined ? undefined : Math.floor(modified / 1000) * 1000 > since;
}

/**
 * Checks the conditions of a write: `If-Match`, `If-Unmodified-Since` without it, and `If-None-Match` (RFC 9110 §13.2.2).
 * @throws CmbsError `precondition_failed`
 */
export function requireCurrent(request: Conditional, current: Current): void {
  const match = tagsOf(request, 'if-match');
  if (match?.some((tag) => !tag.isWeak && isTagged(current, tag)) === false) {
    throw failed('If-Match does not hold: what is there has changed; read it again.');
  }
  if (match === undefined && changedSince(request, 'if-unmodified-since', current) === true) {
    throw failed('If-Unmodified-Since does not hold: what is there has changed; read it again.');
  }
  if (tagsOf(request, 'if-none-match')?.some((tag) => isTagged(current, tag)) === true) {
    throw failed('If-None-Match does not hold: what is there has the tag; send the request without the header.');
  }
}

/** Whether a reader has the content already, by `If-None-Match`, or `If-Modified-Since` without it. */
export function unmodified(request: Conditional, current: Current): boolean {
  const noneMatch = tagsOf(request, 'if-none-match');
  if (noneMatch !== undefined) return noneMatch.some((tag) => isTagged(current, tag));
  return changedSince(request, 'if-modified-since', current) === false;
}

/**
 * The 304 for a client that already has the representation with this tag; undefined for other clients.
 * @throws CmbsError `precondition_failed`
 */
export function notModified(request: Conditional, etag: string): OcciResponse | undefined {
  const has = (tag: Tag): boolean => isAny(tag) || `"${tag.opaque}"` === etag;
  if (tagsOf(request, 'if-match')?.some((tag) => !tag.isWeak && has(tag)) === false) {
    throw failed(`If-Match does not hold; the ETag is ${etag} now.`);
  }
  return tagsOf(request, 'if-none-match')?.some(has) === true ? answer(304, undefined, { ETag: etag }) : undefined;
}

/**
 * Checks the condition on a collection, which has no tag: only `*` can match. A read for which `If-None-Match: *` does
 * not hold is a 304.
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
        ? 'Collections have no ETag; send If-Match: * or no condition.'
        : 'If-Match needs a collection, and there is none at this path; ask for another path.',
    );
  }
  if (!isNone || !isHere) return undefined;
  if (request.method === 'GET' || request.method === 'HEAD') return answer(304, undefined);
  throw failed('If-None-Match does not hold: the collection exists; send the request without the header.');
}

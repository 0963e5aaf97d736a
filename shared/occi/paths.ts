/** Paths of entities and collections: what is stored and what clients may choose. */
import { badRequest, CmbsError } from '../errors';
import { MAX_NAME_LENGTH, MAX_PATH_LENGTH } from '../limits';
import type { Path } from './model';

/** First segments that are ours or the platform's (Cloud Run keeps `/eventlog` and `/_ah/` for itself). */
const RESERVED_FIRST_SEGMENTS = new Set([
  '-',
  '.well-known',
  'fn',
  'push',
  'healthz',
  'readyz',
  'metrics',
  'eventlog',
  '_ah',
  'favicon.ico',
  'robots.txt',
]);

/** One path segment that needs no escaping anywhere: URL, header, Firestore document id. */
const SEGMENT = /^[A-Za-z0-9_.~!$&()*+,;=:@-]+$/;

export function isReservedPath(path: Path): boolean {
  const first = path.split('/', 2)[1] ?? '';
  // Cloud Run answers some top-level paths that end with z by itself.
  return RESERVED_FIRST_SEGMENTS.has(first) || (path === `/${first}` && first.endsWith('z'));
}

export function isCollectionPath(path: Path): boolean {
  return path.endsWith('/');
}

function checkSegment(segment: string): void {
  const forbidden = segment === '.' || segment === '..' || /^__.*__$/.test(segment);
  if (!SEGMENT.test(segment) || segment.length > MAX_NAME_LENGTH || forbidden) {
    throw badRequest(
      `${JSON.stringify(segment.slice(0, 80))} cannot be part of a path: use a–z, A–Z, 0–9 and ._~-:@, at most ${MAX_NAME_LENGTH}.`,
    );
  }
}

/** Checks a path at which a client wants an entity (#29). */
export function checkEntityPath(path: Path): Path {
  if (!path.startsWith('/') || isCollectionPath(path) || path.length > MAX_PATH_LENGTH) {
    throw badRequest(
      `An entity's path starts with "/", does not end with one and has ${MAX_PATH_LENGTH} characters at most.`,
    );
  }
  path.slice(1).split('/').forEach(checkSegment);
  if (isReservedPath(path)) throw new CmbsError('forbidden', `The path ${path} is reserved.`);
  return path;
}

/** An entity's id as a client gives it; `urn:uuid:` in front is accepted and dropped (#37). */
export function checkId(given: string): string {
  const id = given.replace(/^urn:uuid:/i, '');
  checkSegment(id);
  return id;
}

/**
 * The path of an entity of this deployment from what a client wrote: a path, or a URL whose authority is left to the
 * caller to compare. Returns undefined for anything that is not a location.
 */
export function splitLocation(given: string): { readonly authority?: string; readonly path: Path } | undefined {
  if (given.startsWith('/')) return { path: given };
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(given)) return undefined;
  try {
    const url = new URL(given);
    return { authority: url.host, path: url.pathname };
  } catch {
    return undefined;
  }
}

/** Paths of entities and collections: what is stored and what clients may choose. */
import { badRequest, CmbsError } from '../errors';
import { MAX_NAME_LENGTH } from '../limits';
import { MAX_PATH_LENGTH } from './limits';
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

/** A location as a client wrote it: a path, or a URL with the authority that it has. */
export interface Location {
  readonly authority?: string;
  /** With its percent escapes resolved; as it is where nothing can be at it. */
  readonly path: Path;
}

/** Reads a path or URL; undefined for anything that is not a location. Whose the URL is, the caller has to compare. */
export function splitLocation(given: string): Location | undefined {
  if (given.startsWith('/')) return { path: unescapedPath(given) ?? given };
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(given)) return undefined;
  try {
    const url = new URL(given);
    return { authority: url.host, path: unescapedPath(url.pathname) ?? url.pathname };
  } catch {
    return undefined;
  }
}

/**
 * A path with its percent escapes resolved, as everything is found by it (RFC 3986 §6.2.2.2); undefined for one that
 * nothing can have, since an escape is malformed or stands for a slash.
 */
export function unescapedPath(path: string): Path | undefined {
  if (!path.includes('%')) return path;
  try {
    const segments = path.split('/').map(decodeURIComponent);
    return segments.some((segment) => segment.includes('/')) ? undefined : segments.join('/');
  } catch {
    return undefined;
  }
}

/**
 * The path in this deployment of a location under its public base, whose own path (`https://host/broker`) is no part of
 * what is stored; undefined for a location elsewhere.
 */
export function pathUnder(base: string, { authority, path }: Location): Path | undefined {
  if (authority === undefined) return path;
  const own = new URL(base);
  if (authority !== own.host) return undefined;
  return withoutPrefix(path, prefixOf(own));
}

/** The path of a public base without a slash at the end: empty for most. */
export const prefixOf = ({ pathname }: Pick<URL, 'pathname'>): string =>
  decodeURIComponent(pathname.replace(/\/+$/, ''));

/** What follows a prefix of whole segments; undefined for a path that does not begin with it. */
export function withoutPrefix(path: Path, prefix: string): Path | undefined {
  if (prefix === '') return path;
  if (path === prefix) return '/';
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : undefined;
}

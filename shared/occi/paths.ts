/** Paths of entities and collections: the stored form, and the paths that clients may choose. */
import { badRequest, CmbsError } from '../errors';
import { MAX_NAME_LENGTH } from '../limits';
import { MAX_PATH_LENGTH } from './limits';
import type { Path } from './model';

/** The path of the files (docs/services.md), which are no entities, and are governed by the same rules. */
export const FILES = '/files/';

/** First segments that belong to the program or to the platform (Cloud Run reserves `/eventlog` and `/_ah/`). */
const RESERVED_FIRST_SEGMENTS = new Set([
  '-',
  '.well-known',
  'fn',
  'push',
  'files',
  'healthz',
  'readyz',
  'metrics',
  'eventlog',
  '_ah',
  'favicon.ico',
  'robots.txt',
]);

/** A path segment that needs no escape in a URL, a header or a Firestore document id. */
const SEGMENT = /^[A-Za-z0-9_.~!$&()*+,;=:@-]+$/;

export function isReservedPath(path: Path): boolean {
  const first = path.split('/', 2)[1] ?? '';
  // Cloud Run itself answers some top-level paths that end with z.
  return RESERVED_FIRST_SEGMENTS.has(first) || (path === `/${first}` && first.endsWith('z'));
}

export function isCollectionPath(path: Path): boolean {
  return path.endsWith('/');
}

/** Whether a text can be one part of an entity's path, as the id of a member is. */
export function isSegment(text: string): boolean {
  const isForbidden = text === '.' || text === '..' || /^__.*__$/.test(text);
  return SEGMENT.test(text) && text.length <= MAX_NAME_LENGTH && !isForbidden;
}

function checkSegment(segment: string): void {
  if (!isSegment(segment)) {
    throw badRequest(
      `${JSON.stringify(segment.slice(0, 80))} cannot be part of a path: use a–z, A–Z, 0–9 and ._~-:@, at most ${MAX_NAME_LENGTH}.`,
    );
  }
}

/**
 * Checks a path that a client chooses for an entity (GFD.223 §10.2.1).
 * @throws CmbsError `bad_request`; `forbidden` for a reserved path
 */
export function checkEntityPath(path: Path): Path {
  if (!path.startsWith('/') || isCollectionPath(path) || path.length > MAX_PATH_LENGTH) {
    throw badRequest(
      `The path of an entity starts with "/", does not end with "/", and has ${MAX_PATH_LENGTH} characters at most; choose another.`,
    );
  }
  path.slice(1).split('/').forEach(checkSegment);
  if (isReservedPath(path)) throw new CmbsError('forbidden', `The path ${path} is reserved; choose another.`);
  return path;
}

/**
 * Checks an id that a client chooses for an entity. A prefix `urn:uuid:` is accepted and removed.
 * @throws CmbsError `bad_request`
 */
export function checkId(given: string): string {
  const id = given.replace(/^urn:uuid:/i, '');
  checkSegment(id);
  return id;
}

/** A location that a client wrote: a path, or a URL with its authority. */
export interface Location {
  readonly authority?: string;
  /** With percent escapes resolved; unchanged if no entity can have the path. */
  readonly path: Path;
}

/** Reads a path or URL; undefined for other text. The caller compares the authority with its own. */
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
 * A path with percent escapes resolved, the form in which paths are stored (RFC 3986 §6.2.2.2); undefined for a path that no
 * entity can have, because an escape is malformed or stands for a slash.
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
 * The stored path of a location under the public base, without the base's own path (`https://host/broker`); undefined for a
 * location elsewhere.
 */
export function pathUnder(base: string, { authority, path }: Location): Path | undefined {
  if (authority === undefined) return path;
  const own = new URL(base);
  if (authority !== own.host) return undefined;
  return withoutPrefix(path, prefixOf(own));
}

/** The path of a public base without a final slash; empty for most bases. */
export const prefixOf = ({ pathname }: Pick<URL, 'pathname'>): string =>
  decodeURIComponent(pathname.replace(/\/+$/, ''));

/** The path after a prefix of whole segments; undefined if the path does not have the prefix. */
export function withoutPrefix(path: Path, prefix: string): Path | undefined {
  if (prefix === '') return path;
  if (path === prefix) return '/';
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : undefined;
}

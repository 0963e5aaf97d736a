/** References, resolved as in RFC 3986 §5.2. WHATWG's `URL` differs from it, in backslashes and in what it encodes. */

interface Parts {
  readonly scheme: string | undefined;
  readonly authority: string | undefined;
  readonly path: string;
  readonly query: string | undefined;
  readonly fragment: string | undefined;
}

/** The regular expression of appendix B, with a scheme as in §3.1. */
const REFERENCE = /^(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s;

function partsOf(reference: string): Parts {
  const [, scheme, authority, path = '', query, fragment] = REFERENCE.exec(reference) ?? [];
  return { scheme, authority, path, query, fragment };
}

/** §5.2.4, in linear time. */
function withoutDots(path: string): string {
  const isRooted = path.startsWith('/');
  const segments = (isRooted ? path.slice(1) : path).split('/');
  const kept: string[] = [];
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
  }
  const last = segments.at(-1);
  if (last === '.' || last === '..') kept.push('');
  return (isRooted ? '/' : '') + kept.join('/');
}

/** §5.2.3. */
function merged(base: Parts, path: string): string {
  if (base.authority !== undefined && base.path === '') return `/${path}`;
  return base.path.slice(0, base.path.lastIndexOf('/') + 1) + path;
}

const textOf = ({ scheme, authority, path, query, fragment }: Parts): string =>
  (scheme === undefined ? '' : `${scheme}:`) +
  (authority === undefined ? '' : `//${authority}`) +
  path +
  (query === undefined ? '' : `?${query}`) +
  (fragment === undefined ? '' : `#${fragment}`);

/**
 * The URI of a reference in a document.
 * @param base URI of the request for the document, absolute, or a path of a gateway
 */
export function resolveHref(reference: string, base: string): string {
  const target = partsOf(reference);
  const from = partsOf(base);
  if (target.scheme !== undefined) return textOf({ ...target, path: withoutDots(target.path) });
  const { fragment } = target;
  const { scheme } = from;
  if (target.authority !== undefined) return textOf({ ...target, scheme, path: withoutDots(target.path) });
  const { authority } = from;
  if (target.path === '') return textOf({ ...from, query: target.query ?? from.query, fragment });
  const path = target.path.startsWith('/') ? target.path : merged(from, target.path);
  return textOf({ scheme, authority, path: withoutDots(path), query: target.query, fragment });
}

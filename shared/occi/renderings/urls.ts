/** How renderings write URLs, paths and references to actions. */
import { termOf, type CategoryId } from '../model';
import type { RenderContext } from './rendering';

/** The absolute URL of a path of this deployment. URLs stay as they are. */
export function urlOf(pathOrUrl: string, context: RenderContext): string {
  return pathOrUrl.startsWith('/') ? context.base + pathOrUrl : pathOrUrl;
}

/** A base with a path behind the authority. */
const HAS_PATH = /^[a-z]+:\/\/[^/]+\//i;

/**
 * A reference to a path of this deployment. A path alone is written where the public base has none, because some clients
 * put the host in front themselves; otherwise the whole URL, because a path alone would lose the base's (RFC 3986 §5.2).
 */
export function referenceTo(pathOrUrl: string, context: Pick<RenderContext, 'base'>): string {
  const isOwn = pathOrUrl.startsWith('/') && HAS_PATH.test(context.base);
  return escapeUri(isOwn ? context.base + pathOrUrl : pathOrUrl);
}

/** The reference at which an entity offers an action (GFD.185 §3.5.3). `entity` is a reference already. */
export function actionReference(entity: string, action: CategoryId): string {
  return `${entity}?action=${encodeURIComponent(termOf(action))}`;
}

/** Printable ASCII without space, quote and angle brackets. */
const PLAIN_URI = /^[!#-;=?-~]*$/;

/** Percent-encodes characters that would end a URI, an item or a line. */
export function escapeUri(uri: string): string {
  return PLAIN_URI.test(uri) ? uri : percentEncode(uri, PLAIN_URI);
}

/** Percent-encodes every character that does not match `plain`. */
export function percentEncode(text: string, plain: RegExp): string {
  let encoded = '';
  for (const char of text) {
    if (plain.test(char)) encoded += char;
    else for (const byte of Buffer.from(char)) encoded += '%' + byte.toString(16).toUpperCase().padStart(2, '0');
  }
  return encoded;
}

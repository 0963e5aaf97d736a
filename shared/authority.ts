/** Hosts with ports, as in a URL or a `Host` header (RFC 3986 §3.2). */

const AUTHORITY = /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/**
 * All names of a host, with its port. A loopback host has several, and a URI may use any of them.
 * @param authority in the form of `URL.host`
 */
export function hostNames(authority: string): readonly string[] {
  const [, host = '', port = ''] = /^(.*?)((?::\d+)?)$/.exec(authority) ?? [];
  const loopback = ['localhost', '127.0.0.1', '[::1]'];
  return loopback.includes(host) ? loopback.map((name) => name + port) : [authority];
}

/** A URL with the authority; undefined when it is not valid. `URL` also refuses port 99999 and 256.256.256.256. */
export function authorityUrl(authority: string, scheme: 'http' | 'https' = 'http'): URL | undefined {
  const url = `${scheme}://${authority}/`;
  return AUTHORITY.test(authority) && URL.canParse(url) ? new URL(url) : undefined;
}

/** Authorities in {@link valid}, at most. */
const MAX_REMEMBERED = 100;
/** Authorities that were found valid: most requests have the same one, and `URL` takes longer than the rest of a head. */
const valid = new Set<string>();

/** Whether {@link authorityUrl} makes a URL of the text. */
export function isAuthority(text: string): boolean {
  if (valid.has(text)) return true;
  if (authorityUrl(text) === undefined) return false;
  if (valid.size === MAX_REMEMBERED) valid.clear();
  valid.add(text);
  return true;
}

/** Host and port as they stand in a URL or a `Host` header (RFC 3986 §3.2). */

const AUTHORITY = /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/**
 * The names of a host with its port: a loopback host has several, and a URI may have any of them.
 * @param authority as `URL.host` writes it
 */
export function hostNames(authority: string): readonly string[] {
  const [, host = '', port = ''] = /^(.*?)((?::\d+)?)$/.exec(authority) ?? [];
  const loopback = ['localhost', '127.0.0.1', '[::1]'];
  return loopback.includes(host) ? loopback.map((name) => name + port) : [authority];
}

/** The authority as a URL, or undefined: `URL` refuses some that look well-formed (port 99999, 256.256.256.256). */
export function authorityUrl(authority: string, scheme: 'http' | 'https' = 'http'): URL | undefined {
  const url = `${scheme}://${authority}/`;
  return AUTHORITY.test(authority) && URL.canParse(url) ? new URL(url) : undefined;
}

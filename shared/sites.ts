/**
 * Decides which host names requests may use for this server, and which web pages may make requests. Otherwise any page
 * could make the browser of a user send requests here (cross-site request forgery), and could also read the answers by
 * letting its own host name resolve to this server (DNS rebinding). Browsers mark such requests by `Host`, `Origin` and
 * `Sec-Fetch-Site`, which a page cannot change. Clients other than browsers send neither `Origin` nor `Sec-Fetch-Site`.
 */
import { authorityUrl } from './authority';
import type { Config } from './config';
import { badRequest, CmbsError } from './errors';

/** Allowed authorities in memory, at most. */
const MAX_ALLOWED_AUTHORITIES = 100;
/** Seconds for which a browser caches the answer to a preflight, and so ignores a change of `CMBS_ALLOWED_ORIGINS`. */
const CORS_MAX_AGE_S = 600;

export interface SiteOptions {
  /** Public URL; its host and its origin are this server's own. */
  readonly publicUrl: string | undefined;
  /** Further host names of this server, without ports. Loopback names are always allowed. */
  readonly hosts: readonly (string | RegExp)[];
  /** Origins of other servers whose pages may make requests: `https://console.example`. */
  readonly origins: readonly string[];
  /** Number of trusted front ends; above 0, `X-Forwarded-Host` and `X-Forwarded-Proto` count and are checked too. */
  readonly trustedProxies: number;
  /** What connections to this server speak; `http` when absent. */
  readonly scheme?: 'http' | 'https';
}

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  /** As in the request line. */
  readonly target: string;
  /** Lower-case names; the values of a repeated header stay apart. */
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>;
}

/** How to answer an admitted request. */
export interface Admission {
  /** Headers that the answer has to carry. */
  readonly headers: Readonly<Record<string, string>>;
  /** A preflight: the answer is 204 with the headers and nothing else. */
  readonly isPreflight: boolean;
}

/** Platforms probe a process by its address, not by its host name. */
const PROBES: ReadonlySet<string> = new Set(['/healthz', '/livez', '/readyz']);
const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '[::]']);
const HEADER_NAMES = /^[A-Za-z0-9-]{1,60}(?:\s*,\s*[A-Za-z0-9-]{1,60}){0,40}$/;

const METHODS = 'GET, HEAD, POST, PUT, DELETE, OPTIONS';
/** The headers that a page may read besides those of every response. */
const EXPOSED = [
  ...['Accept', 'Allow', 'Category', 'ETag', 'Link', 'Location', 'Retry-After', 'Server', 'X-OCCI-Attribute'],
  ...['X-OCCI-Error', 'X-OCCI-Location', 'X-OCCI-Reason', 'X-OCCI-Server'],
].join(', ');

const NO_HEADERS = Object.freeze({});
const shown = (text: string): string => JSON.stringify(text.slice(0, 100));

/** Admits requests by host name and origin. */
export class SitePolicy {
  readonly #hosts: ReadonlySet<string>;
  readonly #patterns: readonly RegExp[];
  readonly #origins: ReadonlySet<string>;
  readonly #ownOrigin: string | undefined;
  readonly #trustsProxies: boolean;
  readonly #scheme: 'http' | 'https';
  /** Authorities that were found to be allowed; most requests have the same one. */
  readonly #allowed = new Set<string>();
  /** Keeps caches from giving the answer for one origin to another. */
  readonly #vary: Readonly<Record<string, string>>;

  constructor({ publicUrl, hosts, origins, trustedProxies, scheme = 'http' }: SiteOptions) {
    const own = publicUrl === undefined ? undefined : new URL(publicUrl);
    const names = hosts.filter((host) => typeof host === 'string').map(hostOf);
    this.#hosts = new Set(
      [own?.hostname, ...names].filter((host): host is string => host !== undefined && !WILDCARDS.has(host)),
    );
    this.#patterns = hosts.filter((host) => typeof host !== 'string');
    this.#origins = new Set(origins);
    this.#ownOrigin = own?.origin;
    this.#trustsProxies = trustedProxies > 0;
    this.#scheme = scheme;
    this.#vary = origins.length === 0 ? NO_HEADERS : { Vary: 'Origin' };
  }

  /**
   * Admits or refuses a request; called before anything else reads it.
   * @throws CmbsError `misdirected` for a host name of another server, `forbidden` for a page of another origin,
   *   `bad_request` for several `Host` headers
   */
  admit(head: RequestHead): Admission {
    if (isProbe(head)) return { headers: this.#vary, isPreflight: false };
    this.#checkHosts(head);
    const { headers, isForeign } = this.#checkOrigin(head);
    const isPreflight =
      isForeign && head.method === 'OPTIONS' && head.headers['access-control-request-method'] !== undefined;
    return { isPreflight, headers: isPreflight ? { ...headers, ...preflightHeaders(head) } : headers };
  }

  /** Checks every host name in the request, so that an allowed name cannot hide another. */
  #checkHosts(head: RequestHead): void {
    const hosts = head.headers.host ?? [];
    if (hosts.length > 1) throw badRequest('The request has several Host headers; send one.');
    const inTarget = head.target.startsWith('/') ? undefined : /^[a-z]+:\/\/([^/?#]+)/i.exec(head.target)?.[1];
    // A client of HTTP/1.0 may send no host; a browser always does.
    for (const host of [...hosts, ...(inTarget === undefined ? [] : [inTarget]), ...this.#forwarded(head)]) {
      if (!this.#isAllowed(host)) {
        throw new CmbsError(
          'misdirected',
          `This server has no host name ${shown(host)}; set CMBS_PUBLIC_URL, or list the name in CMBS_ALLOWED_HOSTS.`,
        );
      }
    }
  }

  #forwarded({ headers }: RequestHead): readonly string[] {
    if (!this.#trustsProxies) return [];
    return (headers['x-forwarded-host'] ?? []).flatMap((value) => value.split(',').map((one) => one.trim()));
  }

  #isAllowed(authority: string): boolean {
    if (this.#allowed.has(authority)) return true;
    const host = hostOf(authority);
    if (host === undefined) return false;
    const isAllowed =
      LOOPBACK.test(host) || this.#hosts.has(host) || this.#patterns.some((pattern) => pattern.test(host));
    if (!isAllowed) return false;
    if (this.#allowed.size === MAX_ALLOWED_AUTHORITIES) this.#allowed.clear();
    this.#allowed.add(authority);
    return true;
  }

  /** `isForeign`: the page is of another origin, which is configured. */
  #checkOrigin(head: RequestHead): Pick<Admission, 'headers'> & { readonly isForeign: boolean } {
    const vary = this.#vary;
    const origins = head.headers.origin ?? [];
    const [origin] = origins;
    if (origin === undefined) {
      refuseOtherSites(head);
      return { headers: vary, isForeign: false };
    }
    if (origins.length === 1 && this.#isOwn(origin, head)) return { headers: vary, isForeign: false };
    if (origins.length > 1 || !this.#origins.has(origin)) throw foreign(`the origin ${shown(origins.join(', '))}`);
    return {
      headers: { ...vary, 'Access-Control-Allow-Origin': origin, 'Access-Control-Expose-Headers': EXPOSED },
      isForeign: true,
    };
  }

  /** The page came from the server that it asks: from the public URL, or from the (allowed) name in this request. */
  #isOwn(origin: string, head: RequestHead): boolean {
    if (origin === this.#ownOrigin) return true;
    const proto = this.#trustsProxies ? head.headers['x-forwarded-proto']?.[0]?.split(',')[0]?.trim() : undefined;
    const host = this.#forwarded(head)[0] ?? head.headers.host?.[0] ?? '';
    return origin === authorityUrl(host, (proto ?? this.#scheme) === 'https' ? 'https' : 'http')?.origin;
  }
}

/**
 * A browser omits `Origin` when a page loads a resource that it cannot read. A user may follow a link to this server, but
 * a page may not embed or load resources: reading an inbox leases its entries.
 */
function refuseOtherSites({ method, headers }: RequestHead): void {
  const site = headers['sec-fetch-site']?.[0] ?? 'none';
  if (site === 'none' || site === 'same-origin') return;
  const isRead = method === 'GET' || method === 'HEAD';
  const isFollowed =
    headers['sec-fetch-mode']?.[0] === 'navigate' && headers['sec-fetch-dest']?.[0] === 'document';
  if (!isRead || !isFollowed) throw foreign('another site');
}

/** Whether the user followed a link of another site; such a request may read, but must not change anything. */
export function isFollowedLink({ headers }: Pick<RequestHead, 'headers'>): boolean {
  const site = headers['sec-fetch-site']?.[0] ?? 'none';
  return site !== 'none' && site !== 'same-origin';
}

function foreign(where: string): CmbsError {
  return new CmbsError(
    'forbidden',
    `Requests from web pages of ${where} are refused; list the origin in CMBS_ALLOWED_ORIGINS.`,
  );
}

/**
 * The policy of the settings.
 * @param hosts further host names of the program
 * @param scheme what its connections speak
 */
export function sitePolicyOf(
  config: Pick<Config, 'CMBS_PUBLIC_URL' | 'CMBS_ALLOWED_HOSTS' | 'CMBS_ALLOWED_ORIGINS' | 'CMBS_TRUST_PROXY'>,
  hosts: SiteOptions['hosts'],
  scheme: 'http' | 'https' = 'http',
): SitePolicy {
  return new SitePolicy({
    publicUrl: config.CMBS_PUBLIC_URL,
    hosts: [...config.CMBS_ALLOWED_HOSTS, ...hosts],
    origins: config.CMBS_ALLOWED_ORIGINS,
    trustedProxies: config.CMBS_TRUST_PROXY,
    scheme,
  });
}

function isProbe({ method, target }: RequestHead): boolean {
  return (method === 'GET' || method === 'HEAD') && PROBES.has(target.split('?', 1)[0] ?? '');
}

function preflightHeaders({ headers }: RequestHead): Record<string, string> {
  const asked = headers['access-control-request-headers']?.join(', ') ?? '';
  const isPrivate = headers['access-control-request-private-network']?.[0] === 'true';
  return {
    'Access-Control-Allow-Methods': METHODS,
    ...(HEADER_NAMES.test(asked) ? { 'Access-Control-Allow-Headers': asked } : {}),
    ...(isPrivate ? { 'Access-Control-Allow-Private-Network': 'true' } : {}),
    'Access-Control-Max-Age': String(CORS_MAX_AGE_S),
  };
}

/** A host as `URL` writes it (lower case, one spelling of each address), without its port. */
function hostOf(authority: string): string | undefined {
  const isBareIpv6 = authority.includes('::') && !authority.startsWith('[');
  return authorityUrl(isBareIpv6 ? `[${authority}]` : authority)?.hostname;
}

/**
 * The kind of network that an IP address belongs to, by the registries of special-purpose addresses
 * (https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry).
 *
 * An IPv6 address that only wraps an IPv4 address (IPv4-mapped, NAT64, 6to4) is judged by the IPv4 address: that is
 * where its packets arrive.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** Addresses that no member has, and that reach the machine, its cloud or its whole network. */
const NEVER = {
  'an unspecified address': ['0.0.0.0/8', '::/128'],
  'a link-local address': ['169.254.0.0/16', 'fe80::/10'],
  'a multicast address': ['224.0.0.0/4', 'ff00::/8'],
  'a broadcast address': ['255.255.255.255/32'],
  // Metadata addresses of clouds outside the link-local range: Amazon, Google, Alibaba, Oracle, Azure.
  'the address of a metadata service': [
    'fd00:ec2::254/128',
    'fd20:ce::254/128',
    '100.100.100.200/32',
    '192.0.0.192/32',
    '168.63.129.16/32',
  ],
  // The wrapped IPv4 address cannot be determined (RFC 8215, RFC 4380).
  'an address of a translator or tunnel': ['64:ff9b:1::/48', '2001::/32'],
} as const;

export type NeverKind = keyof typeof NEVER;

const LOOPBACK = ['127.0.0.0/8', '::1/128'];

/** Not reachable over the internet: private networks, carriers' networks, benchmarks, documentation. */
const SPECIAL = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '240.0.0.0/4',
  '2001::/23',
  '2001:db8::/32',
  '3fff::/20',
];

/** IPv6 addresses outside this range are not assigned for use on the internet. */
const GLOBAL_IPV6 = ['2000::/3'];

const familyOf = (ip: string): 'ipv4' | 'ipv6' => (isIPv4(ip) ? 'ipv4' : 'ipv6');

/** A set of address ranges. */
export class IpRanges {
  readonly #list = new BlockList();

  /** @param ranges CIDR ranges, or single addresses. @throws Error for a text that is neither */
  constructor(ranges: Iterable<string>) {
    for (const range of ranges) {
      const [network = '', bits] = range.split('/');
      if (isIP(network) === 0) throw new Error(`${JSON.stringify(range)} is not an address range`);
      const family = familyOf(network);
      this.#list.addSubnet(network, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family);
    }
  }

  /** @param ip an address as {@link addressInside} gives it */
  has(ip: string): boolean {
    return this.#list.check(ip, familyOf(ip));
  }
}

const never = Object.entries(NEVER).map(([kind, ranges]) => [kind as NeverKind, new IpRanges(ranges)] as const);
const loopback = new IpRanges(LOOPBACK);
const special = new IpRanges(SPECIAL);
const globalIpv6 = new IpRanges(GLOBAL_IPV6);

/** The eight groups of an IPv6 address. */
function groupsOf(ip: string): readonly number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip);
  const group = (high: number): string => (Number(dotted?.[high]) * 256 + Number(dotted?.[high + 1])).toString(16);
  const text = dotted === null ? ip : `${dotted[1]}${group(2)}:${group(4)}`;
  const [head = '', tail] = text.split('::');
  const parse = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((digits) => Number.parseInt(digits, 16));
  const first = parse(head);
  if (tail === undefined) return first;
  const last = parse(tail);
  return [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
}

/** The index of the first of the two groups in which an IPv6 address wraps an IPv4 address. */
function wrappedAt(groups: readonly number[]): number | undefined {
  const [g0, g1, g2, g3, g4, g5, g6] = groups;
  if (g0 === 0x2002) return 1; // 6to4, RFC 3056
  if (g0 === 0x64 && g1 === 0xff9b && [g2, g3, g4, g5].every((group) => group === 0)) return 6; // NAT64, RFC 6052
  if ([g0, g1, g2, g3].some((group) => group !== 0)) return undefined;
  if (g4 === 0 && g5 === 0xffff) return 6; // IPv4-mapped, RFC 4291
  if (g4 === 0xffff && g5 === 0) return 6; // IPv4-translated, RFC 2765
  // IPv4-compatible, RFC 4291; `::` and `::1` are addresses of their own.
  if (g4 === 0 && g5 === 0 && g6 !== 0) return 6;
  return undefined;
}

/** The IPv4 address that an IPv6 address wraps; any other address as it is. */
export function addressInside(found: string): string {
  // The resolver may add the interface: `fe80::1%eth0`.
  const [ip = ''] = found.split('%');
  if (!isIPv6(ip)) return ip;
  const groups = groupsOf(ip);
  const at = wrappedAt(groups);
  if (at === undefined) return ip;
  const [high = 0, low = 0] = groups.slice(at, at + 2);
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** The kind of an address that no connection may ever go to; undefined for other addresses. */
export function neverKind(ip: string): NeverKind | undefined {
  const inside = addressInside(ip);
  return never.find(([, ranges]) => ranges.has(inside))?.[0];
}

export function isLoopback(ip: string): boolean {
  return loopback.has(addressInside(ip));
}

/** Whether an address can be reached from the whole internet. */
export function isPublic(ip: string): boolean {
  const inside = addressInside(ip);
  if (neverKind(inside) !== undefined || loopback.has(inside) || special.has(inside)) return false;
  return isIPv4(inside) || globalIpv6.has(inside);
}

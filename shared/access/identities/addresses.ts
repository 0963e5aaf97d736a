/** IP addresses as numbers: ranges that contain them, and the key by which attempts are counted. */

interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** The address in a text such as `192.0.2.1`, `::1`, `fe80::1%eth0`, `192.0.2.1:80`, `[::1]:80`; undefined for others. */
function addressOf(text: string): Address | undefined {
  // The longest is an IPv6 address with an IPv4 address inside, a zone and a port.
  if (text.length > 100) return undefined;
  const [, bracketed, dotted] = /^\[([^\]]+)\](?::\d+)?$|^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text) ?? [];
  const [ip = ''] = (bracketed ?? dotted ?? text).split('%');
  if (IPV4.test(ip)) return { bits: 32, value: bytesValue(ip.split('.').map(Number)) };
  return ip.includes(':') ? ipv6(ip) : undefined;
}

const bytesValue = (bytes: readonly number[]): bigint =>
  bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);

function ipv6(ip: string): Address | undefined {
  const url = `http://[${ip}]/`;
  if (!/^[0-9a-f:.]+$/i.test(ip) || !URL.canParse(url)) return undefined;
  // A URL writes the address in groups of hexadecimal digits, with :: for the zeros (RFC 5952).
  const [head = '', tail] = new URL(url).hostname.slice(1, -1).split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [first, last] = [groups(head), groups(tail ?? '')];
  const zeros = Array<string>(8 - first.length - last.length).fill('0');
  const value = [...first, ...zeros, ...last].reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
  // An IPv4-mapped address (RFC 4291 §2.5.5.2) is how a socket for both families shows an IPv4 peer.
  return value >> 32n === 0xffffn ? { bits: 32, value: value & 0xffffffffn } : { bits: 128, value };
}

/** A set of address ranges. */
export class AddressRanges {
  readonly #ranges: readonly { readonly bits: number; readonly shift: bigint; readonly prefix: bigint }[];

  /** @param ranges ranges such as `10.0.0.0/8`, or single addresses. @throws Error for a text that is neither */
  constructor(ranges: readonly string[]) {
    this.#ranges = ranges.map((range) => {
      const [, network = '', length] = /^([0-9a-fA-F:.]+)(?:\/(\d{1,3}))?$/.exec(range) ?? [];
      const address = addressOf(network);
      const kept = Number(length ?? address?.bits);
      if (address === undefined || kept > address.bits) {
        throw new Error(`${JSON.stringify(range)} is not an address range such as 10.0.0.0/8.`);
      }
      const shift = BigInt(address.bits - kept);
      return { bits: address.bits, shift, prefix: address.value >> shift };
    });
  }

  has(text: string): boolean {
    const address = addressOf(text);
    if (address === undefined) return false;
    return this.#ranges.some(
      ({ bits, shift, prefix }) => bits === address.bits && address.value >> shift === prefix,
    );
  }
}

/**
 * The key by which attempts of a client are counted. One client has 2^64 IPv6 addresses, so the first 64 bits count.
 * Texts that are no address, which a client may have made up, share one key.
 */
export function clientKey(text: string): string {
  const address = addressOf(text);
  if (address === undefined) return 'unknown';
  return address.bits === 32 ? `4:${address.value.toString(16)}` : `6:${(address.value >> 64n).toString(16)}`;
}

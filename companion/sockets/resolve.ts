/**
 * Names are resolved here, on Node's thread pool, and never by libzmq: it does so on the one thread that moves all
 * bytes of the process, where a single name server that does not answer stops every other peer for seconds.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { type Clock } from '@cmbs/shared';
import { CONNECT_TIMEOUT_MS } from '@cmbs/shared/limits';
import { type Address } from '../transports';

export interface Endpoint {
  /** What the socket is given: an address without a name in it. */
  readonly text: string;
  /** The socket needs its `ipv6` option. */
  readonly ipv6: boolean;
}

/** True when an address has to be resolved again at each attempt, since its name may move. */
export function isNamed(address: Address): boolean {
  return address.host !== undefined && address.host !== '*' && isIP(address.host) === 0;
}

/**
 * The endpoint of an address whose host is a name; IPv4 is preferred, since that is what peers bind by default.
 * @throws Error when the name is not known, or not answered within `CONNECT_TIMEOUT_MS`
 */
export async function resolveEndpoint(address: Address, clock: Clock): Promise<Endpoint> {
  if (!isNamed(address)) return literalEndpoint(address);
  const host = address.host ?? '';
  let cancel = (): void => undefined;
  const late = new Promise<never>((_resolve, reject) => {
    cancel = clock.after(CONNECT_TIMEOUT_MS, () => reject(new Error(`the name ${host} was not resolved in time`)));
  });
  try {
    const found = await Promise.race([lookup(host, { all: true }), late]);
    const chosen = found.find(({ family }) => family === 4) ?? found[0];
    if (chosen === undefined) throw new Error(`the name ${host} has no address`);
    return literalEndpoint({ ...address, host: chosen.address });
  } finally {
    cancel();
  }
}

/** The endpoint of an address that needs no resolution. */
export function literalEndpoint(address: Address): Endpoint {
  if (address.host === undefined) return { text: address.text, ipv6: false };
  const ipv6 = address.host.includes(':');
  const host = ipv6 ? `[${address.host}]` : address.host;
  return { text: `${address.scheme}://${host}:${address.port === 0 ? '*' : String(address.port)}`, ipv6 };
}

/**
 * Resolves the name of a peer once per attempt, within a deadline. The attempt uses the IP address that was checked.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { type Clock } from '@cmbs/shared';
import { CONNECT_TIMEOUT_MS } from './limits';
import type { Address } from '@cmbs/shared/broker';

/** What the system connects to: an IP address and a port, or a path. */
export interface Endpoint {
  readonly ip?: string;
  readonly port?: number;
  readonly path?: string;
}

/** True when the host of an address is a name, which each attempt resolves again since it may move. */
export function isNamed(address: Address): boolean {
  return address.host !== undefined && address.host !== '*' && isIP(address.host) === 0;
}

/**
 * The endpoint of an address. IPv4 is preferred for a name, since peers bind it by default.
 * @param check throws when the IP address of a name may not be used
 * @throws Error when the name is unknown, or is not resolved within `CONNECT_TIMEOUT_MS`
 */
export async function resolveEndpoint(
  address: Address,
  clock: Clock,
  check: (ip: string) => void = () => undefined,
): Promise<Endpoint> {
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
    check(chosen.address);
    return literalEndpoint({ ...address, host: chosen.address });
  } finally {
    cancel();
  }
}

/** The endpoint of an address without a name. */
export function literalEndpoint({ host, port, path }: Address): Endpoint {
  if (host === undefined) return path === undefined ? {} : { path };
  return port === undefined ? { ip: host } : { ip: host, port };
}

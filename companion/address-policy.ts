/**
 * Decides which addresses members of a deployment may have, and which may be connected to (docs/operations.md). Any client
 * of the endpoint can choose addresses; without rules the companion would open and scan addresses that only its machine
 * reaches. Each refusal names the setting that decides.
 */
import { join } from 'node:path';
import { isIP } from 'node:net';
import { CmbsError } from '@cmbs/shared';
import {
  type Address,
  bindAddress,
  BUILT_IN_LAYERS,
  type Layers,
  layersOf,
  parseAddress,
} from '@cmbs/shared/broker';
import type { CloudConfig, Config, PortRange } from '@cmbs/shared/config';
import { IPC_CLAIM_DIGITS } from './limits';
import { openIpcDirectory } from './ipc-directory';
import { addressInside, IpRanges, isLoopback, isPublic, neverKind } from './ip-ranges';

/** Bytes of the path of a Unix socket: `sun_path` less its terminating zero, on the system with the shortest (macOS). */
const MAX_IPC_PATH_BYTES = 103;
/**
 * Milliseconds after which a deployment that others can reach reports that no member answers at an address: the same for
 * closed, filtered and foreign ports, so that a scan learns nothing. A slow network needs about one second to connect.
 */
export const UNREACHED_AFTER_MS = 3000;

export interface AddressSettings {
  /** Only this machine reaches the deployment, so callers can connect to every address that the deployment can. */
  readonly isOnLoopback: boolean;
  /** CIDR ranges of private addresses that members may have. */
  readonly ranges: readonly string[];
  /** Ports that may be bound, besides those of the built-in layers. */
  readonly ports: readonly PortRange[];
  /** The host that sockets bind to, in place of the host that their members advertise. */
  readonly bindHost?: string | undefined;
  /** The deployment's own hosts, as the operator named them, in lower case: names or IP addresses. */
  readonly ownHosts: readonly string[];
  /** Directory of `ipc` sockets. */
  readonly ipcDirectory?: string | undefined;
  /** Milliseconds until callers hear that no member answers at an address; {@link UNREACHED_AFTER_MS} when absent. */
  readonly unreachedAfterMs?: number;
}

const ALWAYS_BINDABLE: readonly PortRange[] = BUILT_IN_LAYERS.map(({ port }) => [port, port]);

const UNSPECIFIED = new Set(['*', '0.0.0.0', '::']);
const refused = (message: string): CmbsError => new CmbsError('forbidden', message);

export class AddressPolicy {
  readonly #settings: AddressSettings;
  readonly #ports: readonly PortRange[];
  readonly #ranges: IpRanges;
  /** IP addresses among the deployment's own hosts. */
  readonly #ownIps: IpRanges;
  readonly #ownHosts: ReadonlySet<string>;

  constructor(settings: AddressSettings) {
    this.#settings = settings;
    this.#ports = [...ALWAYS_BINDABLE, ...settings.ports];
    this.#ranges = new IpRanges(settings.ranges);
    this.#ownHosts = new Set(settings.ownHosts);
    this.#ownIps = new IpRanges(settings.ownHosts.filter((host) => isIP(host) !== 0).map(addressInside));
  }

  /** The address to bind for one that a member advertises. @throws CmbsError when it may not be bound */
  toBind(advertised: string): Address {
    const { bindHost } = this.#settings;
    const parsed = parseAddress(advertised, { bind: true });
    if (parsed.scheme === 'ipc') return this.#withPath(parsed);
    const address = bindAddress(parsed, bindHost);
    const { host = '', port = 0 } = address;
    if (!this.#isBindablePort(port)) {
      throw refused(
        `The port of ${parsed.text} is not among those of members; choose another or set CMBS_PORT_RANGE.`,
      );
    }
    if (address !== parsed) return address; // the host is the operator's own choice
    if (UNSPECIFIED.has(host)) {
      throw refused(`The host of ${address.text} stands for every interface; name one, or set CMBS_BIND_HOST.`);
    }
    if (isIP(host) !== 0) this.checkBound(address, host);
    return address;
  }

  /** @param ip the IP address of the host of an address from {@link toBind}. @throws CmbsError when it may not be bound */
  checkBound({ text, host = '' }: Address, ip: string): void {
    const { isOnLoopback, bindHost } = this.#settings;
    if (host === bindHost?.toLowerCase()) return;
    if (neverKind(ip) === undefined) {
      const inside = addressInside(ip);
      if (this.#ownHosts.has(host) || this.#ownIps.has(inside) || this.#ranges.has(inside)) return;
      if (isOnLoopback && isLoopback(ip)) return;
    }
    throw refused(
      `The address ${text} is not one that members here may have; set CMBS_BIND_HOST to what their sockets bind to, or ` +
        'list the address in CMBS_ADDRESS_RANGES.',
    );
  }

  /** The address to connect to. @throws CmbsError when the text is no address, or shows that the address may not be used */
  toDial(text: string): Address {
    const address = parseAddress(text);
    if (address.scheme === 'ipc') return this.#withPath(address);
    const { host = '' } = address;
    if (isIP(host) !== 0) this.checkDialled(address, host);
    return address;
  }

  /** @param ip the IP address of the host of an address from {@link toDial}. @throws CmbsError when it may not be used */
  checkDialled({ text }: Address, ip: string): void {
    const kind = neverKind(ip);
    if (kind !== undefined)
      throw refused(`The address ${text} is ${kind}, where no member can be, whatever the settings.`);
    const inside = addressInside(ip);
    if (this.#settings.isOnLoopback || isPublic(ip) || this.#ranges.has(inside)) return;
    throw refused(
      `The address ${text} is not a public one; list it in CMBS_ADDRESS_RANGES if members may be reached there.`,
    );
  }

  /**
   * Milliseconds after which a caller may know that an address was not reached. When others can call, the time is always
   * the same: otherwise they could distinguish closed ports from filtered and foreign ones.
   * @param ip the IP address of the host; undefined while it is not known, and for `ipc`
   */
  unreachedAfterMs(ip: string | undefined): number {
    const { isOnLoopback, unreachedAfterMs = UNREACHED_AFTER_MS } = this.#settings;
    return isOnLoopback && (ip === undefined || isLoopback(ip)) ? 0 : unreachedAfterMs;
  }

  #isBindablePort(port: number): boolean {
    return this.#ports.some(([first, last]) => port >= first && port <= last);
  }

  #withPath(address: Address): Address {
    const { ipcDirectory } = this.#settings;
    if (ipcDirectory === undefined) {
      throw refused(
        `The address ${address.text} needs a directory for such sockets; set CMBS_IPC_DIR, or use tcp://.`,
      );
    }
    const path = join(ipcDirectory, address.name ?? '');
    // The longest path is that of the socket before it gets its name: `.NAME.` and digits.
    if (Buffer.byteLength(path) + IPC_CLAIM_DIGITS + 2 > MAX_IPC_PATH_BYTES) {
      throw refused(
        `The path of ${address.text} is too long for a socket; choose a shorter name or CMBS_IPC_DIR.`,
      );
    }
    return { ...address, path };
  }
}

/** Host of a URL as {@link AddressSettings.ownHosts} has it. */
const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase();

const isLoopbackHost = (host: string): boolean => host === 'localhost' || (isIP(host) !== 0 && isLoopback(host));

function settingsOf(
  config: Config | CloudConfig,
  { all }: Layers,
  isOnLoopback: boolean,
  ownHosts: readonly (string | undefined)[],
  dataDirectory?: string,
): AddressSettings {
  const { CMBS_IPC_DIR: directory } = config;
  return {
    isOnLoopback,
    ranges: config.CMBS_ADDRESS_RANGES,
    ports: [...all.map(({ port }): PortRange => [port, port]), ...config.CMBS_PORT_RANGE],
    bindHost: config.CMBS_BIND_HOST,
    ownHosts: [config.CMBS_BIND_HOST, ...ownHosts].flatMap((host) => host?.toLowerCase() ?? []),
    ipcDirectory: directory === undefined ? undefined : openIpcDirectory(directory, dataDirectory),
  };
}

/**
 * On loopback unless the endpoint listens elsewhere, or a proxy or a public URL lets others in. Creates CMBS_IPC_DIR.
 * @throws CmbsError `conflict` when CMBS_IPC_DIR cannot be used
 */
export function localAddresses(config: Config, layers = layersOf()): AddressPolicy {
  const publicHost = config.CMBS_PUBLIC_URL === undefined ? undefined : hostOf(config.CMBS_PUBLIC_URL);
  const isOnLoopback =
    config.CMBS_TRUST_PROXY === 0 && isLoopbackHost(config.CMBS_HOST) && isLoopbackHost(publicHost ?? 'localhost');
  return new AddressPolicy(settingsOf(config, layers, isOnLoopback, [publicHost], config.CMBS_DATA_DIR));
}

/**
 * On loopback only if all parts are: on Google's emulators, with an endpoint that only this machine reaches.
 * @throws CmbsError `conflict` when CMBS_IPC_DIR cannot be used
 */
export function cloudAddresses(config: CloudConfig, layers = layersOf()): AddressPolicy {
  const { CMBS_PUBLIC_URL: publicUrl = '', CMBS_SHARDS: shards, CMBS_SHARD: shard, emulators } = config;
  const publicHost = hostOf(publicUrl);
  const isOnLoopback = emulators.firestore && emulators.pubsub && isLoopbackHost(publicHost);
  const shardHost = shards.find((one) => one.startsWith(`${shard}=`))?.slice(shard.length + 1);
  return new AddressPolicy(settingsOf(config, layers, isOnLoopback, [publicHost, shardHost]));
}

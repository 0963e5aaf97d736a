/**
 * Ports of local members that name no address for a layer: the original's port of the layer if no other member here has
 * it, else the lowest free one of the configured range. The member's stored address is the record of who has a port.
 */
import { concurrently } from '../concurrently';
import { CmbsError } from '../errors';
import { attributeField, type Change, ENTITIES, type Entity, type Path } from '../occi';
import type { Transaction } from '../store';
import { parseAddress, type Address } from './addresses';
import { MEMBER, ORIGINAL_PORTS } from './cmbs';
import { LAYERS, type Layer } from './layers';
import { isLocal, socketOf } from './member';

/** Ports that are looked at together, at most, when a member needs a free one. */
const PORTS_LOOKED_AT_TOGETHER = 16;
/** Ports of which the members are asked for at one time. */
const PORT_QUERY_CONCURRENCY = 4;

/** First and last port of a range. */
type PortRange = readonly [first: number, last: number];

export interface PortSettings {
  /**
   * Hosts at which others reach members here. A member's ports are at the one that its other addresses name, else at
   * the first.
   */
  readonly hosts: readonly [string, ...string[]];
  /** Ports that members may have besides the original's (`CMBS_PORT_RANGE`). */
  readonly ranges: readonly PortRange[];
}

/** One document: below its number no port of the range is free. It saves looking at them again for each member. */
const PORTS = 'ports';
const LOWEST = 'lowest-free';

const RESERVED: ReadonlySet<number> = new Set(Object.values(ORIGINAL_PORTS));

/** The members that have an address on any layer, `except` left out; two at most are looked for on each layer. */
export async function membersAt(
  tx: Pick<Transaction, 'query'>,
  address: string,
  except: Path,
): Promise<readonly Path[]> {
  const found = await Promise.all(
    LAYERS.map((layer) =>
      tx.query({
        collection: ENTITIES,
        where: [{ field: attributeField(MEMBER.socket(layer)), value: address }],
        limit: 2,
      }),
    ),
  );
  const paths = found.flatMap(({ docs }) => docs.map(({ id }) => id));
  return [...new Set(paths)].filter((path) => path !== except);
}

/** Ports for the members of one request; made for one run of its transaction. */
export class PortAllotment {
  readonly #tx: Transaction;
  readonly #settings: PortSettings;
  /** Addresses that members of this request have, by the member. */
  readonly #taken = new Map<string, Path>();
  #lowest: { readonly before: number; now: number } | undefined;

  constructor(tx: Transaction, settings: PortSettings, changes: readonly Change[]) {
    this.#tx = tx;
    this.#settings = settings;
    for (const { next } of changes) {
      for (const layer of LAYERS) {
        const address = socketOf(next, layer);
        if (address !== undefined) this.#taken.set(address, next.path);
      }
    }
  }

  /** The member with an address on each layer. A layer without one keeps the port that it has. */
  async complete({ next, before }: Change): Promise<Entity> {
    const without = LAYERS.filter((layer) => socketOf(next, layer) === undefined);
    if (!isLocal(next) || without.length === 0) return next;
    const attributes = { ...next.attributes };
    const host = this.#hostOf(next);
    for (const layer of without) {
      const address = this.#kept(layer, before, host) ?? (await this.#allot(layer, next.path, host));
      this.#taken.set(address, next.path);
      attributes[MEMBER.socket(layer)] = address;
    }
    return { ...next, attributes };
  }

  /** The ports of a member that has them no more are looked at again. */
  async released(member: Entity, next?: Entity): Promise<void> {
    for (const layer of LAYERS) {
      const address = socketOf(member, layer);
      if (address === undefined || (next !== undefined && socketOf(next, layer) === address)) continue;
      const port = this.#portOf(address);
      if (port === undefined) continue;
      const lowest = await this.#read();
      lowest.now = Math.min(lowest.now, port);
    }
  }

  /** Writes what later allotments need to know; after all reads of the transaction. */
  write(): void {
    if (this.#lowest === undefined || this.#lowest.now === this.#lowest.before) return;
    this.#tx.put(PORTS, LOWEST, { port: this.#lowest.now });
  }

  #kept(layer: Layer, before: Entity | undefined, host: string): string | undefined {
    const address = before === undefined || !isLocal(before) ? undefined : socketOf(before, layer);
    if (address === undefined || this.#taken.has(address)) return undefined;
    if (address === addressAt(host, ORIGINAL_PORTS[layer])) return address;
    const port = this.#portOf(address);
    return port !== undefined && address === addressAt(host, port) ? address : undefined;
  }

  async #allot(layer: Layer, member: Path, host: string): Promise<string> {
    const original = addressAt(host, ORIGINAL_PORTS[layer]);
    if (await this.#isFree(original, member)) return original;
    const lowest = await this.#read();
    // The first one is free as a rule: many at once would be asked for nothing.
    for (let together = 1; ; together = Math.min(4 * together, PORTS_LOOKED_AT_TOGETHER)) {
      const candidates = this.#portsFrom(lowest.now, together);
      if (candidates.length === 0) {
        throw new CmbsError(
          'conflict',
          `No port is left for the member's ${layer} socket: name its address, or widen CMBS_PORT_RANGE.`,
        );
      }
      const free = new Set<number>();
      await concurrently(candidates, PORT_QUERY_CONCURRENCY, async (port) => {
        if (await this.#isFree(addressAt(host, port), member)) free.add(port);
      });
      const port = candidates.find((one) => free.has(one));
      lowest.now = (port ?? candidates.at(-1) ?? lowest.now) + 1;
      if (port !== undefined) return addressAt(host, port);
    }
  }

  /** The next ports of the range from one on, in their order; the original's are kept for their layers. */
  #portsFrom(from: number, most: number): readonly number[] {
    const ports: number[] = [];
    const ranges = [...this.#settings.ranges].sort(([one], [other]) => one - other);
    for (const [first, last] of ranges) {
      for (let port = Math.max(first, from, (ports.at(-1) ?? 0) + 1); port <= last; port += 1) {
        if (RESERVED.has(port)) continue;
        ports.push(port);
        if (ports.length === most) return ports;
      }
    }
    return ports;
  }

  async #isFree(address: string, member: Path): Promise<boolean> {
    if (this.#taken.has(address)) return false;
    return (await membersAt(this.#tx, address, member)).length === 0;
  }

  #hostOf(member: Entity): string {
    const own = LAYERS.flatMap((layer) => addressOf(socketOf(member, layer))?.host ?? []);
    const { hosts } = this.#settings;
    return hosts.find((host) => own.includes(host)) ?? hosts[0];
  }

  /** The port of an address that could have been allotted from the range. */
  #portOf(text: string): number | undefined {
    const { host = '', port } = addressOf(text) ?? {};
    const { hosts, ranges } = this.#settings;
    if (port === undefined || !hosts.includes(host) || RESERVED.has(port)) return undefined;
    return ranges.some(([first, last]) => first <= port && port <= last) ? port : undefined;
  }

  async #read(): Promise<{ readonly before: number; now: number }> {
    if (this.#lowest === undefined) {
      const doc = await this.#tx.get(PORTS, LOWEST);
      const before = doc?.value.port;
      const port = typeof before === 'number' ? before : 0;
      this.#lowest ??= { before: port, now: port };
    }
    return this.#lowest;
  }
}

const addressAt = (host: string, port: number): string =>
  `tcp://${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Undefined for what is no address: an earlier release took any text. */
function addressOf(text: string | undefined): Address | undefined {
  try {
    return text === undefined ? undefined : parseAddress(text);
  } catch {
    return undefined;
  }
}

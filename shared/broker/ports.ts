/**
 * Ports of local members that name no address for a layer: the port of the layer's definition if no other member here
 * has it, else the lowest free port of the configured range. A member's stored address records that it has the port.
 */
import { concurrently } from '../concurrently';
import { CmbsError } from '../errors';
import { attributeField, type Change, ENTITIES, type Entity, type Path } from '../occi';
import type { Transaction } from '../store';
import { parseAddress, type Address } from './addresses';
import { MEMBER } from './cmbs';
import type { LayerDefinition, Layers } from './layer-definition';
import { isLocal, socketOf } from './member';

/** Most ports checked together when a member needs a free one. */
const PORTS_LOOKED_AT_TOGETHER = 16;
/** Queries for members at a port that run at the same time. */
const PORT_QUERY_CONCURRENCY = 4;

/** First and last port of a range. */
type PortRange = readonly [first: number, last: number];

export interface PortSettings {
  /**
   * Hosts at which others reach members here. A member's ports are at the one that its other addresses name, else at
   * the first.
   */
  readonly hosts: readonly [string, ...string[]];
  /** Ports that members may have besides those of the layers' definitions (`CMBS_PORT_RANGE`). */
  readonly ranges: readonly PortRange[];
}

/** One document: no port of the range below its number is free, so a search starts there. */
const PORTS = 'ports';
const LOWEST = 'lowest-free';

/** Members that have the address on any layer, without `except`; at most two are found per layer. */
export async function membersAt(
  tx: Pick<Transaction, 'query'>,
  address: string,
  except: Path,
  { names }: Layers,
): Promise<readonly Path[]> {
  const found = await Promise.all(
    names.map((layer) =>
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
  readonly #layers: Layers;
  /** Ports that only members without an address for the layer get. */
  readonly #reserved: ReadonlySet<number>;
  /** Addresses of members of this request. */
  readonly #taken = new Map<string, Path>();
  #lowest: { readonly before: number; now: number } | undefined;

  constructor(tx: Transaction, settings: PortSettings, layers: Layers, changes: readonly Change[]) {
    this.#tx = tx;
    this.#settings = settings;
    this.#layers = layers;
    this.#reserved = new Set(layers.all.map(({ port }) => port));
    for (const { next } of changes) {
      for (const layer of layers.names) {
        const address = socketOf(next, layer);
        if (address !== undefined) this.#taken.set(address, next.path);
      }
    }
  }

  /** The member with an address on each layer. A layer without an address keeps its earlier port. */
  async complete({ next, before }: Change): Promise<Entity> {
    const without = this.#layers.all.filter(({ name }) => socketOf(next, name) === undefined);
    if (!isLocal(next) || without.length === 0) return next;
    const attributes = { ...next.attributes };
    const host = this.#hostOf(next);
    for (const layer of without) {
      const address = this.#kept(layer, before, host) ?? (await this.#allot(layer, next.path, host));
      this.#taken.set(address, next.path);
      attributes[MEMBER.socket(layer.name)] = address;
    }
    return { ...next, attributes };
  }

  /** Ports that the member gives up are searched again. */
  async released(member: Entity, next?: Entity): Promise<void> {
    for (const layer of this.#layers.names) {
      const address = socketOf(member, layer);
      if (address === undefined || (next !== undefined && socketOf(next, layer) === address)) continue;
      const port = this.#portOf(address);
      if (port === undefined) continue;
      const lowest = await this.#read();
      lowest.now = Math.min(lowest.now, port);
    }
  }

  /** Writes the lowest free port; after all reads of the transaction. */
  write(): void {
    if (this.#lowest === undefined || this.#lowest.now === this.#lowest.before) return;
    this.#tx.put(PORTS, LOWEST, { port: this.#lowest.now });
  }

  #kept({ name, port: usual }: LayerDefinition, before: Entity | undefined, host: string): string | undefined {
    const address = before === undefined || !isLocal(before) ? undefined : socketOf(before, name);
    if (address === undefined || this.#taken.has(address)) return undefined;
    if (address === addressAt(host, usual)) return address;
    const port = this.#portOf(address);
    return port !== undefined && address === addressAt(host, port) ? address : undefined;
  }

  async #allot({ name, port: usual }: LayerDefinition, member: Path, host: string): Promise<string> {
    const preferred = addressAt(host, usual);
    if (await this.#isFree(preferred, member)) return preferred;
    const lowest = await this.#read();
    // The first port is usually free, so a search begins with a single query.
    for (let together = 1; ; together = Math.min(4 * together, PORTS_LOOKED_AT_TOGETHER)) {
      const candidates = this.#portsFrom(lowest.now, together);
      if (candidates.length === 0) {
        throw new CmbsError(
          'conflict',
          `No port is left for the member's ${name} socket: name its address, or widen CMBS_PORT_RANGE.`,
        );
      }
      const free = new Set<number>();
      await concurrently(candidates, PORT_QUERY_CONCURRENCY, async (port) => {
        if (await this.#isFree(addressAt(host, port), member)) free.add(port);
      });
      const port = candidates.find((candidate) => free.has(candidate));
      lowest.now = (port ?? candidates.at(-1) ?? lowest.now) + 1;
      if (port !== undefined) return addressAt(host, port);
    }
  }

  /** The next ports of the range, in order, without those of the layers' definitions. */
  #portsFrom(from: number, most: number): readonly number[] {
    const ports: number[] = [];
    const ranges = [...this.#settings.ranges].sort(([one], [other]) => one - other);
    for (const [first, last] of ranges) {
      for (let port = Math.max(first, from, (ports.at(-1) ?? 0) + 1); port <= last; port += 1) {
        if (this.#reserved.has(port)) continue;
        ports.push(port);
        if (ports.length === most) return ports;
      }
    }
    return ports;
  }

  async #isFree(address: string, member: Path): Promise<boolean> {
    if (this.#taken.has(address)) return false;
    return (await membersAt(this.#tx, address, member, this.#layers)).length === 0;
  }

  #hostOf(member: Entity): string {
    const own = this.#layers.names.flatMap((layer) => addressOf(socketOf(member, layer))?.host ?? []);
    const { hosts } = this.#settings;
    return hosts.find((host) => own.includes(host)) ?? hosts[0];
  }

  /** The port of an address, if it could have been allotted from the range. */
  #portOf(text: string): number | undefined {
    const { host = '', port } = addressOf(text) ?? {};
    const { hosts, ranges } = this.#settings;
    if (port === undefined || !hosts.includes(host) || this.#reserved.has(port)) return undefined;
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

/** Undefined for a text that is no address: earlier releases accepted any. */
function addressOf(text: string | undefined): Address | undefined {
  try {
    return text === undefined ? undefined : parseAddress(text);
  } catch {
    return undefined;
  }
}

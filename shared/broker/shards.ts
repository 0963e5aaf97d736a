/**
 * Shards: members whose sockets are at one public address, held by one companion. An address cannot move to another
 * machine, so the address in a member's sockets determines its shard.
 */
import type { Entity } from '../occi';
import type { Layers } from './layer-definition';
import { socketOf } from './member';

export interface Shard {
  readonly name: string;
  /** Host in the sockets of its members, as they write it. */
  readonly host: string;
}

/** The name of the shard where one companion serves all members. */
export const ONLY_SHARD = 'main';

export class Shards {
  readonly all: readonly [Shard, ...Shard[]];
  readonly #layers: Layers;

  /** @param texts `name=host` each; the first shard takes members at hosts of no shard */
  constructor(texts: readonly string[], layers: Layers) {
    this.#layers = layers;
    const [first, ...others] = texts.map((text): Shard => {
      const at = text.indexOf('=');
      return { name: text.slice(0, at), host: text.slice(at + 1).toLowerCase() };
    });
    if (first === undefined) throw new Error('a deployment has at least one shard');
    this.all = [first, ...others];
  }

  /** Their hosts, in the order of the shards; the loopback address for a shard that takes any host. */
  get hosts(): readonly [string, ...string[]] {
    const [first, ...others] = this.all.map(({ host }) => (host === '*' ? '127.0.0.1' : host));
    return [first as string, ...others];
  }

  /** The shard of a local member: by its first socket, in the order of layers. */
  of(member: Entity): Shard {
    const [first] = this.all;
    for (const layer of this.#layers.names) {
      const socket = socketOf(member, layer);
      if (socket === undefined) continue;
      const host = hostOf(socket);
      return this.all.find((shard) => shard.host === host) ?? first;
    }
    return first;
  }
}

function hostOf(socket: string): string {
  const authority = /^[a-z]+:\/\/(.*):[^:]*$/i.exec(socket)?.[1] ?? '';
  return authority.replace(/^\[(.*)\]$/, '$1').toLowerCase();
}

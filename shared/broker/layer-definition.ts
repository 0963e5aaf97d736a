/**
 * The definition of a layer. The broker has five layers (`layers.ts`); a program can add more where it is assembled. Code
 * that depends on a layer uses its definition.
 */
import { CmbsError } from '../errors';
import type { AttributeSpecs, Entity, JsonOutputObject } from '../occi';
import type { Delivery } from './delivery';

/** Name of a layer, as it is stored and sent: `l1`, `l31`. */
export type Layer = string;

/** The layer on which members discover each other; replies list the addresses that members have on it. */
export const DISCOVERY_LAYER: Layer = 'l1';

/**
 * How a message reaches its receivers. `request`: over a socket, with a reply. `broadcast`: over a socket, without a
 * reply. `bus`: published on topics, and over a socket to members of other deployments.
 */
export type Channel = 'request' | 'broadcast' | 'bus';

/** What a layer needs to determine the receivers of a message. */
export interface Addressing {
  readonly message: Entity;
  /** The member that sends. */
  readonly from: Entity;
  /** Every known member but {@link from}. Reads all members: for layers on which all of them receive. */
  readonly others: () => Promise<readonly Entity[]>;
  /** The members but {@link from} that want at least one of the topics. */
  readonly wanting: (topics: readonly string[]) => Promise<readonly Entity[]>;
  /** The members that each reference (id, path, URI or title) means, {@link from} among them. */
  readonly named: (references: readonly string[]) => Promise<readonly (readonly Entity[])[]>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface LayerDefinition {
  /**
   * Lower-case letters and digits. The name stands in the id of the mixin (`…/cmbs#l1`), in the actions `start_l1`,
   * `stop_l1` and `send_l1`, and in the attribute with a member's address (`cmbs.member.l1_socket`).
   */
  readonly name: Layer;
  /** Other spellings that clients and peers may use: `l3.1`. */
  readonly aliases?: readonly string[];
  /** Title of the mixin. */
  readonly title: string;
  /** Port of a member that names no address on this layer, while no other member has it. */
  readonly port: number;
  /** Attributes that the mixin adds to a message. */
  readonly attributes: AttributeSpecs;
  readonly channel: Channel;
  /** Whether {@link deliveries} takes addresses from members. When a member has moved, its messages go where it is. */
  readonly usesMemberAddresses: boolean;
  /** On the bus: where a message lists providers, only these members take it. */
  readonly selectsProviders?: boolean;
  /**
   * The layer of the original program: a message without content asks the receiver to describe itself, and a peer may
   * be a program that ends at contents that it does not expect.
   */
  readonly isOriginal?: boolean;
  /** Whether the result is written as soon as one delivery has begun, or only when all have an outcome. */
  readonly tellsPartialResult: boolean;
  /**
   * The deliveries of a message, one for each receiver.
   * @throws CmbsError `bad_request` or `bad_attribute` for a message that no member can ever receive
   */
  deliveries(addressing: Addressing): readonly Delivery[] | Promise<readonly Delivery[]>;
  /** The message's `result`. */
  result(deliveries: readonly Delivery[]): JsonOutputObject;
}

const NAME = /^[a-z][a-z0-9]{0,15}$/;

/** The layers that a program knows, in their order. */
export class Layers {
  readonly all: readonly LayerDefinition[];
  readonly #byName: ReadonlyMap<Layer, LayerDefinition>;
  readonly #spellings = new Map<string, Layer>();

  /** @throws Error for two layers with one name or alias, or a name that is not valid */
  constructor(definitions: readonly LayerDefinition[]) {
    this.all = definitions;
    this.#byName = new Map(definitions.map((definition) => [definition.name, definition]));
    for (const { name, aliases = [] } of definitions) {
      if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} cannot be the name of a layer.`);
      for (const spelling of [name, ...aliases]) {
        if (this.#spellings.has(spelling)) throw new Error(`There is a layer ${spelling} already.`);
        this.#spellings.set(spelling, name);
      }
    }
  }

  get names(): readonly Layer[] {
    return this.all.map(({ name }) => name);
  }

  /** Layers whose messages are published on the topic bus. */
  get onBus(): readonly Layer[] {
    return this.all.filter(({ channel }) => channel === 'bus').map(({ name }) => name);
  }

  /** The layer that a client or peer names in any spelling. */
  parse(text: string): Layer | undefined {
    return this.#spellings.get(text.toLowerCase());
  }

  /** Undefined for a layer that this program does not have: another program may have stored its name. */
  find(name: Layer): LayerDefinition | undefined {
    return this.#byName.get(name);
  }

  /** @throws CmbsError `bad_request` for a layer that this program does not have */
  of(name: Layer): LayerDefinition {
    const definition = this.#byName.get(name);
    if (definition !== undefined) return definition;
    throw new CmbsError(
      'bad_request',
      `There is no layer ${JSON.stringify(name.slice(0, 20))} here; name one of ${this.names.join(', ')}.`,
    );
  }
}

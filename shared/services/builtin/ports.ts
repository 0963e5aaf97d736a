/**
 * What built-in modules, and modules of a directory, need of the broker, the entities and the decisions. The rooms above
 * implement these ports. Each operation is decided for the caller that it is given.
 */
import { CmbsError } from '../../errors';
import type { ExactJson } from '../../exact-json';
import type { ExactObject, JsonCaller, JsonEntities } from '../../occi';
import type { Operation, Resource } from '../../principal';

/** A caller of an operation: that of the method. */
export type PortPrincipal = JsonCaller;

/** A message that is created and sent. */
export interface MessageToSend {
  /** Name of the layer, in any spelling. */
  readonly layer: string;
  readonly content?: ExactJson | undefined;
  /** L1: address of the receiver. */
  readonly receiver?: string | undefined;
  /** L3: id, path, URI or title of members that provide the message. */
  readonly providers?: readonly string[] | undefined;
  /** L3.2 and L4. */
  readonly topics?: readonly string[] | undefined;
  /** The local member that sends: id, path, URI or title. */
  readonly from?: string | undefined;
  readonly id?: string | undefined;
  readonly title?: string | undefined;
  /** Whether receivers may execute the message. */
  readonly executable?: boolean | undefined;
  /** Whether receivers keep a copy. */
  readonly storable?: boolean | undefined;
  /** RFC 3339. */
  readonly expires_at?: string | undefined;
  readonly ordering_key?: string | undefined;
  readonly headers?: ExactObject | undefined;
  /** Seconds to wait for the outcome. */
  readonly wait?: number | undefined;
  /** Sends of one caller with the same key count as one, for 24 hours. */
  readonly idempotency_key?: string | undefined;
}

export interface InboxRequest {
  /** Entries, at most. */
  readonly number?: number | undefined;
  /** Of the page before. */
  readonly cursor?: string | undefined;
  /** Seconds to wait for an entry. */
  readonly wait?: number | undefined;
  /** Seconds of the lease on the entries; 0: the entries are shown and not leased. */
  readonly lease?: number | undefined;
}

export interface AcknowledgedEntry {
  readonly id: string;
  readonly lease?: string | undefined;
}

/** Messages of the broker. */
export interface Messaging {
  /**
   * Creates a message and sends it.
   * @returns `location`, `is_open` while the outcome is not known, `reason`, `delivery` and `result`
   * @throws CmbsError; Fault with `data.location` for a message that is stored and reaches no member
   */
  send(caller: PortPrincipal, message: MessageToSend): Promise<ExactObject>;
  /**
   * Reads an inbox.
   * @param member id or path
   * @returns `entries`, `leased` and `next`, as over HTTP
   * @throws CmbsError
   */
  read(caller: PortPrincipal, member: string, request: InboxRequest): Promise<ExactObject>;
  /**
   * Removes entries from an inbox, all or none.
   * @throws CmbsError
   */
  acknowledge(caller: PortPrincipal, member: string, entries: readonly AcknowledgedEntry[]): Promise<void>;
}

/** The entities of all kinds, in the JSON form of GFD.226. */
export type EntityAccess = Pick<JsonEntities, 'get' | 'list' | 'create' | 'update' | 'delete' | 'act'>;

/** The access rules. */
export interface Rights {
  /**
   * Whether the caller may do an operation on what a target names, such as `topic:news.eu`.
   * @param callers who may call the method where no rule decides, for the target of a method
   * @throws CmbsError `bad_request` for a text that is no target
   */
  may(
    caller: PortPrincipal,
    operation: Operation,
    target: string,
    callers?: Resource['callers'],
  ): Promise<boolean>;
  /**
   * The targets whose rules count for what a target names: itself, and the levels above.
   * @throws CmbsError `bad_request` for a text that is no target
   */
  levels(caller: PortPrincipal, target: string): Promise<readonly string[]>;
}

export interface DomainPorts {
  readonly messaging: Messaging;
  readonly entities: EntityAccess;
  readonly rights: Rights;
}

/**
 * Ports for modules that are made before the domain is open. Until then, each operation is refused with `unavailable`.
 */
export class LatePorts implements DomainPorts {
  #opened: DomainPorts | undefined;

  readonly messaging: Messaging = {
    send: async (...asked) => this.#open.messaging.send(...asked),
    read: async (...asked) => this.#open.messaging.read(...asked),
    acknowledge: async (...asked) => this.#open.messaging.acknowledge(...asked),
  };
  readonly entities: EntityAccess = {
    get: async (...asked) => this.#open.entities.get(...asked),
    list: async (...asked) => this.#open.entities.list(...asked),
    create: async (...asked) => this.#open.entities.create(...asked),
    update: async (...asked) => this.#open.entities.update(...asked),
    delete: async (...asked) => this.#open.entities.delete(...asked),
    act: async (...asked) => this.#open.entities.act(...asked),
  };
  readonly rights: Rights = {
    may: async (...asked) => this.#open.rights.may(...asked),
    levels: async (...asked) => this.#open.rights.levels(...asked),
  };

  /** Gives the modules the domain, when it is open. */
  open(ports: DomainPorts): void {
    this.#opened = ports;
  }

  get #open(): DomainPorts {
    if (this.#opened !== undefined) return this.#opened;
    throw new CmbsError('unavailable', 'The program is still starting; try again soon.');
  }
}

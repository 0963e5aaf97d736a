/**
 * Members as records of the module `discovery`, made when they are read: nothing is written for a member that stays as it
 * is, and a change shows at once. A search reads the page that it returns, by the index: parts of a query that no member
 * can match read nothing.
 */
import { CmbsError, type ErrorCode } from '../errors';
import { type Principal, principalOf } from '../principal';
import { type Entities, type Entity, type Filter, isSegment } from '../occi';
import {
  providerOf,
  RECORD_LIFE_MS,
  type RecordPage,
  type ServiceQuery,
  type ServiceRecord,
  type ServiceSource,
} from '../services/builtin';
import type { Clock } from '../clock';
import { MEMBER, MEMBER_KIND, MEMBERS } from './cmbs';
import type { Layers } from './layer-definition';
import { isLocal, isOpenOn, memberPath, socketOf, socketsOf, topicPatterns } from './member';
import { isUnverified, provenanceOf } from './provenance';

export interface MemberServicesOptions {
  readonly entities: Pick<Entities, 'read' | 'openCollection' | 'list'>;
  readonly layers: Layers;
  readonly clock: Pick<Clock, 'now'>;
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
}

/** Items of a member's record by which members are found, and the attributes that the index has. */
const FOUND_BY: Readonly<Record<string, string>> = {
  local: MEMBER.local,
  state: MEMBER.state,
  topic: MEMBER.topics,
};
const KIND = { key: 'kind', value: 'member' } as const;
/** Topics in a record; a member may have more. */
const MAX_SHOWN_TOPICS = 25;

/** Refusals by which a caller sees no member. */
const HIDES: ReadonlySet<ErrorCode> = new Set(['not_found', 'forbidden', 'unauthenticated']);

export class MemberServices implements ServiceSource {
  readonly #options: MemberServicesOptions;

  constructor(options: MemberServicesOptions) {
    this.#options = options;
  }

  /** @throws CmbsError `bad_request` for a cursor that is not valid */
  async find(principal: Principal, query: ServiceQuery): Promise<RecordPage> {
    // Members have no organisation.
    if (query.vo !== undefined && query.vo !== '') return { records: [] };
    const filter = this.#filterOf(query);
    if (filter === undefined) return { records: [] };
    try {
      return query.name === undefined
        ? await this.#page(principal, query, filter)
        : await this.#named(principal, query, query.name);
    } catch (error) {
      if (error instanceof CmbsError && HIDES.has(error.code)) return { records: [] };
      throw error;
    }
  }

  /** What the index must have; undefined when no member can match. */
  #filterOf({ site, provider_dn: provider, item }: ServiceQuery): Filter | undefined {
    // A search by publisher is about what was published.
    if (provider !== undefined) return undefined;
    const attributes: { readonly name: string; readonly value: string }[] = [];
    if (site !== undefined) {
      if (site !== this.#site) return undefined;
      attributes.push({ name: MEMBER.local, value: 'true' });
    }
    if (item !== undefined && !(item.key === KIND.key && item.value === KIND.value)) {
      const name = Object.hasOwn(FOUND_BY, item.key) ? FOUND_BY[item.key] : undefined;
      if (name === undefined) return undefined;
      attributes.push({ name, value: item.value });
    }
    return { categories: [], attributes, words: [] };
  }

  get #site(): string {
    return this.#options.uriOf('');
  }

  async #named(principal: Principal, query: ServiceQuery, name: string): Promise<RecordPage> {
    if (!isSegment(name)) return { records: [] };
    const { entity } = await this.#options.entities.read(memberPath(name), principal);
    return { records: this.#records([entity], query) };
  }

  async #page(principal: Principal, query: ServiceQuery, filter: Filter): Promise<RecordPage> {
    const { entities } = this.#options;
    const opened = await entities.openCollection(MEMBERS, principal);
    const { cursor, limit } = query;
    const { entities: page, next } = await entities.list(opened, {
      filter,
      number: limit,
      ...(cursor === undefined ? {} : { cursor }),
    });
    const records = this.#records(
      page.map(({ entity }) => entity),
      query,
    );
    return { records, ...(next === undefined ? {} : { next }) };
  }

  #records(members: readonly Entity[], query: ServiceQuery): readonly ServiceRecord[] {
    return members
      .filter((member) => member.kind === MEMBER_KIND && !isUnverified(member))
      .map((member) => this.#recordOf(member))
      .filter((record) => matches(record, query));
  }

  #recordOf(member: Entity): ServiceRecord {
    const { layers, uriOf, clock } = this.#options;
    const isHere = isLocal(member);
    const owner = principalOf(member.owner);
    const uri = isHere ? uriOf(member.path) : provenanceOf(member)?.uri;
    // The socket of a member here that is not open takes nothing.
    const open = layers.names.filter(
      (layer) => socketOf(member, layer) !== undefined && (!isHere || isOpenOn(member, layer)),
    );
    const sockets = socketsOf(member, layers);
    const state = member.attributes[MEMBER.state];
    return {
      name: member.id,
      vo: '',
      site: isHere ? this.#site : '',
      admin: '',
      wsdl: '',
      version: '',
      provider_dn: owner === undefined ? '' : providerOf(owner),
      endpoint: open.map((layer) => ({ uri: sockets[layer] ?? '', encoding: layer })),
      item: [
        KIND,
        { key: 'local', value: String(isHere) },
        ...(typeof state === 'string' ? [{ key: 'state', value: state }] : []),
        ...(uri === undefined ? [] : [{ key: 'uri', value: uri }]),
        ...topicPatterns(member)
          .slice(0, MAX_SHOWN_TOPICS)
          .map((topic) => ({ key: 'topic', value: topic })),
      ],
      // As if the member had been published now.
      expire: Math.floor((clock.now() + RECORD_LIFE_MS) / 1000),
    };
  }
}

/** The parts of a query that the index did not answer. */
function matches(record: ServiceRecord, { site, item }: ServiceQuery): boolean {
  if (site !== undefined && record.site !== site) return false;
  // Of topics, a record shows some, and the index has all.
  return (
    item === undefined ||
    item.key === 'topic' ||
    record.item.some(({ key, value }) => key === item.key && value === item.value)
  );
}

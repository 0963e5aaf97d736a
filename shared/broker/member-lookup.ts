/** Finds the members that a message concerns in the store's index. Other members are not read. */
import type { Clock } from '../clock';
import { concurrently } from '../concurrently';
import { parseTopic, topicKeys } from '../bus';
import {
  attributeField,
  CORE_TITLE,
  ENTITIES,
  entitiesOf,
  type Entity,
  indexText,
  OWNER_FIELD,
  isSegment,
  keyField,
  splitLocation,
} from '../occi';
import { MEMBER, MEMBER_KIND } from './cmbs';
import { allMembers, isLocal, LOCAL, memberPath, type MemberReader, membersWhere, wants } from './member';
import { isIdentified, membersNamed, type UriOf } from './references';
import { MAX_UNVERIFIED } from './registration-room';
import { isTopicIndexComplete } from './topic-index';

/** Members with one title that are read: more than can be unverified, so some of the others are among them. */
const MAX_NAMESAKES = 2 * MAX_UNVERIFIED;
/** Queries of one request at the same time. More would take the store's connections from other requests. */
const QUERIES_AT_ONCE = 16;

export interface MemberLookupOptions {
  readonly store: MemberReader;
  readonly clock: Pick<Clock, 'now'>;
  readonly uriOf: UriOf;
}

/** A lookup remembers the members that it found, for the messages of one request and a transaction that runs again. */
export class MemberLookup {
  readonly #options: MemberLookupOptions;
  readonly #named = new Map<string, readonly Entity[]>();
  /** By topic key. */
  readonly #subscribed = new Map<string, readonly Entity[]>();
  #all: Promise<readonly Entity[]> | undefined;

  constructor(options: MemberLookupOptions) {
    this.#options = options;
  }

  /** Every known member. */
  all(): Promise<readonly Entity[]> {
    this.#all ??= allMembers(this.#options.store).then((members) => members.map(({ entity }) => entity));
    return this.#all;
  }

  /** The members that each reference (id, path, URI or title) means. */
  async named(references: readonly string[]): Promise<readonly (readonly Entity[])[]> {
    const missing = references.filter((reference) => !this.#named.has(reference));
    for (const [reference, members] of await this.#find(missing, 'any')) this.#named.set(reference, members);
    return references.map((reference) => this.#named.get(reference) ?? []);
  }

  /** The local members that a reference means. */
  async localNamed(reference: string): Promise<readonly Entity[]> {
    return (await this.#find([reference], 'local')).get(reference) ?? [];
  }

  /**
   * Local members, two of them at most.
   * @param owner only those that belong to this principal
   */
  twoLocal(owner?: string): Promise<readonly Entity[]> {
    const owned = owner === undefined ? [] : [{ field: OWNER_FIELD, value: indexText(owner) }];
    return membersWhere(this.#options.store, [LOCAL, ...owned], 2);
  }

  /** The members that want at least one of the topics, in the order of their paths. */
  async wanting(topics: readonly string[]): Promise<readonly Entity[]> {
    const { store, clock } = this.#options;
    const candidates = (await isTopicIndexComplete(store, clock))
      ? await this.#subscribedTo(topics)
      : await this.all();
    const wanting = new Map<string, Entity>();
    for (const member of candidates) if (wants(member, topics)) wanting.set(member.path, member);
    return [...wanting.values()].sort((one, other) => (one.path < other.path ? -1 : 1));
  }

  /** Members with a pattern that may match one of the topics. */
  async #subscribedTo(topics: readonly string[]): Promise<readonly Entity[]> {
    const keys = new Set(topics.flatMap((topic) => topicKeys(parseTopic(topic))));
    const missing = [...keys].filter((key) => !this.#subscribed.has(key));
    const field = keyField(MEMBER.topics);
    await concurrently(missing, QUERIES_AT_ONCE, async (value) => {
      this.#subscribed.set(value, await membersWhere(this.#options.store, [{ field, value }]));
    });
    return [...keys].flatMap((key) => this.#subscribed.get(key) ?? []);
  }

  async #find(
    references: readonly string[],
    which: 'any' | 'local',
  ): Promise<ReadonlyMap<string, readonly Entity[]>> {
    const { store, uriOf } = this.#options;
    const found = new Map<string, readonly Entity[]>();
    for (const [reference, member] of await this.#identified(references)) {
      if (which === 'any' || isLocal(member)) found.set(reference, [member]);
    }
    const titles = references.filter((reference) => !found.has(reference));
    await concurrently(titles, QUERIES_AT_ONCE, async (reference) => {
      const title = { field: attributeField(CORE_TITLE), value: indexText(reference) };
      const where = which === 'any' ? [title] : [title, LOCAL];
      found.set(reference, membersNamed(await membersWhere(store, where, MAX_NAMESAKES), reference, uriOf));
    });
    return found;
  }

  /** The members whose id, path or URI a reference is. */
  async #identified(references: readonly string[]): Promise<ReadonlyMap<string, Entity>> {
    const { store, uriOf } = this.#options;
    const paths = new Map<string, string>();
    for (const reference of references) {
      const id = idIn(reference);
      if (isSegment(id)) paths.set(reference, memberPath(id));
    }
    if (paths.size === 0) return new Map();
    const docs = await store.getAll(ENTITIES, [...new Set(paths.values())]);
    const stored = await entitiesOf(
      store,
      docs.filter((doc) => doc !== undefined),
    );
    const members = new Map(stored.map(({ entity }) => [entity.path, entity]));
    const found = new Map<string, Entity>();
    for (const [reference, path] of paths) {
      const member = members.get(path);
      if (member !== undefined && isMember(member) && isIdentified(member, reference, uriOf)) {
        found.set(reference, member);
      }
    }
    return found;
  }
}

/** A URI ends with the path of its member, which ends with the id. */
function idIn(reference: string): string {
  const isLong = reference.startsWith('/') || reference.includes('://');
  if (!isLong) return reference;
  const path = splitLocation(reference)?.path ?? reference;
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Whether an entity is of the members' kind, or of a kind that a client derived from it. */
const isMember = ({ kind, attributes }: Entity): boolean =>
  kind === MEMBER_KIND || attributes[MEMBER.local] !== undefined;

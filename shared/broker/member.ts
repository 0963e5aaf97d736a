/** Members: reading their attributes, finding them, and the rules for members that clients write. */
import { CmbsError } from '../errors';
import type { Json } from '../json';
import { MAX_PAGE_CHARS, MAX_PAGE_DOCS } from '../limits';
import {
  attributeField,
  CATEGORY_FIELD,
  CORE_SUMMARY,
  CORE_TITLE,
  ENTITIES,
  entitiesOf,
  type Entity,
  indexText,
  type Path,
  type StoredEntity,
} from '../occi';
import type { Store } from '../store';
import { type AddressSchemes, ZEROMQ_SCHEMES } from './addresses';
import { MEMBER, MEMBER_KIND, MEMBERS } from './cmbs';
import type { Layer, Layers } from './layer-definition';
import { parsePattern, parseTopic, topicMatches, type TopicPattern } from '../bus';

/** Most characters of a socket's address: `tcp://`, a DNS name of 253, a port. Names of Unix sockets are shorter. */
export const MAX_ADDRESS_LENGTH = 300;

export const isTrue = (value: Json | undefined): boolean =>
  value === true || (typeof value === 'string' && value.toLowerCase() === 'true');

export const isLocal = (member: Entity): boolean => isTrue(member.attributes[MEMBER.local]);
export const isSuspended = (member: Entity): boolean => member.attributes[MEMBER.state] === 'suspended';

/** The addresses of a member, by layer. */
export const socketsOf = (
  member: Pick<Entity, 'attributes'>,
  { names }: Layers,
): Readonly<Record<Layer, string>> =>
  Object.fromEntries(
    names.flatMap((layer) => {
      const address = socketOf(member, layer);
      return address === undefined ? [] : [[layer, address]];
    }),
  );

/** The address that others connect to on a layer. */
export function socketOf(member: Pick<Entity, 'attributes'>, layer: Layer): string | undefined {
  const value = member.attributes[MEMBER.socket(layer)];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** Whether a local member's socket of the layer is open, as its companion last observed. */
export function isOpenOn(member: Pick<Entity, 'attributes'>, layer: Layer): boolean {
  const layers = member.attributes[MEMBER.layers] as
    Readonly<Record<string, { readonly state?: string }>> | undefined;
  return layers?.[layer]?.state === 'started';
}

export function stringList(value: Json | undefined): readonly string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}

/** Skips texts that are no patterns: a member that was stored unchecked must not keep messages from other members. */
export const patternsIn = (topics: Json | undefined): readonly TopicPattern[] =>
  stringList(topics).filter(isPattern);

export const topicPatterns = (member: Pick<Entity, 'attributes'>): readonly TopicPattern[] =>
  patternsIn(member.attributes[MEMBER.topics]);

/** Whether the member wants at least one of the topics. */
export function wants(member: Entity, topics: readonly string[]): boolean {
  const patterns = topicPatterns(member);
  return topics.some((topic) => patterns.some((pattern) => topicMatches(pattern, parseTopic(topic))));
}

/** Attributes that a description carries. */
export const describedAttributes = ({ names }: Layers): readonly string[] => [
  MEMBER.state,
  ...names.map((layer) => MEMBER.socket(layer)),
  MEMBER.neighbors,
  MEMBER.topics,
  CORE_TITLE,
  CORE_SUMMARY,
];

/** {@link Entity.internal} of a member that a client has described; `provenance.ts` reads the others. */
export const WRITTEN_BY_CLIENT = {};

export type MemberReader = Pick<Store, 'query' | 'get' | 'getAll'>;

export interface IndexTerm {
  readonly field: string;
  readonly value: string;
}

export const LOCAL: IndexTerm = { field: attributeField(MEMBER.local), value: 'true' };

/** Every known member, local and remote. */
export async function allMembers(reader: MemberReader): Promise<readonly StoredEntity[]> {
  return storedMembers(reader, []);
}

export const localMembers = (reader: MemberReader): Promise<readonly Entity[]> => membersWhere(reader, [LOCAL]);

/** Local members with an address on a layer; more than two have it only by mistake. */
export const localMembersAt = (reader: MemberReader, layer: Layer, address: string): Promise<readonly Entity[]> =>
  membersWhere(reader, [LOCAL, { field: attributeField(MEMBER.socket(layer)), value: indexText(address) }], 3);

/** Members with all of these index entries, `atMost` of them. */
export async function membersWhere(
  reader: MemberReader,
  where: readonly IndexTerm[],
  atMost = Infinity,
): Promise<readonly Entity[]> {
  return (await storedMembers(reader, where, atMost)).map(({ entity }) => entity);
}

async function storedMembers(
  reader: MemberReader,
  where: readonly IndexTerm[],
  atMost = Infinity,
): Promise<readonly StoredEntity[]> {
  const members: StoredEntity[] = [];
  for await (const member of membersInPages(reader, where, atMost)) members.push(member);
  return members;
}

/** Members with all of these index entries, of which one page is in memory. */
export async function* membersInPages(
  reader: MemberReader,
  where: readonly IndexTerm[],
  atMost = Infinity,
): AsyncGenerator<StoredEntity, void, undefined> {
  let left = atMost;
  for (let after: string | undefined, isMore = left > 0; isMore; isMore = after !== undefined && left > 0) {
    const page = await reader.query({
      collection: ENTITIES,
      where: [{ field: CATEGORY_FIELD, value: MEMBER_KIND }, ...where],
      limit: Math.min(MAX_PAGE_DOCS, left),
      maxChars: MAX_PAGE_CHARS,
      ...(after === undefined ? {} : { after }),
    });
    yield* await entitiesOf(reader, page.docs);
    left -= page.docs.length;
    after = page.next;
  }
}

/** The layers and forms of address that members may name. */
export interface MemberRules {
  readonly layers: Layers;
  /** Those of ZeroMQ when absent. */
  readonly schemes?: AddressSchemes;
}

/**
 * Checks beyond the categories, for the provider.
 * @throws CmbsError `bad_request`, `bad_attribute`
 */
export function prepareMember(
  next: Entity,
  before: Entity | undefined,
  { layers, schemes = ZEROMQ_SCHEMES }: MemberRules,
): Entity {
  // Inboxes, subscriptions and hops identify a member by its id alone.
  if (before === undefined && next.path !== memberPath(next.id)) {
    throw new CmbsError(
      'bad_request',
      `A member lives at ${memberPath(next.id)}; ${next.path} is no place for one.`,
    );
  }
  const attributes: Record<string, Json> = { ...next.attributes };
  for (const name of [MEMBER.state, MEMBER.local]) {
    const value = attributes[name];
    if (typeof value === 'object' || typeof value === 'number') {
      throw new CmbsError('bad_attribute', `${name} takes one of its words, a string.`);
    }
  }
  for (const layer of layers.names) checkSocket(MEMBER.socket(layer), attributes, before, schemes);
  for (const name of [MEMBER.topics, MEMBER.neighbors]) {
    const value = attributes[name];
    if (Array.isArray(value) && value.some((item) => typeof item !== 'string')) {
      throw new CmbsError('bad_attribute', `${name} takes a list of strings.`);
    }
    attributes[name] = stringList(value);
  }
  const known = stringList(before?.attributes[MEMBER.neighbors]);
  for (const address of stringList(attributes[MEMBER.neighbors])) {
    if (!known.includes(address)) schemes.parse(address);
  }
  stringList(attributes[MEMBER.topics]).forEach(parsePattern);
  layersToStart(attributes[MEMBER.start], layers);
  const isDescribedAnew =
    before === undefined ||
    describedAttributes(layers).some(
      (name) => JSON.stringify(attributes[name]) !== JSON.stringify(before.attributes[name]),
    );
  // From now on only clients change this description.
  return { ...next, attributes, ...(isDescribedAnew ? { internal: WRITTEN_BY_CLIENT } : {}) };
}

/** A value that an earlier release accepted may stay. */
function checkSocket(
  name: string,
  attributes: Readonly<Record<string, Json>>,
  before: Entity | undefined,
  schemes: AddressSchemes,
): void {
  const socket = attributes[name];
  if (socket === undefined || socket === '' || socket === before?.attributes[name]) return;
  if (typeof socket !== 'string' || socket.length > MAX_ADDRESS_LENGTH) {
    throw new CmbsError(
      'bad_attribute',
      `${name} takes a socket address, a string of ${MAX_ADDRESS_LENGTH} characters at most.`,
    );
  }
  schemes.parse(socket);
}

/** The layers that `cmbs.member.start` names. @throws CmbsError `bad_attribute` */
export function layersToStart(value: Json | undefined, known: Layers): readonly Layer[] {
  if (value === undefined) return [];
  const names = Array.isArray(value) ? (value as readonly Json[]) : value === '' ? [] : [value];
  const layers = names.map((name) => {
    const layer = typeof name === 'string' ? known.parse(name) : undefined;
    if (layer === undefined) {
      throw new CmbsError('bad_attribute', `${MEMBER.start} takes a list of layers: ${known.names.join(', ')}.`);
    }
    return layer;
  });
  return [...new Set(layers)];
}

export function isPattern(topic: string): topic is TopicPattern {
  try {
    parsePattern(topic);
    return true;
  } catch {
    return false;
  }
}

export const memberPath = (id: string): Path => MEMBERS + id;

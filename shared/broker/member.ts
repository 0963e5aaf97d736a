/** Members: what their entities mean, how they are found, how they describe themselves to others. */
import { z } from 'zod';
import { CmbsError } from '../errors';
import { isJsonObject, type Json } from '../json';
import { MAX_DESCRIBED_NAMES, MAX_DESCRIPTION_CHARS, MAX_PAGE_DOCS } from '../limits';
import {
  attributeField,
  CATEGORY_FIELD,
  checkId,
  CORE_SUMMARY,
  CORE_TITLE,
  ENTITIES,
  entitiesOf,
  type Entity,
  type Path,
} from '../occi';
import type { Store } from '../store';
import { type AddressSchemes, ZEROMQ_SCHEMES } from './addresses';
import { MEMBER, MEMBER_KIND, MEMBERS } from './cmbs';
import { LAYERS, parseLayer, type Layer } from './layers';
import { parsePattern, parseTopic, topicMatches, type TopicPattern } from '../bus';

/** Characters of a socket's address: `tcp://`, the 253 of a DNS name, a port; paths of Unix sockets are shorter. */
const MAX_ADDRESS_LENGTH = 300;

export const isTrue = (value: Json | undefined): boolean =>
  value === true || (typeof value === 'string' && value.toLowerCase() === 'true');

export const isLocal = (member: Entity): boolean => isTrue(member.attributes[MEMBER.local]);
export const isSuspended = (member: Entity): boolean => member.attributes[MEMBER.state] === 'suspended';

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
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

/** What is no pattern is left out: a member that was stored without its provider's checks must not stop the others. */
export const topicPatterns = (member: Entity): readonly TopicPattern[] =>
  stringList(member.attributes[MEMBER.topics]).filter(isPattern);

/** Whether the member wants at least one of the topics. */
export function wants(member: Entity, topics: readonly string[]): boolean {
  const patterns = topicPatterns(member);
  return topics.some((topic) => patterns.some((pattern) => topicMatches(pattern, parseTopic(topic))));
}

export type MemberReader = Pick<Store, 'query' | 'get' | 'getAll'>;

/** Every known member, local and remote. */
export async function allMembers(reader: MemberReader): Promise<readonly Entity[]> {
  return membersWhere(reader, []);
}

export async function localMembers(reader: MemberReader): Promise<readonly Entity[]> {
  return membersWhere(reader, [{ field: attributeField(MEMBER.local), value: 'true' }]);
}

async function membersWhere(
  reader: MemberReader,
  where: readonly { readonly field: string; readonly value: string }[],
): Promise<readonly Entity[]> {
  const members: Entity[] = [];
  let after: string | undefined;
  do {
    const page = await reader.query({
      collection: ENTITIES,
      where: [{ field: CATEGORY_FIELD, value: MEMBER_KIND }, ...where],
      limit: MAX_PAGE_DOCS,
      ...(after === undefined ? {} : { after }),
    });
    for (const { entity } of await entitiesOf(reader, page.docs)) members.push(entity);
    after = page.next;
  } while (after !== undefined);
  return members;
}

/** Checks beyond the categories, for the provider. */
export function prepareMember(
  next: Entity,
  before: Entity | undefined,
  schemes: AddressSchemes = ZEROMQ_SCHEMES,
): Entity {
  // Its inbox, subscriptions and hops go by the id alone.
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
  for (const layer of LAYERS) checkSocket(MEMBER.socket(layer), attributes, before, schemes);
  for (const name of [MEMBER.topics, MEMBER.neighbors]) {
    const value = attributes[name];
    if (Array.isArray(value) && value.some((one) => typeof one !== 'string')) {
      throw new CmbsError('bad_attribute', `${name} takes a list of strings.`);
    }
    attributes[name] = stringList(value);
  }
  const known = stringList(before?.attributes[MEMBER.neighbors]);
  for (const address of stringList(attributes[MEMBER.neighbors])) {
    if (!known.includes(address)) schemes.parse(address);
  }
  stringList(attributes[MEMBER.topics]).forEach(parsePattern);
  layersToStart(attributes[MEMBER.start]);
  const isDescribedAnew =
    before === undefined ||
    DESCRIBED.some((name) => JSON.stringify(attributes[name]) !== JSON.stringify(before.attributes[name]));
  // From now on only clients change what a client has written.
  return { ...next, attributes, ...(isDescribedAnew ? { internal: WRITTEN_BY_CLIENT } : {}) };
}

/** What an earlier release took stays until it is changed. */
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
export function layersToStart(value: Json | undefined): readonly Layer[] {
  if (value === undefined) return [];
  const names = Array.isArray(value) ? (value as readonly Json[]) : value === '' ? [] : [value];
  const layers = names.map((name) => {
    const layer = typeof name === 'string' ? parseLayer(name) : undefined;
    if (layer === undefined) {
      throw new CmbsError('bad_attribute', `${MEMBER.start} takes a list of layers: ${LAYERS.join(', ')}.`);
    }
    return layer;
  });
  return [...new Set(layers)];
}

/** A member as another deployment describes it: the original's entity, read leniently but typed. */
const text = z.string().max(4096);
const socketField = z.string().max(MAX_ADDRESS_LENGTH).optional();
const list = z.union([z.array(text), z.literal('')]).optional();

/** Attributes that a description carries. */
export const DESCRIBED: readonly string[] = [
  MEMBER.state,
  ...LAYERS.map((layer) => MEMBER.socket(layer)),
  MEMBER.neighbors,
  MEMBER.topics,
  CORE_TITLE,
  CORE_SUMMARY,
];

const description = z.looseObject({
  kind: z.literal(MEMBER_KIND),
  id: z.string().min(1).max(255),
  title: text.optional(),
  summary: text.optional(),
  attributes: z.looseObject({
    cmbs: z.looseObject({
      member: z.looseObject({
        state: z.enum(['active', 'inactive', 'suspended', 'failed']).catch('inactive').optional(),
        l1_socket: socketField,
        l2_socket: socketField,
        l31_socket: socketField,
        l32_socket: socketField,
        'l3.1_socket': socketField,
        'l3.2_socket': socketField,
        l4_socket: socketField,
        neighbors_socket: list,
        topics: list,
      }),
    }),
  }),
});

export interface Description {
  readonly id: string;
  readonly attributes: Readonly<Record<string, Json>>;
}

/**
 * Reads a member description; undefined when the value is none. Topics that are no patterns are left out. One that is
 * larger than what is kept of a member is `too large`: each is held in memory, and anybody who reaches a socket can send
 * some.
 */
export function parseDescription(value: unknown): Description | 'too large' | undefined {
  if (!isJsonObject(value) || value.kind !== MEMBER_KIND) return undefined;
  const parsed = description.safeParse(value);
  if (!parsed.success) return undefined;
  const { id, title, summary, attributes } = parsed.data;
  if (!isId(id)) return undefined;
  const member = attributes.cmbs.member;
  const flat: Record<string, Json> = { [MEMBER.local]: 'false', [MEMBER.state]: member.state ?? 'inactive' };
  const sockets: Record<Layer, string | undefined> = {
    l1: member.l1_socket,
    l2: member.l2_socket,
    l31: member.l31_socket ?? member['l3.1_socket'],
    l32: member.l32_socket ?? member['l3.2_socket'],
    l4: member.l4_socket,
  };
  for (const layer of LAYERS) {
    const socket = sockets[layer];
    if (socket !== undefined) flat[MEMBER.socket(layer)] = socket;
  }
  flat[MEMBER.neighbors] = stringList(member.neighbors_socket);
  flat[MEMBER.topics] = stringList(member.topics).filter(isPattern);
  if (title !== undefined) flat[CORE_TITLE] = title;
  if (summary !== undefined) flat[CORE_SUMMARY] = summary;
  return isTooLarge(flat) ? 'too large' : { id, attributes: flat };
}

/** {@link Entity.internal} of a member that a client has described; `provenance.ts` tells of the others. */
export const WRITTEN_BY_CLIENT = {};

const isTooLarge = (attributes: Readonly<Record<string, Json>>): boolean =>
  [MEMBER.topics, MEMBER.neighbors].some((name) => stringList(attributes[name]).length > MAX_DESCRIBED_NAMES) ||
  descriptionChars(attributes) > MAX_DESCRIPTION_CHARS;

/** Characters of what a description says of a member. */
export function descriptionChars(attributes: Readonly<Record<string, Json>>): number {
  return JSON.stringify(DESCRIBED.map((name) => attributes[name])).length;
}

/** What a stranger calls itself becomes part of a path. */
function isId(text: string): boolean {
  try {
    return checkId(text) === text;
  } catch {
    return false; // a description that cannot be kept is none
  }
}

function isPattern(topic: string): topic is TopicPattern {
  try {
    parsePattern(topic);
    return true;
  } catch {
    return false; // left out: what cannot be a pattern matches nothing
  }
}

/** The member as others get it: the original's entity with `local` false (layers.md, L1 on the wire). */
export function describe(member: Entity): Json {
  const short: Record<string, Json> = {};
  for (const name of [
    MEMBER.state,
    ...LAYERS.map((layer) => MEMBER.socket(layer)),
    MEMBER.neighbors,
    MEMBER.topics,
  ]) {
    const value = member.attributes[name];
    if (value !== undefined) short[name.slice('cmbs.member.'.length)] = value;
  }
  return {
    kind: MEMBER_KIND,
    mixins: [],
    attributes: { cmbs: { member: { ...short, local: 'false' } } },
    actions: [],
    id: member.id,
    title: member.attributes[CORE_TITLE] ?? '',
    summary: member.attributes[CORE_SUMMARY] ?? '',
    links: [],
  };
}

export const memberPath = (id: string): Path => MEMBERS + id;

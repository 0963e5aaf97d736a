/** Member descriptions, with which members introduce themselves in frames and replies (docs/wire.md). */
import { z } from 'zod';
import { isJsonObject, type Json } from '../json';
import { MAX_DESCRIBED_NAMES, MAX_DESCRIPTION_CHARS } from '../limits';
import { checkId, CORE_SUMMARY, CORE_TITLE, type Entity } from '../occi';
import { MEMBER, MEMBER_KIND } from './cmbs';
import type { Layers } from './layer-definition';
import { describedAttributes, isPattern, MAX_ADDRESS_LENGTH, stringList } from './member';

const text = z.string().max(4096);
const list = z.union([z.array(text), z.literal('')]).optional();
const socketAddress = z.string().max(MAX_ADDRESS_LENGTH);

/** The entity of the original program, read leniently but typed. */
const description = z.looseObject({
  kind: z.literal(MEMBER_KIND),
  id: z.string().min(1).max(255),
  title: text.optional(),
  summary: text.optional(),
  attributes: z.looseObject({
    cmbs: z.looseObject({
      member: z.looseObject({
        state: z.enum(['active', 'inactive', 'suspended', 'failed']).catch('inactive').optional(),
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
 * Reads a member description; undefined for any other value. Topics that are not patterns are left out. Descriptions are
 * kept in memory and any peer can send them, so a description above the limits is `too large`.
 */
export function parseDescription(value: unknown, layers: Layers): Description | 'too large' | undefined {
  if (!isJsonObject(value) || value.kind !== MEMBER_KIND) return undefined;
  const parsed = description.safeParse(value);
  if (!parsed.success) return undefined;
  const { id, title, summary, attributes } = parsed.data;
  if (!isId(id)) return undefined;
  const { member } = attributes.cmbs;
  const flat: Record<string, Json> = { [MEMBER.local]: 'false', [MEMBER.state]: member.state ?? 'inactive' };
  for (const { name, aliases = [] } of layers.all) {
    for (const spelling of [...aliases, name]) {
      const given = member[`${spelling}_socket`];
      if (given === undefined) continue;
      const socket = socketAddress.safeParse(given);
      if (!socket.success) return undefined;
      flat[MEMBER.socket(name)] = socket.data;
    }
  }
  flat[MEMBER.neighbors] = stringList(member.neighbors_socket);
  flat[MEMBER.topics] = stringList(member.topics).filter(isPattern);
  if (title !== undefined) flat[CORE_TITLE] = title;
  if (summary !== undefined) flat[CORE_SUMMARY] = summary;
  return isTooLarge(flat, layers) ? 'too large' : { id, attributes: flat };
}

const isTooLarge = (attributes: Readonly<Record<string, Json>>, layers: Layers): boolean =>
  [MEMBER.topics, MEMBER.neighbors].some((name) => stringList(attributes[name]).length > MAX_DESCRIBED_NAMES) ||
  descriptionChars(attributes, layers) > MAX_DESCRIPTION_CHARS;

/** Characters of a description, as JSON. */
export function descriptionChars(attributes: Readonly<Record<string, Json>>, layers: Layers): number {
  return JSON.stringify(describedAttributes(layers).map((name) => attributes[name])).length;
}

/** The id that a peer claims becomes part of a path. */
function isId(claimed: string): boolean {
  try {
    return checkId(claimed) === claimed;
  } catch {
    return false; // a member without an id cannot be stored
  }
}

const PREFIX = 'cmbs.member.';

/** The member as others get it: the entity of the original program, with `local` false. */
export function describe(member: Entity, layers: Layers): Json {
  const short: Record<string, Json> = {};
  for (const name of describedAttributes(layers)) {
    const value = member.attributes[name];
    if (name.startsWith(PREFIX) && value !== undefined) short[name.slice(PREFIX.length)] = value;
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

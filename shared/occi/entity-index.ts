/** The index of entities: by category, by the ends of links, and by attribute value. */
import { createHash } from 'node:crypto';
import { holdsExactly } from '../exact-json';
import { isJsonObject, type Json } from '../json';
import { NO_OWNERS } from '../principal';
import type { CategoryRegistry } from './category-registry';
import { CORE_ID, CORE_SOURCE, CORE_TARGET, type AttributeSpec, type Entity } from './model';

/** Characters of an attribute value that are indexed as they are. Longer values are indexed by their digest. */
const MAX_INDEXED_VALUE_LENGTH = 256;

export const CATEGORY_FIELD = 'category';
export const SOURCE_FIELD = 'source';
export const TARGET_FIELD = 'target';
/** The index field of the principal that an entity belongs to. */
export const OWNER_FIELD = 'owner';
/** The index field of {@link Entity.group}. */
export const GROUP_FIELD = 'group';
/** The index field of an attribute. */
export const attributeField = (name: string): string => `a.${name}`;
/** The index field of the texts that an attribute's {@link AttributeSpec.keysOf} makes. */
export const keyField = (name: string): string => `k.${name}`;

/** The index entry of a value: without its type, because query strings have no types, and booleans in lower case. */
export function indexText(value: Json): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const lower = text.length <= 5 ? text.toLowerCase() : text;
  const folded = lower === 'true' || lower === 'false' ? lower : text;
  if (folded.length <= MAX_INDEXED_VALUE_LENGTH) return folded;
  return `sha256:${createHash('sha256').update(folded).digest('hex')}`;
}

/** All index entries of a value: a list has an entry of its own and one for each scalar element. */
export function indexTexts(value: Json): readonly string[] {
  if (!Array.isArray(value)) return [indexText(value)];
  const elements = (value as readonly Json[]).filter((one) => one === null || typeof one !== 'object');
  return [...new Set([indexText(value), ...elements.map(indexText)])];
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** The canonical text of a number in any spelling (`4.0`, `4e0`); undefined if the text is not an exact number. */
export function numberText(text: string): string | undefined {
  return NUMBER.test(text) && holdsExactly(text) ? JSON.stringify(Number(text)) : undefined;
}

/** Whether values of the attribute are compared as numbers, in any spelling. */
export const isNumeric = (spec: AttributeSpec | undefined): boolean =>
  spec?.type === 'number' || spec?.type === 'scalar';

type IndexEntries = Record<string, readonly string[]>;

/** All index entries of an entity, by field. */
export function indexOf(entity: Entity, registry: CategoryRegistry): Readonly<IndexEntries> {
  const index: IndexEntries = {
    [attributeField(CORE_ID)]: [indexText(entity.id)],
    [CATEGORY_FIELD]: [...registry.ancestors(entity.kind), ...entity.mixins],
  };
  if (entity.group !== undefined) index[GROUP_FIELD] = [entity.group];
  const specs = registry.specs(entity.kind, entity.mixins);
  for (const [name, value] of Object.entries(entity.attributes)) {
    const spec = specs[name];
    if (spec?.keysOf !== undefined) index[keyField(name)] = [...new Set(spec.keysOf(value))];
    const number = typeof value === 'string' && isNumeric(spec) ? numberText(value) : undefined;
    if (number !== undefined) index[attributeField(name)] = [...new Set([...indexTexts(value), number])];
    else if (!isJsonObject(value)) index[attributeField(name)] = indexTexts(value);
    else {
      // Other members have names that a client chose, and each would stay in the store for ever.
      for (const member of spec?.indexedMembers ?? []) {
        const held = value[member];
        if (held !== undefined && !isJsonObject(held))
          index[attributeField(`${name}.${member}`)] = indexTexts(held);
      }
    }
  }
  // Nobody lists the entities without an owner as their own.
  if (!NO_OWNERS.has(entity.owner)) index[OWNER_FIELD] = [indexText(entity.owner)];
  const source = entity.attributes[CORE_SOURCE];
  const target = entity.attributes[CORE_TARGET];
  if (typeof source === 'string') index[SOURCE_FIELD] = [source];
  if (typeof target === 'string') index[TARGET_FIELD] = [target];
  return index;
}

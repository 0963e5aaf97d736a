/** The attributes of oBIX, which XML and JSON share: their names, their order, and their defaults, which are left out. */
import { DeviceObjectError, shown } from '../errors';
import { COMMON_FACETS, type Element, elementOf, STATUSES, type ValueType, VALUES } from '../objects/elements';
import type { DeviceObject, Draft } from '../objects/object';

/** An attribute, and its value by type. */
export interface Attribute {
  readonly name: string;
  readonly type: ValueType;
  readonly value: unknown;
}

const CONTRACT_FACETS = ['of', 'in', 'out'] as const;
/** After `is`, in the order of the gateways of IoTSyS. */
const TEXTS = ['display', 'displayName', 'location', 'icon'] as const;

/** The attributes of an object, in the order of the gateways of IoTSyS; those with default values are left out. */
export function attributesOf(object: DeviceObject): readonly Attribute[] {
  const { element } = object;
  const own = object as unknown as Readonly<Record<string, unknown>>;
  const { value: valueType, facets } = elementOf(element);
  const contractFacets: readonly string[] = element === 'feed' ? ['in', 'of'] : CONTRACT_FACETS;
  const all: (readonly [name: string, type: ValueType, value: unknown])[] = [
    ['name', 'text', object.name],
    ['href', 'text', object.href],
    ...(valueType === undefined ? [] : [['val', valueType, own.value] as const]),
    ...contractFacets.filter((facet) => facet in facets).map((facet) => [facet, 'contracts', own[facet]] as const),
    ['is', 'contracts', object.is.length === 0 ? undefined : object.is],
    ...TEXTS.map((facet) => [facet, 'text', object[facet]] as const),
    ['status', 'text', object.status === 'ok' ? undefined : object.status],
    ['null', 'boolean', object.isNull || undefined],
    ['writable', 'boolean', object.writable || undefined],
    ...Object.entries(facets)
      .filter(([facet]) => !contractFacets.includes(facet))
      .map(([facet, type]) => [facet, type, own[facet]] as const),
  ];
  return all.flatMap(([name, type, value]) => (value === undefined ? [] : [{ name, type, value }]));
}

export const textOf = ({ type, value }: Attribute): string =>
  (VALUES[type].text as (value: unknown) => string)(value);

/** A facet of a draft, and its type. `val` and `null` have other names in an object. */
function facetOf(element: Element, attribute: string): readonly [facet: string, type: ValueType] | undefined {
  if (attribute === 'val') {
    const { value } = elementOf(element);
    return value && ['value', value];
  }
  if (attribute === 'null') return ['isNull', 'boolean'];
  if (attribute === 'writable') return ['writable', 'boolean'];
  if (attribute === 'is') return ['is', 'contracts'];
  if (attribute === 'status') return ['status', 'text'];
  if (Object.hasOwn(COMMON_FACETS, attribute)) return [attribute, 'text'];
  const { facets } = elementOf(element);
  const type = Object.hasOwn(facets, attribute) ? facets[attribute] : undefined;
  return type && [attribute, type];
}

export const hasAttribute = (element: Element, attribute: string): boolean =>
  facetOf(element, attribute) !== undefined;

const trimmed = (text: string): string => text.replace(/^[ \t\r\n]+/, '').replace(/(?<![ \t\r\n])[ \t\r\n]+$/, '');

/**
 * Puts an attribute into a draft.
 * @returns false for an attribute that the element does not have
 * @throws DeviceObjectError for a value that is not of its type
 */
export function setAttribute(
  draft: Record<string, unknown>,
  element: Element,
  attribute: string,
  text: string,
): boolean {
  const [facet, type] = facetOf(element, attribute) ?? [];
  if (facet === undefined || type === undefined) return false;
  if (facet === 'status' && !(STATUSES as readonly string[]).includes(text)) {
    throw new DeviceObjectError(`${shown(text)} is no status.`);
  }
  // White space means something in texts only.
  draft[facet] = VALUES[type].parse(type === 'text' ? text : trimmed(text));
  return true;
}

/** A draft while it is read. */
export interface OpenDraft {
  readonly facets: Record<string, unknown>;
  readonly children: Draft[];
}

export function openDraft(tag: string, element: Element): OpenDraft {
  const children: Draft[] = [];
  return { facets: { element, ...(tag === element ? {} : { tag }), children }, children };
}

/** The draft that has been read. A null object has no value, whatever `val` says: gateways write 1970 there. */
export function draftOf({ facets }: OpenDraft): Draft {
  if (facets.isNull === true) delete facets.value;
  return facets as unknown as Draft;
}

/** What the JSON renderings share on output. */
import type { CmbsError } from '../../../errors';
import type { Json } from '../../../json';
import { RawJson, stringifyJson, type JsonOutput } from '../../raw-json';
import { CORE_ID, CORE_SOURCE, CORE_SUMMARY, CORE_TARGET, CORE_TITLE, type EntityView } from '../../model';
import type { RenderedText } from '../rendering';

export function renderJson(mediaType: string, value: JsonOutput): RenderedText {
  return { headers: { 'Content-Type': mediaType }, body: stringifyJson(value) };
}

export function renderJsonError(mediaType: string, error: CmbsError): RenderedText {
  const { code, message, details } = error;
  return renderJson(mediaType, { error: { code, message, details } });
}

/** The core attributes that an entity in JSON shows beside `attributes`. */
export interface CoreMembers {
  readonly title: string | undefined;
  readonly summary: string | undefined;
  readonly source: string | undefined;
  readonly target: string | undefined;
}

/** An entity's attributes, divided into members of the entity and members of `attributes`. */
export interface Parted {
  readonly core: CoreMembers;
  /** Flat names, raw JSON last. */
  readonly attributes: Map<string, Json | RawJson>;
}

export function partAttributes(view: EntityView): Parted {
  const { attributes, rawJson } = view.entity;
  const rest = new Map<string, Json | RawJson>();
  const core: Record<keyof CoreMembers, string | undefined> = {
    title: undefined,
    summary: undefined,
    source: undefined,
    target: undefined,
  };
  for (const [name, value] of Object.entries(attributes)) {
    if (name === CORE_ID) continue;
    const member = coreMember(name, view.isLink);
    if (member !== undefined && typeof value === 'string') core[member] = value;
    else rest.set(name, value);
  }
  for (const [name, text] of Object.entries(rawJson)) rest.set(name, new RawJson(text));
  return { core, attributes: rest };
}

function coreMember(name: string, isLink: boolean): keyof CoreMembers | undefined {
  switch (name) {
    case CORE_TITLE:
      return 'title';
    case CORE_SUMMARY:
      return 'summary';
    case CORE_SOURCE:
      return isLink ? 'source' : undefined;
    case CORE_TARGET:
      return isLink ? 'target' : undefined;
    default:
      return undefined;
  }
}

/** The list, or undefined for an empty one, because GFD.226's schema forbids empty lists. */
export function unlessEmpty<T>(items: readonly T[]): readonly T[] | undefined {
  return items.length === 0 ? undefined : items;
}

/** The title and the other attributes of a link inside its source, without the ends, which the link shows itself. */
export function linkAttributes(attributes: Readonly<Record<string, Json>>): {
  readonly title: string | undefined;
  readonly attributes: Map<string, Json>;
} {
  const rest = new Map<string, Json>();
  let title: string | undefined;
  for (const [name, value] of Object.entries(attributes)) {
    if (name === CORE_ID || name === CORE_SOURCE || name === CORE_TARGET) continue;
    if (name === CORE_TITLE && typeof value === 'string') title = value;
    else rest.set(name, value);
  }
  return { title, attributes: rest };
}

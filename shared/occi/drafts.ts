/** Interprets payloads as drafts of entities. */
import { badRequest, CmbsError } from '../errors';
import type { Json, JsonObject } from '../json';
import { exactValue, leaves } from './attribute-input';
import type { Values } from './attributes';
import { refuseOtherClass } from './categories/changes';
import type { CategoryRegistry } from './category-registry';
import {
  categoryId,
  CORE_ID,
  CORE_SOURCE,
  CORE_SUMMARY,
  CORE_TARGET,
  CORE_TITLE,
  DERIVED_NAMES,
  type CategoryId,
} from './model';
import type { CategoryInput, EntityInput, LinkInput, Payload, SourceText } from './payload';

/** An entity that a client wants. Names are canonical; no rule has been applied yet. */
export interface Draft {
  readonly kind?: CategoryId;
  readonly mixins: readonly CategoryId[];
  readonly id?: string;
  /** Values by flat name, `occi.core.*` among them, without raw JSON. */
  readonly values: Values;
  /** JSON texts of raw JSON attributes by flat name. */
  readonly rawJson: Readonly<Record<string, string>>;
  readonly links: readonly LinkInput[];
}

/** Categories of the entity that an update or a replacement addresses. */
export interface Known {
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
}

/**
 * All entities in a creation request.
 * @throws CmbsError `unknown_category`, `bad_request`, `bad_attribute`
 */
export function drafts(payload: Payload, registry: CategoryRegistry): readonly Draft[] {
  if (payload.form === 'json') return payload.entities.map((input) => jsonDraft(input, registry, undefined));
  if (payload.form === 'none' || payload.categories.length === 0) return [];
  return [textDraft(payload, registry, undefined)];
}

/**
 * The one entity in a PUT or a partial POST.
 * @param known categories that the request need not repeat
 * @throws CmbsError `unknown_category`, `bad_request`, `bad_attribute`
 */
export function singleDraft(payload: Payload, registry: CategoryRegistry, known?: Known): Draft {
  if (payload.form === 'text') return textDraft(payload, registry, known);
  if (payload.form === 'json' && payload.entities.length === 0 && payload.keys.has('attributes')) {
    // A bare `{"attributes":{…}}` is a partial entity too.
    return jsonDraft(bareInput(payload), registry, known);
  }
  const [input, ...more] = payload.entities;
  if (input === undefined || more.length > 0) {
    throw badRequest('The body must contain exactly one entity; send one request for each entity.');
  }
  return jsonDraft(input, registry, known);
}

function bareInput({ attributes, sourceText }: Payload): EntityInput {
  return { mixins: [], attributes, links: [], isLink: false, sourceText: sourceText ?? (() => undefined) };
}

interface EntityCategories {
  readonly kind?: CategoryId;
  readonly mixins: readonly CategoryId[];
}

/** Divides the categories of an entity in text into its kind and its mixins. */
function sortCategories(inputs: readonly CategoryInput[], registry: CategoryRegistry): EntityCategories {
  const kinds: CategoryId[] = [];
  const mixins: CategoryId[] = [];
  for (const input of inputs) {
    const category = registry.require(categoryId(input));
    const id = categoryId(category);
    refuseOtherClass(category, input);
    if (category.class === 'kind') kinds.push(id);
    else if (category.class === 'mixin') mixins.push(id);
    else throw badRequest(`${id} is an action and cannot be a category of an entity; leave it out.`);
  }
  if (new Set(kinds).size > 1) throw badRequest('An entity has exactly one kind; name one.');
  return { ...(kinds[0] === undefined ? {} : { kind: kinds[0] }), mixins: [...new Set(mixins)] };
}

function textDraft(payload: Payload, registry: CategoryRegistry, known: Known | undefined): Draft {
  return draft(
    {
      ...sortCategories(payload.categories, registry),
      attributes: payload.attributes,
      links: payload.links,
      core: {},
      isText: true,
      sourceText: payload.sourceText ?? (() => undefined),
    },
    registry,
    known,
  );
}

function jsonDraft(input: EntityInput, registry: CategoryRegistry, known: Known | undefined): Draft {
  const kind = input.kind === undefined ? undefined : categoryId(registry.requireKind(input.kind));
  const mixins = input.mixins.map((id) => categoryId(registry.requireMixin(id)));
  return draft(
    {
      ...(kind === undefined ? {} : { kind }),
      mixins: [...new Set(mixins)],
      attributes: input.attributes,
      links: input.links,
      core: coreValues(input),
      isText: false,
      sourceText: input.sourceText,
    },
    registry,
    known,
  );
}

/** The core attributes that JSON writes beside `attributes`. */
export function coreValues({ id, title, summary, source, target }: EntityInput): Values {
  const all = {
    [CORE_ID]: id,
    [CORE_TITLE]: title,
    [CORE_SUMMARY]: summary,
    [CORE_SOURCE]: source,
    [CORE_TARGET]: target,
  };
  return Object.fromEntries(
    Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

interface RawDraft extends EntityCategories {
  readonly attributes: JsonObject;
  readonly links: readonly LinkInput[];
  readonly core: Values;
  readonly isText: boolean;
  readonly sourceText: SourceText;
}

function draft(raw: RawDraft, registry: CategoryRegistry, known: Known | undefined): Draft {
  const kind = raw.kind ?? known?.kind;
  const specs =
    kind === undefined ? {} : registry.specs(kind, [...new Set([...(known?.mixins ?? []), ...raw.mixins])]);
  const isDeclared = (name: string): boolean => Object.hasOwn(specs, registry.canonicalAttribute(name));
  const values: Record<string, Json> = { ...raw.core };
  const rawJson: Record<string, string> = {};
  for (const { name: written, value, keys } of leaves(raw.attributes, isDeclared)) {
    const name = registry.canonicalAttribute(written);
    const spec = specs[name];
    const source = (): string | undefined => raw.sourceText(keys);
    if (spec?.rawJson === true) rawJson[name] = source() ?? JSON.stringify(value);
    else if (!DERIVED_NAMES.has(name)) {
      values[name] = exactValue(name, value, { isText: raw.isText, spec, source });
    }
  }
  const id = values[CORE_ID];
  if (id !== undefined && typeof id !== 'string') {
    throw badRequest('The id of an entity is a string; put it in quotes.');
  }
  return {
    ...(raw.kind === undefined ? {} : { kind: raw.kind }),
    mixins: raw.mixins,
    ...(id === undefined ? {} : { id }),
    values,
    rawJson,
    links: raw.links.filter((link) => !isActionLink(link)),
  };
}

/** Renderings show actions as links, so a client that PUTs what it read sends them; they are not links of the entity. */
const isActionLink = (link: LinkInput): boolean => link.target.includes('?action=');

export interface ActionInput {
  readonly id?: CategoryId;
  readonly values: Values;
}

/**
 * The action that the body names, if it names one, and the attributes of the action.
 * @throws CmbsError `bad_action`, `bad_attribute`
 */
export function actionInput(payload: Payload, registry: CategoryRegistry): ActionInput {
  const named = [
    ...(payload.action === undefined ? [] : [payload.action]),
    ...payload.categories.map((category) => categoryId(category)),
  ].map((id) => registry.canonicalId(id));
  if (new Set(named).size > 1) {
    throw new CmbsError('bad_action', 'The request names several actions; send one request for each.');
  }
  const id = named[0];
  if (id !== undefined && registry.action(id) === undefined) {
    throw new CmbsError('bad_action', `There is no action ${id} here; GET /-/ lists all actions.`);
  }
  const specs = id === undefined ? {} : (registry.action(id)?.attributes ?? {});
  const values = Object.fromEntries(
    leaves(payload.attributes, (name) => Object.hasOwn(specs, name)).map(({ name, value, keys }) => [
      name,
      exactValue(name, value, { source: () => payload.sourceText?.(keys) }),
    ]),
  );
  return { ...(id === undefined ? {} : { id }), values };
}

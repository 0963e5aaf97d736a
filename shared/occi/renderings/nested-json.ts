/**
 * `application/occi+json;profile=nested`: the form of the original (docs/layers.md, "The original"), with nested attribute
 * names, bare entities and lists of locations. Clients of the original parse exactly these shapes.
 */
import type { Json } from '../../json';
import { parseJsonBody } from './json/body';
import { linkAttributes, partAttributes, renderJson, renderJsonError, unlessEmpty } from './json/output';
import type { JsonOutput, JsonOutputObject } from '../raw-json';
import {
  type AttributeSpec,
  type AttributeSpecs,
  type AttributeType,
  type Category,
  type CategoryId,
  type EntityView,
  type LinkView,
} from '../model';
import type { RenderContext, TextRendering } from './rendering';
import { actionReference, referenceTo, urlOf } from './urls';

export const OCCI_JSON = 'application/occi+json';
const NESTED = `${OCCI_JSON};profile=nested`;

function entityJson(view: EntityView, context: RenderContext): JsonOutput {
  const { entity, isLink } = view;
  const { core, attributes } = partAttributes(view);
  const path = referenceTo(entity.path, context);
  return {
    kind: entity.kind,
    mixins: entity.mixins,
    attributes: nest(attributes),
    actions: view.actions.map((action) => actionJson(path, action, context)),
    id: entity.id,
    title: core.title,
    summary: core.summary,
    links: isLink ? undefined : view.links.map((link) => linkJson(link, entity.path, context)),
    target: core.target === undefined ? undefined : urlOf(core.target, context),
    source: core.source === undefined ? undefined : urlOf(core.source, context),
  };
}

function actionJson(path: string, action: CategoryId, context: RenderContext): JsonOutput {
  return { title: context.titleOf(action), href: actionReference(path, action), category: action };
}

function linkJson(link: LinkView, source: string, context: RenderContext): JsonOutput {
  const { title, attributes } = linkAttributes(link.attributes);
  return {
    kind: link.kind,
    mixins: link.mixins,
    attributes: nest(attributes),
    id: link.id,
    title,
    target: urlOf(link.target, context),
    source: urlOf(source, context),
  };
}

/** One level of nested names. Values are never maps, so a map is always a level. */
type Level = Map<string, JsonOutput | Level>;

/**
 * Nests flat names: `a.b.c` becomes `{"a":{"b":{"c":…}}}`. If one name begins another, the longer name keeps its rest as a
 * dotted key beside the shorter one (`{"a":{"b":1,"b.c":2}}`), whichever comes first.
 */
export function nest(attributes: ReadonlyMap<string, JsonOutput>): ReadonlyMap<string, JsonOutput> {
  const root: Level = new Map();
  for (const [name, value] of attributes) {
    let level = root;
    let rest = name;
    for (let dot = rest.indexOf('.'); dot !== -1; dot = rest.indexOf('.')) {
      const key = rest.slice(0, dot);
      let next = level.get(key);
      if (next === undefined) {
        next = new Map();
        level.set(key, next);
      }
      if (!(next instanceof Map)) break;
      level = next;
      rest = rest.slice(dot + 1);
    }
    const taken = level.get(rest);
    level.set(rest, value);
    if (taken instanceof Map) flattenInto(level, rest, taken);
  }
  return root;
}

function flattenInto(level: Level, prefix: string, taken: Level): void {
  for (const [key, value] of taken) {
    const name = `${prefix}.${key}`;
    if (value instanceof Map) flattenInto(level, name, value);
    else level.set(name, value);
  }
}

const TYPE_NAMES: Readonly<Record<AttributeType, string | undefined>> = {
  string: 'String',
  number: 'Number',
  boolean: 'Boolean',
  array: 'Array',
  object: 'Object',
  any: 'Object',
  scalar: undefined,
};

function specJson(spec: AttributeSpec): JsonOutput {
  return {
    mutable: spec.mutable,
    required: spec.required,
    type: TYPE_NAMES[spec.type],
    pattern: spec.pattern?.form === 'regex' ? spec.pattern.source : spec.pattern?.schema,
    default: spec.default,
    description: spec.description,
  };
}

function specsJson(specs: AttributeSpecs): JsonOutput {
  return nest(new Map(Object.entries(specs).map(([name, spec]) => [name, specJson(spec)])));
}

function categoryJson(category: Category): JsonOutputObject {
  const { term, scheme, title } = category;
  const attributes = specsJson(category.attributes);
  switch (category.class) {
    case 'kind':
      return {
        term,
        scheme,
        title,
        related: category.parent === undefined ? [] : [category.parent],
        attributes,
        actions: category.actions,
        location: category.location,
      };
    case 'mixin':
      return {
        term,
        scheme,
        title,
        related: category.depends,
        applies: unlessEmpty(category.applies),
        attributes,
        actions: category.actions,
        location: category.location,
      };
    case 'action':
      return { term, scheme, title, attributes };
  }
}

export const nestedJson: TextRendering = {
  mediaTypes: [OCCI_JSON],
  profile: 'nested',
  parse: (input) => parseJsonBody(input.body, 'nested'),
  entity: (view, context) => renderJson(NESTED, entityJson(view, context)),
  collection: (views, context) =>
    renderJson(NESTED, { 'X-OCCI-Location': views.map((view) => urlOf(view.entity.path, context)) }),
  collectionIsLocations: true,
  created: (paths, context) => renderJson(NESTED, { Location: paths.map((path) => urlOf(path, context)) }),
  done: () => renderJson(NESTED, {}),
  categories: (categories) => {
    const of = (name: Category['class']): readonly JsonOutput[] =>
      categories.filter((category) => category.class === name).map(categoryJson);
    return renderJson(NESTED, { kinds: of('kind'), mixins: of('mixin'), actions: of('action') });
  },
  attributes: (values) => renderJson(NESTED, { attributes: nest(new Map<string, Json>(Object.entries(values))) }),
  error: (error) => renderJsonError(NESTED, error),
};

/**
 * JSON as GFD.226 has it (occi.md dialect C): flat attribute names and no keys beside those of its schema (#74, #75).
 * That schema makes lists optional and forbids empty ones, so an empty list is left out.
 */
import type { Json } from '../json';
import { parseJsonBody } from './json-input';
import { linkAttributes, partAttributes, renderJson, renderJsonError, unlessEmpty } from './json-output';
import { stringifyJson, type JsonOutput } from './json-source';
import {
  CORE_SUMMARY,
  type AttributeSpec,
  type AttributeSpecs,
  type AttributeType,
  type Category,
  type CategoryId,
  type EntityView,
  type LinkView,
  type Pattern,
} from './model';
import type { RenderContext, TextRendering } from './rendering';
import { urlOf } from './text-syntax';

function entityJson(view: EntityView, context: RenderContext): JsonOutput {
  const { entity } = view;
  const { core, attributes } = partAttributes(view);
  const base = {
    kind: entity.kind,
    mixins: unlessEmpty(entity.mixins),
    attributes,
    actions: unlessEmpty(view.actions),
    id: entity.id,
    title: core.title,
  };
  if (!view.isLink) {
    const links = unlessEmpty(view.links)?.map((link) => linkJson(link, view, context));
    return { ...base, links, summary: core.summary };
  }
  // The schema gives a summary to resources only; as an attribute a link may have it.
  if (core.summary !== undefined) attributes.set(CORE_SUMMARY, core.summary);
  return {
    ...base,
    source: end(core.source, view.sourceKind, context),
    target: end(core.target, view.targetKind, context),
  };
}

function linkJson(link: LinkView, source: EntityView, context: RenderContext): JsonOutput {
  const { title, attributes } = linkAttributes(link.attributes);
  return {
    kind: link.kind,
    mixins: unlessEmpty(link.mixins),
    attributes,
    id: link.id,
    title,
    source: end(source.entity.path, source.entity.kind, context),
    target: end(link.target, link.targetKind, context),
  };
}

function end(
  location: string | undefined,
  kind: CategoryId | undefined,
  context: RenderContext,
): JsonOutput | undefined {
  return location === undefined ? undefined : { location: urlOf(location, context), kind };
}

/** A pattern as JSON Schema, whose regular expressions match anywhere unless they say otherwise. */
function patternJson(pattern: Pattern, lenient: boolean): JsonOutput {
  if (pattern.form === 'schema') return pattern.schema;
  return { pattern: `^(?:${pattern.source})${lenient ? '' : '$'}` };
}

/** GFD.226 has no word for an attribute that takes several types; without a type it says nothing about it. */
function typeNameOf(type: AttributeType): string | undefined {
  if (type === 'scalar') return undefined;
  return type === 'any' ? 'object' : type;
}

function specJson(spec: AttributeSpec): JsonOutput {
  return {
    type: typeNameOf(spec.type),
    mutable: spec.mutable,
    required: spec.required,
    default: spec.default,
    pattern: spec.pattern === undefined ? undefined : patternJson(spec.pattern, spec.lenient),
    description: spec.description,
  };
}

function specsJson(specs: AttributeSpecs): JsonOutput {
  return new Map(Object.entries(specs).map(([name, spec]) => [name, specJson(spec)]));
}

function categoryJson(category: Category): JsonOutput {
  const { term, scheme, title } = category;
  const attributes = specsJson(category.attributes);
  switch (category.class) {
    case 'kind': {
      const { parent, location } = category;
      return { term, scheme, title, attributes, actions: unlessEmpty(category.actions), parent, location };
    }
    case 'mixin':
      return {
        term,
        scheme,
        title,
        attributes,
        actions: unlessEmpty(category.actions),
        depends: unlessEmpty(category.depends),
        applies: unlessEmpty(category.applies),
        location: category.location,
      };
    case 'action':
      return { term, scheme, title, attributes };
  }
}

function collectionJson(views: readonly EntityView[], context: RenderContext): JsonOutput {
  const resources = views.filter((view) => !view.isLink).map((view) => entityJson(view, context));
  const links = views.filter((view) => view.isLink).map((view) => entityJson(view, context));
  // An empty collection is still a collection, and a client looks for its list.
  return { resources: links.length === 0 ? resources : unlessEmpty(resources), links: unlessEmpty(links) };
}

/** What {@link collectionJson} comes to, entity by entity. */
function* collectionTexts(views: readonly EntityView[], context: RenderContext): Iterable<string> {
  const lists = [
    ['resources', views.filter((view) => !view.isLink)],
    ['links', views.filter((view) => view.isLink)],
  ] as const;
  let opening = '{';
  for (const [name, list] of lists) {
    if (list.length === 0 && (name === 'links' || views.length > 0)) continue;
    yield `${opening}"${name}":[`;
    opening = ',';
    let comma = '';
    for (const view of list) {
      yield comma + stringifyJson(entityJson(view, context));
      comma = ',';
    }
    yield ']';
  }
  yield '}';
}

function modelJson(categories: readonly Category[]): JsonOutput {
  const of = (name: Category['class']): readonly JsonOutput[] | undefined =>
    unlessEmpty(categories.filter((category) => category.class === name).map(categoryJson));
  return { kinds: of('kind'), mixins: of('mixin'), actions: of('action') };
}

/** What the renderings of this dialect share; `contentType` is what their answers name. */
export function gfd226(contentType: string): Omit<TextRendering, 'mediaTypes' | 'parse'> {
  return {
    entity: (view, context) => renderJson(contentType, entityJson(view, context)),
    collection: (views, context) => renderJson(contentType, collectionJson(views, context)),
    collectionPieces: (views, context) => ({
      headers: { 'Content-Type': contentType },
      texts: collectionTexts(views, context),
    }),
    collectionIsLocations: false,
    /** GFD.226 is silent on lists of locations; a bare list is what other servers of this dialect answer (#76). */
    created: (paths, context) =>
      renderJson(
        contentType,
        paths.map((path) => urlOf(path, context)),
      ),
    done: () => renderJson(contentType, {}),
    categories: (categories) => renderJson(contentType, modelJson(categories)),
    attributes: (values) => renderJson(contentType, { attributes: new Map<string, Json>(Object.entries(values)) }),
    error: (error) => renderJsonError(contentType, error),
  };
}

/** `application/json` is always GFD.226. */
export const json: TextRendering = {
  ...gfd226('application/json'),
  mediaTypes: ['application/json'],
  parse: (input) => parseJsonBody(input.body, 'strict'),
};

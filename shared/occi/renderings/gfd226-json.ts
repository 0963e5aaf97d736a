/**
 * `application/json`: JSON as GFD.226 defines it, with flat attribute names and no keys that its schema does not have. The
 * schema makes lists optional and forbids empty ones, so empty lists are left out.
 */
import type { Json } from '../../json';
import { parseJsonBody } from './json/body';
import { linkAttributes, partAttributes, renderJson, renderJsonError, unlessEmpty } from './json/output';
import { stringifyJson, type JsonOutput } from '../raw-json';
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
} from '../model';
import type { RenderContext, TextRendering } from './rendering';
import { urlOf } from './urls';

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
  // GFD.226's schema gives a summary to resources only, but a link may have one as an attribute.
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

/** A pattern as JSON Schema. Its regular expressions match anywhere in a value unless they are anchored. */
function patternJson(pattern: Pattern, lenient: boolean): JsonOutput {
  if (pattern.form === 'schema') return pattern.schema;
  return { pattern: `^(?:${pattern.source})${lenient ? '' : '$'}` };
}

/** GFD.226 has no name for an attribute that takes several types, so no type is shown. */
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
  // Clients look for a list even if the collection is empty.
  return { resources: links.length === 0 ? resources : unlessEmpty(resources), links: unlessEmpty(links) };
}

/** The text of {@link collectionJson}, entity by entity. */
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

/** What the renderings of this dialect share. `contentType` is the type of their answers. */
export function gfd226(contentType: string): Omit<TextRendering, 'mediaTypes' | 'parse'> {
  return {
    entity: (view, context) => renderJson(contentType, entityJson(view, context)),
    collection: (views, context) => renderJson(contentType, collectionJson(views, context)),
    collectionPieces: (views, context) => ({
      headers: { 'Content-Type': contentType },
      texts: collectionTexts(views, context),
    }),
    collectionIsLocations: false,
    /** GFD.226 does not define lists of locations. Other servers of this dialect answer with a bare list. */
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

export const gfd226Json: TextRendering = {
  ...gfd226('application/json'),
  mediaTypes: ['application/json'],
  parse: (input) => parseJsonBody(input.body, 'strict'),
};

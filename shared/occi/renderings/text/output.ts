/** Turns entities, categories, values and locations into the items that `text/plain` and `text/occi` show. */
import type { Json } from '../../../json';
import {
  categoryId,
  CORE_ID,
  CORE_SOURCE,
  CORE_SOURCE_KIND,
  CORE_TARGET,
  CORE_TARGET_KIND,
  RESOURCE_KIND,
  splitCategoryId,
  type AttributeSpec,
  type Category,
  type CategoryClass,
  type CategoryId,
  type EntityView,
  type LinkView,
} from '../../model';
import type { RenderContext } from '../rendering';
import { actionReference, escapeUri, referenceTo, urlOf } from '../urls';
import { writeName } from './names';
import { quotableOf } from './quoted-json';
import { quote, type TextCharset } from './quoting';

/** A field name and one item of the field. */
export type TextItem = readonly [
  field: 'Category' | 'Link' | 'X-OCCI-Attribute' | 'X-OCCI-Location',
  text: string,
];

export function entityItems(view: EntityView, context: RenderContext, charset: TextCharset): TextItem[] {
  const { entity } = view;
  const items: TextItem[] = [['Category', entityCategory(entity.kind, 'kind', charset)]];
  for (const mixin of entity.mixins) items.push(['Category', entityCategory(mixin, 'mixin', charset)]);
  // GFD.229 §3.7 puts links before attributes, and some parsers rely on that.
  for (const link of view.links) items.push(['Link', linkItem(link, entity.path, context, charset)]);
  const path = referenceTo(entity.path, context);
  for (const action of view.actions) {
    items.push(['Link', `<${actionReference(path, action)}>; rel=${quote(action, charset)}`]);
  }
  const addAttribute = (name: string, value: string): void => {
    items.push(['X-OCCI-Attribute', `${writeName(name)}=${value}`]);
  };
  addAttribute(CORE_ID, quote(entity.id, charset));
  for (const [name, value] of Object.entries(entity.attributes)) {
    if (name === CORE_ID) continue;
    const shown = view.isLink && isEnd(name) && typeof value === 'string' ? urlOf(value, context) : value;
    addAttribute(name, writeValue(shown, context.specOf(entity, name), charset));
  }
  for (const [name, text] of Object.entries(entity.rawJson)) addAttribute(name, writeJson(text, charset));
  const kinds = [
    [CORE_SOURCE_KIND, view.sourceKind],
    [CORE_TARGET_KIND, view.targetKind],
  ] as const;
  for (const [name, kind] of kinds) {
    const isDeclared = context.specOf(entity, name) !== undefined;
    if (kind !== undefined && isDeclared) addAttribute(name, quote(kind, charset));
  }
  return items;
}

/** Absolute URLs (GFD.185 §3.5.5). */
export function locationItems(paths: readonly string[], context: RenderContext): TextItem[] {
  return paths.map((path) => {
    // Readers take a comma for the end of a location only in these places. No path here contains a percent sign.
    const url = escapeUri(urlOf(path, context)).replace(/,(?=[,/]|$)/g, '%2C');
    return ['X-OCCI-Location', url];
  });
}

export function categoryItems(categories: readonly Category[], charset: TextCharset): TextItem[] {
  return categories.map((category) => ['Category', categoryItem(category, charset)]);
}

export function attributeItems(values: Readonly<Record<string, Json>>, charset: TextCharset): TextItem[] {
  return Object.entries(values).map(([name, value]) => [
    'X-OCCI-Attribute',
    `${writeName(name)}=${writeValue(value, undefined, charset)}`,
  ]);
}

function isEnd(name: string): boolean {
  return name === CORE_SOURCE || name === CORE_TARGET;
}

/** Strings have quotes, numbers and booleans have none (GFD.185 §3.5.4). Lists and objects are JSON text in quotes. */
function writeValue(value: Json, spec: AttributeSpec | undefined, charset: TextCharset): string {
  // A string is ambiguous only in an attribute that may hold any JSON.
  if (typeof value === 'string' && spec?.type !== 'any') return quote(value, charset);
  return writeJson(JSON.stringify(value), charset);
}

function writeJson(text: string, charset: TextCharset): string {
  return NUMBER_OR_BOOLEAN.test(text) ? text : quote(quotableOf(text), charset);
}

/** The first character of such a JSON text. */
const NUMBER_OR_BOOLEAN = /^[-0-9tf]/;

function identity(id: CategoryId, charset: TextCharset): string {
  const { term, scheme } = splitCategoryId(id) ?? { term: id, scheme: '' };
  return `${writeName(term)}; scheme=${quote(scheme, charset)}`;
}

function entityCategory(id: CategoryId, categoryClass: CategoryClass, charset: TextCharset): string {
  return `${identity(id, charset)}; class="${categoryClass}"`;
}

/** The full definition (GFD.185 §3.5.1). No semicolon ends the item, because some parsers fail on one. */
function categoryItem(category: Category, charset: TextCharset): string {
  let text = `${identity(categoryId(category), charset)}; class="${category.class}"`;
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') text += `; ${name}=${quote(value, charset)}`;
  };
  add('title', category.title);
  if (category.class === 'kind') add('rel', category.parent);
  // `rel` takes one category, so further dependencies, and the kinds that the mixin applies to, are not shown.
  if (category.class === 'mixin') add('rel', category.depends[0]);
  if (category.class !== 'action') add('location', category.location);
  add('attributes', Object.entries(category.attributes).map(attributeDefinition).join(' '));
  if (category.class !== 'action') add('actions', category.actions.map(escapeUri).join(' '));
  return text;
}

function attributeDefinition([name, spec]: readonly [string, AttributeSpec]): string {
  const properties = [...(spec.required ? ['required'] : []), ...(spec.mutable ? [] : ['immutable'])];
  return writeName(name) + (properties.length === 0 ? '' : `{${properties.join(' ')}}`);
}

/** A link of a resource (GFD.185 §3.5.2). `rel` is mandatory, so a target of unknown kind is shown as a resource. */
function linkItem(link: LinkView, source: string, context: RenderContext, charset: TextCharset): string {
  const kinds = [link.kind, ...link.mixins].map(escapeUri).join(' ');
  let text =
    `<${referenceTo(link.target, context)}>; rel=${quote(link.targetKind ?? RESOURCE_KIND, charset)}` +
    `; self=${quote(referenceTo(link.path, context), charset)}; category=${quote(kinds, charset)}` +
    `; ${CORE_ID}=${quote(link.id, charset)}` +
    `; ${CORE_SOURCE}=${quote(urlOf(source, context), charset)}` +
    `; ${CORE_TARGET}=${quote(urlOf(link.target, context), charset)}`;
  for (const [name, value] of Object.entries(link.attributes)) {
    if (name === CORE_ID || isEnd(name)) continue;
    text += `; ${writeName(name)}=${writeValue(value, context.specOf(link, name), charset)}`;
  }
  return text;
}

/** From `Category`, `Link`, `X-OCCI-Attribute` and `X-OCCI-Location` items to a payload (#67 to #70, #78). */
import { badRequest } from '../errors';
import type { Json, JsonObject } from '../json';
import { CORE_ID, CORE_SOURCE, CORE_TARGET, type CategoryClass } from './model';
import { EMPTY_PAYLOAD, type CategoryInput, type LinkInput, type Payload } from './payload';
import { jsonTextOf } from './text-json';
import { excerpt, readName, TextReader } from './text-syntax';

/** In lower case, as headers are named in requests. */
export const TEXT_FIELDS = ['category', 'link', 'x-occi-attribute', 'x-occi-location'] as const;
export type TextField = (typeof TEXT_FIELDS)[number];

/** The same as messages and answers write them. */
const HEADER: Readonly<Record<TextField, string>> = {
  category: 'Category',
  link: 'Link',
  'x-occi-attribute': 'X-OCCI-Attribute',
  'x-occi-location': 'X-OCCI-Location',
};

/** Collects the items of a request, in any order and however they are spread over lines and comma lists. */
export class TextItems {
  private readonly categories: CategoryInput[] = [];
  private readonly links: LinkInput[] = [];
  private readonly locations: string[] = [];
  private readonly attributes: Record<string, Json> = {};
  private readonly sources = new Map<string, string>();
  private seen = false;

  /** Takes the value of one header or line. Throws `bad_request` when it does not parse. */
  add(field: TextField, text: string): void {
    const reader = new TextReader(text, HEADER[field]);
    while (reader.nextItem()) {
      this.addItem(field, reader);
      reader.endItem();
      this.seen = true;
    }
  }

  toPayload(): Payload {
    if (!this.seen) return EMPTY_PAYLOAD;
    const { attributes, sources } = this;
    return {
      ...EMPTY_PAYLOAD,
      form: 'text',
      categories: this.categories,
      attributes,
      links: this.links,
      locations: this.locations,
      sourceText: ([name, ...deeper]) => {
        if (name === undefined || deeper.length > 0 || !Object.hasOwn(attributes, name)) return undefined;
        const value = attributes[name];
        return sources.get(name) ?? (typeof value === 'string' ? jsonTextOf(value) : JSON.stringify(value));
      },
    };
  }

  private addItem(field: TextField, reader: TextReader): void {
    switch (field) {
      case 'category':
        this.categories.push(readCategory(reader));
        break;
      case 'link':
        this.addLink(reader);
        break;
      case 'x-occi-attribute':
        this.addAttribute(reader);
        break;
      case 'x-occi-location':
        this.locations.push(reader.location().replace(/%2C/gi, ','));
        break;
    }
  }

  private addAttribute(reader: TextReader): void {
    const name = memberName(reader.name());
    const { value, source } = reader.value(name);
    this.attributes[name] = value;
    if (source === undefined) this.sources.delete(name);
    else this.sources.set(name, source);
  }

  private addLink(reader: TextReader): void {
    const target = reader.reference();
    const attributes: Record<string, Json> = {};
    const tokens = new Map<string, string>();
    let categories: readonly string[] = [];
    let rel: readonly string[] = [];
    let self: string | undefined;
    let id: string | undefined;
    while (reader.nextParameter()) {
      const name = memberName(reader.name());
      switch (name.toLowerCase()) {
        case 'rel':
          rel = words(reader.word());
          break;
        case 'self':
          self = reader.word();
          break;
        case 'category':
          categories = words(reader.word());
          break;
        case CORE_ID: {
          const { value, source } = reader.parameter(name);
          const given = source ?? value;
          if (typeof given !== 'string') throw reader.fault(`needs a quoted string for ${CORE_ID}`);
          id = given;
          break;
        }
        // The link shows its ends itself: where it stands, and between the angle brackets.
        case CORE_SOURCE:
        case CORE_TARGET:
          reader.parameter(name);
          break;
        default: {
          const { value, source } = reader.parameter(name);
          attributes[name] = value;
          if (source !== undefined) tokens.set(name, source);
        }
      }
    }
    if (target === '') throw reader.fault('names no target between < and >');
    // An action that a rendering offered, sent back by a client that read, changed and wrote the whole (#31, #65).
    if (/[?&]action=/.test(target)) return;
    this.links.push({
      target,
      categories,
      ...(self === undefined ? {} : { self }),
      ...(id === undefined ? {} : { id }),
      ...(rel.length === 0 ? {} : { rel }),
      attributes,
      tokens,
    });
  }
}

/** A name that can be a member of a plain object: one name would set the prototype instead. */
function memberName(written: string): string {
  const name = readName(written);
  if (name === '__proto__') throw badRequest('An attribute cannot be named __proto__; choose another name.');
  return name;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

function readCategory(reader: TextReader): CategoryInput {
  const term = reader.until('term');
  if (term === '' || /[\s="]/.test(term)) {
    throw reader.fault('needs a term first, as in compute; scheme="http://schemas.ogf.org/occi/infrastructure#"');
  }
  const parameters = new Map<string, string>();
  while (reader.nextParameter()) {
    const name = reader.name().toLowerCase();
    parameters.set(name, reader.word());
  }
  const scheme = parameters.get('scheme');
  if (scheme === undefined || scheme === '') throw reader.fault(`gives no scheme for the term ${excerpt(term)}`);
  const category: Mutable<CategoryInput> = { term: readName(term), scheme, dialect: 'text', given: [] };
  const given: string[] = [];
  const categoryClass = readClass(parameters.get('class'));
  if (categoryClass !== undefined) category.class = categoryClass;
  for (const [name, value] of parameters) {
    switch (name) {
      case 'scheme':
      case 'class':
        continue;
      case 'title':
      case 'location':
        category[name] = value;
        given.push(name);
        break;
      case 'rel': {
        const related = words(value);
        if (categoryClass === 'kind') {
          if (related[0] !== undefined) category.parent = related[0];
          given.push('parent');
        } else {
          category.depends = related;
          given.push('depends');
        }
        break;
      }
      case 'actions':
        category.actions = words(value);
        given.push(name);
        break;
      case 'attributes':
        category.attributes = readAttributeDefinitions(value);
        given.push(name);
        break;
      default:
        given.push(name);
    }
  }
  category.given = given;
  return category;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function readClass(text: string | undefined): CategoryClass | undefined {
  const name = text?.toLowerCase();
  if (name === undefined || name === 'kind' || name === 'mixin' || name === 'action') return name;
  throw badRequest(`Category has the class ${excerpt(name)}; write kind, mixin or action.`);
}

/** `a{required} b{immutable} c`: what the text can say of an attribute. Anything else about it is left open. */
function readAttributeDefinitions(text: string): JsonObject {
  const definitions: Record<string, Json> = {};
  for (const [, written = '', properties = ''] of text.matchAll(/([^\s{}]+)(?:\s*\{([^{}]*)\})?/g)) {
    const name = memberName(written);
    const given = new Set(words(properties.toLowerCase()));
    definitions[name] = { required: given.has('required'), mutable: !given.has('immutable') };
  }
  return definitions;
}

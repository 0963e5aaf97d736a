/** Collects the `Category`, `Link`, `X-OCCI-Attribute` and `X-OCCI-Location` items of a request (GFD.185 §3.5). */
import type { Json } from '../../../json';
import { EMPTY_PAYLOAD, type CategoryInput, type LinkInput, type Payload } from '../../payload';
import { checkMemberName } from '../body';
import { readName } from './names';
import { jsonTextOf } from './quoted-json';
import { readCategory } from './read-category';
import { readLink } from './read-link';
import { TextReader } from './reader';

/** Field names as requests have them: in lower case. */
export const TEXT_FIELDS = ['category', 'link', 'x-occi-attribute', 'x-occi-location'] as const;
export type TextField = (typeof TEXT_FIELDS)[number];

/** Field names as messages and answers write them. */
const HEADER: Readonly<Record<TextField, string>> = {
  category: 'Category',
  link: 'Link',
  'x-occi-attribute': 'X-OCCI-Attribute',
  'x-occi-location': 'X-OCCI-Location',
};

/** The items may come in any order, spread over any number of lines and comma lists. */
export class TextItems {
  readonly #categories: CategoryInput[] = [];
  readonly #links: LinkInput[] = [];
  readonly #locations: string[] = [];
  readonly #attributes: Record<string, Json> = {};
  /** Source texts of the values that had no quotes, by attribute. */
  readonly #sources = new Map<string, string>();
  #isEmpty = true;

  /**
   * Adds the items of one header or line.
   * @throws CmbsError `bad_request` for text that does not parse
   */
  add(field: TextField, text: string): void {
    const reader = new TextReader(text, HEADER[field]);
    while (reader.nextItem()) {
      this.#addItem(field, reader);
      reader.endItem();
      this.#isEmpty = false;
    }
  }

  toPayload(): Payload {
    if (this.#isEmpty) return EMPTY_PAYLOAD;
    return {
      ...EMPTY_PAYLOAD,
      form: 'text',
      categories: this.#categories,
      attributes: this.#attributes,
      links: this.#links,
      locations: this.#locations,
      sourceText: (names) => this.#sourceText(names),
    };
  }

  #addItem(field: TextField, reader: TextReader): void {
    switch (field) {
      case 'category':
        this.#categories.push(readCategory(reader));
        break;
      case 'link': {
        const link = readLink(reader);
        if (link !== undefined) this.#links.push(link);
        break;
      }
      case 'x-occi-attribute':
        this.#addAttribute(reader);
        break;
      case 'x-occi-location':
        this.#locations.push(reader.location().replace(/%2C/gi, ','));
        break;
    }
  }

  #addAttribute(reader: TextReader): void {
    const name = checkMemberName(readName(reader.name()));
    const { value, source } = reader.value(name);
    this.#attributes[name] = value;
    if (source === undefined) this.#sources.delete(name);
    else this.#sources.set(name, source);
  }

  #sourceText([name, ...deeper]: readonly string[]): string | undefined {
    const attributes = this.#attributes;
    if (name === undefined || deeper.length > 0 || !Object.hasOwn(attributes, name)) return undefined;
    const value = attributes[name];
    return this.#sources.get(name) ?? (typeof value === 'string' ? jsonTextOf(value) : JSON.stringify(value));
  }
}

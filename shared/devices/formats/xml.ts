/** oBIX in XML (oBIX 1.1, "XML"), as the gateways of IoTSyS write it. */
import { SaxesParser } from 'saxes';
import { checkDeclared, decodeXml, forbiddenIn } from '../../services';
import { DeviceFormatError, shown } from '../errors';
import type { DeviceObject, Draft } from '../objects/object';
import type { DeviceObjects } from '../objects/objects';
import { attributesOf, draftOf, openDraft, type OpenDraft, setAttribute, textOf } from './attributes';
import { Allowance, type DeviceFormat, inFormat, type ParseOptions } from './format';

const NAME = 'obix-xml';
/** Attributes of an element: twice those that oBIX has. */
const MAX_ATTRIBUTES = 64;

export interface XmlFormatOptions {
  /** Whether a document ends with a line feed, as those of gateways do; true when absent. */
  readonly newline?: boolean;
}

/**
 * Reads well-formed XML without document type, entities and processing instructions. Elements and attributes that oBIX
 * does not have are left out and reported. Writes no declaration and no name space, two spaces for each level, references
 * in place of characters beyond ASCII. Control characters cannot be carried.
 */
export function xmlFormat(objects: DeviceObjects, { newline = true }: XmlFormatOptions = {}): DeviceFormat {
  return {
    name: NAME,
    mediaTypes: ['text/xml', 'application/xml', 'application/obix+xml'],
    // 1 is the number of drafts of CoAP, which the gateways use; 41 that of RFC 7252.
    numbers: [1, 41],
    parse: (bytes, options = {}) => inFormat(NAME, () => objects.make(read(objects, bytes, options))),
    render: (object) => inFormat(NAME, () => Buffer.from(written(object) + (newline ? '\n' : ''))),
  };
}

function read(objects: DeviceObjects, bytes: Uint8Array, options: ParseOptions): Draft {
  const allowance = new Allowance(NAME, bytes, options);
  const { text, encoding } = decodeXml(bytes, options.contentType);
  const reader = new Reader(objects, allowance);
  const refuse = (what: string) => () => {
    throw allowance.error(`An object has no ${what}.`);
  };
  // Version 1.1 is read as 1.0, as 1.0 tells its processors to (XML 1.0 §2.8): 1.1 allows control characters.
  const parser = new SaxesParser({ defaultXMLVersion: '1.0', forceXMLVersion: true });
  parser.on('error', (error) => {
    throw allowance.error(`The XML is not well-formed: ${error.message.slice(0, 200)}`);
  });
  parser.on('doctype', refuse('document type declaration'));
  parser.on('processinginstruction', refuse('processing instructions'));
  parser.on('xmldecl', (declaration) => {
    if (declaration.encoding !== undefined) checkDeclared(declaration.encoding, encoding);
  });
  let attributes = 0;
  parser.on('opentagstart', () => {
    attributes = 0;
  });
  parser.on('attribute', () => {
    attributes += 1;
    if (attributes > MAX_ATTRIBUTES) throw allowance.error(`An element has at most ${MAX_ATTRIBUTES} attributes.`);
  });
  parser.on('opentag', (tag) => reader.open(tag.name, tag.attributes as Readonly<Record<string, string>>));
  parser.on('text', (piece) => reader.text(piece));
  parser.on('cdata', (piece) => reader.text(piece));
  parser.on('closetag', () => reader.close());
  parser.write(text).close();
  return reader.root;
}

/** Declarations of name spaces, and hints to schemas, which say nothing about an object. */
const isOfXml = (attribute: string): boolean => /^(?:xmlns$|xmlns:|xsi:|xml:)/.test(attribute);

class Reader {
  readonly #objects: DeviceObjects;
  readonly #allowance: Allowance;
  readonly #open: { readonly tag: string; readonly draft: OpenDraft }[] = [];
  /** Elements that are open within one that is left out, with that one. */
  #skipped = 0;
  #root: Draft | undefined;

  constructor(objects: DeviceObjects, allowance: Allowance) {
    this.#objects = objects;
    this.#allowance = allowance;
  }

  get root(): Draft {
    if (this.#root === undefined) throw this.#allowance.error('The document has no object.');
    return this.#root;
  }

  open(tag: string, attributes: Readonly<Record<string, string>>): void {
    this.#allowance.object();
    this.#allowance.depth(this.#open.length + this.#skipped + 1);
    const within = this.#open.at(-1)?.tag;
    const element = this.#skipped > 0 ? undefined : this.#objects.elementNamed(tag);
    if (element === undefined) {
      if (within === undefined) throw this.#allowance.error(`oBIX has no element ${shown(tag)}.`);
      if (this.#skipped === 0) this.#allowance.unknown({ kind: 'element', name: tag, within });
      this.#skipped += 1;
      return;
    }
    const draft = openDraft(tag, element);
    for (const [name, value] of Object.entries(attributes)) {
      if (!setAttribute(draft.facets, element, name, value) && !isOfXml(name)) {
        this.#allowance.unknown({ kind: 'attribute', name, within: tag });
      }
    }
    this.#open.push({ tag, draft });
  }

  text(piece: string): void {
    const within = this.#open.at(-1)?.tag;
    if (this.#skipped > 0 || within === undefined || !/[^ \t\r\n]/.test(piece)) return;
    this.#allowance.unknown({ kind: 'text', name: piece.slice(0, 200), within });
  }

  close(): void {
    if (this.#skipped > 0) {
      this.#skipped -= 1;
      return;
    }
    const closed = this.#open.pop();
    if (closed === undefined) return;
    const draft = draftOf(closed.draft);
    const parent = this.#open.at(-1);
    if (parent === undefined) this.#root = draft;
    else parent.draft.children.push(draft);
  }
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Line feeds and tabs as references too, since an attribute would lose them (XML 1.0 §3.3.3). */
function escaped(text: string): string {
  const forbidden = forbiddenIn(text);
  if (forbidden !== undefined) throw new DeviceFormatError(NAME, `XML does not allow the character ${forbidden}.`);
  return text.replace(
    /[&<>"\t\n\r]|[^\u0000-\u007e]/gu,
    (char) => ESCAPES[char] ?? `&#x${(char.codePointAt(0) ?? 0).toString(16).toUpperCase()};`,
  );
}

function written(root: DeviceObject): string {
  const lines: string[] = [];
  write(root, '', lines);
  return lines.join('\n');
}

function write(object: DeviceObject, indent: string, lines: string[]): void {
  const tag = object.tag ?? object.element;
  const attributes = attributesOf(object).map((one) => ` ${one.name}="${escaped(textOf(one))}"`);
  const start = `${indent}<${tag}${attributes.join('')}`;
  if (object.children.length === 0) {
    lines.push(`${start}/>`);
    return;
  }
  lines.push(`${start}>`);
  for (const one of object.children) write(one, `${indent}  `, lines);
  lines.push(`${indent}</${tag}>`);
}

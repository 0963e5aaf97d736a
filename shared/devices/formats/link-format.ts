/**
 * Lists of links (RFC 6690), and those of the gateways of IoTSyS, which have no commas between the links.
 *
 * A document is a `list` of references. `rt` becomes `is`, `title` becomes `displayName`. Each other attribute becomes a
 * child of the reference, in order: a `str` with the value, or a `bool` that is true for an attribute without value. The
 * formats of `sz` and `ct` stay texts, since `ct="0 50"` is none of the numbers.
 */
import { DeviceFormatError, shown } from '../errors';
import type { DeviceObject, Draft, OfElement } from '../objects/object';
import type { DeviceObjects } from '../objects/objects';
import { Allowance, type DeviceFormat, inFormat, type ParseOptions, utf8 } from './format';

const NAME = 'link-format';
/** Attributes of a link: several times those of the registries. */
const MAX_ATTRIBUTES = 64;
/** Of these only the first counts (§2, and RFC 8288 §3). */
const ONCE: ReadonlySet<string> = new Set(['rt', 'if', 'sz', 'anchor', 'rel', 'title', 'title*', 'media', 'type']);
/** Written without quotes: their values are no quoted strings in the grammar. */
const BARE: ReadonlySet<string> = new Set(['sz', 'hreflang', 'title*']);

/** `parmname` of RFC 8288, with the star of `ext-name-star`. */
const PARAMETER = /[A-Za-z0-9!#$&+.^_`|~-]+\*?/y;
/** `ptoken`, which may have angle brackets. */
const TOKEN = /[A-Za-z0-9!#$%&'()*+./:<=>?@[\]^_`{|}~-]+/y;
const SPACE = /[ \t\r\n]*/y;
/** A quoted string without its quotes. */
const QUOTED = /[^"\\]*(?:\\[^][^"\\]*)*/y;

/**
 * Carries links only: a `list` of references, of which `name`, `display`, `status`, children that are no attributes, and
 * everything else than the above are refused.
 */
export function linkFormat(objects: DeviceObjects): DeviceFormat {
  return {
    name: NAME,
    mediaTypes: ['application/link-format'],
    numbers: [40],
    parse: (bytes, options = {}) => inFormat(NAME, () => objects.make(read(bytes, options))),
    render: (object) => inFormat(NAME, () => Buffer.from(written(object))),
  };
}

function read(bytes: Uint8Array, options: ParseOptions): Draft {
  const allowance = new Allowance(NAME, bytes, options);
  return { element: 'list', of: ['obix:ref'], children: new Reader(utf8(allowance, bytes), allowance).links() };
}

interface Parameter {
  readonly name: string;
  readonly value: string | undefined;
  readonly isQuoted: boolean;
}

class Reader {
  #at = 0;

  constructor(
    readonly text: string,
    readonly allowance: Allowance,
  ) {}

  links(): readonly Draft[] {
    const links: Draft[] = [];
    this.allowance.object();
    this.#skipSpace();
    while (this.#at < this.text.length) {
      links.push(this.#link());
      this.#skipSpace();
      // The gateways leave out the comma. A comma at the end is an empty element of the list (RFC 9110 §5.6.1).
      while (this.#take(',')) this.#skipSpace();
    }
    return links;
  }

  #skipSpace(): void {
    this.#match(SPACE);
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [found = ''] = pattern.exec(this.text) ?? [];
    this.#at += found.length;
    return found;
  }

  #take(char: string): boolean {
    if (this.text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #wrong(expected: string): Error {
    return this.allowance.error(`${expected} is missing at character ${this.#at}.`);
  }

  #link(): Draft {
    this.allowance.object();
    if (!this.#take('<')) throw this.#wrong('The "<" of a link');
    const end = this.text.indexOf('>', this.#at);
    if (end === -1) throw this.#wrong('The ">" of a link');
    const href = this.text.slice(this.#at, end);
    if (/[\u0000- "<]/.test(href)) throw this.allowance.error(`${shown(href)} is no URI.`);
    this.#at = end + 1;
    return draftOf(href, this.#parameters());
  }

  #parameters(): readonly Parameter[] {
    const parameters: Parameter[] = [];
    const known = new Set<string>();
    for (let count = 0; ; count++) {
      const before = this.#at;
      this.#skipSpace();
      if (!this.#take(';')) {
        this.#at = before;
        return parameters;
      }
      if (count === MAX_ATTRIBUTES) throw this.allowance.error(`A link has at most ${MAX_ATTRIBUTES} attributes.`);
      this.#skipSpace();
      const parameter = this.#parameter();
      if (known.has(parameter.name) && ONCE.has(parameter.name)) continue;
      known.add(parameter.name);
      this.allowance.object();
      parameters.push(parameter);
    }
  }

  #parameter(): Parameter {
    // Names have no case (RFC 8288 §3).
    const name = this.#match(PARAMETER).toLowerCase();
    if (name === '') throw this.#wrong('The name of an attribute');
    this.#skipSpace();
    if (!this.#take('=')) return { name, value: undefined, isQuoted: false };
    this.#skipSpace();
    if (!this.#take('"')) {
      const value = this.#match(TOKEN);
      if (value === '') throw this.#wrong('The value of an attribute');
      return { name, value, isQuoted: false };
    }
    const value = this.#match(QUOTED);
    if (!this.#take('"')) throw this.#wrong('The quote at the end of a value');
    return { name, value: value.replace(/\\([^])/g, '$1'), isQuoted: true };
  }
}

function draftOf(href: string, parameters: readonly Parameter[]): Draft {
  let facets: Pick<Draft, 'is' | 'displayName'> = {};
  const children: Draft[] = [];
  for (const { name, value } of parameters) {
    if (value === undefined) children.push({ element: 'bool', name, value: true });
    else if (name === 'rt') facets = { ...facets, is: value.split(/[ \t\r\n]+/).filter((type) => type !== '') };
    else if (name === 'title') facets = { ...facets, displayName: value };
    else children.push({ element: 'str', name, value });
  }
  return { element: 'ref', href, ...facets, children };
}

const refused = (text: string): DeviceFormatError => new DeviceFormatError(NAME, text);

function written(root: DeviceObject): string {
  if (root.element !== 'list') throw refused('Links are a list of references.');
  return root.children.map(linkText).join(',');
}

function linkText(link: DeviceObject): string {
  if (link.element !== 'ref' || link.href === undefined) {
    throw refused('Links are references, with an href each.');
  }
  checkPlain(link, ['href', 'is', 'displayName', 'children']);
  if (/[\u0000- "<>]/.test(link.href)) throw refused(`${shown(link.href)} is no URI.`);
  const { is, displayName, children } = link;
  return [
    `<${link.href}>`,
    ...(is.length === 0 ? [] : [`rt=${quoted(is.join(' '))}`]),
    ...(displayName === undefined ? [] : [`title=${quoted(displayName)}`]),
    ...children.map(attributeText),
  ].join(';');
}

function attributeText(attribute: DeviceObject): string {
  const { name = '', element } = attribute;
  PARAMETER.lastIndex = 0;
  if (PARAMETER.exec(name)?.[0] !== name || /[A-Z]/.test(name) || name === 'rt' || name === 'title') {
    throw refused(`${shown(name)} is no name of an attribute of a link.`);
  }
  checkPlain(attribute, ['name', 'value']);
  if (element === 'bool' && attribute.value === true) return name;
  if (element !== 'str' || attribute.value === undefined)
    throw refused('An attribute of a link is a text, or true.');
  const { value } = attribute;
  if (!BARE.has(name)) return `${name}=${quoted(value)}`;
  TOKEN.lastIndex = 0;
  if (TOKEN.exec(value)?.[0] !== value) throw refused(`${shown(value)} is no value of the attribute ${name}.`);
  return `${name}=${value}`;
}

/** Characters that HTTP does not allow in a quoted string. */
function quoted(text: string): string {
  if (/[\u0000-\u0008\u000a-\u001f\u007f]|\p{Surrogate}/u.test(text)) {
    throw refused(`${shown(text)} has characters that a link cannot have.`);
  }
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** Facets of every object, which are no statement. */
const SILENT: ReadonlySet<string> = new Set([
  'class',
  'element',
  'is',
  'status',
  'isNull',
  'writable',
  'children',
]);

/** Refuses an object that says more than a link can. */
function checkPlain(object: OfElement<'ref'> | DeviceObject, carried: readonly string[]): void {
  const more = Object.keys(object).find((facet) => !SILENT.has(facet) && !carried.includes(facet));
  const { status, isNull, writable, is, children } = object;
  const isPlain =
    status === 'ok' &&
    !isNull &&
    !writable &&
    (carried.includes('is') || is.length === 0) &&
    (carried.includes('children') || children.length === 0);
  if (more !== undefined || !isPlain)
    throw refused(`A link has no place for ${more ?? 'all facets'} of an object.`);
}

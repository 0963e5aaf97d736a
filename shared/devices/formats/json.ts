/**
 * oBIX in JSON, in the form of the gateways of IoTSyS (JSONML): `{"tag":"bool","name":"value","val":false}`, with the
 * children in `nodes`. The members have the names and the order of the attributes in XML. Numbers are exact both ways.
 */
import { ExactNumber, type ExactJson, parseExactJson, stringifyExactJson } from '../../exact-json';
import { nestsWithin } from '../../json-depth';
import { exactOf } from '../../services';
import { shown } from '../errors';
import type { DeviceObject, Draft } from '../objects/object';
import type { DeviceObjects } from '../objects/objects';
import {
  type Attribute,
  attributesOf,
  draftOf,
  hasAttribute,
  openDraft,
  setAttribute,
  textOf,
} from './attributes';
import { Allowance, type DeviceFormat, inFormat, type ParseOptions, utf8 } from './format';

const NAME = 'obix-json';

/** NaN and infinite reals are texts, as in XML, since JSON has none. All other text of JavaScript can be carried. */
export function jsonFormat(objects: DeviceObjects): DeviceFormat {
  return {
    name: NAME,
    mediaTypes: ['application/json'],
    numbers: [50],
    parse: (bytes, options = {}) => inFormat(NAME, () => objects.make(read(objects, bytes, options))),
    render: (object) => inFormat(NAME, () => Buffer.from(stringifyExactJson(jsonOf(object)))),
  };
}

function read(objects: DeviceObjects, bytes: Uint8Array, options: ParseOptions): Draft {
  const allowance = new Allowance(NAME, bytes, options);
  const text = utf8(allowance, bytes);
  // An object with children takes two levels.
  if (!nestsWithin(text, 2 * allowance.limits.maxDepth)) {
    throw allowance.error(`Objects nest at most ${allowance.limits.maxDepth} levels deep.`);
  }
  let value: ExactJson;
  try {
    value = parseExactJson(text);
  } catch (thrown) {
    throw allowance.error('The document is no JSON.', { cause: thrown });
  }
  return new Reader(objects, allowance).draft(value, 1);
}

class Reader {
  constructor(
    readonly objects: DeviceObjects,
    readonly allowance: Allowance,
  ) {}

  draft(value: ExactJson, depth: number): Draft {
    this.allowance.object();
    this.allowance.depth(depth);
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof ExactNumber) {
      throw this.allowance.error('An object of a device is an object of JSON.');
    }
    const members = value as Readonly<Record<string, ExactJson>>;
    const tag = Object.hasOwn(members, 'tag') ? members.tag : undefined;
    const element = typeof tag === 'string' ? this.objects.elementNamed(tag) : undefined;
    if (typeof tag !== 'string' || element === undefined) {
      throw this.allowance.error(`oBIX has no element ${shown(typeof tag === 'string' ? tag : '')}.`);
    }
    const draft = openDraft(tag, element);
    for (const [name, member] of Object.entries(members)) {
      if (name === 'tag' || member === null) continue;
      if (name === 'nodes') this.#addNodes(draft.children, member, depth);
      else if (hasAttribute(element, name)) setAttribute(draft.facets, element, name, this.#scalar(name, member));
      else this.allowance.unknown({ kind: 'attribute', name, within: tag });
    }
    return draftOf(draft);
  }

  #addNodes(children: Draft[], nodes: ExactJson, depth: number): void {
    if (!Array.isArray(nodes)) throw this.allowance.error('The nodes of an object are an array.');
    for (const node of nodes as readonly ExactJson[]) children.push(this.draft(node, depth + 1));
  }

  #scalar(name: string, value: ExactJson): string {
    if (typeof value === 'string') return value;
    if (typeof value === 'boolean') return String(value);
    if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
    if (value instanceof ExactNumber) return value.source;
    throw this.allowance.error(`The member ${shown(name)} is a text, a number or a boolean.`);
  }
}

function jsonOf(object: DeviceObject): ExactJson {
  return {
    tag: object.tag ?? object.element,
    ...Object.fromEntries(attributesOf(object).map((one) => [one.name, scalarOf(one)])),
    ...(object.children.length === 0 ? {} : { nodes: object.children.map(jsonOf) }),
  };
}

function scalarOf(attribute: Attribute): ExactJson {
  const { type, value } = attribute;
  switch (type) {
    case 'boolean':
      return value === true;
    case 'integer':
      return exactOf(value as bigint);
    case 'count':
      return Number(value);
    case 'real':
      return Number.isFinite(value) ? new ExactNumber(textOf(attribute)) : textOf(attribute);
    case 'text':
    case 'contracts':
    case 'absoluteTime':
    case 'relativeTime':
    case 'date':
    case 'time':
      return textOf(attribute);
  }
}

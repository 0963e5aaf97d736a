/** Functions for the definitions of the infrastructure extension. */
import type { Json, JsonObject } from '../../json';
import {
  categoryId,
  type Action,
  type AttributeSpec,
  type AttributeSpecs,
  type CategoryId,
  type Kind,
  type Mixin,
  type Path,
} from '../model';

export const INFRASTRUCTURE_SCHEME = 'http://schemas.ogf.org/occi/infrastructure#';
const ACTION_SCHEME = (kind: string): string => `http://schemas.ogf.org/occi/infrastructure/${kind}/action#`;

type Definition = Omit<Partial<AttributeSpec>, 'pattern'> & { readonly schema?: JsonObject };

function attribute(type: AttributeSpec['type'], description: string, more: Definition): AttributeSpec {
  const { schema, ...rest } = more;
  return {
    type,
    required: false,
    mutable: true,
    lenient: false,
    description,
    ...rest,
    ...(schema === undefined ? {} : { pattern: { form: 'schema', schema } }),
  };
}

export const text = (description: string, more: Definition = {}): AttributeSpec =>
  attribute('string', description, more);

/** A Float of GFD.224: any number above zero. */
export const amount = (description: string, more: Definition = {}): AttributeSpec =>
  attribute('number', description, { schema: { exclusiveMinimum: 0 }, ...more });

export const integer = (description: string, minimum: number, maximum?: number): AttributeSpec =>
  attribute('number', description, {
    schema: { type: 'integer', minimum, ...(maximum === undefined ? {} : { maximum }) },
  });

export const oneOf = (description: string, values: readonly string[], more: Definition = {}): AttributeSpec =>
  attribute('string', description, { schema: { enum: values }, ...more });

/** The attribute with the default of a template. */
export const withDefault = (spec: AttributeSpec, value: Json): AttributeSpec => ({ ...spec, default: value });

/** The attributes `state` and `state.message`, which only the provider sets. */
export function stateAttributes(name: string, states: readonly string[], initial: string): AttributeSpecs {
  return {
    [`${name}.state`]: oneOf('Current state of the instance', states, { mutable: false, default: initial }),
    [`${name}.state.message`]: text('Explanation of the current state', { mutable: false }),
  };
}

export function action(kind: string, term: string, title: string, attributes: AttributeSpecs = {}): Action {
  return { class: 'action', term, scheme: ACTION_SCHEME(kind), title, attributes, origin: 'extension' };
}

export function kind(
  term: string,
  title: string,
  parent: CategoryId,
  attributes: AttributeSpecs,
  actions: readonly Action[] = [],
): Kind {
  return {
    class: 'kind',
    term,
    scheme: INFRASTRUCTURE_SCHEME,
    title,
    parent,
    attributes,
    actions: actions.map(categoryId),
    location: `/${term}/`,
    origin: 'extension',
  };
}

interface MixinDefinition {
  readonly scheme?: string;
  readonly location: Path;
  readonly applies: CategoryId;
  readonly depends?: CategoryId;
  readonly attributes?: AttributeSpecs;
}

export function mixin(term: string, title: string, definition: MixinDefinition): Mixin {
  const { scheme = INFRASTRUCTURE_SCHEME, location, applies, depends, attributes = {} } = definition;
  return {
    class: 'mixin',
    term,
    scheme,
    title,
    attributes,
    actions: [],
    depends: depends === undefined ? [] : [depends],
    applies: [applies],
    location,
    origin: 'extension',
  };
}

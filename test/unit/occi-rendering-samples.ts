/** Views, a context and small helpers that the tests of the renderings share. */
import { isJsonObject, type Json, type JsonObject, CmbsError } from '@cmbs/shared';
import type { LinkView } from '../../shared/occi/model';
import type { Action, AttributeSpec, EntityView, Kind, Mixin, RenderContext, Rendered } from '@cmbs/shared/occi';
import type { RawInput } from '../../shared/occi/renderings/rendering';

export const BASE = 'http://broker.example:8080';
export const CMBS = 'http://houssem.org/cmbs#';
export const MEMBER_ACTIONS = 'http://houssem.org/cmbs/member/action#';

export function spec(given: Partial<AttributeSpec> = {}): AttributeSpec {
  return { type: 'string', required: false, mutable: true, lenient: false, ...given };
}

/** A context in which attributes have the given specs; other attributes are strings. */
export function context(specs: Readonly<Record<string, AttributeSpec>> = {}): RenderContext {
  return {
    base: BASE,
    specOf: (_view, name) => specs[name] ?? spec(),
    titleOf: (id) => (id.endsWith('#start_l1') ? 'start the L1 of the member instance' : undefined),
  };
}

export interface ViewParts {
  readonly path?: string;
  readonly id?: string;
  readonly kind?: string;
  readonly mixins?: readonly string[];
  readonly attributes?: Readonly<Record<string, Json>>;
  readonly rawJson?: Readonly<Record<string, string>>;
  readonly links?: readonly LinkView[];
  readonly actions?: readonly string[];
}

export function resourceView(parts: ViewParts = {}): EntityView {
  return {
    entity: {
      path: parts.path ?? '/cmbs/member/m1',
      id: parts.id ?? 'm1',
      kind: parts.kind ?? `${CMBS}member`,
      mixins: parts.mixins ?? [],
      attributes: parts.attributes ?? {},
      rawJson: parts.rawJson ?? {},
      owner: 'somebody',
      createdAt: 0,
      updatedAt: 0,
    },
    isLink: false,
    links: parts.links ?? [],
    actions: parts.actions ?? [],
  };
}

export function linkView(
  parts: ViewParts = {},
  ends: Pick<EntityView, 'sourceKind' | 'targetKind'> = {},
): EntityView {
  return { ...resourceView(parts), ...ends, isLink: true };
}

export const member = resourceView({
  mixins: ['http://example.com/tags#blue'],
  attributes: {
    'occi.core.title': 'member of CMBS',
    'occi.core.summary': 'This is a member',
    'cmbs.member.state': 'active',
    'cmbs.member.neighbors_socket': ['tcp://127.0.0.1:6010'],
  },
  links: [
    {
      path: '/networkinterface/9',
      id: '9',
      kind: 'http://schemas.ogf.org/occi/infrastructure#networkinterface',
      mixins: [],
      attributes: { 'occi.networkinterface.interface': 'eth0' },
      target: '/network/2',
      targetKind: 'http://schemas.ogf.org/occi/infrastructure#network',
    },
  ],
  actions: [`${MEMBER_ACTIONS}start_l1`],
});

export const memberContext = context({ 'cmbs.member.neighbors_socket': spec({ type: 'array' }) });

export const link = linkView(
  {
    path: '/networkinterface/9',
    id: '9',
    kind: 'http://schemas.ogf.org/occi/infrastructure#networkinterface',
    attributes: { 'occi.core.source': '/compute/1', 'occi.core.target': 'http://elsewhere.example/network/2' },
  },
  { sourceKind: 'http://schemas.ogf.org/occi/infrastructure#compute' },
);

export const kind: Kind = {
  class: 'kind',
  term: 'member',
  scheme: CMBS,
  title: 'CMBS member, local or remote',
  parent: 'http://schemas.ogf.org/occi/core#resource',
  attributes: {
    'cmbs.member.local': spec({ required: true, lenient: true, pattern: { form: 'regex', source: 'true|false' } }),
    'cmbs.member.layers': spec({ type: 'any', mutable: false, default: {} }),
  },
  actions: [`${MEMBER_ACTIONS}start_l1`, `${MEMBER_ACTIONS}stop_l1`],
  location: '/cmbs/member/',
  origin: 'builtin',
};

export const abstractKind: Kind = {
  class: 'kind',
  term: 'entity',
  scheme: 'http://schemas.ogf.org/occi/core#',
  attributes: {},
  actions: [],
  origin: 'builtin',
};

export const mixin: Mixin = {
  class: 'mixin',
  term: 'medium',
  scheme: 'http://example.com/sizes#',
  title: 'Medium',
  attributes: {
    'com.example.size': spec({ type: 'number', pattern: { form: 'schema', schema: { minimum: 1 } } }),
  },
  depends: ['http://example.com/sizes#size', 'http://example.com/sizes#other'],
  applies: ['http://schemas.ogf.org/occi/infrastructure#compute'],
  actions: [],
  location: '/sizes/medium/',
  origin: 'runtime',
};

export const action: Action = {
  class: 'action',
  term: 'start_l1',
  scheme: MEMBER_ACTIONS,
  title: 'start the L1 of the member instance',
  attributes: {},
  origin: 'builtin',
};

export function bodyOf(text: string | Buffer): RawInput {
  return { headers: {}, body: Buffer.from(text as string) };
}

export function headersOf(headers: Readonly<Record<string, string | readonly string[]>>): RawInput {
  return {
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [
        name.toLowerCase(),
        typeof value === 'string' ? [value] : value,
      ]),
    ),
    body: Buffer.alloc(0),
  };
}

/** A rendered answer as the request of a client that sends it back. */
export function sentBack(rendered: Rendered): RawInput {
  return { headers: headersOf(rendered.headers).headers, body: Buffer.from(rendered.body) };
}

/** The value under a flat name in attributes that are nested, flat or both. */
export function valueAt(attributes: JsonObject, name: string): Json | undefined {
  if (Object.hasOwn(attributes, name)) return attributes[name];
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const key = name.slice(0, dot);
    const level = Object.hasOwn(attributes, key) ? attributes[key] : undefined;
    const found = isJsonObject(level) ? valueAt(level, name.slice(dot + 1)) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The refusal that `run` throws; fails if `run` returns or throws another error. */
export function refusalOf(run: () => unknown): CmbsError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof CmbsError) return thrown;
    throw thrown;
  }
  throw new Error('expected a refusal, yet it was accepted');
}

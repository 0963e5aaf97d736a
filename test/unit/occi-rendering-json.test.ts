import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CmbsError, type Json, type JsonObject } from '@cmbs/shared';
import { gfd226Json as json } from '../../shared/occi/renderings/gfd226-json';
import { nest, nestedJson as occiJson } from '../../shared/occi/renderings/nested-json';
import type { Category, Payload } from '@cmbs/shared/occi';
import type { CategoryInput } from '../../shared/occi/payload';
import {
  abstractKind,
  action,
  BASE,
  bodyOf,
  CMBS,
  context,
  kind,
  link,
  member,
  MEMBER_ACTIONS,
  memberContext,
  mixin,
  refusalOf,
  resourceView,
  spec,
} from './occi-rendering-samples';

const read = (body: string): JsonObject => JSON.parse(body) as JsonObject;
const nested = (value: unknown): Payload => occiJson.parse(bodyOf(JSON.stringify(value)));
const strict = (value: unknown): Payload => json.parse(bodyOf(JSON.stringify(value)));
const INTERFACE = 'http://schemas.ogf.org/occi/infrastructure#networkinterface';
const COMPUTE = 'http://schemas.ogf.org/occi/infrastructure#compute';
const NETWORK = 'http://schemas.ogf.org/occi/infrastructure#network';

describe('application/occi+json', () => {
  test('shows an entity bare and nested, as clients of the original read it', () => {
    const { headers, body } = occiJson.entity(member, memberContext);
    expect(headers).toEqual({ 'Content-Type': 'application/occi+json;profile=nested' });
    expect(read(body)).toEqual({
      kind: `${CMBS}member`,
      mixins: ['http://example.com/tags#blue'],
      attributes: { cmbs: { member: { state: 'active', neighbors_socket: ['tcp://127.0.0.1:6010'] } } },
      actions: [
        {
          title: 'start the L1 of the member instance',
          href: '/cmbs/member/m1?action=start_l1',
          category: `${MEMBER_ACTIONS}start_l1`,
        },
      ],
      id: 'm1',
      title: 'member of CMBS',
      summary: 'This is a member',
      links: [
        {
          kind: INTERFACE,
          mixins: [],
          attributes: { occi: { networkinterface: { interface: 'eth0' } } },
          id: '9',
          target: `${BASE}/network/2`,
          source: `${BASE}/cmbs/member/m1`,
        },
      ],
    });
  });

  test('shows all keys of an empty entity', () => {
    expect(read(occiJson.entity(resourceView(), context()).body)).toEqual({
      kind: `${CMBS}member`,
      mixins: [],
      attributes: {},
      actions: [],
      id: 'm1',
      links: [],
    });
  });

  test('shows the ends of a link as URLs', () => {
    expect(read(occiJson.entity(link, context()).body)).toEqual({
      kind: INTERFACE,
      mixins: [],
      attributes: {},
      actions: [],
      id: '9',
      source: `${BASE}/compute/1`,
      target: 'http://elsewhere.example/network/2',
    });
  });

  test('shows collections and creations as lists of URLs', () => {
    expect(occiJson.collection([member], context()).body).toBe(`{"X-OCCI-Location":["${BASE}/cmbs/member/m1"]}`);
    expect(occiJson.collection([], context()).body).toBe('{"X-OCCI-Location":[]}');
    expect(occiJson.created(['/a/1'], context()).body).toBe(`{"Location":["${BASE}/a/1"]}`);
    expect(occiJson.collectionIsLocations).toBe(true);
  });

  test('shows categories with nested definitions and "related"', () => {
    expect(read(occiJson.categories([abstractKind, kind, mixin, action], context()).body)).toEqual({
      kinds: [
        {
          term: 'entity',
          scheme: 'http://schemas.ogf.org/occi/core#',
          related: [],
          attributes: {},
          actions: [],
        },
        {
          term: 'member',
          scheme: CMBS,
          title: 'CMBS member, local or remote',
          related: ['http://schemas.ogf.org/occi/core#resource'],
          attributes: {
            cmbs: {
              member: {
                local: { mutable: true, required: true, type: 'String', pattern: 'true|false' },
                layers: { mutable: false, required: false, type: 'Object', default: {} },
              },
            },
          },
          actions: kind.actions,
          location: '/cmbs/member/',
        },
      ],
      mixins: [
        {
          term: 'medium',
          scheme: 'http://example.com/sizes#',
          title: 'Medium',
          related: mixin.depends,
          applies: mixin.applies,
          attributes: {
            com: {
              example: { size: { mutable: true, required: false, type: 'Number', pattern: { minimum: 1 } } },
            },
          },
          actions: [],
          location: '/sizes/medium/',
        },
      ],
      actions: [{ term: 'start_l1', scheme: MEMBER_ACTIONS, title: action.title, attributes: {} }],
    });
    expect(occiJson.categories([], context()).body).toBe('{"kinds":[],"mixins":[],"actions":[]}');
  });

  test('shows returned values nested', () => {
    expect(occiJson.attributes({ 'a.b': 1, 'a.c': 'x' }, context()).body).toBe(
      '{"attributes":{"a":{"b":1,"c":"x"}}}',
    );
  });
});

describe('nesting flat names', () => {
  const nestedOf = (names: readonly string[]): unknown => {
    const { body } = occiJson.attributes(Object.fromEntries(names.map((name) => [name, name])), context());
    return read(body).attributes;
  };

  test('keeps both names if one begins with the other, in either order', () => {
    const both = { a: { b: 'a.b', 'b.c': 'a.b.c', 'b.d.e': 'a.b.d.e', x: 'a.x' } };
    expect(nestedOf(['a.b', 'a.b.c', 'a.b.d.e', 'a.x'])).toEqual(both);
    expect(nestedOf(['a.b.c', 'a.b.d.e', 'a.b', 'a.x'])).toEqual(both);
    expect(nestedOf(['a.b.c', 'a.b', 'a.b.d.e', 'a.x'])).toEqual(both);
    expect(nestedOf(['a', 'a.b.c'])).toEqual({ a: 'a', 'a.b.c': 'a.b.c' });
  });

  test('does not merge names into a value that is an object', () => {
    const value: Json = { c: 5 };
    const attributes = nest(
      new Map<string, Json>([
        ['a.b', value],
        ['a.b.c', 6],
      ]),
    );
    expect(Object.fromEntries(attributes.get('a') as Map<string, Json>)).toEqual({ b: { c: 5 }, 'b.c': 6 });
    expect(value).toEqual({ c: 5 });
  });

  test('sets no prototype', () => {
    const view = resourceView({
      attributes: { '__proto__.polluted': 'x', 'constructor.prototype.polluted': 'y' },
    });
    expect(occiJson.entity(view, context()).body).toContain(
      '"attributes":{"__proto__":{"polluted":"x"},"constructor":{"prototype":{"polluted":"y"}}}',
    );
    expect({}).not.toHaveProperty('polluted');
  });
});

/** The keys of GFD.226's schema, which allows no other keys and no empty lists. */
const SCHEMA: Readonly<
  Record<string, { readonly required: readonly string[]; readonly allowed: readonly string[] }>
> = {
  resource: {
    required: ['kind', 'id', 'attributes'],
    allowed: ['kind', 'mixins', 'attributes', 'actions', 'id', 'links', 'summary', 'title'],
  },
  link: {
    required: ['kind', 'id', 'attributes', 'source', 'target'],
    allowed: ['kind', 'mixins', 'attributes', 'actions', 'id', 'source', 'target', 'title'],
  },
  end: { required: ['location'], allowed: ['location', 'kind'] },
  kind: {
    required: ['term', 'scheme', 'location'],
    allowed: ['term', 'scheme', 'title', 'attributes', 'actions', 'parent', 'location'],
  },
  mixin: {
    required: ['term', 'scheme', 'location'],
    allowed: ['term', 'scheme', 'title', 'attributes', 'actions', 'depends', 'applies', 'location'],
  },
  action: { required: ['term', 'scheme'], allowed: ['term', 'scheme', 'title', 'attributes'] },
  attribute: {
    required: ['type', 'mutable', 'required'],
    allowed: ['type', 'mutable', 'required', 'default', 'description', 'pattern'],
  },
};

function expectShape(shape: string, value: Json | undefined): void {
  const object = value as JsonObject;
  const { required, allowed } = SCHEMA[shape]!;
  const keys = Object.keys(object);
  expect(keys.filter((key) => !allowed.includes(key))).toEqual([]);
  expect(required.filter((key) => !keys.includes(key))).toEqual([]);
  for (const key of keys) expect(object[key]).not.toEqual([]);
}

describe('application/json', () => {
  test('shows an entity flat, with the keys of the schema and no others', () => {
    const { headers, body } = json.entity(member, memberContext);
    expect(headers).toEqual({ 'Content-Type': 'application/json' });
    const shown = read(body);
    expect(shown).toEqual({
      kind: `${CMBS}member`,
      mixins: ['http://example.com/tags#blue'],
      attributes: { 'cmbs.member.state': 'active', 'cmbs.member.neighbors_socket': ['tcp://127.0.0.1:6010'] },
      actions: [`${MEMBER_ACTIONS}start_l1`],
      id: 'm1',
      title: 'member of CMBS',
      summary: 'This is a member',
      links: [
        {
          kind: INTERFACE,
          attributes: { 'occi.networkinterface.interface': 'eth0' },
          id: '9',
          source: { location: `${BASE}/cmbs/member/m1`, kind: `${CMBS}member` },
          target: { location: `${BASE}/network/2`, kind: NETWORK },
        },
      ],
    });
    expectShape('resource', shown);
    const [shownLink] = shown.links as readonly JsonObject[];
    expectShape('link', shownLink);
    expectShape('end', shownLink?.target);
    expectShape('resource', read(json.entity(resourceView(), context()).body));
  });

  test('shows a link with the kinds of its ends, and its summary as an attribute', () => {
    const summary = { ...link.entity.attributes, 'occi.core.summary': 's' };
    const shown = read(json.entity({ ...link, entity: { ...link.entity, attributes: summary } }, context()).body);
    expect(shown).toEqual({
      kind: INTERFACE,
      attributes: { 'occi.core.summary': 's' },
      id: '9',
      source: { location: `${BASE}/compute/1`, kind: COMPUTE },
      target: { location: 'http://elsewhere.example/network/2' },
    });
    expectShape('link', shown);
  });

  test('shows collections as lists of resources and links', () => {
    expect(read(json.collection([member, link], memberContext).body)).toEqual({
      resources: [read(json.entity(member, memberContext).body)],
      links: [read(json.entity(link, memberContext).body)],
    });
    expect(Object.keys(read(json.collection([link], context()).body))).toEqual(['links']);
    expect(json.collection([], context()).body).toBe('{"resources":[]}');
    expect(json.collectionIsLocations).toBe(false);
    expect(json.created(['/a/1', '/a/2'], context()).body).toBe(`["${BASE}/a/1","${BASE}/a/2"]`);
  });

  test('shows categories flat, with JSON Schema patterns', () => {
    const exact: Category = {
      ...action,
      attributes: { 'a.b': spec({ pattern: { form: 'regex', source: 'x|y' }, description: 'one of two' }) },
    };
    const shown = read(json.categories([kind, mixin, exact], context()).body) as Record<
      string,
      readonly JsonObject[]
    >;
    expect(shown).toEqual({
      kinds: [
        {
          term: 'member',
          scheme: CMBS,
          title: 'CMBS member, local or remote',
          attributes: {
            'cmbs.member.local': {
              type: 'string',
              mutable: true,
              required: true,
              // A lenient pattern matches a prefix.
              pattern: { pattern: '^(?:true|false)' },
            },
            'cmbs.member.layers': { type: 'object', mutable: false, required: false, default: {} },
          },
          actions: kind.actions,
          parent: 'http://schemas.ogf.org/occi/core#resource',
          location: '/cmbs/member/',
        },
      ],
      mixins: [
        {
          term: 'medium',
          scheme: 'http://example.com/sizes#',
          title: 'Medium',
          attributes: {
            'com.example.size': { type: 'number', mutable: true, required: false, pattern: { minimum: 1 } },
          },
          depends: mixin.depends,
          applies: mixin.applies,
          location: '/sizes/medium/',
        },
      ],
      actions: [
        {
          term: 'start_l1',
          scheme: MEMBER_ACTIONS,
          title: action.title,
          attributes: {
            'a.b': {
              type: 'string',
              mutable: true,
              required: false,
              pattern: { pattern: '^(?:x|y)$' },
              description: 'one of two',
            },
          },
        },
      ],
    });
    expectShape('kind', shown.kinds?.[0]);
    expectShape('mixin', shown.mixins?.[0]);
    expectShape('action', shown.actions?.[0]);
    expectShape('attribute', (shown.kinds?.[0]?.attributes as JsonObject)['cmbs.member.local']);
  });

  test('shows returned values flat', () => {
    expect(json.attributes({ 'a.b': 1 }, context()).body).toBe('{"attributes":{"a.b":1}}');
  });
});

describe('both JSON renderings', () => {
  test('write raw JSON unchanged', () => {
    const view = resourceView({ rawJson: { 'cmbs.message.result': '{"n": 12345678901234567890, "b":1.0}' } });
    for (const rendering of [occiJson, json]) {
      const { body } = rendering.entity(view, context());
      expect(body).toContain('result":{"n": 12345678901234567890, "b":1.0}');
      const [again] = rendering.parse(bodyOf(body)).entities;
      const names = rendering === json ? ['cmbs.message.result'] : ['cmbs', 'message', 'result'];
      expect(again?.sourceText(names)).toBe('{"n": 12345678901234567890, "b":1.0}');
    }
  });

  test('write an error as code, sentence and details', () => {
    const refusal = new CmbsError('conflict', 'It is taken; choose another.', { details: { id: 'm1' } });
    for (const rendering of [occiJson, json]) {
      const { headers, body } = rendering.error(refusal);
      expect(headers['Content-Type']?.split(';')[0]).toBe(rendering.mediaTypes[0]);
      expect(read(body)).toEqual({
        error: { code: 'conflict', message: 'It is taken; choose another.', details: { id: 'm1' } },
      });
    }
    expect(json.error(new CmbsError('not_found', 'No.')).body).toBe(
      '{"error":{"code":"not_found","message":"No."}}',
    );
  });
});

describe.each([
  ['application/occi+json', nested],
  ['application/json', strict],
])('the JSON reader of %s', (_type, parse) => {
  test('reads no body and an empty object', () => {
    expect(occiJson.parse(bodyOf(' \n')).form).toBe('none');
    expect(parse({})).toMatchObject({ form: 'json', entities: [], categories: [], locations: [], attributes: {} });
    expect([...parse({ resources: [] }).keys]).toEqual(['resources']);
  });

  test('reads resources and links', () => {
    const { entities, keys } = parse({
      resources: [{ kind: 'k#a', id: '1', attributes: { a: { b: 1 }, 'c.d': 2 } }, { attributes: {} }],
      links: [{ kind: 'k#l', source: '/a/1', target: { location: '/b/2', kind: 'k#b' } }],
    });
    expect([...keys]).toEqual(['resources', 'links']);
    expect(entities).toMatchObject([
      { kind: 'k#a', id: '1', mixins: [], attributes: { a: { b: 1 }, 'c.d': 2 }, links: [], isLink: false },
      { attributes: {}, isLink: false },
      { kind: 'k#l', source: '/a/1', target: '/b/2', isLink: true },
    ]);
    expect(entities[1]).not.toHaveProperty('kind');
    expect(entities[0]?.sourceText(['a', 'b'])).toBe('1');
    expect(entities[0]?.sourceText(['c.d'])).toBe('2');
  });

  test('reads a bare entity, also a partial one', () => {
    const whole = parse({
      kind: { term: 'compute', scheme: 'i#' },
      mixins: ['m#a', { term: 'b', scheme: 'm#' }, { category: 'm#c' }],
      title: 't',
      summary: null,
      actions: [{ title: 'x', href: '/a?action=start', category: 'a#start' }],
      links: [
        { kind: 'l#k', mixins: ['l#m'], target: '/t', id: '7', self: '/l/7', title: 'L', attributes: { x: 1 } },
      ],
    });
    expect(whole.entities).toMatchObject([
      { kind: 'i#compute', mixins: ['m#a', 'm#b', 'm#c'], title: 't', isLink: false },
    ]);
    expect(whole.entities[0]?.links).toEqual([
      {
        target: '/t',
        categories: ['l#k', 'l#m'],
        self: '/l/7',
        id: '7',
        attributes: { x: 1, 'occi.core.title': 'L' },
        sourceText: expect.any(Function) as unknown,
      },
    ]);
    expect(whole.entities[0]?.links[0]?.sourceText?.(['x'])).toBe('1');
    expect(whole.entities[0]).not.toHaveProperty('summary');
    expect(whole.categories).toEqual([]);
    expect(whole.action).toBeUndefined();
    expect(parse({ title: 'only' }).entities).toMatchObject([{ title: 'only' }]);
    expect(parse({ mixins: ['m#a'], attributes: {} }).entities).toMatchObject([{ mixins: ['m#a'] }]);
    expect(parse({ kind: 'k#l', source: '/a', target: '/b' }).entities).toMatchObject([{ isLink: true }]);
  });

  test('reads an action by its identifier or as the first of a list', () => {
    expect(parse({ action: 'a#start', attributes: { method: 'x' } })).toMatchObject({
      action: 'a#start',
      attributes: { method: 'x' },
      entities: [],
    });
    expect(parse({ actions: [{ term: 'start', scheme: 'a#' }], attributes: {} }).action).toBe('a#start');
    expect(parse({ actions: ['a#start'] }).action).toBe('a#start');
    expect(parse({ actions: [{ term: 'start', scheme: 'a#' }], kinds: [] }).action).toBeUndefined();
    expect(parse({ attributes: { a: { b: 1.0 } } }).sourceText?.(['a', 'b'])).toBe('1');
  });

  test.each([
    [{ 'X-OCCI-Location': ['/a', 'http://h/b'] }],
    [{ Location: ['/a', 'http://h/b'] }],
    [{ locations: ['/a', 'http://h/b'] }],
    [['/a', 'http://h/b']],
  ])('reads locations as %j', (body) => {
    expect(parse(body).locations).toEqual(['/a', 'http://h/b']);
  });

  test('distinguishes an empty list of locations from an absent one', () => {
    expect(parse([]).keys.has('locations')).toBe(true);
    expect(parse({ 'X-OCCI-Location': [] }).keys.has('X-OCCI-Location')).toBe(true);
  });

  test('reads providers', () => {
    expect(
      parse({ providers: [{ Provider: { local: ['x'], remote: [] }, OCCI_ID: `${CMBS}member` }] }).providers,
    ).toEqual([{ category: `${CMBS}member`, local: ['x'], remote: [] }]);
  });

  test('reads categories that are only named, even by a term alone', () => {
    const { categories } = parse({ kinds: [{ term: 'member' }, 'k#a'], mixins: [{ category: 'm#b' }] });
    expect(categories).toMatchObject([
      { term: 'member', scheme: '', class: 'kind', given: [] },
      { term: 'a', scheme: 'k#', class: 'kind', given: [] },
      { term: 'b', scheme: 'm#', class: 'mixin', given: [] },
    ]);
  });

  test('reads definitions in the dialect that they show', () => {
    const definition = (given: JsonObject, list = 'kinds'): CategoryInput =>
      parse({ [list]: [{ term: 't', scheme: 's#', ...given }] }).categories[0]!;
    expect(definition({ attributes: { a: { b: { type: 'String' } } } }).dialect).toBe('nested');
    expect(definition({ attributes: { 'a.b': { type: 'string' } } }).dialect).toBe('strict');
    expect(definition({ attributes: { 'a.b': { type: 'object', default: { x: {} } } } }).dialect).toBe('strict');
    expect(definition({ attributes: { 'a.b': { pattern: { minimum: 1 } } } }).dialect).toBe('strict');
    expect(definition({ parent: 'p#p', attributes: {} }).dialect).toBe('strict');
    const byType = parse === strict ? 'strict' : 'nested';
    expect(definition({ attributes: {}, location: '/t/' }).dialect).toBe(byType);
    expect(definition({ related: ['p#p', 'p#q'] })).toMatchObject({
      dialect: 'nested',
      parent: 'p#p',
      given: ['parent'],
    });
    expect(definition({ related: 'p#p', title: 'T' }, 'mixins')).toMatchObject({
      dialect: 'nested',
      depends: ['p#p'],
      given: ['depends', 'title'],
    });
    expect(
      definition({ depends: ['d#d'], applies: ['a#a'], actions: ['x#x'], location: '/t/', odd: 1 }, 'mixins'),
    ).toEqual({
      term: 't',
      scheme: 's#',
      class: 'mixin',
      depends: ['d#d'],
      applies: ['a#a'],
      actions: ['x#x'],
      location: '/t/',
      dialect: 'strict',
      given: ['depends', 'applies', 'actions', 'location', 'odd'],
    });
  });

  test.each([
    ['resources', { resources: {} }],
    ['resources', { resources: ['/a'] }],
    ['kind', { resources: [{ kind: 7 }] }],
    ['mixins', { kind: 'k#k', mixins: 'm#m' }],
    ['attributes', { kind: 'k#k', attributes: [] }],
    ['__proto__', { kind: 'k#k', attributes: JSON.parse('{"__proto__":{"a":1}}') as JsonObject }],
    ['title', { kind: 'k#k', title: 7 }],
    ['id', { id: {} }],
    ['source', { kind: 'k#k', source: {} }],
    ['links', { kind: 'k#k', links: ['/l/1'] }],
    ['target', { kind: 'k#k', links: [{ kind: 'l#l' }] }],
    ['term', { kinds: [{ scheme: 's#' }] }],
    ['scheme', { kinds: [{ term: 't', scheme: 7 }] }],
    ['kinds', { kinds: ['no-hash'] }],
    ['location', { mixins: [{ term: 't', scheme: 's#', location: 7 }] }],
    ['actions', { mixins: [{ term: 't', scheme: 's#', actions: [7] }] }],
    ['parent', { kinds: [{ term: 't', scheme: 's#', parent: 7 }] }],
    ['X-OCCI-Location', { 'X-OCCI-Location': '/a' }],
    ['locations', { locations: [7] }],
    ['action', { action: 7 }],
    ['Provider', { providers: [{ OCCI_ID: 'k#k' }] }],
    ['OCCI_ID', { providers: [{ Provider: {} }] }],
    ['local', { providers: [{ Provider: { local: 'x' }, OCCI_ID: 'k#k' }] }],
    ['object', 'text'],
    ['object', 7],
    ['object', null],
    ['list of strings', [7]],
  ])('refuses a wrong %s with 400 and a sentence that names the value', (name, body) => {
    const refusal = refusalOf(() => parse(body));
    expect(refusal.status).toBe(400);
    expect(refusal.message).toContain(name);
    expect(refusal.message).toMatch(/^[ -~]+\.$/);
  });
});

describe('hostile JSON', () => {
  test('is refused with 400 when it does not parse or is not UTF-8', () => {
    for (const body of ['{bad', '{"a":1', '/* c */ {}', '{"a":1}}']) {
      expect(refusalOf(() => json.parse(bodyOf(body))).status).toBe(400);
    }
    const latin1 = { headers: {}, body: Buffer.from('{"title":"\xe9"}', 'latin1') };
    expect(refusalOf(() => json.parse(latin1)).message).toContain('UTF-8');
    expect(json.parse(bodyOf('\ufeff{"title":"é"}')).entities).toMatchObject([{ title: 'é' }]);
  });

  test('is refused if it is nested too deep', () => {
    const size = 1 << 20;
    const bodies = ['['.repeat(size), '['.repeat(size / 2) + ']'.repeat(size / 2), '{"a":'.repeat(size / 5)];
    for (const body of bodies) expect(refusalOf(() => json.parse(bodyOf(body))).status).toBe(400);
    const nest64 = `{"attributes":{"a":${'['.repeat(62)}${']'.repeat(62)}}}`;
    expect(json.parse(bodyOf(nest64)).form).toBe('json');
    const nest65 = `{"attributes":{"a":${'['.repeat(63)}${']'.repeat(63)}}}`;
    expect(refusalOf(() => json.parse(bodyOf(nest65))).message).toContain('64 levels');
  });

  test('sets no prototype', () => {
    const { entities } = json.parse(
      bodyOf('{"__proto__":{"kind":"k#k"},"resources":[{"__proto__":{"kind":"k#k"},"constructor":{}}]}'),
    );
    expect(entities[0]?.kind).toBeUndefined();
    expect({}).not.toHaveProperty('kind');
  });
});

describe("the original's own files", () => {
  const folder = path.join(__dirname, '../fixtures');
  const files = (readdirSync(folder, { recursive: true }) as string[]).filter((name) => name.endsWith('.json'));
  const parseFile = (name: string, rendering = occiJson): Payload =>
    rendering.parse({ headers: {}, body: readFileSync(path.join(folder, name)) });

  test('are complete', () => {
    expect(files.length).toBeGreaterThanOrEqual(29);
  });

  test.each(files)('have the same meaning under both JSON types: %s', (name) => {
    const comparable = (payload: Payload): unknown =>
      JSON.parse(JSON.stringify(payload).replaceAll('"strict"', '"nested"'));
    const asNested = parseFile(name);
    expect(asNested.form).toBe('json');
    expect(comparable(asNested)).toEqual(comparable(parseFile(name, json)));
  });

  test('keep the meaning that they have in the original', () => {
    expect(parseFile('pycmbs/post_member.json').entities).toMatchObject([
      {
        kind: `${CMBS}member`,
        id: '016ad860-2a9a-504f-8861-aeafd0b2ae29',
        title: 'member of CMBS',
        attributes: { cmbs: { member: { local: 'true' } } },
      },
    ]);
    const [message] = parseFile('pycmbs/post_message_l1.json').entities;
    expect(message?.mixins).toEqual([`${CMBS}l1`]);
    expect(message?.sourceText(['cmbs', 'message', 'message_content'])).toBe('""');
    const definitions = parseFile('pycmbs/post_category_cmbs_message.json', json);
    expect(definitions.categories.map(({ class: name, term }) => `${name!} ${term}`)).toContain('mixin l31');
    const nestedTerms = definitions.categories
      .filter(({ dialect }) => dialect === 'nested')
      .map(({ term }) => term);
    expect(nestedTerms).toEqual(expect.arrayContaining(['message', 'l1', 'l2', 'l31', 'l32', 'l4']));
    expect(definitions.action).toBeUndefined();
    expect(parseFile('pycmbs/put_provider_cmbs_member.json').providers).toEqual([
      { category: `${CMBS}member`, local: ['cmbs_member'], remote: [] },
    ]);
    expect(parseFile('pycmbs/action_send_l1_message.json')).toMatchObject({
      form: 'json',
      entities: [],
      categories: [],
    });
  });
});

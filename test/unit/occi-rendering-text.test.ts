import { CmbsError } from '@cmbs/shared';
import { textOcci } from '../../shared/occi/renderings/text-occi';
import { textPlain } from '../../shared/occi/renderings/text-plain';
import { valueFromText } from '../../shared/occi/renderings/text/quoted-json';
import { uriList } from '../../shared/occi/renderings/uri-list';
import type { Payload } from '@cmbs/shared/occi';
import {
  abstractKind,
  action,
  BASE,
  bodyOf,
  context,
  headersOf,
  kind,
  link,
  member,
  memberContext,
  mixin,
  refusalOf,
  resourceView,
  spec,
} from './occi-rendering-samples';
import { LINEAR_MS, processorMs } from './processor-time';
import { notEmpty } from '../not-empty';

const parse = (body: string): Payload => textPlain.parse(bodyOf(body));
const attribute = (item: string): unknown => Object.values(parse(`X-OCCI-Attribute: ${item}`).attributes)[0];

describe('text/plain of an entity', () => {
  test('has one item a line: categories, links, actions, then attributes', () => {
    const { headers, body } = textPlain.entity(member, memberContext);
    expect(headers).toEqual({ 'Content-Type': 'text/plain' });
    expect(body.split('\n')).toEqual([
      'Category: member; scheme="http://houssem.org/cmbs#"; class="kind"',
      'Category: blue; scheme="http://example.com/tags#"; class="mixin"',
      'Link: </network/2>; rel="http://schemas.ogf.org/occi/infrastructure#network"; self="/networkinterface/9"; ' +
        'category="http://schemas.ogf.org/occi/infrastructure#networkinterface"; ' +
        `occi.core.id="9"; occi.core.source="${BASE}/cmbs/member/m1"; occi.core.target="${BASE}/network/2"; ` +
        'occi.networkinterface.interface="eth0"',
      'Link: </cmbs/member/m1?action=start_l1>; rel="http://houssem.org/cmbs/member/action#start_l1"',
      'X-OCCI-Attribute: occi.core.id="m1"',
      'X-OCCI-Attribute: occi.core.title="member of CMBS"',
      'X-OCCI-Attribute: occi.core.summary="This is a member"',
      'X-OCCI-Attribute: cmbs.member.state="active"',
      'X-OCCI-Attribute: cmbs.member.neighbors_socket="[\\"tcp://127.0.0.1:6010\\"]"',
      '',
    ]);
  });

  test('shows a link with both ends as URLs, and their kinds if they are known and declared', () => {
    const { body } = textPlain.entity(link, context());
    expect(body).toContain(`X-OCCI-Attribute: occi.core.source="${BASE}/compute/1"\n`);
    expect(body).toContain('X-OCCI-Attribute: occi.core.target="http://elsewhere.example/network/2"\n');
    expect(body).toContain(
      'X-OCCI-Attribute: occi.core.source.kind="http://schemas.ogf.org/occi/infrastructure#compute"\n',
    );
    expect(body).not.toContain('occi.core.target.kind');
    const undeclared = { ...context(), specOf: () => undefined };
    expect(textPlain.entity(link, undeclared).body).not.toContain('.kind=');
  });

  test('is read back as the same entity', () => {
    const again = parse(textPlain.entity(link, { ...context(), specOf: () => undefined }).body);
    expect(again.attributes).toEqual({
      'occi.core.id': '9',
      'occi.core.source': `${BASE}/compute/1`,
      'occi.core.target': 'http://elsewhere.example/network/2',
    });
    const { links } = parse(textPlain.entity(member, memberContext).body);
    expect(links).toEqual([
      {
        target: '/network/2',
        self: '/networkinterface/9',
        id: '9',
        rel: ['http://schemas.ogf.org/occi/infrastructure#network'],
        categories: ['http://schemas.ogf.org/occi/infrastructure#networkinterface'],
        attributes: { 'occi.networkinterface.interface': 'eth0' },
        tokens: new Map(),
      },
    ]);
  });

  test('writes numbers and booleans without quotes, and other JSON as text in quotes', () => {
    const view = resourceView({
      attributes: { n: 3.6, b: false, list: [1, 'x'], free: { a: ['}', '"'] }, none: null, text: '1' },
      rawJson: { raw: '{"n": 12345678901234567890,\n "s":"é,"}', said: '"a \\u0022quote\\u0022"' },
    });
    const { body } = textPlain.entity(
      view,
      context({ list: spec({ type: 'array' }), free: spec({ type: 'any' }), none: spec({ type: 'any' }) }),
    );
    const values = body
      .split('\n')
      .slice(2, -1)
      .map((line) => line.slice('X-OCCI-Attribute: '.length));
    expect(values).toEqual([
      'n=3.6',
      'b=false',
      'list="[1,\\"x\\"]"',
      String.raw`free="{\"a\":[\"}\",\"\\\"\"]}"`,
      'none="null"',
      'text="1"',
      String.raw`raw="{\"n\": 12345678901234567890,\n \"s\":\"é,\"}"`,
      'said="a \\"quote\\""',
    ]);
    const again = parse(body);
    expect(again.attributes).toMatchObject({ n: 3.6, b: false, list: '[1,"x"]', none: 'null', said: 'a "quote"' });
    expect(valueFromText(again.attributes.free!, spec({ type: 'any' }))).toEqual({ a: ['}', '"'] });
    expect(valueFromText('null', spec({ type: 'any' }))).toBeNull();
    // Raw JSON survives text too.
    expect(again.sourceText?.(['raw'])).toBe('{"n": 12345678901234567890,\n "s":"é,"}');
    expect(again.sourceText?.(['said'])).toBe('"a \\"quote\\""');
    expect(again.sourceText?.(['raw', 'n'])).toBeUndefined();
    expect(again.sourceText?.(['toString'])).toBeUndefined();
  });
});

describe('text of the query interface', () => {
  test('has the form that OCCI clients parse: no semicolon at the end, locations as paths', () => {
    const { body } = textPlain.categories([abstractKind, kind, mixin, action], context());
    expect(body.split('\n')).toEqual([
      'Category: entity; scheme="http://schemas.ogf.org/occi/core#"; class="kind"',
      'Category: member; scheme="http://houssem.org/cmbs#"; class="kind"; title="CMBS member, local or remote"; ' +
        'rel="http://schemas.ogf.org/occi/core#resource"; location="/cmbs/member/"; ' +
        'attributes="cmbs.member.local{required} cmbs.member.layers{immutable}"; ' +
        'actions="http://houssem.org/cmbs/member/action#start_l1 http://houssem.org/cmbs/member/action#stop_l1"',
      'Category: medium; scheme="http://example.com/sizes#"; class="mixin"; title="Medium"; ' +
        'rel="http://example.com/sizes#size"; location="/sizes/medium/"; attributes="com.example.size"',
      'Category: start_l1; scheme="http://houssem.org/cmbs/member/action#"; class="action"; ' +
        'title="start the L1 of the member instance"',
      '',
    ]);
    const header = textOcci.categories([kind], context()).headers.Category!;
    expect(header).toMatch(/^\w+; \bscheme=[a-z:./#"]*; \bclass="(action|kind|mixin)"/);
  });

  test('is read back with the definitions of attributes', () => {
    const [input] = parse(textPlain.categories([kind], context()).body).categories;
    expect(input).toEqual({
      term: 'member',
      scheme: 'http://houssem.org/cmbs#',
      class: 'kind',
      title: 'CMBS member, local or remote',
      parent: 'http://schemas.ogf.org/occi/core#resource',
      location: '/cmbs/member/',
      attributes: {
        'cmbs.member.local': { required: true, mutable: true },
        'cmbs.member.layers': { required: false, mutable: false },
      },
      actions: kind.actions,
      dialect: 'text',
      given: ['title', 'parent', 'location', 'attributes', 'actions'],
    });
  });
});

describe('a category in text', () => {
  test.each([
    'Category: compute; scheme="http://e.com/#"; class="kind"',
    'category:compute;scheme="http://e.com/#";class="kind"',
    'CATEGORY : compute ; scheme = "http://e.com/#" ; CLASS = "KIND" ;',
    'Category: compute; scheme=http://e.com/#; class=kind',
  ])('%s is understood', (line) => {
    expect(parse(line).categories).toEqual([
      { term: 'compute', scheme: 'http://e.com/#', class: 'kind', dialect: 'text', given: [] },
    ]);
  });

  test('may have no class, and may be in a comma list or on lines of its own', () => {
    const { categories } = parse(
      'Category: a; scheme="http://e.com/,#", b; scheme="#"\r\nCategory: c; scheme="#"\n\n',
    );
    expect(categories.map(({ term, scheme }) => scheme + term)).toEqual(['http://e.com/,#a', '#b', '#c']);
    expect(categories[0]).not.toHaveProperty('class');
  });

  test.each([
    'Category compute',
    'Category: compute',
    'Category: compute; class="kind"',
    'Category: ; scheme="#"',
    'Category: compute; scheme="http://e.com/#',
    'Category: compute; scheme="#"; class="thing"',
    'Category: compute; scheme="#" class="kind"',
    'Category: compute; scheme',
    'Content: compute',
    'Category: a b; scheme="#"',
  ])('%s is refused with 400 and a sentence', (line) => {
    const refusal = refusalOf(() => parse(line));
    expect(refusal.status).toBe(400);
    expect(refusal.message).toMatch(/^[ -~]+[.]$/);
  });
});

describe('an attribute in text', () => {
  test('has the type of its syntax, whatever is inside the quotes', () => {
    const line = 'X-OCCI-Attribute: occi.compute.memory=3.6, occi.core.title="a? \\", occi.compute.memory=1.0"';
    expect(parse(line).attributes).toEqual({
      'occi.compute.memory': 3.6,
      'occi.core.title': 'a? ", occi.compute.memory=1.0',
    });
  });

  test.each([
    ['a="x"', 'x'],
    ['a = "x" ', 'x'],
    ['a=""', ''],
    ['a=-1.5e3', -1500],
    ['a=0', 0],
    ['a=true', true],
    ['a=False', false],
    ['a=null', null],
    ['a="\\d+\\.\\\\ \\n \\u00e9 \\u12"', '\\d+\\.\\ \n é \\u12'],
    ['a="\\ud83d\\ude00"', '😀'],
    ['a={"b":[1,"}",{"c":","}]}', { b: [1, '}', { c: ',' }] }],
    ['a=[]', []],
    ['a="[1]"', '[1]'],
    ['a="x";', 'x'],
  ])('%s', (item, value) => {
    expect(attribute(item)).toEqual(value);
  });

  test('may follow JSON without quotes in the same list', () => {
    expect(parse('X-OCCI-Attribute: a=[1,2], b={"c":","} , d=1').attributes).toEqual({
      a: [1, 2],
      b: { c: ',' },
      d: 1,
    });
  });

  test.each([
    'a',
    'a=',
    'a=x',
    '="x"',
    'a="x',
    'a="x" y',
    'a=1 2',
    'a={"b":',
    'a={b:1}',
    'a=[1}',
    'a b=1',
    '__proto__=1',
  ])('%s is refused with 400', (item) => {
    expect(refusalOf(() => attribute(item)).status).toBe(400);
  });

  test('is refused if it is nested too deep', () => {
    const levels = 100_000;
    expect(refusalOf(() => attribute(`a=${'['.repeat(levels)}${']'.repeat(levels)}`)).message).toContain(
      '64 levels',
    );
  });

  test('keeps odd characters of its name through text', () => {
    const view = resourceView({ attributes: { 'a b=c,d%20é': 1 } });
    expect(parse(textPlain.entity(view, context()).body).attributes).toEqual({
      'occi.core.id': 'm1',
      'a b=c,d%20é': 1,
    });
  });
});

describe('a link in text', () => {
  test('has the kinds in "category", and is not an action', () => {
    const { links } = parse(
      'Link: <http://h/network/2,a>; rel="n#n"; CATEGORY="x#a x#b"; occi.core.id="7"; a.b="c;d"; n=4, ' +
        '</compute/1?action=start>; rel="x#start"',
    );
    expect(links).toEqual([
      {
        target: 'http://h/network/2,a',
        rel: ['n#n'],
        categories: ['x#a', 'x#b'],
        id: '7',
        attributes: { 'a.b': 'c;d', n: 4 },
        tokens: new Map([['n', '4']]),
      },
    ]);
  });

  test('may have tokens as attributes', () => {
    const [one] = parse('Link: </a>; occi.core.id=7; a.b=eth0; mac=02:00:00:00:00:01; up=true; n=1.5.2').links;
    expect(one).toMatchObject({
      id: '7',
      attributes: { 'a.b': 'eth0', mac: '02:00:00:00:00:01', up: true, n: '1.5.2' },
    });
  });

  test.each(['/network/2', '</network/2', '<>', '</a> b', '</a>; self', '</a>; a.b=', '</a>; a.b=(x)'])(
    '%s is refused with 400',
    (item) => {
      expect(refusalOf(() => parse(`Link: ${item}`)).status).toBe(400);
    },
  );

  test('to a target of unknown kind is shown as a link to a resource', () => {
    const { path, id, kind: linkKind, mixins, attributes, target } = member.links[0]!;
    const unknown = { path, id, kind: linkKind, mixins, attributes, target };
    const { body } = textPlain.entity({ ...member, links: [unknown] }, memberContext);
    expect(body).toContain('</network/2>; rel="http://schemas.ogf.org/occi/core#resource"; self=');
  });
});

describe('text/occi', () => {
  test('has its data in headers and the body OK', () => {
    const { headers, body } = textOcci.entity(member, memberContext);
    expect(body).toBe('OK');
    expect(Object.keys(headers)).toEqual(['Content-Type', 'Category', 'Link', 'X-OCCI-Attribute']);
    expect(headers['Content-Type']).toBe('text/occi');
    expect(headers.Category).toBe(
      'member; scheme="http://houssem.org/cmbs#"; class="kind", blue; scheme="http://example.com/tags#"; class="mixin"',
    );
  });

  test('writes only printable ASCII into headers', () => {
    const title = 'né\r\nSet-Cookie: a=b\u0000\u007f😀\ud800';
    const view = resourceView({
      attributes: { 'occi.core.title': title, 'x\ny': 'z' },
      rawJson: { v: '{"é":\n"ü"}' },
      path: '/ü/\r\n',
    });
    const rendered = [
      textOcci.entity({ ...view, actions: ['s#é'] }, context()),
      textOcci.collection([view], context()),
    ];
    for (const { headers } of rendered) {
      for (const value of notEmpty(Object.values(headers))) expect(value).toMatch(/^[ -~]*$/);
    }
    const again = textOcci.parse(headersOf(rendered[0]!.headers));
    expect(again.attributes).toEqual({
      'occi.core.id': 'm1',
      'occi.core.title': title,
      'x\ny': 'z',
      v: '{"é":\n"ü"}',
    });
  });

  test('reads repeated headers and comma lists alike', () => {
    const { categories, attributes, locations, form } = textOcci.parse(
      headersOf({
        Category: ['a; scheme="#"', 'b; scheme="#", c; scheme="#"'],
        'X-OCCI-Attribute': ['x="1, 2"', 'y=2, z=true'],
        'X-OCCI-Location': 'http://h/a/1, <http://h/a/2,3>, ,/a/4,/a/5,6, http://h/7,http://h/8,x:y ,',
        'X-Other': 'ignored',
      }),
    );
    expect(form).toBe('text');
    expect(categories.map(({ term }) => term)).toEqual(['a', 'b', 'c']);
    expect(attributes).toEqual({ x: '1, 2', y: 2, z: true });
    expect(locations).toEqual([
      'http://h/a/1',
      'http://h/a/2,3',
      '/a/4',
      '/a/5,6',
      'http://h/7',
      'http://h/8,x:y',
    ]);
  });

  test('reads UTF-8 that came as Latin-1 characters, and Latin-1 itself', () => {
    const utf8 = Buffer.from('a="né"').toString('latin1');
    expect(textOcci.parse(headersOf({ 'X-OCCI-Attribute': utf8 })).attributes).toEqual({ a: 'né' });
    expect(textOcci.parse(headersOf({ 'X-OCCI-Attribute': 'a="né"' })).attributes).toEqual({ a: 'né' });
  });

  test('is empty without OCCI headers', () => {
    expect(textOcci.parse(headersOf({ Host: 'h', Category: ' ' })).form).toBe('none');
  });

  test('is refused with 413, and not truncated, if it does not fit into headers', () => {
    const views = Array.from({ length: 400 }, (_, i) => resourceView({ path: `/cmbs/member/${i}` }));
    const refusal = refusalOf(() => textOcci.collection(views, context()));
    expect(refusal.status).toBe(413);
    expect(refusal.message).toContain('page');
    const fitting = textOcci.collection(views.slice(0, 200), context()).headers['X-OCCI-Location']!;
    expect(fitting.split(', ')).toHaveLength(200);
  });
});

describe('text of locations', () => {
  const views = [resourceView({ path: '/a/1' }), resourceView({ path: '/a/ü,2' })];
  const urls = [`${BASE}/a/1`, `${BASE}/a/%C3%BC,2`];

  test('has one absolute URL a line', () => {
    const body = urls.map((url) => `X-OCCI-Location: ${url}\n`).join('');
    expect(textPlain.collection(views, context())).toEqual({ headers: { 'Content-Type': 'text/plain' }, body });
    expect(textPlain.created(['/a/1'], context()).body).toBe(`X-OCCI-Location: ${BASE}/a/1\n`);
    expect(parse(body).locations).toEqual(urls);
    expect(textPlain.collection([], context()).body).toBe('');
  });

  test('is one header in text/occi', () => {
    expect(textOcci.created(['/a/1', '/a/ü,2'], context())).toEqual({
      headers: { 'Content-Type': 'text/occi', 'X-OCCI-Location': urls.join(', ') },
      body: 'OK',
    });
  });

  test('is a bare list in text/uri-list', () => {
    const { headers, body } = uriList.collection(views, context());
    expect(headers).toEqual({ 'Content-Type': 'text/uri-list' });
    expect(body).toBe(urls.map((url) => url + '\n').join(''));
    expect(uriList.parse(bodyOf(`# ours\r\n${body}\n`)).locations).toEqual(urls);
    expect(uriList.created(['/a/1'], context()).body).toBe(`${urls[0]!}\n`);
    expect(uriList.parse(bodyOf('# nothing\r\n')).form).toBe('none');
  });
});

describe('text/uri-list', () => {
  test('shows collections only', () => {
    expect(refusalOf(() => uriList.entity(member, memberContext)).status).toBe(400);
    expect(refusalOf(() => uriList.attributes({ a: 1 }, context())).status).toBe(406);
  });

  test('shows the query interface as the locations of categories', () => {
    const { body } = uriList.categories([abstractKind, kind, mixin, action], context());
    expect(body).toBe(`${BASE}/cmbs/member/\n${BASE}/sizes/medium/\n`);
  });

  test('refuses lines that are not URLs', () => {
    expect(refusalOf(() => uriList.parse(bodyOf('http://h/a b'))).status).toBe(400);
  });
});

describe('every text rendering', () => {
  const refusal = new CmbsError('not_found', 'There is no entity at /a; look at the collection.');

  test('shows an error as its sentence', () => {
    for (const rendering of [textPlain, uriList]) {
      expect(rendering.error(refusal)).toEqual({
        headers: { 'Content-Type': 'text/plain' },
        body: 'There is no entity at /a; look at the collection.\n',
      });
    }
    expect(textOcci.error(refusal)).toEqual({
      headers: { 'Content-Type': 'text/occi' },
      body: 'There is no entity at /a; look at the collection.',
    });
  });

  test('shows the values of an action as attributes', () => {
    const values = { 'a.b': 'x', n: 1, list: [1, { c: 'd' }] };
    const { body } = textPlain.attributes(values, context());
    expect(body).toBe(
      'X-OCCI-Attribute: a.b="x"\nX-OCCI-Attribute: n=1\nX-OCCI-Attribute: list="[1,{\\"c\\":\\"d\\"}]"\n',
    );
    const read = { ...values, list: '[1,{"c":"d"}]' };
    expect(parse(body).attributes).toEqual(read);
    expect(textOcci.parse(headersOf(textOcci.attributes(values, context()).headers)).attributes).toEqual(read);
  });

  test('refuses a body that is not UTF-8, and accepts a byte order mark', () => {
    const latin1 = { headers: {}, body: Buffer.from('X-OCCI-Attribute: a="\xe9"', 'latin1') };
    for (const rendering of [textPlain, uriList]) {
      expect(refusalOf(() => rendering.parse(latin1)).message).toContain('UTF-8');
      expect(rendering.parse(bodyOf('\ufeff')).form).toBe('none');
    }
    expect(parse('\ufeffX-OCCI-Attribute: a="\u2028x"').attributes).toEqual({ a: '\u2028x' });
  });

  test('refuses hostile text in linear time', () => {
    const size = 1 << 20;
    const floods = [
      'X-OCCI-Attribute: a="' + '\\"'.repeat(size / 2),
      'X-OCCI-Attribute: ' + 'a=1,'.repeat(size / 4) + '=',
      'X-OCCI-Attribute: a=' + '{'.repeat(size),
      'X-OCCI-Attribute: a' + ' '.repeat(size) + 'b',
      'Link: ' + '<'.repeat(size),
      'Link: </a>' + ';'.repeat(size) + '"',
      'Category: ' + ';'.repeat(size),
      'Category: a; scheme="#"; attributes="' + 'a{'.repeat(size / 2) + '",b',
      'Category: ' + ','.repeat(size) + '"',
      ':'.repeat(size),
      'X-OCCI-Location: <' + ','.repeat(size),
      'X-OCCI-Location: ' + 'a,'.repeat(size / 2) + ',<',
    ];
    for (const flood of floods) {
      const ms = processorMs(() => expect(refusalOf(() => parse(flood)).status).toBe(400));
      expect(ms).toBeLessThan(LINEAR_MS);
    }
  });
});

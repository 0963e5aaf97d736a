/**
 * Properties of every rendering: it reads back what it writes, and refuses other bytes with a `CmbsError` and no other error.
 * fast-check prints seed and path of a failure.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CmbsError, type Json, type JsonObject } from '@cmbs/shared';
import { gfd226Json as json } from '../../shared/occi/renderings/gfd226-json';
import { nestedJson } from '../../shared/occi/renderings/nested-json';
import type { LinkView } from '../../shared/occi/model';
import {
  type AttributeSpec,
  type Category,
  type EntityView,
  type Rendering,
  STANDARD_RENDERINGS,
} from '@cmbs/shared/occi';
import type { CategoryInput, LinkInput } from '../../shared/occi/payload';
import type { RawInput } from '../../shared/occi/renderings/rendering';
import { extent } from '../extent';
import { textOcci } from '../../shared/occi/renderings/text-occi';
import { quotableOf, valueFromText } from '../../shared/occi/renderings/text/quoted-json';
import { textPlain } from '../../shared/occi/renderings/text-plain';
import { uriList } from '../../shared/occi/renderings/uri-list';
import {
  BASE,
  context,
  kind,
  link,
  linkView,
  member,
  mixin,
  resourceView,
  sentBack,
  spec,
  valueAt,
} from './occi-rendering-samples';
import fc from '../property';

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc
    .array(
      fc.constantFrom(
        '"',
        '\\',
        ',',
        ';',
        '=',
        '\n',
        '\r\n',
        '\t',
        ' ',
        'é',
        '\u2028',
        '\ud800',
        '\\u00',
        '<',
        '>',
        '{',
        '[',
        'x',
      ),
    )
    .map((parts) => parts.join('')),
);
const ordinaryName = fc.stringMatching(/^[a-z][a-z0-9_-]{0,6}(\.[a-z0-9][a-z0-9_-]{0,6}){0,3}$/);
const oddName = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
const name = fc
  .oneof({ weight: 4, arbitrary: ordinaryName }, { weight: 1, arbitrary: oddName })
  // Names that the renderings use elsewhere, and the name that they refuse.
  .filter((candidate) => !candidate.startsWith('occi.core.') && candidate.split('.')[0] !== '__proto__');
/** Numbers of JSON, without negative zero. */
const json64 = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.parse(JSON.stringify(value)) as Json);
const value: fc.Arbitrary<Json> = fc.oneof(text, fc.boolean(), json64, fc.array(text, { maxLength: 3 }));
const attributes = fc.dictionary(name, value, { maxKeys: 6, noNullPrototype: true });
const word = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/);
const categoryId = fc.tuple(word, word).map(([scheme, term]) => `http://example.com/${scheme}#${term}`);
const segment = fc.stringMatching(/^[A-Za-z0-9_.~!$&()*+,;=:@-]{0,6}[A-Za-z0-9_.~!$&()*+;=:@-]$/);
const somePath = fc
  .array(fc.oneof(word, segment), { minLength: 1, maxLength: 3 })
  .map((segments) => '/' + segments.join('/'));
const ids = fc.uniqueArray(categoryId, { maxLength: 3 });

const linkShown: fc.Arbitrary<LinkView> = fc.record(
  {
    path: somePath,
    id: word,
    kind: categoryId,
    mixins: ids,
    attributes,
    target: fc.oneof(somePath, fc.webUrl()),
    targetKind: categoryId,
  },
  { requiredKeys: ['path', 'id', 'kind', 'mixins', 'attributes', 'target'] },
);

const view: fc.Arbitrary<EntityView> = fc
  .record({
    path: somePath,
    id: text,
    kind: categoryId,
    mixins: ids,
    attributes,
    core: fc.record({ 'occi.core.title': text, 'occi.core.summary': text }, { requiredKeys: [] }),
    links: fc.array(linkShown, { maxLength: 2 }),
    actions: ids,
  })
  .map(({ core, ...parts }) => resourceView({ ...parts, attributes: { ...parts.attributes, ...core } }));

const attributesIn = (shown: EntityView): [string, Json][] =>
  [shown.entity, ...shown.links].flatMap((one) => Object.entries(one.attributes));

/** The value that the text reader reads for `held`: text has no lists, objects or null. */
function inText(held: Json, declared: AttributeSpec | undefined): Json {
  if (declared?.type === 'any' && typeof held === 'string') return quotableOf(JSON.stringify(held));
  return typeof held === 'object' ? JSON.stringify(held) : held;
}

/** Declares attributes with their own type or as `any`, since text writes strings of `any` differently. */
function specsFor(shown: EntityView, declareAll: boolean): Record<string, AttributeSpec> {
  return Object.fromEntries(
    attributesIn(shown).map(([attribute, held]) => [
      attribute,
      spec({
        type: !declareAll ? 'any' : Array.isArray(held) ? 'array' : typeof held === 'object' ? 'object' : 'string',
      }),
    ]),
  );
}

/** Runs `check` unless the rendering refuses the sample as too large for headers. */
function unlessTooLarge(check: () => void): void {
  try {
    check();
  } catch (thrown) {
    fc.pre(!(thrown instanceof CmbsError && thrown.code === 'too_large'));
    throw thrown;
  }
}

const TEXTS: readonly [string, Rendering][] = [
  ['text/plain', textPlain],
  ['text/occi', textOcci],
];
const JSONS: readonly [string, Rendering][] = [
  ['application/occi+json', nestedJson],
  ['application/json', json],
];

describe.each(TEXTS)('%s', (_name, rendering) => {
  test('reads back every entity that it writes', () => {
    fc.assert(
      fc.property(view, fc.boolean(), (shown, declareAll) => {
        unlessTooLarge(() => {
          const specs = specsFor(shown, declareAll);
          const again = rendering.parse(sentBack(rendering.entity(shown, context(specs))));
          const written = (held: Readonly<Record<string, Json>>): Record<string, Json> =>
            Object.fromEntries(Object.entries(held).map(([name, one]) => [name, inText(one, specs[name])]));
          const [first, ...rest] = again.categories.map((category) => category.scheme + category.term);
          expect(first).toBe(shown.entity.kind);
          expect(rest).toEqual(shown.entity.mixins);
          const { 'occi.core.id': id, ...read } = again.attributes;
          expect(id).toBe(shown.entity.id);
          expect(read).toEqual(written(shown.entity.attributes));
          for (const [attribute, held] of declareAll ? [] : Object.entries(shown.entity.attributes)) {
            expect(valueFromText(read[attribute] as Json, specs[attribute])).toEqual(held);
          }
          expect(again.links).toEqual(
            shown.links.map((one): LinkInput => ({
              target: one.target,
              self: one.path,
              id: one.id,
              rel: [one.targetKind ?? 'http://schemas.ogf.org/occi/core#resource'],
              categories: [one.kind, ...one.mixins],
              attributes: written(one.attributes),
              tokens: expect.any(Map) as ReadonlyMap<string, string>,
            })),
          );
        });
      }),
    );
  });

  test('reads back every category that it writes', () => {
    fc.assert(
      fc.property(category, (shown) => {
        unlessTooLarge(() => {
          const rendered = rendering.categories([shown], context());
          const [again] = rendering.parse(sentBack(rendered)).categories;
          expect(again).toMatchObject({ ...inputOf(shown), dialect: 'text' });
          expect(again?.depends?.[0]).toBe(shown.class === 'mixin' ? shown.depends[0] : undefined);
          expect(again?.attributes ?? {}).toEqual(
            Object.fromEntries(
              Object.entries(shown.attributes).map(([attribute, { required, mutable }]) => [
                attribute,
                { required, mutable },
              ]),
            ),
          );
        });
      }),
    );
  });

  test('reads back the values of an action', () => {
    fc.assert(
      fc.property(attributes, (values) => {
        unlessTooLarge(() => {
          const read = rendering.parse(sentBack(rendering.attributes(values, context()))).attributes;
          expect(read).toEqual(
            Object.fromEntries(Object.entries(values).map(([name, one]) => [name, inText(one, undefined)])),
          );
        });
      }),
    );
  });
});

describe.each(TEXTS)('%s', (_name, rendering) => {
  test('keeps all raw JSON', () => {
    const json = fc.oneof(
      json64,
      text.map((one) => JSON.stringify(JSON.stringify(one)) as Json),
    );
    fc.assert(
      fc.property(fc.oneof(json64, text, json), fc.constantFrom(undefined, 1), (held, indent) => {
        const source = JSON.stringify(held, undefined, indent);
        unlessTooLarge(() => {
          const rendered = rendering.entity(resourceView({ rawJson: { 'a.b': source } }), context());
          expect(rendering.parse(sentBack(rendered)).sourceText?.(['a.b'])).toBe(source);
        });
      }),
    );
  });
});

describe.each(JSONS)('%s', (_name, rendering) => {
  test('reads back every entity that it writes', () => {
    fc.assert(
      fc.property(view, (shown) => {
        const { entities } = rendering.parse(sentBack(rendering.entity(shown, context())));
        const [again] = entities;
        expect(again).toMatchObject({ kind: shown.entity.kind, id: shown.entity.id, mixins: shown.entity.mixins });
        const { 'occi.core.title': title, 'occi.core.summary': summary, ...held } = shown.entity.attributes;
        expect(again?.title).toBe(title);
        expect(again?.summary).toBe(summary);
        expectHeld(rendering, again!.attributes, held);
        expect(again?.links).toHaveLength(shown.links.length);
        shown.links.forEach((one, index) => {
          const read = again!.links[index]!;
          expect(read.target).toBe(one.target.startsWith('/') ? BASE + one.target : one.target);
          expect(read.id).toBe(one.id);
          expect(read.categories).toEqual([one.kind, ...one.mixins]);
          expectHeld(rendering, read.attributes, one.attributes);
        });
      }),
    );
  });

  test('reads back the source text of every value that it writes', () => {
    fc.assert(
      fc.property(attributes, (held) => {
        const [again] = json.parse(sentBack(json.entity(resourceView({ attributes: held }), context()))).entities;
        for (const [attribute, one] of Object.entries(held)) {
          expect(again?.sourceText([attribute])).toBe(JSON.stringify(one));
        }
      }),
    );
  });

  test('reads back every category that it writes', () => {
    fc.assert(
      fc.property(category, (shown) => {
        const [again] = rendering.parse(sentBack(rendering.categories([shown], context()))).categories;
        expect(again).toMatchObject(inputOf(shown));
        if (shown.class === 'mixin') {
          expect(again?.depends ?? []).toEqual(shown.depends);
          expect(again?.applies ?? []).toEqual(shown.applies);
        }
        if (shown.class !== 'action') {
          expect(again?.dialect).toBe(rendering === nestedJson ? 'nested' : 'strict');
        }
        for (const [attribute, one] of Object.entries(shown.attributes)) {
          const read = valueAt(again!.attributes!, attribute) as JsonObject;
          expect(read).toMatchObject({ required: one.required, mutable: one.mutable });
          expect((read.type as string).toLowerCase()).toBe(one.type);
          expect(read.default).toEqual(one.default);
          expect(read.description).toEqual(one.description);
        }
      }),
    );
  });
});

/** Checks that all names and values are present, and no other flat names. */
function expectHeld(rendering: Rendering, read: JsonObject, held: Readonly<Record<string, Json>>): void {
  if (rendering === json) expect(read).toEqual(held);
  else for (const [attribute, one] of Object.entries(held)) expect(valueAt(read, attribute)).toEqual(one);
}

const attributeSpec: fc.Arbitrary<AttributeSpec> = fc.record(
  {
    type: fc.constantFrom('string', 'number', 'boolean', 'array', 'object'),
    required: fc.boolean(),
    mutable: fc.boolean(),
    lenient: fc.boolean(),
    default: json64.filter((given) => given !== null),
    description: text,
  },
  { requiredKeys: ['type', 'required', 'mutable', 'lenient'] },
);
const categoryBase = {
  term: word,
  scheme: word.map((part) => `http://example.com/${part}#`),
  title: text.filter((title) => title !== ''),
  attributes: fc.dictionary(ordinaryName, attributeSpec, { maxKeys: 4, noNullPrototype: true }),
  origin: fc.constant('runtime' as const),
};
const collection = somePath.map((location) => `${location}/`);
const BASE_KEYS = ['term', 'scheme', 'attributes', 'origin', 'class'] as const;
const category: fc.Arbitrary<Category> = fc.oneof(
  fc.record(
    {
      ...categoryBase,
      class: fc.constant('kind' as const),
      parent: categoryId,
      actions: ids,
      location: collection,
    },
    { requiredKeys: [...BASE_KEYS, 'actions', 'parent'] },
  ),
  fc.record(
    {
      ...categoryBase,
      class: fc.constant('mixin' as const),
      depends: ids,
      applies: ids,
      actions: ids,
      location: collection,
    },
    { requiredKeys: [...BASE_KEYS, 'actions', 'depends', 'applies', 'location'] },
  ),
  fc.record({ ...categoryBase, class: fc.constant('action' as const) }, { requiredKeys: [...BASE_KEYS] }),
);

/** The members of a category that every rendering has. */
function inputOf(shown: Category): Partial<CategoryInput> {
  return {
    term: shown.term,
    scheme: shown.scheme,
    class: shown.class,
    ...(shown.title === undefined ? {} : { title: shown.title }),
    ...(shown.class === 'kind' && shown.parent !== undefined ? { parent: shown.parent } : {}),
    ...(shown.class !== 'action' && shown.location !== undefined ? { location: shown.location } : {}),
    ...(shown.class !== 'action' && shown.actions.length > 0 ? { actions: shown.actions } : {}),
  };
}

describe('every rendering', () => {
  const paths = fc.array(somePath, { maxLength: 20 });

  test('reads back the locations that it writes', () => {
    fc.assert(
      fc.property(paths, (made) => {
        const urls = made.map((one) => BASE + one);
        for (const rendering of STANDARD_RENDERINGS) {
          expect(rendering.parse(sentBack(rendering.created(made, context()))).locations).toEqual(urls);
          if (!rendering.collectionIsLocations) continue;
          const views = made.map((one) => resourceView({ path: one }));
          expect(rendering.parse(sentBack(rendering.collection(views, context()))).locations).toEqual(urls);
        }
      }),
    );
  });

  test('names its media type in the Content-Type of its answers', () => {
    for (const rendering of STANDARD_RENDERINGS) {
      const rendered = [
        rendering.collection([member], context()),
        rendering.created(['/a'], context()),
        rendering.categories([kind, mixin], context()),
        ...(rendering === uriList ? [] : [rendering.entity(link, context()), rendering.attributes({}, context())]),
      ];
      for (const { headers } of rendered) {
        expect(headers['Content-Type']?.split(';')[0]).toBe(rendering.mediaTypes[0]);
      }
    }
  });

  test('reads any bytes as a payload or throws a CmbsError', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          text.map((one) => Buffer.from(one)),
        ),
        (bytes) => {
          expectPayloadOrRefusal(Buffer.from(bytes));
        },
      ),
      { numRuns: extent(200, 1000) },
    );
  });

  test('reads a damaged answer as a payload or throws a CmbsError', () => {
    const originals = [
      ...STANDARD_RENDERINGS.filter((rendering) => rendering !== uriList).flatMap((rendering) => [
        everythingOf(rendering.entity(member, context())),
        everythingOf(rendering.entity(linkView({ attributes: link.entity.attributes }), context())),
        everythingOf(rendering.categories([kind, mixin], context())),
      ]),
      uriList.created(['/a', '/b'], context()).body,
      ...['pycmbs/post_member.json', 'pycmbs/put_provider_cmbs_member.json'].map((file) =>
        readFileSync(path.join(__dirname, '../fixtures', file), 'utf8'),
      ),
    ].map((original) => Buffer.from(original));
    const scrap = fc.oneof(
      fc.constantFrom(
        '"',
        '\\',
        '{',
        '}',
        '[',
        ']',
        '<',
        '>',
        ',',
        ';',
        ':',
        '=',
        '\n',
        'null',
        '7',
        '{}',
        '""',
        '\xff',
      ),
      fc.string({ maxLength: 3 }),
    );
    const damage = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(30), put: scrap });
    fc.assert(
      fc.property(
        fc.constantFrom(...originals),
        fc.array(damage, { minLength: 1, maxLength: 3 }),
        (original, all) => {
          let bytes: Buffer = original;
          for (const { at, cut, put } of all) {
            const start = Math.floor(at * bytes.length);
            bytes = Buffer.concat([
              bytes.subarray(0, start),
              Buffer.from(put, 'latin1'),
              bytes.subarray(start + cut),
            ]);
          }
          expectPayloadOrRefusal(bytes);
        },
      ),
      { numRuns: extent(500, 3000) },
    );
  });
});

function everythingOf({
  headers,
  body,
}: {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}): string {
  const items = Object.entries(headers).filter(([field]) => field !== 'Content-Type');
  return items.length === 0 ? body : items.map(([, item]) => item).join('\n');
}

/** Gives the bytes to every rendering, as body and as each OCCI header. */
function expectPayloadOrRefusal(bytes: Buffer): void {
  const asText = bytes.toString('latin1');
  const fields = ['category', 'link', 'x-occi-attribute', 'x-occi-location'];
  const inputs: RawInput[] = [
    { headers: {}, body: bytes },
    ...fields.map((field) => ({ headers: { [field]: asText.split('\n') }, body: Buffer.alloc(0) })),
  ];
  for (const rendering of STANDARD_RENDERINGS) for (const input of inputs) checkParse(rendering, input);
}

/** Without `expect`, which would take most of the time of thousands of runs. */
function checkParse(rendering: Rendering, input: RawInput): void {
  let fault: string | undefined;
  try {
    const { form } = rendering.parse(input);
    if (!['none', 'text', 'json'].includes(form)) fault = `gave the form ${form}`;
  } catch (thrown) {
    if (!(thrown instanceof CmbsError)) throw thrown;
    if (thrown.status !== 400 || !/^[ -~]+$/.test(thrown.message)) fault = `refused with ${String(thrown)}`;
  }
  if (fault !== undefined) throw new Error(`${rendering.mediaTypes[0]} ${fault}`);
}

import type { ErrorCode, JsonObject } from '@cmbs/shared';
import { CORE_KINDS } from '../../shared/occi/core';
import { indexedTerms, NO_FILTER, residualTest } from '../../shared/occi/filter';
import {
  actionInput,
  type AttributeSpec,
  type Category,
  CategoryRegistry,
  CORE_SOURCE,
  CORE_SUMMARY,
  CORE_TARGET,
  CORE_TITLE,
  drafts,
  EMPTY_PAYLOAD,
  type Entity,
  type Filter,
  isEmptyFilter,
  joinFilters,
  type Payload,
  payloadFilter,
  queryFilter,
  RESOURCE_KIND,
  singleDraft,
} from '@cmbs/shared/occi';
import { filterCategory } from '../../shared/occi/filter-input';
import { CORE_ID } from '../../shared/occi/model';
import type { CategoryInput, EntityInput } from '../../shared/occi/payload';
import { refusal } from './refusal';

const S = 'http://example.com/test#';
const THING = `${S}thing`;
const TAG = `${S}tag`;
const RUN = `${S}run`;

const text: AttributeSpec = { type: 'string', required: false, mutable: true, lenient: false };
const CATEGORIES: readonly Category[] = [
  ...CORE_KINDS,
  {
    class: 'kind',
    term: 'thing',
    scheme: S,
    parent: RESOURCE_KIND,
    attributes: { 'thing.name': text, 'thing.body': { ...text, type: 'any', rawJson: true } },
    actions: [RUN],
    location: '/thing/',
    origin: 'runtime',
  },
  {
    class: 'mixin',
    term: 'tag',
    scheme: S,
    attributes: { 'tag.color': text },
    depends: [],
    applies: [],
    actions: [],
    location: '/tag/',
    origin: 'runtime',
  },
  { class: 'action', term: 'run', scheme: S, attributes: { how: text }, origin: 'runtime' },
  { class: 'action', term: 'thing', scheme: 'http://example.com/other#', attributes: {}, origin: 'runtime' },
];
const registry = new CategoryRegistry(CATEGORIES, {
  categories: { [`${S}old_thing`]: THING },
  attributes: { 'thing.old_name': 'thing.name' },
});

const category = (id: string, more: Partial<CategoryInput> = {}): CategoryInput => ({
  term: id.slice(id.lastIndexOf('#') + 1),
  scheme: id.slice(0, id.lastIndexOf('#') + 1),
  dialect: 'strict',
  given: [],
  ...more,
});
const textPayload = (categories: readonly CategoryInput[], attributes: JsonObject = {}): Payload => ({
  ...EMPTY_PAYLOAD,
  form: 'text',
  categories,
  attributes,
});
const entity = (more: Partial<EntityInput> = {}): EntityInput => ({
  mixins: [],
  attributes: {},
  links: [],
  isLink: false,
  sourceText: () => undefined,
  ...more,
});
const json = (...entities: readonly EntityInput[]): Payload => ({ ...EMPTY_PAYLOAD, form: 'json', entities });

describe('a draft in text', () => {
  it('has the kind, mixins and attributes of the request', () => {
    const [draft] = drafts(
      textPayload([category(TAG), category(THING), category(TAG)], { 'thing.name': 'a' }),
      registry,
    );
    expect(draft).toEqual({ kind: THING, mixins: [TAG], values: { 'thing.name': 'a' }, rawJson: {}, links: [] });
  });

  it('has canonical names', () => {
    const [draft] = drafts(textPayload([category(`${S}old_thing`)], { 'thing.old_name': 'a' }), registry);
    expect(draft).toMatchObject({ kind: THING, values: { 'thing.name': 'a' } });
  });

  it('does not exist without categories', () => {
    expect(drafts(EMPTY_PAYLOAD, registry)).toEqual([]);
    expect(drafts(textPayload([]), registry)).toEqual([]);
  });

  it.each<[string, readonly CategoryInput[], ErrorCode, string]>([
    ['an unknown category', [category(`${S}nothing`)], 'unknown_category', 'no category'],
    ['the wrong class', [category(THING, { class: 'mixin' })], 'bad_request', 'is of class kind, not mixin'],
    ['an action', [category(RUN)], 'bad_request', 'is an action'],
    ['two kinds', [category(THING), category(RESOURCE_KIND)], 'bad_request', 'exactly one kind'],
  ])('is refused for %s', (_why, categories, code, says) => {
    expect(() => drafts(textPayload(categories), registry)).toThrow(refusal(code, says));
  });
});

describe('a draft in JSON', () => {
  it('has the core attributes beside the others', () => {
    const input = entity({
      kind: THING,
      id: 'one',
      title: 't',
      summary: 's',
      source: '/a',
      target: '/b',
      attributes: { thing: { name: 'n' } },
    });
    expect(drafts(json(input), registry)).toEqual([
      {
        kind: THING,
        mixins: [],
        id: 'one',
        values: {
          [CORE_TITLE]: 't',
          [CORE_SUMMARY]: 's',
          [CORE_SOURCE]: '/a',
          [CORE_TARGET]: '/b',
          [CORE_ID]: 'one',
          'thing.name': 'n',
        },
        rawJson: {},
        links: [],
      },
    ]);
  });

  it('keeps the source text of a raw JSON attribute, or writes the text itself', () => {
    const attributes = { thing: { body: { n: 1 } } };
    const sourceText = (names: readonly string[]): string => `{"n": 1.0} at ${names.join('/')}`;
    expect(drafts(json(entity({ kind: THING, attributes, sourceText })), registry)[0]?.rawJson).toEqual({
      'thing.body': '{"n": 1.0} at thing/body',
    });
    expect(drafts(json(entity({ kind: THING, attributes })), registry)[0]?.rawJson).toEqual({
      'thing.body': '{"n":1}',
    });
  });

  it('leaves out actions that a client sends back as links', () => {
    const link = { categories: [], attributes: {} };
    const links = [
      { ...link, target: '/thing/1?action=run' },
      { ...link, target: '/thing/2' },
    ];
    expect(drafts(json(entity({ kind: THING, links })), registry)[0]?.links).toEqual([links[1]]);
  });

  it.each<[string, EntityInput, ErrorCode, string]>([
    ['an unknown kind', entity({ kind: `${S}nothing` }), 'unknown_category', 'no kind'],
    ['a mixin as its kind', entity({ kind: TAG }), 'unknown_category', 'no kind'],
    ['an unknown mixin', entity({ kind: THING, mixins: [THING] }), 'unknown_category', 'no mixin'],
    ['an id that is no string', entity({ kind: THING, attributes: { [CORE_ID]: 1 } }), 'bad_request', 'id'],
  ])('is refused for %s', (_why, input, code, says) => {
    expect(() => drafts(json(input), registry)).toThrow(refusal(code, says));
  });
});

describe('the one draft of a request on an entity', () => {
  const known = { kind: THING, mixins: [TAG] };

  it('need not repeat its categories', () => {
    const attributes = { thing: { body: [1] }, 'tag.color': 'red' };
    const expected = { mixins: [], values: { 'tag.color': 'red' }, rawJson: { 'thing.body': '[1]' } };
    expect(singleDraft(json(entity({ attributes })), registry, known)).toMatchObject(expected);
    const bare: Payload = { ...EMPTY_PAYLOAD, form: 'json', attributes, keys: new Set(['attributes']) };
    expect(singleDraft(bare, registry, known)).toMatchObject(expected);
    expect(singleDraft(textPayload([], attributes), registry, known)).toMatchObject(expected);
    expect(singleDraft(bare, registry, known)).not.toHaveProperty('kind');
  });

  it.each([
    ['nothing', EMPTY_PAYLOAD],
    ['no entity', json()],
    ['two', json(entity(), entity())],
  ])('is refused when there is %s', (_what, payload) => {
    expect(() => singleDraft(payload, registry, known)).toThrow(refusal('bad_request', 'exactly one entity'));
  });
});

describe('the action of a request', () => {
  const asked = (more: Partial<Payload>): Payload => ({ ...EMPTY_PAYLOAD, form: 'json', ...more });

  it.each<[string, Payload, unknown]>([
    ['nothing', EMPTY_PAYLOAD, { values: {} }],
    ['its identifier', asked({ action: RUN }), { id: RUN, values: {} }],
    ['a category', textPayload([category(RUN)], { how: 'fast' }), { id: RUN, values: { how: 'fast' } }],
    ['the same twice', asked({ action: RUN, categories: [category(RUN)] }), { id: RUN, values: {} }],
    ['attributes alone', asked({ attributes: { a: { b: 1 } } }), { values: { 'a.b': 1 } }],
  ])('may be %s', (_what, payload, expected) => {
    expect(actionInput(payload, registry)).toEqual(expected);
  });

  it.each<[string, Payload, string]>([
    [
      'two actions',
      asked({ action: RUN, categories: [category('http://example.com/other#thing')] }),
      'several actions',
    ],
    ['an unknown action', asked({ action: `${S}walk` }), 'no action'],
    ['a kind', asked({ action: THING }), 'no action'],
  ])('may not be %s', (_what, payload, says) => {
    expect(() => actionInput(payload, registry)).toThrow(refusal('bad_action', says));
  });
});

describe('the filter of a query', () => {
  it.each<[string, readonly (readonly [string, string])[], Partial<Filter>]>([
    ['nothing', [], {}],
    ['a category by its identifier', [['category', TAG]], { categories: [TAG] }],
    ['a category by its term', [['category', 'tag']], { categories: [TAG] }],
    ['a category by another spelling', [['category', `${S}old_thing`]], { categories: [THING] }],
    ['an unknown category, which matches nothing', [['category', 'nope']], { categories: ['nope'] }],
    [
      'attributes',
      [
        ['attribute', 'thing.old_name'],
        ['value', 'a=b'],
        ['attribute', 'x'],
        ['value', ''],
      ],
      {
        attributes: [
          { name: 'thing.name', value: 'a=b' },
          { name: 'x', value: '' },
        ],
      },
    ],
    [
      'terms of q',
      [['q', ' thing.old_name=a=b  word =odd ']],
      { attributes: [{ name: 'thing.name', value: 'a=b' }], words: ['word', '=odd'] },
    ],
    ['other parameters', [['page', '1']], {}],
  ])('is read from %s', (_what, query, expected) => {
    expect(queryFilter(query, registry)).toEqual({ ...NO_FILTER, ...expected });
  });

  it.each<[string, readonly (readonly [string, string])[], string]>([
    ['an attribute without value', [['attribute', 'a']], 'has no "value" after it'],
    [
      'two attributes in a row',
      [
        ['attribute', 'a'],
        ['attribute', 'b'],
      ],
      'has no "value" after it',
    ],
    ['a value without attribute', [['value', 'a']], 'without an "attribute" before it'],
    ['a term of several categories', [['category', 'thing']], 'several categories'],
  ])('is refused for %s', (_why, query, says) => {
    expect(() => queryFilter(query, registry)).toThrow(refusal('bad_request', says));
  });
});

describe('the filter of a payload', () => {
  it('has categories and attributes, including those of entities', () => {
    const payload: Payload = {
      ...json(
        entity({ kind: THING, mixins: [TAG], id: 'i', title: 't', summary: 's', source: '/a', target: '/b' }),
      ),
      categories: [category('#tag', { scheme: '' })],
      attributes: { thing: { old_name: 'a' } },
    };
    expect(payloadFilter(payload, registry)).toEqual({
      categories: [TAG, THING, TAG],
      attributes: [
        { name: 'thing.name', value: 'a' },
        { name: CORE_ID, value: 'i' },
        { name: CORE_TITLE, value: 't' },
        { name: CORE_SUMMARY, value: 's' },
        { name: CORE_SOURCE, value: '/a' },
        { name: CORE_TARGET, value: '/b' },
      ],
      words: [],
    });
  });

  it('does not look into raw JSON', () => {
    const payload = textPayload([], { thing: { body: { a: { b: 1 } } } });
    expect(payloadFilter(payload, registry).attributes).toEqual([{ name: 'thing.body', value: { a: { b: 1 } } }]);
  });
});

describe('a filter', () => {
  const filter = (more: Partial<Filter>): Filter => ({ ...NO_FILTER, ...more });
  const stored = (more: Partial<Entity>): Entity => ({
    path: '/thing/1',
    id: '1',
    kind: THING,
    mixins: [],
    attributes: { 'thing.name': 'Alpha', n: 3, flags: ['a', true] },
    rawJson: { 'thing.body': '["x", {"y": 1}]' },
    owner: 'anonymous',
    createdAt: 0,
    updatedAt: 0,
    ...more,
  });

  it('is empty only without any term', () => {
    expect(isEmptyFilter(NO_FILTER)).toBe(true);
    for (const more of [{ categories: [TAG] }, { attributes: [{ name: 'a', value: 1 }] }, { words: ['a'] }]) {
      expect(isEmptyFilter(filter(more))).toBe(false);
    }
  });

  it('joined with another requires the terms of both', () => {
    const one = filter({ categories: [TAG, THING], words: ['a'] });
    const other = filter({ categories: [TAG], attributes: [{ name: 'a', value: 1 }], words: ['b'] });
    expect(joinFilters(one, other)).toEqual({
      categories: [TAG, THING],
      attributes: [{ name: 'a', value: 1 }],
      words: ['a', 'b'],
    });
  });

  it('leaves terms to the index where possible, under canonical names', () => {
    const asked = filter({
      categories: [`${S}old_thing`],
      attributes: [
        { name: 'thing.old_name', value: 'Alpha' },
        { name: 'thing.body', value: 'x' },
      ],
      words: ['w'],
    });
    expect(indexedTerms(asked, registry)).toEqual([
      { field: 'category', value: THING },
      { field: 'a.thing.name', value: 'Alpha' },
    ]);
    expect(residualTest(filter({ categories: [THING] }), registry)).toBeUndefined();
  });

  it.each<[string, Partial<Filter>, boolean]>([
    ['a word that is a value', { words: ['Alpha'] }, true],
    ['a word of another case', { words: ['alpha'] }, false],
    ['part of a value', { words: ['Alph'] }, false],
    ['a number', { words: ['3'] }, true],
    ['an element of a list', { words: ['a'] }, true],
    ['a boolean in any case', { words: ['TRUE'] }, true],
    ['several words, one of which is missing', { words: ['Alpha', 'Beta'] }, false],
    ['an element of a rawJson value', { attributes: [{ name: 'thing.body', value: 'x' }] }, true],
    ['a different rawJson value', { attributes: [{ name: 'thing.body', value: 'y' }] }, false],
    ['a rawJson value and a word', { attributes: [{ name: 'thing.body', value: 'x' }], words: ['nope'] }, false],
  ])('finds an entity by %s: %s', (_what, more, found) => {
    expect(residualTest(filter(more), registry)?.(stored({}))).toBe(found);
  });

  it('with a raw JSON attribute does not match an entity without the attribute', () => {
    const asked = filter({ attributes: [{ name: 'thing.body', value: 'x' }] });
    expect(residualTest(asked, registry)?.(stored({ rawJson: {} }))).toBe(false);
  });

  it('names a category by its term only if the term is unique', () => {
    expect(filterCategory('resource', registry)).toBe(RESOURCE_KIND);
    expect(filterCategory('run', registry)).toBe(RUN);
  });
});

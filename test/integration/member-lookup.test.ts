/** Members are found by id, path, URI, title and topic, as if all members were compared, and few are read for it. */
import { newId, silentLog, systemClock } from '@cmbs/shared';
import { CMBS_EXTENSION, layersOf, MEMBER, MEMBER_KIND, MESSAGE_KIND, ONLY_SHARD } from '@cmbs/shared/broker';
import {
  Categories,
  categoryId,
  CORE_TITLE,
  ENTITIES,
  type Entity,
  type Mixin,
  readEntity,
  writeEntity,
} from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';
import { actingMember } from '../../shared/broker/acting-member';
import { allMembers, memberPath, wants } from '../../shared/broker/member';
import { isTopicIndexComplete, recordTopicIndex } from '../../shared/broker/topic-index';
import { MemberLookup } from '../../shared/broker/member-lookup';
import { withProvenance } from '../../shared/broker/provenance';
import { membersNamed } from '../../shared/broker/references';
import { IndexRenewal } from '../../companion/index-renewal';
import { Members } from '../../companion/members';
import { wholeDeployment } from '../../companion/shard-lease';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { eventually } from '../e2e/harness';
import { countedStore } from './counted-store';
import fc from '../property';

const HERE = 'https://here.example/base';
const uriOf = (path: string): string => HERE + path;
const lookupIn = (store: Store): MemberLookup => new MemberLookup({ store, clock: systemClock, uriOf });

let temporary: TemporaryStore;
let store: Store;
let categories: Categories;
beforeEach(async () => {
  temporary = await openTemporaryStore();
  store = temporary.store;
  categories = new Categories(store, [CMBS_EXTENSION]);
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

interface Described {
  readonly id: string;
  readonly title?: string | undefined;
  readonly isLocal: boolean;
  readonly isUnverified?: boolean;
  readonly topics?: readonly string[];
}

const memberOf = ({ id, title, isLocal, isUnverified = false, topics = [] }: Described): Entity => ({
  path: memberPath(id),
  id,
  kind: MEMBER_KIND,
  mixins: [],
  attributes: {
    [MEMBER.local]: String(isLocal),
    [MEMBER.topics]: topics,
    ...(title === undefined ? {} : { [CORE_TITLE]: title }),
  },
  rawJson: {},
  owner: 'anonymous',
  createdAt: 0,
  updatedAt: 0,
  ...(isUnverified ? { internal: withProvenance({ isVerified: false }) } : {}),
});

async function write(described: readonly Described[], into = store): Promise<void> {
  const { registry } = await categories.current();
  await into.transact(async (tx) => {
    for (const one of described) writeEntity(tx, memberOf(one), undefined, registry);
  });
}

/** Writes a member as release 1.0 did: without the index entries and the version of this release. */
async function writeAsBefore(described: Described): Promise<void> {
  const { path, ...member } = memberOf(described);
  const { attributes } = member;
  const value = { ...member, attributes: { ...attributes }, verbatim: {} };
  await store.transact(async (tx) =>
    tx.put(ENTITIES, path, JSON.parse(JSON.stringify(value)) as typeof value, {
      index: { category: [MEMBER_KIND], [`a.${MEMBER.local}`]: [String(described.isLocal)] },
    }),
  );
}

const paths = (members: readonly Entity[]): readonly string[] => members.map(({ path }) => path).sort();

describe('a lookup of members', () => {
  const names = fc.constantFrom('a', 'b', 'c', 'true', 'True');
  const word = fc.constantFrom('a', 'b', '*');
  const pattern = fc
    .tuple(fc.array(word, { minLength: 1, maxLength: 6 }), fc.boolean())
    .map(([words, isOpen]) => [...words, ...(isOpen ? ['>'] : [])].join('.'));
  const topic = fc
    .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 7 })
    .map((words) => words.join('.'));
  const described = fc.record({
    id: names,
    title: fc.option(names, { nil: undefined }),
    isLocal: fc.boolean(),
    isUnverified: fc.boolean(),
    topics: fc.array(pattern, { maxLength: 3 }),
  });
  const reference = fc.oneof(
    names,
    names.map(memberPath),
    names.map((id) => uriOf(memberPath(id))),
    names.map((id) => `http://here.example/base${memberPath(id)}`),
    names.map((id) => `https://elsewhere.example${memberPath(id)}`),
    fc.constantFrom('?x=1', '#f', ' ').chain((end) => names.map((id) => uriOf(memberPath(id)) + end)),
    fc.constantFrom(`${HERE}/cmbs/member/%61`, `${HERE}/cmbs/member/a%2fb`, `${HERE}/cmbs/member/%`),
    fc.constantFrom('', '/', 'x'.repeat(2000), 'a/b', '/cmbs/member/', '/other/a', 'tcp://a'),
  );

  it('finds what comparing every member finds', async () => {
    await recordTopicIndex(store, 'complete');
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(described, { selector: ({ id }) => id, maxLength: 5 }),
        fc.array(reference, { minLength: 1, maxLength: 4 }),
        fc.array(topic, { minLength: 1, maxLength: 3 }),
        async (members, references, topics) => {
          await store.transact(async (tx) => {
            for (const id of ['a', 'b', 'c', 'true', 'True']) tx.delete(ENTITIES, memberPath(id));
          });
          await write(members);
          const all = members.map(memberOf);
          const lookup = lookupIn(store);
          for (const one of references) {
            const [found = []] = await lookup.named([one]);
            expect(paths(found)).toEqual(paths(membersNamed(all, one, uriOf)));
            const local = all.filter(({ attributes }) => attributes[MEMBER.local] === 'true');
            expect(paths(await lookup.localNamed(one))).toEqual(paths(membersNamed(local, one, uriOf)));
          }
          expect(paths(await lookup.wanting(topics))).toEqual(paths(all.filter((one) => wants(one, topics))));
        },
      ),
    );
  });

  it('reads as many documents among 2,000 members as among 10', async () => {
    await recordTopicIndex(store, 'complete');
    const alike = (from: number, to: number): Described[] =>
      Array.from({ length: to - from }, (_, at) => ({
        id: `m${from + at}`,
        title: `title-${from + at}`,
        isLocal: at % 2 === 0,
        topics: [`other.${from + at}`, `other.${from + at}.>`],
      }));
    const everyMember = { mayKnow: () => Promise.resolve(true) };
    const steps: Readonly<Record<string, (counted: Store) => Promise<unknown>>> = {
      'by id': (counted) => lookupIn(counted).named(['m1']),
      'by title': (counted) => lookupIn(counted).named(['title-1']),
      'by topic': (counted) => lookupIn(counted).wanting(['news.today']),
      'the sender by title': (counted) => actingMember(lookupIn(counted), 'title-2', everyMember),
      'no sender': (counted) => actingMember(lookupIn(counted), undefined, everyMember).catch(() => undefined),
    };
    const counts = async (): Promise<Readonly<Record<string, number>>> => {
      const found: Record<string, number> = {};
      for (const [name, step] of Object.entries(steps)) {
        const { store: counted, readsOf } = countedStore(store);
        found[name] = await readsOf(() => step(counted));
      }
      return found;
    };
    await write([{ id: 'reader', isLocal: true, topics: ['news.*'] }, ...alike(0, 9)]);
    const few = await counts();
    for (let from = 9; from < 2000; from += 400) await write(alike(from, Math.min(from + 400, 2000)));
    expect(await counts()).toEqual(few);
    // The index of topics is known to be complete with the first of its reads.
    expect(few).toEqual({ 'by id': 1, 'by title': 2, 'by topic': 4, 'the sender by title': 2, 'no sender': 2 });
  });
});

it('a member of a derived kind is found by its id, and another entity at a path of members is not', async () => {
  const { registry } = await categories.current();
  const derived = { ...memberOf({ id: 'derived', isLocal: true }), kind: 'http://example.com/derived#gateway' };
  const { attributes: _, ...other } = memberOf({ id: 'other', isLocal: true });
  await store.transact(async (tx) => {
    writeEntity(tx, derived, undefined, registry);
    writeEntity(tx, { ...other, kind: MESSAGE_KIND, attributes: {} }, undefined, registry);
  });
  const [found, none] = await lookupIn(store).named(['derived', 'other']);
  expect(found?.map(({ path }) => path)).toEqual([derived.path]);
  expect(none).toEqual([]);
});

describe('a lookup by topics', () => {
  it('reads each member once for a message with many topics', async () => {
    await recordTopicIndex(store, 'complete');
    await write(
      Array.from({ length: 50 }, (_, at) => ({ id: `m${at}`, isLocal: false, topics: ['a.>', 'a.b.c.d.*'] })),
    );
    const { store: counted, readsOf } = countedStore(store);
    const topics = Array.from({ length: 100 }, (_, at) => `a.b.c.d.${at}`);
    const lookup = lookupIn(counted);
    const reads = await readsOf(async () => expect(await lookup.wanting(topics)).toHaveLength(50));
    // The record of the index; 100 keys of whole topics; 5 keys of first words, two of which have the members.
    expect(reads).toBe(1 + 100 + 3 + 2 * 50);
    expect(await readsOf(() => lookup.wanting(topics))).toBe(0);
  });

  it('gives the members in the order of their paths', async () => {
    await recordTopicIndex(store, 'complete');
    const topics = [['news.today'], ['>'], ['news.*'], ['*.today']];
    const ids = ['b', 'd', 'a', 'c'];
    await write(ids.map((id, at) => ({ id, isLocal: false, topics: topics[at] ?? [] })));
    const found = await lookupIn(store).wanting(['news.today']);
    expect(found.map(({ id }) => id)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('finds a member with a mixin that defines the topics again', async () => {
    await recordTopicIndex(store, 'complete');
    const mixin: Mixin = {
      class: 'mixin',
      term: 'again',
      scheme: 'http://example.com/again#',
      location: '/again/',
      depends: [],
      applies: [],
      actions: [],
      attributes: { [MEMBER.topics]: { type: 'array', required: false, mutable: true, lenient: true } },
      origin: 'extension',
    };
    categories.close();
    categories = new Categories(store, [
      CMBS_EXTENSION,
      { name: 'again', categories: [mixin], providers: [], bindings: {} },
    ]);
    const { registry } = await categories.current();
    const member = { ...memberOf({ id: 'a', isLocal: true, topics: ['news.*'] }), mixins: [categoryId(mixin)] };
    await store.transact(async (tx) => writeEntity(tx, member, undefined, registry));
    expect(paths(await lookupIn(store).wanting(['news.today']))).toEqual([member.path]);
  });
});

describe('members of an earlier release', () => {
  const wanting = async (topic: string): Promise<readonly string[]> =>
    paths(await lookupIn(store).wanting([topic]));

  it('are found by topic before and after they are written again', async () => {
    await writeAsBefore({ id: 'old', isLocal: true, topics: ['news.*'] });
    await write([{ id: 'new', isLocal: true, topics: ['news.today'] }]);
    expect(await wanting('news.today')).toEqual([memberPath('new'), memberPath('old')]);
    expect(await isTopicIndexComplete(store, systemClock)).toBe(false);
    const before = (await readEntity(store, memberPath('old')))?.entity;

    const members = await Members.load({
      store,
      categories,
      layers: layersOf(),
      clock: systemClock,
      newId,
      log: silentLog,
      shard: wholeDeployment(newId),
    });
    try {
      await eventually(
        () => isTopicIndexComplete(store, systemClock),
        Boolean,
        'the index of members is complete',
      );
      expect(await wanting('news.today')).toEqual([memberPath('new'), memberPath('old')]);
      expect(await readEntity(store, memberPath('old'))).toEqual({
        entity: { ...before, group: ONLY_SHARD },
        revision: 2,
      });
      // A function of the earlier release may still run.
      await writeAsBefore({ id: 'late', isLocal: true, topics: ['late.*'] });
      await eventually(
        () => wanting('late.news'),
        (found) => found.length === 1,
        'the late member is found',
      );
    } finally {
      members.close();
    }
    expect(await allMembers(store)).toHaveLength(3);
  });

  describe('are written again', () => {
    const old = (id: string): Promise<void> => writeAsBefore({ id, isLocal: true, topics: ['news.*'] });
    const isOld = async (id: string): Promise<boolean> =>
      (await readEntity(store, memberPath(id)))?.hasOldIndex === true;
    let warnings: string[];
    let retry: () => void;
    let renewal: IndexRenewal;
    /** Called before each transaction. */
    let before: () => Promise<void>;
    beforeEach(() => {
      warnings = [];
      before = async () => undefined;
      const intercepted: Store = {
        ...countedStore(store).store,
        transact: async (body, options) => {
          await before();
          return store.transact(body, options);
        },
      };
      renewal = new IndexRenewal({
        store: intercepted,
        categories,
        layers: layersOf(),
        newId,
        shardOf: () => ONLY_SHARD,
        clock: {
          now: () => 0,
          after: (_ms, run) => {
            retry = run;
            return () => undefined;
          },
        },
        log: { ...silentLog, warn: (message) => void warnings.push(message) },
      });
    });
    afterEach(() => renewal.close());
    const complete = (is: boolean): Promise<unknown> =>
      eventually(
        () => isTopicIndexComplete(store, systemClock),
        (found) => found === is,
        'the record is as it should be',
      );

    it('when one is added while the index is recorded as complete', async () => {
      await old('late');
      before = async () => {
        before = async () => undefined;
        renewal.add(memberPath('late'));
      };
      renewal.allRead();
      await eventually(
        () => isOld('late'),
        (is) => !is,
        'the member is written again',
      );
      await complete(true);
    });

    it('except one that cannot be written, until it can', async () => {
      for (const id of ['a', 'b', 'c']) await old(id);
      let transactions = 0;
      before = async () => {
        // The first records that the index is not complete.
        if (++transactions === 2) throw new Error('out of order');
      };
      for (const id of ['a', 'b', 'c']) renewal.add(memberPath(id));
      renewal.allRead();
      await eventually(
        () => warnings,
        ({ length }) => length === 1,
        'the failure is logged',
      );
      expect([await isOld('a'), await isOld('b'), await isOld('c')]).toEqual([true, false, false]);
      expect(await isTopicIndexComplete(store, systemClock)).toBe(false);
      retry();
      await complete(true);
      expect(await isOld('a')).toBe(false);
      expect(warnings).toEqual(['index of members not renewed']);
    });
  });
});

/** Decisions and listings: what they read and keep is bounded, and who was an administrator has no rights left. */
import { ANONYMOUS, type JsonObject, type Principal } from '@cmbs/shared';
import { KeptMap } from '../../shared/access/kept';
import { ACCESS, ClosedDeployment, MEMBER, MESSAGE } from './access-support';

let here: ClosedDeployment;
let root: Principal;
let alice: Principal;
let bob: Principal;
beforeEach(async () => {
  here = await ClosedDeployment.open();
  [root, alice, bob] = [await here.user('root'), await here.user('alice'), await here.user('bob')];
});
afterEach(() => here.close());

const message = (n: number): string => `/cmbs/message/m${String(n).padStart(3, '0')}`;
const maySee = (principal: Principal, path: string): Promise<boolean> =>
  here.access.visibility.maySee(principal, { path, kind: MESSAGE, mixins: [], owner: 'alice' });

describe('decisions', () => {
  it('follow what a method says about its callers, where no rule decides', async () => {
    const may = async (
      principal: Principal,
      callers?: 'everybody' | 'known' | 'administrators',
    ): Promise<boolean> => {
      const resource = { path: 'service:weather.forecast', ...(callers === undefined ? {} : { callers }) };
      return here.access.authorize(principal, 'service.call', resource).then(
        () => true,
        () => false,
      );
    };
    const asked = [undefined, 'everybody', 'known', 'administrators'] as const;
    const answers = async (principal: Principal): Promise<readonly boolean[]> =>
      Promise.all(asked.map((callers) => may(principal, callers)));
    expect(await answers(ANONYMOUS)).toEqual([false, true, false, false]);
    expect(await answers(bob)).toEqual([true, true, true, false]);
    expect(await answers(root)).toEqual([true, true, true, true]);
    await here.rule(root, 'forecasts', 'method:weather.forecast', { deny: ['user:bob'], allow: ['user:alice'] });
    expect(await answers(bob)).toEqual([false, false, false, false]);
    expect(await answers(alice)).toEqual([true, true, true, true]);
  });

  it('give the token of a deleted user no rights, also when there is another user of that name', async () => {
    const path = '/cmbs/access/token/t';
    await here.put(bob, path, `${ACCESS}token`, {});
    const withToken = { ...bob, token: path };
    const mayCall = (): Promise<boolean> =>
      here.access.authorize(withToken, 'service.call', { path: 'service:weather.forecast' }).then(
        () => true,
        () => false,
      );
    expect(await mayCall()).toBe(true);
    await here.delete(root, '/cmbs/access/user/bob');
    here.access.forget();
    expect(await mayCall()).toBe(false);
    await here.user('bob');
    here.access.forget();
    expect(await mayCall()).toBe(false);
  });

  it('read no group that the caller is not in, however many a rule names', async () => {
    await here.group(root, 'mine', { members: ['user:bob'] });
    const others = Array.from({ length: 300 }, (_, at) => `group:g${at}`);
    await here.rule(root, 'many', `entity:${message(1)}`, { allow: [...others, 'group:mine'] });
    const reads = await here.counted.readsOf(async () => {
      expect(await maySee(bob, message(1))).toBe(true);
    });
    expect(reads).toBeLessThan(20);
  });

  it('count a denial for any group for a caller in more groups than are read', async () => {
    for (let at = 0; at < 201; at++) await here.group(root, `g${at}`, { members: ['user:bob'] });
    await here.rule(root, 'shown', 'entity:/cmbs/message/', { operations: ['entity.read'], allow: ['known'] });
    expect(await maySee(bob, message(1))).toBe(true);
    // The group is beyond those that are read.
    await here.group(root, 'zz', { members: ['user:bob'] });
    await here.rule(root, 'hidden', `entity:${message(1)}`, { deny: ['group:zz'] });
    expect(await maySee(bob, message(1))).toBe(false);
    expect(await maySee(alice, message(1))).toBe(true);
  }, 60_000);

  it('are kept within a bound of characters, and not at all when rules changed meanwhile', () => {
    const kept = new KeptMap<string>({
      clock: { elapsed: () => 0 },
      maxChars: 10_000,
      charsOf: (text) => text.length,
    });
    for (let at = 0; at < 100; at++) kept.add(String(at), { value: 'x'.repeat(1000), until: 1 }, kept.generation);
    const known = (): number =>
      Array.from({ length: 100 }, (_, at) => kept.get(String(at))).filter((one) => one !== undefined).length;
    const before = known();
    expect(before).toBeGreaterThan(5);
    expect(before).toBeLessThan(11);
    // An answer that is too large pushes out no other.
    kept.add('large', { value: 'x'.repeat(20_000), until: 1 }, kept.generation);
    expect([known(), kept.get('large')]).toEqual([before, undefined]);
    const { generation } = kept;
    kept.forget();
    kept.add('late', { value: 'x', until: 1 }, generation);
    expect(kept.get('late')).toBeUndefined();
  });
});

describe('listings', () => {
  it('read what the caller may see, and nothing for the entities of others', async () => {
    for (let n = 0; n < 120; n++) await here.put(alice, message(n), MESSAGE);
    await here.put(bob, message(500), MESSAGE);
    await here.rule(alice, 'shared', `entity:${message(7)}`, { operations: ['entity.read'], allow: ['user:bob'] });
    const reads = await here.counted.readsOf(async () => {
      const { paths, next } = await here.page(bob, '/cmbs/message/', { number: 10 });
      expect([paths, next]).toEqual([[message(7), message(500)], undefined]);
    });
    expect(reads).toBeLessThan(60);
  });

  it('read the rules for single entities together, and each of them counts', async () => {
    for (let n = 0; n < 200; n++) await here.put(alice, message(n), MESSAGE);
    await here.rule(root, 'all', 'entity:/cmbs/message/', { operations: ['entity.read'], allow: ['user:bob'] });
    const list = async (): Promise<readonly string[]> =>
      (await here.page(bob, '/cmbs/message/', { number: 200 })).paths;
    const reads = async (): Promise<number> => {
      here.access.forget();
      return here.counted.readsOf(list);
    };
    // Whatever else a page reads, it reads 200 entities.
    const without = await reads();
    expect(without).toBeLessThan(250);
    for (const n of [3, 150]) await here.rule(alice, `not-${n}`, `entity:${message(n)}`, { deny: ['user:bob'] });
    expect((await reads()) - without).toBeLessThan(10);
    expect(await list()).toHaveLength(198);
    // Too many to read them all: the rules of each entity are read.
    for (let n = 20; n < 90; n++)
      await here.rule(alice, `not-${n}`, `entity:${message(n)}`, { deny: ['user:bob'] });
    expect(await list()).toHaveLength(128);
  });

  it('read the entities that rules name in bounded pages, however many rules there are', async () => {
    const users = await Promise.all(['u1', 'u2', 'u3', 'u4'].map((name) => here.user(name)));
    for (const [at, owner] of users.entries()) {
      for (let n = 0; n < 100; n++) {
        const path = message(at * 100 + n);
        await here.put(owner, path, MESSAGE);
        await here.rule(owner, `${owner.name}-${n}`, `entity:${path}`, {
          operations: ['entity.read'],
          allow: ['everybody'],
        });
      }
    }
    const [first] = users;
    if (first === undefined) throw new Error('no user');
    await expect(
      here.rule(first, 'more', `entity:${message(0)}`, { operations: ['entity.read'], allow: ['everybody'] }),
    ).rejects.toMatchObject({ code: 'conflict' });
    // Another owner has room of its own.
    await here.put(alice, message(900), MESSAGE);
    await here.rule(alice, 'own', `entity:${message(900)}`, { operations: ['entity.read'], allow: ['everybody'] });
    expect((await here.page(bob, '/cmbs/message/', { number: 1000 })).paths).toHaveLength(401);
  }, 60_000);

  it('have full pages where rules name entities that are gone', async () => {
    for (let n = 0; n < 60; n++) {
      await here.put(alice, message(n), MESSAGE);
      await here.rule(alice, `r${n}`, `entity:${message(n)}`, {
        operations: ['entity.read'],
        allow: ['everybody'],
      });
    }
    for (let n = 0; n < 60; n++) if (n !== 31) await here.delete(alice, message(n));
    for (let n = 100; n < 130; n++) await here.put(bob, message(n), MESSAGE);
    const expected = [message(31), ...Array.from({ length: 30 }, (_, at) => message(100 + at))];
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await here.page(bob, '/cmbs/message/', {
        number: 10,
        ...(cursor === undefined ? {} : { cursor }),
      });
      if (page.next !== undefined) expect(page.paths).toHaveLength(10);
      found.push(...page.paths);
      cursor = page.next;
    } while (cursor !== undefined);
    expect(found).toEqual(expected);
    expect((await here.page(bob, '/cmbs/message/', { number: 10, page: 2 })).paths).toEqual(
      expected.slice(10, 20),
    );
  });

  it('refuse a list of operations or targets that is empty, which would mean all', async () => {
    await expect(
      here.rule(root, 'all', 'entity:/', { operations: [], allow: ['user:bob'] }),
    ).rejects.toMatchObject({ code: 'bad_attribute' });
    for (const name of ['operations', 'targets']) {
      const values = { [`cmbs.access.token.${name}`]: [] };
      await expect(here.put(bob, '/cmbs/access/token/t', `${ACCESS}token`, values)).rejects.toMatchObject({
        code: 'bad_attribute',
      });
    }
  });

  it('refuse groups in a circle, also in one request, and a group above at another path', async () => {
    const parent = (path: string): JsonObject => ({ 'cmbs.access.group.parent': path });
    await expect(
      here.createGroups(root, { a: parent('b'), b: parent('/cmbs/access/group/a') }),
    ).rejects.toMatchObject({
      code: 'conflict',
    });
    await expect(here.createGroups(root, { a: parent('/other/b') })).rejects.toMatchObject({
      code: 'bad_attribute',
    });
    await here.createGroups(root, { a: parent('b'), b: {} });
  });

  it('show a group to its administrators, and the groups below', async () => {
    await here.group(root, 'upper', { administrators: ['user:alice'] });
    await here.group(root, 'lower', { parent: 'upper' });
    const { paths } = await here.page(alice, '/cmbs/access/group/', { number: 10 });
    expect(paths).toEqual(['/cmbs/access/group/lower', '/cmbs/access/group/upper']);
    expect((await here.page(bob, '/cmbs/access/group/', { number: 10 })).paths).toEqual([]);
  });
});

it('a rule for all categories is about entities of every kind, and about every category', async () => {
  const own = { path: 'http://example.org/own#thing' };
  const defines = (principal: Principal): Promise<boolean> =>
    here.access.authorize(principal, 'category.create', own).then(
      () => true,
      () => false,
    );
  await here.put(alice, message(1), MESSAGE);
  expect(await defines(bob)).toBe(false);
  await here.rule(root, 'define', 'category:', { operations: ['category.*', 'entity.read'], allow: ['user:bob'] });
  expect([await defines(bob), await defines(alice)]).toEqual([true, false]);
  expect((await here.page(bob, '/cmbs/message/', { number: 10 })).paths).toEqual([message(1)]);
});

describe('a member', () => {
  const PATH = '/cmbs/member/alice';
  const maySend = (principal: Principal): Promise<boolean> =>
    here.access.authorize(principal, 'message.receive', { path: PATH, kind: MEMBER, owner: 'alice' }).then(
      () => true,
      () => false,
    );
  const sees = (principal: Principal): Promise<boolean> =>
    here.access.visibility.maySee(principal, { path: PATH, kind: MEMBER, owner: 'alice' });
  const listed = async (principal: Principal): Promise<boolean> =>
    (await here.page(principal, '/cmbs/member/', { number: 10 })).paths.includes(PATH);
  const ofAlice: Principal = { kind: 'member', name: '/cmbs/member/second' };
  const ofBob: Principal = { kind: 'member', name: '/cmbs/member/bob' };

  beforeEach(async () => {
    await here.put(alice, PATH, MEMBER);
    await here.put(alice, ofAlice.name, MEMBER);
    await here.put(bob, ofBob.name, MEMBER);
  });

  it('takes messages from its owner and from other members of its owner', async () => {
    for (const sender of [alice, ofAlice])
      expect([sender.name, await maySend(sender)]).toEqual([sender.name, true]);
    for (const sender of [bob, ofBob]) expect([sender.name, await maySend(sender)]).toEqual([sender.name, false]);
  });

  it('is shown to those who may send to it, and to nobody else', async () => {
    expect([await sees(bob), await listed(bob)]).toEqual([false, false]);
    await here.rule(alice, 'post', `member:${PATH}`, { operations: ['message.receive'], allow: ['user:bob'] });
    expect([await maySend(bob), await sees(bob), await listed(bob)]).toEqual([true, true, true]);
    // A member has the rights of its owner.
    expect([await maySend(ofBob), await sees(ofBob)]).toEqual([true, true]);
    await here.rule(alice, 'hidden', `member:${PATH}`, { operations: ['entity.read'], deny: ['user:bob'] });
    expect([await maySend(bob), await sees(bob), await listed(bob)]).toEqual([true, false, false]);
  });

  it('never acts as an administrator, also one whose owner is one', async () => {
    await here.put(root, '/cmbs/member/root', MEMBER);
    const ofRoot: Principal = { kind: 'member', name: '/cmbs/member/root' };
    expect([await maySend(root), await maySend(ofRoot)]).toEqual([true, false]);
    await here.rule(alice, 'post', `member:${PATH}`, { operations: ['message.receive'], allow: ['user:root'] });
    expect(await maySend(ofRoot)).toBe(true);
  });

  it('acts within the limits of the token of the request that sent its message', async () => {
    await here.rule(alice, 'post', `member:${PATH}`, { operations: ['message.receive'], allow: ['user:bob'] });
    const token = async (id: string, limits: Record<string, readonly string[]>): Promise<Principal> => {
      const values = Object.entries(limits).map(([name, list]) => [`cmbs.access.token.${name}`, list]);
      const path = `/cmbs/access/token/${id}`;
      await here.put(bob, path, `${ACCESS}token`, Object.fromEntries(values) as JsonObject);
      return { ...ofBob, token: path };
    };
    expect(await maySend(await token('sends', { operations: ['message.*'] }))).toBe(true);
    expect(await maySend(await token('reads', { operations: ['entity.read'] }))).toBe(false);
    expect(await maySend(await token('elsewhere', { targets: ['entity:/cmbs/message/'] }))).toBe(false);
    expect(await maySend({ ...ofBob, token: '/cmbs/access/token/gone' })).toBe(false);
  });

  it('has the groups of its owner, and no rights of a user who is gone', async () => {
    await here.group(root, 'friends', { members: ['user:bob'] });
    await here.rule(alice, 'friends', `member:${PATH}`, { operations: ['message.*'], allow: ['group:friends'] });
    expect(await maySend(ofBob)).toBe(true);
    await here.delete(root, '/cmbs/access/user/bob');
    expect(await maySend(ofBob)).toBe(false);
  });
});

describe('an entity', () => {
  const handOver = (principal: Principal, path: string, to: string): Promise<unknown> =>
    here.update(principal, path, { 'cmbs.access.owned.by': to }, [`${ACCESS}owned`]);

  it('is handed over by its owner, who then has no rights to it', async () => {
    await here.put(alice, message(1), MESSAGE);
    await here.rule(alice, 'mine', `entity:${message(1)}`, { allow: ['user:alice'] });
    await expect(handOver(bob, message(1), 'user:bob')).rejects.toMatchObject({ code: 'not_found' });
    await handOver(alice, message(1), 'user:bob');
    // The rule of the owner before no longer counts.
    expect((await here.page(alice, '/cmbs/message/', { number: 10 })).paths).toEqual([]);
    expect((await here.page(bob, '/cmbs/message/', { number: 10 })).paths).toEqual([message(1)]);
    await handOver(bob, message(1), 'user:alice');
    expect((await here.page(alice, '/cmbs/message/', { number: 10 })).paths).toEqual([message(1)]);
    // Other changes leave the owner.
    await here.update(root, message(1), { 'occi.core.title': 'changed' });
    expect((await here.page(alice, '/cmbs/message/', { number: 10 })).paths).toEqual([message(1)]);
  });

  it.each(['alice', 'group:friends', 'user:system', 'user:discovery', 'user:/cmbs/member/bob', 'member:bob', ''])(
    'is not handed over to %j',
    async (to) => {
      await here.put(alice, message(1), MESSAGE);
      await expect(handOver(alice, message(1), to)).rejects.toMatchObject({ code: 'bad_attribute' });
    },
  );

  it('that is a member is handed over by administrators only', async () => {
    await here.put(alice, '/cmbs/member/alice', MEMBER);
    await expect(handOver(alice, '/cmbs/member/alice', 'user:bob')).rejects.toMatchObject({ code: 'forbidden' });
    // No rule of an owner gives what only administrators may do by default.
    await here.rule(alice, 'own', 'entity:/cmbs/member/alice', { allow: ['owner', 'everybody'] });
    await expect(handOver(alice, '/cmbs/member/alice', 'user:bob')).rejects.toMatchObject({ code: 'forbidden' });
    await handOver(root, '/cmbs/member/alice', 'user:bob');
    expect((await here.page(bob, '/cmbs/member/', { number: 10 })).paths).toEqual(['/cmbs/member/alice']);
  });

  it('that gives rights is not handed over', async () => {
    for (const path of ['user/alice', 'group/friends', 'rule/some']) {
      if (path.startsWith('group')) await here.group(root, 'friends', {});
      if (path.startsWith('rule')) await here.rule(root, 'some', 'entity:/x', { allow: ['user:bob'] });
      await expect(handOver(root, `/cmbs/access/${path}`, 'user:bob')).rejects.toMatchObject({
        code: 'bad_attribute',
      });
    }
  });

  it('is created for another user', async () => {
    const values = { 'cmbs.access.owned.by': 'user:bob' };
    await here.put(root, message(1), MESSAGE, values, [`${ACCESS}owned`]);
    expect((await here.page(bob, '/cmbs/message/', { number: 10 })).paths).toEqual([message(1)]);
    // As if it was created and then handed over.
    expect(await here.put(alice, message(2), MESSAGE, values, [`${ACCESS}owned`])).toMatchObject({
      how: 'created',
      isHandedOver: true,
    });
    expect((await here.page(alice, '/cmbs/message/', { number: 10 })).paths).toEqual([]);
    expect((await here.page(bob, '/cmbs/message/', { number: 10 })).paths).toEqual([message(1), message(2)]);
  });
});

describe('who is no administrator any more', () => {
  beforeEach(async () => {
    await here.group(root, 'admins', { members: ['user:alice'] });
  });

  it('changes no group, also not those that it made', async () => {
    here.restart([]);
    await expect(
      here.update(root, '/cmbs/access/group/admins', { 'cmbs.access.group.members': ['user:alice', 'user:root'] }),
    ).rejects.toMatchObject({ code: 'not_found' });
    expect(await here.access.isAdministrator(root)).toBe(false);
  });

  it('is not the last one: users and the group keep an administrator', async () => {
    const members = (...list: readonly string[]): Promise<unknown> =>
      here.update(alice, '/cmbs/access/group/admins', { 'cmbs.access.group.members': [...list] });
    // Root is an administrator by the configuration.
    await expect(here.delete(alice, '/cmbs/access/user/root')).rejects.toMatchObject({ code: 'conflict' });
    here.restart([]);
    await expect(members()).rejects.toMatchObject({ code: 'conflict' });
    await expect(members('user:nobody-there')).rejects.toMatchObject({ code: 'conflict' });
    await expect(here.delete(alice, '/cmbs/access/user/alice')).rejects.toMatchObject({ code: 'conflict' });
    await members('user:alice', 'user:issuer.example/eve');
    await members('user:issuer.example/eve');
    here.access.forget();
    expect(await here.access.isAdministrator(alice)).toBe(false);
  });

  it('keeps no rule that an administrator wrote', async () => {
    await here.rule(alice, 'ban', 'entity:/cmbs/message/', { deny: ['user:bob'] });
    await here.update(root, '/cmbs/access/group/admins', { 'cmbs.access.group.members': ['user:root'] });
    await expect(here.delete(alice, '/cmbs/access/rule/ban')).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('owners', () => {
  it('change their rules when they have as many as they may have', async () => {
    await here.put(alice, message(1), MESSAGE);
    for (let n = 0; n < 4; n++) {
      await here.put(alice, message(n + 10), MESSAGE);
      for (let at = 0; at < 50; at++) {
        const allow = [at % 2 === 0 ? 'user:bob' : 'user:carol'];
        await here.rule(alice, `r${n}-${at}`, `entity:${message(n + 10)}`, { allow });
      }
    }
    await expect(here.rule(alice, 'more', `entity:${message(1)}`, { allow: ['user:bob'] })).rejects.toMatchObject({
      code: 'conflict',
    });
    await here.update(alice, '/cmbs/access/rule/r0-0', { 'cmbs.access.rule.operations': ['entity.read'] });
  }, 60_000);

  it('keep a rule that an administrator only tags, bound to what they own', async () => {
    await here.put(alice, message(1), MESSAGE);
    await here.rule(alice, 'mine', `entity:${message(1)}`, { allow: ['user:alice'] });
    await here.update(root, '/cmbs/access/rule/mine', {});
    await here.delete(alice, message(1));
    await here.put(bob, message(1), MESSAGE);
    here.access.forget();
    expect(await here.access.visibility.maySee(alice, { path: message(1), kind: MESSAGE, owner: 'bob' })).toBe(
      false,
    );
  });
});

it('one request sets ten passwords at most, so that others can log in meanwhile', async () => {
  const users = (count: number, prefix: string): readonly string[] =>
    Array.from({ length: count }, (_, at) => `${prefix}${at}`);
  await expect(here.createUsers(root, users(11, 'many'))).rejects.toMatchObject({ code: 'too_large' });
  await expect(here.createUsers(root, users(3, 'few'))).resolves.toMatchObject({
    paths: users(3, 'few').map((name) => `/cmbs/access/user/${name}`),
  });
});

/** Decisions and listings: what they read and keep is bounded, and who was an administrator has no rights left. */
import type { Principal } from '@cmbs/shared';
import { KeptMap } from '../../shared/access/kept';
import { ClosedDeployment, MESSAGE } from './access-support';

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

  it('show a group to its administrators, and the groups below', async () => {
    await here.group(root, 'upper', { administrators: ['user:alice'] });
    await here.group(root, 'lower', { parent: 'upper' });
    const { paths } = await here.page(alice, '/cmbs/access/group/', { number: 10 });
    expect(paths).toEqual(['/cmbs/access/group/lower', '/cmbs/access/group/upper']);
    expect((await here.page(bob, '/cmbs/access/group/', { number: 10 })).paths).toEqual([]);
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

  it('keeps no rule in the own hands that an administrator wrote', async () => {
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
        await here.rule(alice, `r${n}-${at}`, `entity:${message(n + 10)}`, { allow: ['user:bob'] });
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

/** The memory of members that a companion does not hold is short and bounded. */
import type { Entity } from '@cmbs/shared/occi';
import { MEMBER_KIND } from '@cmbs/shared/broker';
import { RECENT_MS, RecentMembers } from '../../companion/recent-members';

const memberOf = (id: string, summary = ''): Entity => ({
  path: `/cmbs/member/${id}`,
  id,
  kind: MEMBER_KIND,
  mixins: [],
  attributes: { 'occi.core.summary': summary },
  rawJson: {},
  owner: 'nobody',
  createdAt: 1,
  updatedAt: 1,
});

let now: number;
let recent: RecentMembers;
beforeEach(() => {
  now = 0;
  recent = new RecentMembers({ now: () => now });
});

const put = (member: Entity): void => recent.put(member.path, member);
const isKnown = (id: string): boolean => recent.get(`/cmbs/member/${id}`) !== undefined;

test('a member counts as known for some seconds, and so does that there is none', () => {
  const bob = memberOf('bob');
  put(bob);
  recent.put('/cmbs/member/nobody', undefined);
  expect([recent.get(bob.path)?.member, recent.get('/cmbs/member/nobody')]).toEqual([
    bob,
    expect.objectContaining({ member: undefined }),
  ]);
  now = RECENT_MS;
  expect([isKnown('bob'), isKnown('nobody'), recent.last(bob.path)?.member]).toEqual([false, false, bob]);
  recent.delete(bob.path);
  expect(recent.last(bob.path)).toBeUndefined();
});

test('beyond 2,000 members the one that was read longest ago is forgotten', () => {
  for (let n = 0; n < 2000; n += 1) put(memberOf(`m${n}`));
  put(memberOf('m0'));
  put(memberOf('late'));
  expect([isKnown('m0'), isKnown('m1'), isKnown('m2'), isKnown('late')]).toEqual([true, false, true, true]);
});

test('members with long descriptions are forgotten sooner', () => {
  const text = 'x'.repeat(1024 * 1024);
  for (let n = 0; n < 10; n += 1) put(memberOf(`m${n}`, text));
  expect(Array.from({ length: 10 }, (_, n) => isKnown(`m${n}`)).filter(Boolean)).toHaveLength(7);
  expect(isKnown('m9')).toBe(true);
});

import { shardLease } from '../../companion/shard-lease';
import { layersOf, MEMBER, MEMBER_KIND, Shards } from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';

const member = (sockets: Readonly<Record<string, string>>): Entity => ({
  path: '/cmbs/member/a',
  id: 'a',
  kind: MEMBER_KIND,
  mixins: [],
  attributes: sockets,
  rawJson: {},
  owner: 'x',
  createdAt: 0,
  updatedAt: 0,
});

describe('the shard of a member', () => {
  const shards = new Shards(['main=203.0.113.1', 'eu=Broker.example', 'six=2001:db8::1'], layersOf());

  it.each([
    [{ [MEMBER.socket('l1')]: 'tcp://203.0.113.1:5010' }, 'main'],
    [{ [MEMBER.socket('l1')]: 'tcp://broker.EXAMPLE:5010' }, 'eu'],
    [{ [MEMBER.socket('l1')]: 'tcp://[2001:db8::1]:5010' }, 'six'],
    [{ [MEMBER.socket('l2')]: 'tcp://broker.example:5010', [MEMBER.socket('l4')]: 'tcp://203.0.113.1:1' }, 'eu'],
    [{ [MEMBER.socket('l1')]: 'tcp://198.51.100.9:5010' }, 'main'],
    [{ [MEMBER.socket('l1')]: 'ipc:///tmp/x' }, 'main'],
    [{ [MEMBER.socket('l1')]: 'nonsense' }, 'main'],
    [{}, 'main'],
  ])('with %j is %s', (sockets, name) => {
    expect(shards.of(member(sockets)).name).toBe(name);
  });
});

describe('a companion with a shard', () => {
  const shards = new Shards(['main=*', 'eu=broker.example'], layersOf());
  const hold = shardLease('main', { epoch: 3, isCurrent: () => true }, shards);

  it('holds its own messages and those of earlier holders of the shard', () => {
    expect(['main#1', 'main#3', 'main#4', 'eu#1', 'push', 'mainly#1'].map((name) => hold.isOurs(name))).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  it('is replaced only by later holders of the same shard', () => {
    expect(['main#3', 'main#4', 'eu#9'].map((name) => hold.isOutrunBy(name))).toEqual([false, true, false]);
  });

  it('serves the members of its shard', () => {
    expect(hold.serves(member({ [MEMBER.socket('l1')]: 'tcp://broker.example:1' }))).toBe(false);
    expect(hold.serves(member({ [MEMBER.socket('l1')]: 'tcp://10.0.0.1:1' }))).toBe(true);
  });
});

/** Names of members' subscriptions, which lead a push to its member. */
import { layersOf, parseSubscriptionName, subscriptionName } from '@cmbs/shared/broker';
import fc from '../property';

const id = fc.stringMatching(/^[A-Za-z0-9_.~!$&()*+,;=:@-]{1,255}$/);

it('a name leads back to the member and layer, unless the id is too long', () => {
  fc.assert(
    fc.property(id, fc.constantFrom('l32', 'l4'), (one, layer) => {
      const name = subscriptionName(`/cmbs/member/${one}`, layer);
      expect(name).toMatch(/^[A-Za-z0-9._-]{1,255}$/);
      const parsed = parseSubscriptionName(name, layersOf());
      expect(parsed?.layer).toBe(layer);
      if (parsed?.member !== undefined) expect(parsed.member).toBe(`/cmbs/member/${one}`);
      else expect(name.length).toBeGreaterThan(64);
    }),
  );
});

it('different members have different names', () => {
  fc.assert(
    fc.property(id, id, (one, other) => {
      const [a, b] = [one, other].map((each) => subscriptionName(`/cmbs/member/${each}`, 'l32'));
      expect(a === b).toBe(one === other);
    }),
  );
});

it.each(['', 'dead-letter', 'member.x', 'member.x.l1', 'member..l32', 'member.x.l32.more', 'member.x/y.l32'])(
  '%j is not the name of a subscription',
  (name) => {
    expect(parseSubscriptionName(name, layersOf())).toBeUndefined();
  },
);

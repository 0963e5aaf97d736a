/** Names of topics and subscriptions in Pub/Sub, to which other programs attach. */
import { PubsubNames } from '../../shared/bus/pubsub/names';
import fc from '../property';

const names = new PubsubNames('cmbs');
/** Google's rule (cloud.google.com/pubsub/docs/pubsub-basics#resource_names). */
const VALID = /^(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}$/;

it.each([
  ['weather.tokyo', 'cmbs.l32.weather.tokyo'],
  ['a', 'cmbs.l32.a'],
  ['wétter.東京', 'cmbs.l32.w%C3%A9tter.%E6%9D%B1%E4%BA%AC'],
  ['100% wool', 'cmbs.l32.100%25%20wool'],
  ['a~b+c', 'cmbs.l32.a%7Eb%2Bc'],
  ["it's (all) #1!", 'cmbs.l32.it%27s%20%28all%29%20%231%21'],
  ['a/b', 'cmbs.l32.a%2Fb'],
])('the topic %j is %s', (topic, name) => {
  expect(names.topic('l32', topic)).toBe(name);
});

it('topics of L4 have other names than topics of L3.2', () => {
  expect(names.topic('l4', 'weather')).toBe('cmbs.l4.weather');
});

it('names are valid and unique for topics with any characters', () => {
  const topic = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 255 })
    .filter((text) => !/\p{Surrogate}/u.test(text));
  fc.assert(
    fc.property(topic, topic, (one, other) => {
      for (const name of [names.topic('l32', one), names.subscription('member.a.l32', one)]) {
        expect(name).toMatch(VALID);
      }
      expect(names.topic('l32', one) === names.topic('l32', other)).toBe(one === other);
    }),
    { numRuns: 500 },
  );
});

it('names that are too long are cut between escapes and end with a digest, as no other name does', () => {
  const long = '東'.repeat(200);
  const name = names.topic('l32', long);
  expect(name.length).toBeLessThanOrEqual(255);
  expect(name).toMatch(/^cmbs\.l32\.(?:%E6%9D%B1)*(?:%E6|%E6%9D)?~[0-9a-f]{32}$/);
  expect(names.topic('l32', `${long}x`)).not.toBe(name);
  // A topic that is spelt like a digest is escaped.
  expect(names.topic('l32', 'a~0123456789abcdef0123456789abcdef')).not.toContain('~');
});

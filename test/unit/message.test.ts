import { expiryOf } from '../../shared/broker/message';
import { MESSAGE, MESSAGE_KIND } from '@cmbs/shared/broker';
import { MESSAGE_TTL_MS } from '@cmbs/shared/limits';
import type { Json } from '@cmbs/shared';
import type { Entity } from '@cmbs/shared/occi';

const expiring = (at: Json): Entity => ({
  path: '/cmbs/message/one',
  id: 'one',
  kind: MESSAGE_KIND,
  mixins: [],
  attributes: { [MESSAGE.expiresAt]: at },
  rawJson: {},
  owner: 'somebody',
  createdAt: 0,
  updatedAt: 0,
});

describe('the time at which a message expires', () => {
  test('is the time that the message names', () => {
    expect(expiryOf(expiring('1970-01-01T00:00:02Z'), 1000)).toBe(2000);
  });

  test.each(['', 'soon', 7])('is the default for %j, which is not a time', (at) => {
    expect(expiryOf(expiring(at), 1000)).toBe(1000 + MESSAGE_TTL_MS);
  });
});

/** What the index of entities has, since each name in it stays in the store and each entry costs a write. */
import { CMBS_EXTENSION, MESSAGE, MESSAGE_KIND } from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';
import { CategoryRegistry } from '../../shared/occi/category-registry';
import { indexOf } from '../../shared/occi/entity-index';

it('the names in the index do not depend on the keys that clients make up', () => {
  const registry = new CategoryRegistry(CMBS_EXTENSION.categories);
  const fields = (headers: Record<string, string>): readonly string[] => {
    const message: Entity = {
      path: '/cmbs/message/one',
      id: 'one',
      kind: MESSAGE_KIND,
      mixins: [],
      attributes: { [MESSAGE.headers]: headers, [MESSAGE.delivery]: { state: 'queued', attempts: 1 } },
      rawJson: {},
      owner: 'nobody',
      createdAt: 1,
      updatedAt: 1,
    };
    return Object.keys(indexOf(message, registry));
  };
  expect(fields({ mine: 'a', yours: 'b' })).toEqual(fields({}));
  expect(fields({})).toContain('a.cmbs.message.delivery.state');
  expect(fields({})).not.toContain('a.cmbs.message.delivery.attempts');
});

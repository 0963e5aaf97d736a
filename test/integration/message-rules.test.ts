/** A stored message of an earlier release that every receiver would refuse fails with the reason when it is sent. */
import { queueOutbound } from '../../shared/broker/queue';
import {
  CMBS_EXTENSION,
  layerMixin,
  layersOf,
  MEMBER_KIND,
  MESSAGE,
  MESSAGE_KIND,
  OrderClock,
} from '@cmbs/shared/broker';
import { checkMessage } from '../../shared/broker/message';
import { allowAll, ANONYMOUS, newId, systemClock, toCmbsError, type JsonObject } from '@cmbs/shared';
import { Categories, CORE_TITLE, type Entity, writeEntity } from '@cmbs/shared/occi';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

let opened: TemporaryStore;
let categories: Categories;
beforeEach(async () => {
  opened = await openTemporaryStore();
  categories = new Categories(opened.store, [CMBS_EXTENSION], { watch: false, maxAgeMs: 0, clock: systemClock });
});
afterEach(async () => {
  categories.close();
  await opened.close();
});

const entity = (kind: string, path: string, attributes: JsonObject, content = '"x"'): Entity => ({
  path,
  id: path.slice(path.lastIndexOf('/') + 1),
  kind,
  mixins: kind === MESSAGE_KIND ? [layerMixin('l2')] : [],
  attributes,
  rawJson: { [MESSAGE.content]: content },
  owner: 'somebody',
  createdAt: 1,
  updatedAt: 1,
  isLinked: false,
});

const sendable = { [MESSAGE.layer]: 'l2', [MESSAGE.sendable]: 'true' };

test.each([
  ['a title that is too long', { ...sendable, [CORE_TITLE]: 'x'.repeat(5000) }, '"x"', 'bad_attribute', 'title'],
  ['a frame that is too large', sendable, JSON.stringify('x'.repeat(1024 * 1024)), 'too_large', 'bytes at most'],
])(
  'a stored message with %s fails with the reason when it is sent',
  async (_what, attributes, content, code, reason) => {
    const { store } = opened;
    const { registry } = await categories.current();
    const message = entity(MESSAGE_KIND, '/cmbs/message/old', attributes, content);
    const member = entity(MEMBER_KIND, '/cmbs/member/alice', { 'cmbs.member.local': 'true' });
    await store.transact((tx) => {
      for (const one of [message, member]) writeEntity(tx, one, undefined, registry);
      return Promise.resolve();
    });
    const queued = queueOutbound(
      { message: message.path, principal: ANONYMOUS, layer: 'l2', from: undefined, registry },
      {
        store,
        clock: systemClock,
        order: OrderClock.ofProcess(systemClock),
        layers: layersOf(),
        authorize: allowAll,
        newId,
        uriOf: (path) => path,
        shardOf: () => 'main',
        queueLimit: 10,
      },
    );
    const error = await queued.then(() => undefined, toCmbsError);
    expect(error).toMatchObject({ code, message: expect.stringContaining(reason) as string });
  },
);

test('headers without a valid trace are accepted as headers', () => {
  const headers = { traceparent: 'x'.repeat(300) };
  expect(() =>
    checkMessage(entity(MESSAGE_KIND, '/cmbs/message/m', { ...sendable, [MESSAGE.headers]: headers })),
  ).not.toThrow();
});

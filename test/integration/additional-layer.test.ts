/** A sixth layer, added from outside: L5 whispers to the listed members over the broadcast channel. */
import type { Json, JsonObject } from '@cmbs/shared';
import { Layers, layersOf } from '@cmbs/shared/broker';
import { whisper } from '../../examples/extending/whisper-layer';
import { freePort } from './free-port';
import { LocalStack } from './local-stack';

let stack: LocalStack;
beforeAll(async () => {
  stack = await LocalStack.start({ layers: [whisper] });
});
afterAll(() => stack.close());

const attributesOf = ({ attributes }: JsonObject): JsonObject => attributes as JsonObject;

async function createMember(id: string): Promise<void> {
  await stack.ask('PUT', `/cmbs/member/${id}`, {
    kind: 'http://houssem.org/cmbs#member',
    attributes: {
      'cmbs.member.l5_socket': `tcp://127.0.0.1:${await freePort()}`,
      'cmbs.member.start': ['whisper'],
    },
  });
}

const inboxOf = async (id: string, wait: number): Promise<readonly JsonObject[]> => {
  const { entries } = await stack.ask('GET', `/cmbs/member/${id}/inbox/?wait=${wait}`);
  return entries as readonly JsonObject[];
};

test('a message on the layer reaches only the members that the message lists', async () => {
  for (const id of ['alice', 'bob', 'carol']) await createMember(id);
  const started = attributesOf(await stack.ask('GET', '/cmbs/member/bob'));
  expect(started['cmbs.member.layers']).toMatchObject({ l5: { state: 'started' } });

  await stack.ask('PUT', '/cmbs/message/secret', {
    kind: 'http://houssem.org/cmbs#message',
    mixins: ['http://houssem.org/cmbs#l5'],
    attributes: { 'cmbs.message.providers': ['bob'], 'cmbs.message.message_content': 'psst' as Json },
  });
  const sent = attributesOf(
    await stack.ask('POST', '/cmbs/message/secret?action=send_l5', {
      action: 'http://houssem.org/cmbs/message/action#send_l5',
      attributes: { from: 'alice' },
    }),
  );
  expect(sent['cmbs.message.delivery']).toMatchObject({ state: 'delivered' });
  expect(sent['cmbs.message.result']).toEqual({ whispered: { '/cmbs/member/bob': 'sent' } });

  expect(await inboxOf('bob', 10)).toMatchObject([{ layer: 'l5', message_id: 'secret' }]);
  expect(await inboxOf('carol', 0)).toEqual([]);
});

test('the mixin and the actions of the layer are among the categories', async () => {
  const { mixins, actions } = await stack.ask('GET', '/-/');
  const termsOf = (categories: Json | undefined): readonly Json[] =>
    (categories as readonly JsonObject[]).flatMap(({ term }) => term ?? []);
  expect(termsOf(mixins)).toEqual(expect.arrayContaining(['l5']));
  expect(termsOf(actions)).toEqual(expect.arrayContaining(['start_l5', 'stop_l5', 'send_l5']));
});

test('a member without an address gets the port of the layer definition', async () => {
  await stack.ask('PUT', '/cmbs/member/dave', { kind: 'http://houssem.org/cmbs#member' });
  const { attributes } = await stack.ask('GET', '/cmbs/member/dave');
  expect((attributes as JsonObject)['cmbs.member.l5_socket']).toBe('tcp://127.0.0.1:5050');
});

test('two layers cannot share a name or a spelling', () => {
  expect(() => layersOf([{ ...whisper, aliases: ['l3.1'] }])).toThrow('There is a layer l3.1 already.');
  expect(() => layersOf([{ ...whisper, name: 'l1' }])).toThrow('There is a layer l1 already.');
  expect(() => new Layers([{ ...whisper, name: 'L 5' }])).toThrow('"L 5" cannot be the name of a layer.');
});

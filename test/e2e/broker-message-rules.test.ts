/** The rules for messages are the same everywhere: accepted messages can be sent, and others are refused on creation. */
import type { Json } from '@cmbs/shared';
import { FRAME_RESERVE_BYTES } from '../../shared/broker/message-rules';
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import {
  CMBS,
  Fleet,
  MESSAGE,
  unique,
  type Answer,
  type Deployment,
  type LayerName,
  type Member,
} from './harness';

const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];

const fleet = new Fleet();
let here: Deployment;
let sender: Member;
let receiver: Member;
beforeAll(async () => {
  here = await fleet.start();
  sender = await here.member();
  receiver = await here.member({ topics: ['news'], start: LAYERS });
});
afterAll(() => fleet.close());

type Attributes = Readonly<Record<string, Json>>;

const addressed = (layer: LayerName): Attributes => ({
  ...(layer === 'l1' ? { 'cmbs.message.l1_socket_receiver_member': receiver.sockets.l1 } : {}),
  ...(layer === 'l31' || layer === 'l4' ? { 'cmbs.message.providers': [receiver.id] } : {}),
  ...(layer === 'l32' || layer === 'l4' ? { 'cmbs.message.topics': ['news'] } : {}),
});

async function put(
  layer: LayerName,
  attributes: Attributes,
  fields: Readonly<Record<string, Json>> = {},
): Promise<Answer & { readonly path: string }> {
  const path = `/cmbs/message/${unique('rule')}`;
  const answer = await here.request('PUT', path, {
    kind: MESSAGE,
    mixins: [CMBS + layer],
    ...fields,
    attributes: { ...addressed(layer), ...attributes },
  });
  return Object.assign(answer, { path });
}

test.each([
  ['a title of 5,000 characters', {}, { title: 'x'.repeat(5000) }, 'occi.core.title'],
  ['a summary of 5,000 characters', {}, { summary: 'x'.repeat(5000) }, 'occi.core.summary'],
  ['a number for a flag', { 'cmbs.message.executable': 5 }, {}, 'cmbs.message.executable'],
  ['an ordering key of 2,000 characters', { 'cmbs.message.ordering_key': 'k'.repeat(2000) }, {}, 'ordering_key'],
  // Pub/Sub counts bytes.
  ['an ordering key of 2,000 bytes', { 'cmbs.message.ordering_key': 'é'.repeat(1000) }, {}, 'ordering_key'],
  ['a path of too many members', { 'cmbs.message.path_history': Array(10_001).fill('a') }, {}, 'path_history'],
])('%s is refused on creation and on change', async (_what, attributes: Attributes, fields, named) => {
  const made = await put('l32', attributes, fields);
  expect([made.status, made.error]).toEqual([400, expect.stringContaining(named)]);
  const { path } = await put('l32', {});
  const changed = await here.request('POST', path, { kind: MESSAGE, ...fields, attributes: { ...attributes } });
  expect([changed.status, changed.error]).toEqual([400, expect.stringContaining(named)]);
});

/** Characters of content that fill a frame up to the limit that the rule sets for a message. */
async function contentThatFits(layer: LayerName): Promise<number> {
  const most = MAX_FRAME_BYTES - FRAME_RESERVE_BYTES;
  const { status, error } = await put(layer, { 'cmbs.message.message_content': 'x'.repeat(most) });
  expect(status).toBe(413);
  const bytes = Number(/not (\d+)/.exec(error)?.[1]);
  return most - (bytes - most);
}

test.each(LAYERS)(
  'on %s the largest message that is accepted arrives, and one more byte is refused',
  async (layer) => {
    const most = await contentThatFits(layer);
    const over = await put(layer, { 'cmbs.message.message_content': 'x'.repeat(most + 1) });
    expect(over.status).toBe(413);
    const before = (await here.inbox(receiver, 'lease=0&number=1')).length;
    const { path } = (await here.must(
      201,
      put(layer, { 'cmbs.message.message_content': 'x'.repeat(most) }),
    )) as Awaited<ReturnType<typeof put>>;
    const sent = await here.act(path, `send_${layer}`, { from: sender.id });
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    const [entry] = await here.receives(receiver, before + 1);
    expect(path.endsWith(entry?.message_id ?? '-')).toBe(true);
    await here.must(200, here.request('DELETE', `${receiver.path}/inbox/${entry?.id ?? ''}`));
  },
);

test('a content that is nested too deeply for a frame is refused', async () => {
  const nested = JSON.parse('['.repeat(61) + ']'.repeat(61)) as Json;
  const { status, error } = await put('l2', { 'cmbs.message.message_content': nested });
  expect([status, error]).toEqual([400, expect.stringContaining('deeper than')]);
});

/** A repeated frame gets the first answer, even if its receiver has no room any more. */
import { ask, frameOf } from './broker-peers';
import { eventually, Fleet, type Deployment, type Member } from './harness';

const fleet = new Fleet();
afterEach(() => fleet.close());

const sent = (id: string, fields: Parameters<typeof frameOf>[1] = {}, layer = 'l1'): string =>
  frameOf(id, { transfer: { v: 1, send_id: `send-of-${id}`, hops: ['elsewhere/original'] }, ...fields }, layer);

describe('a member whose inbox is full', () => {
  let here: Deployment;
  let member: Member;
  beforeEach(async () => {
    here = await fleet.start({ env: { CMBS_INBOX_LIMIT: '1' } });
    member = await here.member({ topics: ['weather'], start: ['l1', 'l31', 'l4'] });
  });

  test.each([
    ['a stored message', 'l1', {}],
    ['a message that may not be stored', 'l1', { storable: 'False' }],
    ['a message on l31', 'l31', {}],
    ['a message on l4', 'l4', {}],
  ] as const)('accepts a retry of %s that it already has', async (_what, layer, fields) => {
    const frame = sent('repeated', fields, layer);
    expect(await ask(member.sockets[layer], frame)).toMatchObject({ member_description: { id: member.id } });
    await here.receives(member, 1);
    expect(await ask(member.sockets[layer], frame)).toMatchObject({ member_description: { id: member.id } });
    expect(await ask(member.sockets[layer], sent('another', fields, layer))).toMatchObject({
      error: { code: 'queue_full' },
    });
    expect(await here.inbox(member)).toHaveLength(1);
  });

  test('answers a repeated call with the first answer', async () => {
    const call = sent('call', {
      executable: 'True',
      message_content: { id: 7, method: 'echo.echo', params: ['said'] },
    });
    const first = await ask(member.sockets.l1, call);
    expect(first.result).toMatchObject({ id: 7 });
    expect((await ask(member.sockets.l1, call)).result).toEqual(first.result);
  });
});

test('a member that forwards messages accepts a retry of a message that it has, even if its queue is full', async () => {
  const here = await fleet.start({ env: { CMBS_QUEUE_LIMIT: '1' } });
  const member = await here.member({ start: ['l32'] });
  // No peer listens there, so forwarded messages fill the queue.
  await here.member({ local: false, topics: ['weather'] });
  const frame = sent('passed-on', { topics: ['weather'] }, 'l32');
  const again = { member_description: { id: member.id } };
  expect(await ask(member.sockets.l32, frame)).toMatchObject(again);
  await eventually(
    () => ask(member.sockets.l32, sent('another', { topics: ['weather'] }, 'l32')),
    (reply) => (reply.error as { code?: string } | undefined)?.code === 'queue_full',
    'its queue is full',
  );
  expect(await ask(member.sockets.l32, frame)).toMatchObject(again);
});

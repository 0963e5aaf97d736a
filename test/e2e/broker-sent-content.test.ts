/** All receivers of a send get the message as it was when it was sent. */
import { contentOf, Fleet, MESSAGE, CMBS, type Deployment, type Member } from './harness';
import { PATIENCE_MS } from '../patience';

const fleet = new Fleet();
let here: Deployment;
let there: Deployment;
let sender: Member;
beforeAll(async () => {
  [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  sender = await here.member();
});
afterAll(() => fleet.close());

/** A member of another deployment that is known here and has not started. */
async function absent(): Promise<Member> {
  const member = await there.member();
  await here.introduce(member);
  return member;
}

const receives = async (member: Member, count: number): Promise<readonly unknown[]> =>
  (await there.receives(member, count, 3 * PATIENCE_MS)).map(contentOf);

test('a receiver that connects after a change gets the same content as the others', async () => {
  const present = await absent();
  const late = await absent();
  await there.must(200, there.act(present.path, 'start_l31'));
  const sent = await here.send('l31', {
    providers: [present.id, late.id],
    from: sender.id,
    content: { at: 'first' },
    prefer: 'wait=1',
  });
  expect(sent.status).toBe(202);
  await here.change(sent.path, { 'cmbs.message.message_content': 'second' });
  // Neither another change nor a restart changes the copy.
  await here.change(sent.path, { 'cmbs.message.message_content': 'third' });
  await here.down();
  await here.up();
  await there.must(200, there.act(late.path, 'start_l31'));
  await here.reaches(sent.path, 'delivered', 3 * PATIENCE_MS);
  expect(await receives(late, 1)).toEqual([{ at: 'first' }]);
  expect(await receives(present, 1)).toEqual([{ at: 'first' }]);
  const message = await here.get(sent.path);
  expect(message.attributes['cmbs.message.message_content']).toBe('third');
  expect((await here.act(sent.path, 'send_l31', { from: sender.id })).status).toBe(200);
  expect(await receives(late, 2)).toEqual([{ at: 'first' }, 'third']);
});

test('a message that is replaced after its send goes out with the address and content of the send', async () => {
  const late = await absent();
  const sent = await here.send('l1', {
    to: late.sockets.l1,
    from: sender.id,
    content: 'before',
    prefer: 'wait=1',
  });
  expect(sent.status).toBe(202);
  const replaced = await here.request('PUT', sent.path, {
    kind: MESSAGE,
    mixins: [`${CMBS}l1`],
    attributes: {
      'cmbs.message.l1_socket_receiver_member': 'tcp://127.0.0.1:9',
      'cmbs.message.message_content': 'after',
    },
  });
  expect(replaced.status).toBe(200);
  await there.must(200, there.act(late.path, 'start_l1'));
  await here.reaches(sent.path, 'delivered', 3 * PATIENCE_MS);
  expect(await receives(late, 1)).toEqual(['before']);
});

test('a member of another deployment that takes a topic message late gets the content as it was sent', async () => {
  const late = await there.member({ topics: ['news'] });
  await here.introduce(late, { topics: ['news'] });
  const sent = await here.send('l32', { topics: ['news'], from: sender.id, content: 'old', prefer: 'wait=1' });
  expect(sent.status).toBe(202);
  await here.change(sent.path, { 'cmbs.message.message_content': 'new' });
  await there.must(200, there.act(late.path, 'start_l32'));
  await here.reaches(sent.path, 'delivered', 3 * PATIENCE_MS);
  expect(await receives(late, 1)).toEqual(['old']);
});

test('adding or removing a mixin through its collection does not change a message in flight', async () => {
  const late = await absent();
  const asked = { providers: [late.id], from: sender.id, content: 'tagged', prefer: 'wait=1' };
  const paths = [(await here.send('l31', asked)).path, (await here.send('l31', asked)).path] as const;
  const locations = here.url + paths[0];
  await here.must(
    200,
    here.request('DELETE', '/cmbs/message/l31/', locations, { 'Content-Type': 'text/uri-list' }),
  );
  // A DELETE without a body removes all.
  await here.must(200, here.request('DELETE', '/cmbs/message/l31/'));
  await there.must(200, there.act(late.path, 'start_l31'));
  for (const path of paths) await here.reaches(path, 'delivered', 3 * PATIENCE_MS);
  const entries = await there.receives(late, 2);
  for (const { message } of entries) {
    expect(message.mixins).toEqual([`${CMBS}l31`]);
    expect(JSON.stringify(message)).toContain(`"providers":["${late.id}"]`);
  }
});

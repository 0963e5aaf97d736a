/** Messages that carry calls (docs/layers.md, "Calls"). */
import type { Json, JsonObject } from '@cmbs/shared';
import { ask, frameOf } from './broker-peers';
import { eventually, Fleet, unique, type Deployment, type Member } from './harness';

const fleet = new Fleet();
let here: Deployment;
let there: Deployment;
let receiver: Member;
beforeAll(async () => {
  [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  await here.member();
  receiver = await there.member({ start: ['l1', 'l2', 'l31'] });
  await here.introduce(receiver);
});
afterAll(() => fleet.close());

const ECHO = { method: 'echo.echo', params: ['x', { deep: [1] }] };

async function entryOf(path: string) {
  const entries = await there.inbox(receiver);
  return entries.find(({ message_id }) => path.endsWith(`/${message_id}`));
}

describe('an executable message with a call', () => {
  test('is executed at the receiver; the answer is in the result, the inbox and the received copy', async () => {
    const sent = await here.send('l1', { to: receiver.sockets.l1, executable: true, content: ECHO });
    expect(sent.status).toBe(200);
    expect(sent.result).toMatchObject({
      member_description: { id: receiver.id },
      result: { result: ['x', { deep: [1] }] },
    });
    expect(await entryOf(sent.path)).toMatchObject({
      state: 'executed',
      answer: { result: ['x', { deep: [1] }] },
    });
    expect((await there.get(sent.path)).result).toEqual({ result: ['x', { deep: [1] }] });
  });

  test('is answered with the id and version of the call', async () => {
    const content = { jsonrpc: '2.0', id: 'seven', ...ECHO };
    const sent = await here.send('l1', { to: receiver.sockets.l1, executable: true, content });
    expect(sent.result.result).toEqual({ jsonrpc: '2.0', id: 'seven', result: ['x', { deep: [1] }] });
  });

  test('may be JSON in a string, as clients of the original wrote it', async () => {
    const content = JSON.stringify(ECHO);
    const sent = await here.send('l1', { to: receiver.sockets.l1, executable: true, content });
    expect(sent.result.result).toEqual({ result: ['x', { deep: [1] }] });
  });

  test('is executed and not stored when it is not storable', async () => {
    const sent = await here.send('l1', {
      to: receiver.sockets.l1,
      executable: true,
      storable: false,
      content: ECHO,
    });
    expect(sent.result.result).toEqual({ result: ['x', { deep: [1] }] });
    expect((await there.get(sent.path)).status).toBe(404);
    expect(await entryOf(sent.path)).toMatchObject({ state: 'executed' });
  });

  test('is executed on L3.1 at each provider, and on L2', async () => {
    const sent = await here.send('l31', { providers: [receiver.id], executable: true, content: ECHO });
    expect(sent.result).toMatchObject({ [receiver.id]: { result: { result: ['x', { deep: [1] }] } } });
    const broadcast = await here.send('l2', { executable: true, content: ECHO });
    await eventually(
      () => entryOf(broadcast.path),
      (entry) => entry?.state === 'executed',
      'the broadcast is executed',
    );
  });

  test('is answered with a fault when no reply could have the answer', async () => {
    const calls = Array.from({ length: 200 }, () => ({ methodName: 'system.discover' }));
    const content = { method: 'system.multicall', params: [calls], id: 1 };
    const sent = await here.send('l1', { to: receiver.sockets.l1, executable: true, content });
    expect(sent.result.result).toMatchObject({ id: 1, error: { code: -32603 } });
  });

  test('is answered with a fault when the method is unknown', async () => {
    const sent = await here.send('l1', {
      to: receiver.sockets.l1,
      executable: true,
      content: { method: 'no.such', id: 1 },
    });
    expect(sent.status).toBe(200);
    expect(sent.delivery.state).toBe('delivered');
    expect(sent.result.result).toMatchObject({ id: 1, error: { code: -32601 } });
    expect(await there.metric('cmbs_calls', { outcome: 'fault' })).toBeGreaterThan(0);
  });

  test.each(['__proto__.toString', 'constructor', 'echo', 'echo.__proto__', 'system.constructor', ''])(
    'cannot reach %j',
    async (method) => {
      const sent = await here.send('l1', { to: receiver.sockets.l1, executable: true, content: { method } });
      expect(sent.result.result).toMatchObject({ error: { code: -32601 } });
    },
  );
});

test.each<[string, Json]>([
  ['text', 'just text'],
  ['an object without a method', { params: [1] }],
  ['a method that is no string', { method: 5 }],
  ['parameters that are neither list nor object', { method: 'echo.echo', params: 'x' }],
  ['a list', [ECHO]],
])('an executable message with %s is stored, not failed', async (_what, content) => {
  const sent = await here.send('l1', { to: receiver.sockets.l1, executable: true, content });
  expect(sent.status).toBe(200);
  expect(sent.delivery.state).toBe('delivered');
  expect(sent.result).not.toHaveProperty('result');
  expect((await entryOf(sent.path))?.state).toBe('received');
});

test('a call in a message that is not executable is stored and not run', async () => {
  const calls = await there.metric('cmbs_calls');
  const sent = await here.send('l1', { to: receiver.sockets.l1, executable: false, content: ECHO });
  expect(sent.result).not.toHaveProperty('result');
  expect((await entryOf(sent.path))?.state).toBe('received');
  expect(await there.metric('cmbs_calls')).toBe(calls);
});

test('a call is run at most once per send, and every repeat gets the same answer', async () => {
  const calls = await there.metric('cmbs_calls');
  const frame = frameOf(unique('call'), {
    executable: 'True',
    message_content: ECHO,
    transfer: { v: 1, send_id: 'the same' },
  });
  const replies = await Promise.all(Array.from({ length: 6 }, () => ask(receiver.sockets.l1, frame)));
  replies.push(await ask(receiver.sockets.l1, frame));
  for (const reply of replies) expect(reply.result).toEqual({ result: ['x', { deep: [1] }] });
  expect(await there.metric('cmbs_calls')).toBe(calls + 1);
});

test('without a send id each arrival is a call', async () => {
  const calls = await there.metric('cmbs_calls');
  const frame = frameOf(unique('call'), { executable: 'True', message_content: ECHO });
  for (let time = 0; time < 3; time += 1) await ask(receiver.sockets.l1, frame);
  expect(await there.metric('cmbs_calls')).toBe(calls + 3);
});

describe('the execute action', () => {
  const resultOf = async (path: string): Promise<JsonObject> => (await here.get(path)).result;

  test('runs the call of a message here', async () => {
    const path = await here.message('l1', { executable: true, content: ECHO });
    const answer = await here.act(path, 'execute');
    expect(answer.status).toBe(200);
    expect(answer.result).toEqual({ result: ['x', { deep: [1] }] });
    expect(await resultOf(path)).toEqual({ result: ['x', { deep: [1] }] });
  });

  test('leaves a message without a call as it is', async () => {
    const path = await here.message('l1', { executable: true, content: 'text' });
    expect((await here.act(path, 'execute')).status).toBe(409);
    expect(await resultOf(path)).toBeUndefined();
  });

  test('is refused for a message that is not executable', async () => {
    const path = await here.message('l1', { executable: false, content: ECHO });
    expect((await here.act(path, 'execute')).status).toBe(409);
  });

  test('runs a call once per Idempotency-Key, and a key belongs to one message', async () => {
    const calls = await here.metric('cmbs_calls');
    const path = await here.message('l1', { executable: true, content: ECHO });
    const other = await here.message('l1', { executable: true, content: ECHO });
    const key = { 'Idempotency-Key': unique('key') };
    await Promise.all(Array.from({ length: 4 }, () => here.must(200, here.act(path, 'execute', {}, key))));
    expect(await here.metric('cmbs_calls')).toBe(calls + 1);
    expect((await here.act(other, 'execute', {}, key)).status).toBe(422);
    await here.must(200, here.act(path, 'execute'));
    expect(await here.metric('cmbs_calls')).toBe(calls + 2);
  });
});

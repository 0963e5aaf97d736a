/** A call that a crash interrupts is answered "outcome unknown" and never run again (docs/layers.md, "Calls"). */
import { readFileSync } from 'node:fs';
import type { ChildStack } from '@cmbs/emulator/child-stack';
import type { Json } from '@cmbs/shared';
import { FAULT } from '@cmbs/shared/services';
import {
  ask,
  Bench,
  freeAddresses,
  inboxOf,
  memberBody,
  messageBody,
  messageField,
  must,
  until,
} from './durability-support';
import { PATIENCE_MS } from '../patience';

const bench = new Bench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

/** A deployment that can hold calls up; `begun` resolves with the next line that a call writes. */
interface Held {
  readonly stack: ChildStack;
  readonly begun: () => Promise<string>;
}

async function start(directory: string): Promise<Held> {
  const lines: string[] = [];
  let notice = (): void => undefined;
  const stack = await bench.start({
    directory,
    program: bench.program('test/e2e/durability-program.ts'),
    onLine: (line) => {
      if (!/^(?:held|counted) /.test(line)) return;
      lines.push(line);
      notice();
    },
  });
  const begun = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no call began in time')), PATIENCE_MS);
      notice = () => {
        const line = lines.shift();
        if (line === undefined) return;
        clearTimeout(timer);
        resolve(line);
      };
      notice();
    });
  return { stack, begun };
}

const callsOf = (directory: string): readonly string[] =>
  readFileSync(`${directory}.calls`, 'utf8').trimEnd().split('\n');

const outcomeUnknown = (id: string): Json => ({
  id,
  error: { code: FAULT.outcomeUnknown, message: expect.stringContaining('unknown') as string },
});

let directory: string;
let l1: string;
beforeEach(async () => {
  // One level down, so that the list of calls beside the directory is removed with it.
  directory = `${bench.directory()}/data`;
  [l1 = ''] = await freeAddresses(1);
});

async function describeMember(url: string): Promise<void> {
  await must('PUT', `${url}/cmbs/member/m`, { body: memberBody({ l1_socket: l1 }) });
  await must('POST', `${url}/cmbs/member/m?action=start_l1`);
}

const call = (id: string, method: string): ReturnType<typeof messageBody> =>
  messageBody('l1', { message_content: { method, params: [id], id }, l1_socket_receiver_member: l1 });

it('the answer to an interrupted call of a message reaches the retrying sender and the inbox', async () => {
  const { stack, begun } = await start(directory);
  await describeMember(stack.url);
  await must('PUT', `${stack.url}/cmbs/message/cut`, { body: call('cut', 'probe.hold') });
  const sent = await must('POST', `${stack.url}/cmbs/message/cut?action=send_l1`, {
    headers: { Prefer: 'respond-async' },
  });
  expect(sent.status).toBe(202);
  expect(await begun()).toBe('held "cut"');
  await stack.kill();

  const again = await start(directory);
  // Without another request, the outbox retries the same send, and the receiver has its answer.
  const message = await until(
    async () => (await must('GET', `${again.stack.url}/cmbs/message/cut`)).json,
    (seen) => messageField(seen, 'delivery', 'state') === 'delivered',
  );
  expect(messageField(message, 'delivery', 'state')).toBe('delivered');
  expect(messageField(message, 'result', 'result')).toEqual(outcomeUnknown('cut'));
  const inbox = await inboxOf(again.stack.url, 'm');
  expect(inbox.map(({ messageId, state }) => [messageId, state])).toEqual([['cut', 'executed']]);
  expect(inbox[0]?.answer).toEqual(outcomeUnknown('cut'));
  expect(callsOf(directory)).toEqual(['held "cut"']);
});

it('an interrupted call of the execute action is answered in the message', async () => {
  const { stack, begun } = await start(directory);
  await describeMember(stack.url);
  await must('PUT', `${stack.url}/cmbs/message/cut`, { body: call('cut', 'probe.hold') });
  const key = { headers: { 'Idempotency-Key': 'once' } };
  const asked = ask('POST', `${stack.url}/cmbs/message/cut?action=execute`, key);
  expect(await begun()).toBe('held "cut"');
  await stack.kill();
  await expect(asked).rejects.toThrow();

  const again = await start(directory);
  const message = await must('GET', `${again.stack.url}/cmbs/message/cut`);
  expect(messageField(message.json, 'result')).toEqual(outcomeUnknown('cut'));
  // The client that saw no answer repeats its request; the call does not run again.
  const repeated = await must('POST', `${again.stack.url}/cmbs/message/cut?action=execute`, key);
  expect(messageField(repeated.json, 'result')).toEqual(outcomeUnknown('cut'));
  expect(callsOf(directory)).toEqual(['held "cut"']);
});

it('a call that Ctrl-C interrupts is answered within the time of a stop', async () => {
  const { stack, begun } = await start(directory);
  await describeMember(stack.url);
  await must('PUT', `${stack.url}/cmbs/message/cut`, { body: call('cut', 'probe.hold') });
  await must('POST', `${stack.url}/cmbs/message/cut?action=send_l1`, { headers: { Prefer: 'respond-async' } });
  expect(await begun()).toBe('held "cut"');
  const began = performance.now();
  expect(await stack.interrupt()).toEqual({ code: 0, signal: null });
  const seconds = (performance.now() - began) / 1000;
  process.stdout.write(`stopped in ${seconds.toFixed(2)} s with a call that never ends\n`);
  expect(seconds).toBeLessThan(20);
  // The stop is orderly, without an unhandled error.
  expect(stack.lines.filter((line) => /error|Error/.test(line))).toEqual([]);

  const again = await start(directory);
  const inbox = await until(
    () => inboxOf(again.stack.url, 'm'),
    (seen) => seen.every(({ state }) => state === 'executed'),
  );
  expect(inbox.map(({ messageId, state }) => [messageId, state])).toEqual([['cut', 'executed']]);
  // The stopping stack gives the call up; if it has no time for that, the next start finds the call interrupted.
  const message = expect.stringMatching(/it may have run|its outcome is unknown/) as string;
  expect(inbox[0]?.answer).toEqual({ id: 'cut', error: { code: FAULT.outcomeUnknown, message } });
  expect(callsOf(directory)).toEqual(['held "cut"']);
});

it('a call that ended before the crash keeps its answer', async () => {
  const { stack, begun } = await start(directory);
  await describeMember(stack.url);
  await must('PUT', `${stack.url}/cmbs/message/done`, { body: call('done', 'probe.count') });
  const sent = await must('POST', `${stack.url}/cmbs/message/done?action=send_l1`);
  expect(await begun()).toBe('counted "done"');
  const answer = { id: 'done', result: 'done' };
  expect(messageField(sent.json, 'result', 'result')).toEqual(answer);
  await stack.kill();

  const again = await start(directory);
  const [entry] = await inboxOf(again.stack.url, 'm');
  expect([entry?.state, entry?.answer]).toEqual(['executed', answer]);
  expect(callsOf(directory)).toEqual(['counted "done"']);
});

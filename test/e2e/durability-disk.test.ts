/**
 * On a full disk writes are refused, reads continue, data stays intact, and writes work again once there is space.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Request } from 'zeromq';
import {
  ask,
  Bench,
  freeAddresses,
  inboxOf,
  memberBody,
  messageBody,
  messageField,
  must,
} from './durability-support';
import { PATIENCE_MS } from '../patience';
import { itOnSmallDisk } from '../small-disk';

const DISK_MIB = 12;
const BALLAST_MIB = 5;
const FULL =
  'The disk of the data directory is full; nothing of this request was written. Free some space and repeat it.';

const bench = new Bench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

/** Creates messages until one is refused; returns how many were created. */
async function fill(url: string, name: string, characters: number): Promise<number> {
  const content = 'x'.repeat(characters);
  for (let n = 0; ; n++) {
    const body = messageBody('l1', { message_content: content }, `${name}-${n}`);
    const answer = await ask('PUT', `${url}/cmbs/message/${name}-${n}`, { body });
    if (answer.status === 201) continue;
    expect(answer.status).toBe(507);
    expect(answer.json).toEqual({ error: { code: 'storage_full', message: FULL } });
    return n;
  }
}

itOnSmallDisk('a full disk is reported with 507, and the stack survives it', async () => {
  const disk = bench.disk(DISK_MIB);
  const ballast = join(disk, 'ballast');
  writeFileSync(ballast, Buffer.alloc(BALLAST_MIB * 1024 * 1024));
  const directory = join(disk, 'data');
  const stack = await bench.start({ directory });
  const { url } = stack;
  const [l1 = ''] = await freeAddresses(1);
  await must('PUT', `${url}/cmbs/member/m`, { body: memberBody({ l1_socket: l1 }) });
  await must('POST', `${url}/cmbs/member/m?action=start_l1`);
  const small = messageBody('l1', { message_content: 'small', l1_socket_receiver_member: l1 });
  await must('PUT', `${url}/cmbs/message/small`, { body: small });

  const written = await fill(url, 'filling', 20_000);
  expect(written).toBeGreaterThan(20);
  const tiny = await fill(url, 'tiny', 10);

  // All kinds of reads continue.
  const last = await must('GET', `${url}/cmbs/message/filling-${written - 1}`);
  expect(messageField(last.json, 'message_content')).toHaveLength(20_000);
  const list = await must('GET', `${url}/cmbs/message/`);
  expect(list.json['X-OCCI-Location']).toHaveLength(written + tiny + 1);
  const filtered = await must('GET', `${url}/cmbs/message/?attribute=occi.core.title&value=filling-0`);
  expect(filtered.json['X-OCCI-Location']).toHaveLength(1);
  await must('GET', `${url}/-/`);
  await must('GET', `${url}/healthz`);
  await must('GET', `${url}/metrics`);

  // A write that does not fit is refused as a whole, from every client.
  const large = 'x'.repeat(200_000);
  const attempts: readonly (readonly [string, string, Parameters<typeof ask>[2]])[] = [
    ['POST', '/cmbs/message/small', { body: { attributes: { cmbs: { message: { message_content: large } } } } }],
    [
      'POST',
      '/cmbs/message/',
      {
        body: {
          resources: [1, 2].map((n) => ({ ...messageBody('l1', { message_content: large }), id: `b${n}` })),
        },
      },
    ],
  ];
  for (const [method, path, asked] of attempts) {
    const answer = await ask(method, url + path, asked);
    expect([answer.status, answer.json]).toEqual([507, { error: { code: 'storage_full', message: FULL } }]);
  }
  for (const id of ['b1', 'b2']) expect((await ask('GET', `${url}/cmbs/message/${id}`)).status).toBe(404);
  const unchanged = await must('GET', `${url}/cmbs/message/small`);
  expect(messageField(unchanged.json, 'message_content')).toBe('small');
  const sent = await ask('POST', `${url}/cmbs/message/small?action=send_l1`);
  expect([sent.status, sent.json]).toEqual([507, { error: { code: 'storage_full', message: FULL } }]);
  expect(await inboxOf(url, 'm')).toEqual([]);
  // A peer gets the error too, and may retry.
  const peer = new Request({ linger: 0, receiveTimeout: PATIENCE_MS });
  peer.connect(l1);
  const knocking = { ...messageBody('l1', { message_content: 'knock' }), id: 'knock' };
  await peer.send(JSON.stringify(knocking));
  const [refusal] = await peer.receive();
  expect(JSON.parse(String(refusal))).toEqual({ error: { code: 'storage_full', message: FULL } });

  rmSync(ballast);
  // The stack recovers without a restart.
  await must('PUT', `${url}/cmbs/message/after`, { body: messageBody('l1', {}) });
  await must('POST', `${url}/cmbs/message/small`, { body: { title: 'changed' } });
  const delivered = await must('POST', `${url}/cmbs/message/small?action=send_l1`);
  expect(messageField(delivered.json, 'delivery', 'state')).toBe('delivered');
  await peer.send(JSON.stringify(knocking));
  const [welcome] = await peer.receive();
  expect(JSON.parse(String(welcome))).toHaveProperty('member_description');
  peer.close();
  const receipts = await inboxOf(url, 'm');
  expect(receipts.map(({ messageId }) => messageId)).toEqual(['small', 'knock']);

  expect(await stack.interrupt()).toEqual({ code: 0, signal: null });
  const again = await bench.start({ directory });
  const there = await must('GET', `${again.url}/cmbs/message/`);
  expect(there.json['X-OCCI-Location']).toHaveLength(written + tiny + 3);
  const changed = await must('GET', `${again.url}/cmbs/message/small`);
  expect(changed.json.title).toBe('changed');
  for (const n of [0, Math.floor(written / 2), written - 1]) {
    const { json } = await must('GET', `${again.url}/cmbs/message/filling-${n}`);
    expect(messageField(json, 'message_content')).toHaveLength(20_000);
  }
});

itOnSmallDisk('a start on a full disk ends with 1 and one sentence', async () => {
  const disk = bench.disk(DISK_MIB);
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(DISK_MIB * 1024 * 1024 - 8192));
  const stack = bench.launch({ directory: join(disk, 'data') });
  expect(await stack.exited).toEqual({ code: 1, signal: null });
  expect(stack.lines).toEqual([expect.stringContaining('The disk of the data directory is full; ')]);
});

/** The log of a running `npm start` cannot be flooded from outside: frequent events are logged a few times and counted. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { extent } from '../extent';
import { ask, Bench, freeAddresses, memberBody, messageBody, must, until } from './durability-support';

const TIMES = extent(100, 200);

const bench = new Bench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

/** Writes another protocol to the socket, and waits until the connection is closed. */
async function disturb(address: string): Promise<void> {
  const { hostname, port } = new URL(address.replace('tcp:', 'http:'));
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined).resume();
  socket.write('GET / HTTP/1.1\r\nHost: there\r\n\r\n'.padEnd(100, 'x'));
  await once(socket, 'close');
}

it('broken connections, dead letters and requests without a data directory do not flood the log', async () => {
  const root = bench.directory();
  const directory = join(root, 'data');
  const stack = await bench.start({ directory, settings: { CMBS_LOG: 'info' } });
  const { url } = stack;
  const lines = (text: string): readonly string[] => stack.lines.filter((line) => line.includes(text));
  const [l1 = '', absent = ''] = await freeAddresses(2);
  await must('PUT', `${url}/cmbs/member/m`, { body: memberBody({ l1_socket: l1 }) });
  await must('POST', `${url}/cmbs/member/m?action=start_l1`);

  for (let n = 0; n < TIMES; n += 1) await disturb(l1);
  expect(lines('dropped').length).toBeGreaterThan(0);

  const expires_at = new Date(Date.now() + 1000).toISOString();
  for (let n = 0; n < TIMES; n += 1) {
    const body = messageBody('l1', { l1_socket_receiver_member: absent, expires_at });
    const made = await ask('PUT', `${url}/cmbs/message/brief-${n}`, { body });
    if (made.status !== 201) continue;
    await ask('POST', `${url}/cmbs/message/brief-${n}?action=send_l1`, { headers: { Prefer: 'respond-async' } });
  }
  await until(
    async () => lines('became a dead letter'),
    (told) => told.length > 0,
  );

  renameSync(directory, join(root, 'moved'));
  for (let n = 0; n < TIMES; n += 1) {
    expect((await ask('GET', `${url}/readyz`)).status).toBe(503);
    expect((await ask('GET', `${url}/cmbs/message/brief-${n}`)).status).toBe(503);
  }
  expect(lines('was deleted, moved or replaced').length).toBeGreaterThan(0);
  expect((await stack.interrupt()).code).toBe(0);
  expect(lines('dropped').at(-1)).toMatch(/withheld=\d+$/);
  expect(lines('request failed').at(-1)).toMatch(/withheld=\d+$/);
  const logged = stack.lines.filter((line) => /^\d{4}-\S+Z (?:info|warn|error)/.test(line));
  expect(logged.length).toBeLessThan(50);
}, 90_000);

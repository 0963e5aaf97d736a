/** The private sockets behind the relay, and their directory. */
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Request } from 'zeromq';
import { privateEndpoints } from '../../companion/exchanges/zeromq/private-endpoints';
import { Replier } from '../../companion/exchanges/zeromq/replier';
import { becomes, recordedEnvironment } from './sockets-support';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-private-'));
});
afterEach(() => rm(directory, { recursive: true }));

it('directories of killed processes are removed, even with the id of the running process', async () => {
  const gone = 2 ** 22 + 1; // no system assigns ids this high
  for (const name of [
    `${gone}-1700000000000-abcdef`,
    `${process.pid}-1700000000000-abcdef`,
    `${process.pid}-ghijkl`,
  ]) {
    await mkdir(join(directory, `cmbs-sockets-${name}`));
  }
  const alive = `cmbs-sockets-${process.ppid}-1700000000000-abcdef`;
  await mkdir(join(directory, alive));
  const first = privateEndpoints(directory);
  const second = privateEndpoints(directory);
  const names = await readdir(directory);
  expect(names).toHaveLength(3);
  expect(names).toContain(alive);
  expect(names.filter((name) => name.startsWith(`cmbs-sockets-${process.pid}-`))).toHaveLength(2);
  first.remove();
  second.remove();
  expect(await readdir(directory)).toEqual([alive]);
});

it('the log reports a peer that cannot be connected to the socket behind the relay', async () => {
  const environment = recordedEnvironment();
  const before = new Set(await readdir(tmpdir()));
  const replier = await Replier.bind('tcp://127.0.0.1:*', () => 'yes', { ...environment, errorReply: String });
  // Like a program that cleans up files that have not been opened for days.
  const made = (await readdir(tmpdir())).filter((name) => !before.has(name));
  const own = made.filter((name) => name.startsWith(`cmbs-sockets-${process.pid}-`));
  expect(own).toHaveLength(1);
  await rm(join(tmpdir(), own[0]!), { recursive: true });
  const peer = new Request({ linger: 0 });
  try {
    peer.connect(replier.address);
    await becomes(() => environment.log.errors.length > 0, 'an error is logged');
    expect(environment.log.lines.find(({ level }) => level === 'error')).toMatchObject({
      message: 'the connection between the relay and a socket failed',
      fields: { cause: { code: 'ENOENT' } },
    });
  } finally {
    peer.close();
    await replier.close(0);
    environment.context.close();
  }
});

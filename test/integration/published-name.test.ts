/** Names of Unix sockets in a directory that several processes use. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PublishedName } from '../../companion/exchanges/zeromq/published-name';
import { Replier } from '../../companion/exchanges/zeromq/replier';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { SocketContext } from '../../companion/exchanges/zeromq/options';
import type { Address } from '@cmbs/shared/broker';
import { bundleProgram } from './bundled-program';
import { recordedEnvironment, type RecordedEnvironment, within } from './sockets-support';

/** Milliseconds for the work of a child process on a busy machine. */
const START_MS = 20_000;

let directory: string;
let closing: (() => unknown)[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-ipc-'));
  closing = [];
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  await rm(directory, { recursive: true });
});

const at = (name: string): Address => ({ scheme: 'ipc', text: `ipc://${name}`, path: join(directory, name) });

/** The socket environment of one process. */
function processOf(): RecordedEnvironment {
  const environment = { ...recordedEnvironment(), context: new SocketContext() };
  closing.push(() => environment.context.close());
  return environment;
}

async function serve(name: string, environment: RecordedEnvironment, answer = 'yes'): Promise<Replier> {
  const bound = await Replier.bind(at(name), () => answer, { ...environment, errorReply: String });
  closing.push(() => bound.close(0));
  return bound;
}

async function ask(name: string, environment: RecordedEnvironment): Promise<string> {
  const requester = new Requester(at(name), environment);
  try {
    return String(await within(requester.request('?'), 'a reply'));
  } finally {
    await requester.close();
  }
}

/** 'bound', or the reason for the failure. */
const outcomeOf = (binding: Promise<Replier>): Promise<string> =>
  binding.then(
    () => 'bound',
    (error: unknown) => (error as { details: { reason: string } }).details.reason,
  );

describe('a name', () => {
  it('has one owner when two members of a process want it at once, 40 times of 40', async () => {
    const here = processOf();
    for (let round = 0; round < 40; round += 1) {
      const name = `race-${round}`;
      const outcomes = await Promise.all([outcomeOf(serve(name, here)), outcomeOf(serve(name, here))]);
      expect(outcomes.sort()).toEqual(['address in use', 'bound']);
      expect(await ask(name, here)).toBe('yes');
    }
  });

  it('has one owner when two contexts want it at once, even if a dead context owned it', async () => {
    for (let round = 0; round < 40; round += 1) {
      const [one, other] = [processOf(), processOf()];
      const name = `race-${round}`;
      if (round % 2 === 1) await symlink(`.${name}.0123456789abcdef`, join(directory, name));
      const outcomes = await Promise.all([
        outcomeOf(serve(name, one, 'one')),
        outcomeOf(serve(name, other, 'other')),
      ]);
      const [first] = outcomes;
      expect(await ask(name, processOf())).toBe(first === 'bound' ? 'one' : 'other');
      expect(outcomes.sort()).toEqual(['address in use', 'bound']);
    }
  });

  it('has one owner when three processes want it at once, 60 times of 60, and goes to the next afterwards', async () => {
    const program = bundleProgram('test/integration/ipc-child.ts');
    closing.push(() => program.remove());
    const children = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const child = fork(program.path);
        closing.push(() => child.kill('SIGKILL'));
        await within(once(child, 'message'), 'a process is ready', START_MS);
        return child;
      }),
    );
    const tell = async (child: ChildProcess, message: { readonly path?: string }): Promise<string> => {
      const answer = once(child, 'message') as Promise<[string]>;
      child.send(message);
      return (await within(answer, 'an answer', START_MS))[0];
    };
    for (let round = 0; round < 60; round += 1) {
      const path = join(directory, `race-${round}`);
      if (round % 2 === 1) await symlink(`.race-${round}.0123456789abcdef`, path);
      const outcomes = await Promise.all(children.map((child) => tell(child, { path })));
      const owner = outcomes.indexOf('bound');
      expect(outcomes.toSorted()).toEqual(['address in use', 'address in use', 'bound']);
      await tell(children[owner]!, {});
      const next = children[(owner + 1) % children.length]!;
      expect(await tell(next, { path })).toBe('bound');
      await tell(next, {});
    }
    expect(await readdir(directory)).toEqual([]);
  }, 120_000);

  it('is free after its process is killed, and leaves no file behind', async () => {
    const script = `
      const net = require('node:net'), fs = require('node:fs'), [, claim, path] = process.argv;
      net.createServer().listen(claim, () => {
        fs.symlinkSync(require('node:path').basename(claim), path);
        process.send('listening');
      });`;
    const program = join(directory, 'child.js');
    await writeFile(program, script.replace('[, claim, path]', '[, , claim, path]'));
    const { claim } = new PublishedName(join(directory, 'alice'), new Set());
    const child = fork(program, [claim, join(directory, 'alice')]);
    await once(child, 'message');
    const here = processOf();
    expect(await outcomeOf(serve('alice', here))).toBe('address in use');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const bound = await serve('alice', here);
    expect(await ask('alice', here)).toBe('yes');
    expect(await readdir(directory)).toHaveLength(3); // the bundled program, the name, and the target of the name
    await bound.close();
    expect(await readdir(directory)).toEqual(['child.js']);
  });

  it('is not taken from a file, a link or a socket of another program, dead or alive', async () => {
    const here = processOf();
    await writeFile(join(directory, 'file'), 'precious');
    await symlink('/etc/passwd', join(directory, 'link'));
    const server = createServer().listen(join(directory, 'socket'));
    await once(server, 'listening');
    closing.push(() => server.close());
    for (const name of ['file', 'link', 'socket']) {
      expect(await outcomeOf(serve(name, here))).toBe('a file of another program is there');
    }
    expect(await readFile(join(directory, 'file'), 'utf8')).toBe('precious');
    expect((await lstat(join(directory, 'link'))).isSymbolicLink()).toBe(true);
    expect((await lstat(join(directory, 'socket'))).isSocket()).toBe(true);
    expect((await readdir(directory)).sort()).toEqual(['file', 'link', 'socket']);
  });

  it('is not removed if another program has replaced it by a file', async () => {
    const bound = await serve('alice', processOf());
    await rm(join(directory, 'alice'));
    await writeFile(join(directory, 'alice'), 'precious');
    await bound.close();
    expect(await readFile(join(directory, 'alice'), 'utf8')).toBe('precious');
    expect(await readdir(directory)).toEqual(['alice']);
  });

  it('leaves the files of others in place when it is bound and released', async () => {
    const here = processOf();
    let made = 0;
    for (let round = 0; round < 60; round += 1) {
      const name = `contested-${round}`;
      if (round % 3 === 0) await symlink(`.${name}.0123456789abcdef`, join(directory, name));
      const writing = writeFile(join(directory, name), 'precious', { flag: 'wx' }).then(
        () => true,
        () => false,
      );
      const outcome = await outcomeOf(serve(name, here));
      if (!(await writing)) continue;
      made += 1;
      expect(outcome).not.toBe('bound');
      expect(await readFile(join(directory, name), 'utf8')).toBe('precious');
    }
    expect(made).toBeGreaterThan(0);
  });
});

/**
 * `npm start` as a whole: a supervisor with the stack as its child, which ends in every way in which a process can
 * end.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connect } from 'node:net';
import { LEAST_MEMORY_LIMIT_MB } from '@cmbs/shared/config';
import { type ChildStack, type ChildStackOptions, cleanEnvironment } from '@cmbs/emulator/child-stack';
import {
  ask,
  Bench,
  freeAddresses,
  memberBody,
  memberField,
  messageBody,
  must,
  until,
} from './durability-support';
import { PATIENCE_MS } from '../patience';

const CLIENTS = 8;
/** Acknowledged writes before the stack is killed. */
const WRITES = 60;

const bench = new Bench();
let supervisor: string;
beforeAll(() => {
  supervisor = bench.program('emulator/start.ts');
  copyFileSync(bench.program('emulator/main.ts'), join(dirname(supervisor), 'main.js'));
});
afterEach(() => bench.clear());
afterAll(() => bench.close());

const launch = (options: Partial<ChildStackOptions> = {}): ChildStack =>
  bench.launch({
    program: supervisor,
    directory: bench.directory(),
    ...options,
    settings: { CMBS_LOG: 'warn', ...options.settings },
  });

async function start(options: Partial<ChildStackOptions> = {}): Promise<ChildStack> {
  const stack = launch(options);
  await stack.ready();
  return stack;
}

/** The process that holds the data directory: the stack, not its supervisor. */
const stackPid = (directory: string): number => Number(readFileSync(join(directory, 'lock.pid'), 'utf8'));

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false; // ESRCH: no such process
  }
};

const isAnswering = (url: string): Promise<boolean> =>
  fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1000) }).then(
    ({ ok }) => ok,
    () => false,
  );

/** Value of the counter for a reason; 0 if the metrics do not have it. */
async function restarts(url: string, reason: string): Promise<number> {
  const { text } = await must('GET', `${url}/metrics`);
  return Number(new RegExp(`^cmbs_restarts_total\\{reason="${reason}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
}

/** Kills the stack; returns the milliseconds until it answers again. */
async function dies(stack: ChildStack, directory: string, signal: NodeJS.Signals): Promise<number> {
  const pid = stackPid(directory);
  const began = performance.now();
  process.kill(pid, signal);
  await until(async () => stackPid(directory) !== pid, Boolean);
  await until(() => isAnswering(stack.url), Boolean);
  return performance.now() - began;
}

function isOpen(address: string): Promise<boolean> {
  const { hostname, port } = new URL(address.replace('tcp:', 'http:'));
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

it('the supervisor restarts a stack that aborts or is killed, keeps every acknowledged write and counts the restart', async () => {
  const directory = bench.directory();
  const stack = await start({ directory });
  const { url } = stack;
  const [l1 = ''] = await freeAddresses(1);
  await must('PUT', `${url}/cmbs/member/m`, { body: memberBody({ l1_socket: l1 }) });
  await must('POST', `${url}/cmbs/member/m?action=start_l1`);

  const acknowledged: string[] = [];
  let reached = { count: WRITES, resolve: (): void => undefined };
  const more = (): Promise<void> =>
    new Promise((resolve) => (reached = { count: acknowledged.length + WRITES, resolve }));
  const stop = new AbortController();
  const client = async (which: number): Promise<void> => {
    for (let n = 0; !stop.signal.aborted; n++) {
      const id = `m-${which}-${n}`;
      try {
        const { status } = await ask('PUT', `${url}/cmbs/message/${id}`, { body: messageBody('l1', {}) });
        if (status === 201) acknowledged.push(id);
        if (acknowledged.length >= reached.count) reached.resolve();
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20)); // connection refused: the stack is dead
      }
    }
  };
  let underLoad = more();
  const clients = Array.from({ length: CLIENTS }, (_, which) => client(which));
  const signals = ['SIGABRT', 'SIGKILL', 'SIGSEGV'] as const;
  for (const signal of signals) {
    await underLoad;
    const ms = await dies(stack, directory, signal);
    process.stdout.write(`${signal}: answered again after ${Math.round(ms)} ms, ${acknowledged.length} writes\n`);
    expect(ms).toBeLessThan(PATIENCE_MS / 2);
    underLoad = more();
  }
  await underLoad;
  stop.abort();
  await Promise.all(clients);

  for (const id of acknowledged) await must('GET', `${url}/cmbs/message/${id}`);
  const layers = await until(
    async () => memberField((await must('GET', `${url}/cmbs/member/m`)).json, 'layers', 'l1', 'state'),
    (state) => state === 'started',
  );
  expect(layers).toBe('started');
  expect(await isOpen(l1)).toBe(true);
  for (const signal of signals) expect(await restarts(url, signal)).toBe(1);
  expect(stack.lines.filter((line) => line.includes('the stack crashed'))).toEqual(
    signals.map((signal, n): unknown =>
      expect.stringMatching(
        new RegExp(
          `warn  the stack crashed and is started again reason=${signal} restarts=${n + 1} pause_ms=\\d+$`,
        ),
      ),
    ),
  );
  expect(await stack.interrupt()).toEqual({ code: 0, signal: null });
  expect(stack.lines.at(-1)).toBe('stopped');
});

it('the supervisor restarts the stack in order when the memory limit is exceeded, and says so', async () => {
  const directory = bench.directory();
  const stack = await start({
    directory,
    program: growingProgram(),
    settings: { CMBS_MEMORY_LIMIT_MB: String(LEAST_MEMORY_LIMIT_MB) },
  });
  const pid = stackPid(directory);
  await must('PUT', `${stack.url}/cmbs/message/kept`, { body: messageBody('l1', {}) });
  process.kill(pid, 'SIGUSR2');
  await until(async () => stackPid(directory) !== pid, Boolean);
  await until(() => isAnswering(stack.url), Boolean);
  await must('GET', `${stack.url}/cmbs/message/kept`);
  expect(await restarts(stack.url, 'memory')).toBe(1);
  expect(stack.lines).toContainEqual(expect.stringMatching(/uses too much memory.* used_mb=\d+ limit_mb=192$/));
});

it.each(['SIGINT', 'SIGTERM'] as const)(
  'the supervisor passes %s on once, and ends with the code of the stack',
  async (signal) => {
    const directory = bench.directory();
    const stack = await start({ directory });
    const pid = stackPid(directory);
    const began = performance.now();
    // Like a terminal or systemd, which also signal the child.
    process.kill(pid, signal);
    const exit = await (signal === 'SIGINT' ? stack.interrupt() : stack.terminate());
    process.stdout.write(`${signal}: stopped in ${Math.round(performance.now() - began)} ms\n`);
    expect(exit).toEqual({ code: 0, signal: null });
    expect(stack.lines.at(-1)).toBe('stopped');
    expect(isAlive(pid)).toBe(false);
  },
);

it('a second Ctrl-C does not wait', async () => {
  const stack = await start();
  const first = stack.interrupt();
  const second = stack.interrupt();
  const [exit] = await Promise.all([first, second]);
  // Either the stop was complete, or the process was ended at once.
  expect([
    { code: 0, signal: null },
    { code: null, signal: 'SIGKILL' },
  ]).toContainEqual(exit);
});

it('a killed supervisor takes the stack with it, so that port and data directory are free', async () => {
  const directory = bench.directory();
  const stack = await start({ directory });
  const { url } = stack;
  const pid = stackPid(directory);
  await must('PUT', `${url}/cmbs/message/before`, { body: messageBody('l1', {}) });
  await stack.kill();
  await until(
    async () => isAlive(pid),
    (alive) => !alive,
  );
  expect(isAlive(pid)).toBe(false);
  const again = await start({ directory, port: Number(new URL(url).port) });
  await must('GET', `${again.url}/cmbs/message/before`);
  expect(again.url).toBe(url);
});

it('the supervisor does not restart a stack that cannot start, and adds nothing to its message', async () => {
  const directory = bench.directory();
  const first = await start({ directory });
  const port = Number(new URL(first.url).port);
  const taken = launch({ port });
  expect(await taken.exited).toEqual({ code: 1, signal: null });
  expect(taken.lines).toEqual([`Something listens on 127.0.0.1:${port} already; stop it or set PORT.`]);
  const second = launch({ directory });
  expect(await second.exited).toEqual({ code: 1, signal: null });
  expect(second.lines).toEqual([expect.stringContaining('is in use by another process (pid ')]);
  const wrong = launch({ settings: { CMBS_LOG: 'loud', CMBS_MEMORY_LIMIT_MB: 'much' } });
  expect(await wrong.exited).toEqual({ code: 1, signal: null });
  expect(wrong.lines).toHaveLength(2);
});

describe('a program that dies before it is ready', () => {
  /**
   * Runs a program under a supervisor that gives up after three failed starts; returns the exit code and the
   * output lines.
   */
  async function supervise(
    script: string,
  ): Promise<{ readonly code: number | null; readonly lines: readonly string[] }> {
    const program = join(bench.directory(), 'doomed.js');
    writeFileSync(program, script);
    const child = spawn(process.execPath, [bench.program('test/e2e/impatient-supervisor.ts'), program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, lines: text.trimEnd().split('\n') };
  }
  const begun = (lines: readonly string[]): number => lines.filter((line) => line === 'begun').length;
  const DIE = `process.kill(process.pid, 'SIGKILL')`;

  it('is restarted a limited number of times; then the supervisor reports this and ends with 1', async () => {
    const { code, lines } = await supervise(`process.stdout.write('begun\\n', () => ${DIE})`);
    expect(code).toBe(1);
    expect(begun(lines)).toBe(3);
    expect(lines.at(-1)).toMatch(
      /error the stack crashed too often before it was ready.* reason=SIGKILL crashes=3$/,
    );
  });

  it('has the same number of restarts again after it was ready', async () => {
    const { code, lines } = await supervise(`
      const { existsSync, writeFileSync } = require('node:fs');
      const lives = [1, 2, 3].find((n) => !existsSync(__filename + n));
      writeFileSync(__filename + (lives ?? 4), '');
      const die = () => ${DIE};
      const begin = () => (lives === 3 ? process.send({ type: 'ready', port: 1 }, die) : die());
      process.stdout.write('begun\\n', begin);
    `);
    expect(code).toBe(1);
    expect(begun(lines)).toBe(2 + 1 + 3);
  });
});

/** The supervisor with a stack that exceeds its memory limit on demand. */
function growingProgram(): string {
  const directory = join(dirname(supervisor), 'growing');
  mkdirSync(directory, { recursive: true });
  copyFileSync(supervisor, join(directory, 'program.js'));
  copyFileSync(bench.program('test/e2e/growing-program.ts'), join(directory, 'main.js'));
  return join(directory, 'program.js');
}

it('the supervisor does not start with empty data if the data directory was removed and the stack dies', async () => {
  const directory = bench.directory();
  const stack = await start({ directory });
  await must('PUT', `${stack.url}/cmbs/member/m`, { body: memberBody({}) });
  const pid = stackPid(directory);
  renameSync(directory, `${directory}.away`);
  process.kill(pid, 'SIGKILL');
  expect((await stack.exited).code).toBe(1);
  expect(existsSync(join(directory, 'cmbs.db'))).toBe(false);
  rmSync(directory, { recursive: true, force: true });
  renameSync(`${directory}.away`, directory);
  const again = await start({ directory });
  await must('GET', `${again.url}/cmbs/member/m`);
});

it('the supervisor ends when the shell of npm ends', async () => {
  const directory = bench.directory();
  // Like npm; the second command keeps the shell from replacing itself with the program.
  const shell = spawn('/bin/sh', ['-c', '"$0" "$1"; true', process.execPath, supervisor], {
    env: { ...cleanEnvironment(), npm_lifecycle_event: 'start', PORT: '0', CMBS_DATA_DIR: directory },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    shell.stdout.on('data', (text: Buffer) => {
      if (text.includes('is ready')) resolve();
    });
    shell.once('exit', () => reject(new Error('the stack did not start')));
  });
  const pid = stackPid(directory);
  shell.kill('SIGKILL');
  await until(
    async () => isAlive(pid),
    (alive) => !alive,
  );
});

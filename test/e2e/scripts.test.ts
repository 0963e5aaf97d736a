/** The scripts that the documents tell a reader to run, run by npm in a copy of the repository. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { cleanEnvironment } from '@cmbs/emulator/child-stack';
import { ROOT } from '../documents/markdown';
import { PATIENCE_MS } from '../patience';

const NOT_COPIED = new Set(['node_modules', 'dist', 'coverage', '.git', '.cmbs']);

const home = mkdtempSync(join(tmpdir(), 'cmbs-scripts-'));
const started: ChildProcess[] = [];

beforeAll(() => {
  for (const name of readdirSync(ROOT)) {
    if (!NOT_COPIED.has(name)) cpSync(join(ROOT, name), join(home, name), { recursive: true });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(home, 'node_modules'));
});

afterAll(() => {
  for (const { pid, exitCode, signalCode } of started) {
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
  }
  rmSync(home, { recursive: true, force: true });
});

const environment = (more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => ({
  ...cleanEnvironment(),
  CMBS_DATA_DIR: join(home, 'data'),
  ...more,
});

async function npm(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('npm', args, {
    cwd: home,
    env: environment(),
    timeout: PATIENCE_MS,
  });
  return stdout;
}

it('npm start starts a stack and Ctrl-C stops it; npm run backup copies its data', async () => {
  // In its own process group, which is what a terminal interrupts.
  const child = spawn('npm', ['start'], {
    cwd: home,
    env: environment({ PORT: '0' }),
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  started.push(child);
  const ended = once(child, 'exit');
  let url: string | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    url ??= /OCCI endpoint\s+(\S+)/.exec(line)?.[1];
    if (line.includes('Ctrl-C stops it')) break;
  }
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await npm('run', 'backup', '--', join(home, 'copy'))).toContain('Backed up');
  expect(existsSync(join(home, 'copy/cmbs.db'))).toBe(true);
  process.kill(-(child.pid ?? 0), 'SIGINT');
  await ended;
  await expect(fetch(`${url}/readyz`)).rejects.toThrow();
});

it('npm run demo shows two deployments, and all of its checks hold', async () => {
  expect(await npm('run', 'demo')).toMatch(/Everything held: \d+ statements checked/);
});

it('npm run docs makes the generated documents', async () => {
  const directory = join(home, 'docs/reference');
  rmSync(directory, { recursive: true });
  await npm('run', 'docs');
  const committed = join(ROOT, 'docs/reference');
  expect(readdirSync(directory).sort()).toEqual(readdirSync(committed).sort());
  for (const name of readdirSync(committed)) {
    expect(readFileSync(join(directory, name), 'utf8')).toBe(readFileSync(join(committed, name), 'utf8'));
  }
});

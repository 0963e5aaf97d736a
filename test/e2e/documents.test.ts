/**
 * Runs the commands of every document as they are written, in the order of the document, against one stack that is
 * emptied before each document, or against a stack of its own with the settings with which the document starts one. An
 * answer that a document shows after a block must match the output of the block's last command.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { silentLog, type Json } from '@cmbs/shared';
import { BUILT_IN_LAYERS, MEMBER_KIND } from '@cmbs/shared/broker';
import { readConfig } from '@cmbs/shared/config';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { differenceOf, isShownAs } from '../documents/answers';
import { commandsOf, readDocuments, ROOT, type Block, type Document } from '../documents/markdown';
import { freePort } from '../integration/free-port';
import { PATIENCE_MS } from '../patience';

/** Files that the commands use. */
const FILES = ['examples', 'test/fixtures/pycmbs'];
/** Ports that the documents and the examples name, except the endpoint's. */
const NAMED_PORTS = [...BUILT_IN_LAYERS.map(({ port }) => String(port)), '6010', '6020'];
/** Ports for members without a port of their own. */
const ALLOTTED_PORTS = 30;

const isRun = ({ language, note }: Block): boolean => language === 'sh' && (note === '' || note === 'background');

const DOCUMENTS = readDocuments().filter(({ blocks }) => blocks.some(isRun));

/**
 * The first interpreter that has pyzmq, since a distribution's package serves only its own interpreter; otherwise
 * any.
 */
function python(): { readonly path: string | undefined; readonly hasZmq: boolean } {
  const runs = (path: string, program: string): boolean =>
    spawnSync(path, ['-c', program], { timeout: PATIENCE_MS, stdio: 'ignore' }).status === 0;
  const all = ['python3', '/usr/bin/python3'].filter((path) => runs(path, 'pass'));
  const withZmq = all.find((path) => runs(path, 'import zmq'));
  return { path: withZmq ?? all[0], hasZmq: withZmq !== undefined };
}

const PYTHON = python();

/** Requirements of a block that this machine does not meet. */
function missingFor({ text }: Block): string | undefined {
  if (/\bcurl\b/.test(text) && spawnSync('curl', ['--version'], { stdio: 'ignore' }).status !== 0) return 'curl';
  const programs = [...text.matchAll(/python3 (\S+)/g)].map(([, file = '']) =>
    readFileSync(join(ROOT, file), 'utf8'),
  );
  if (programs.length > 0 && PYTHON.path === undefined) return 'python3';
  return programs.some((program) => program.includes('import zmq')) && !PYTHON.hasZmq
    ? 'python3 with pyzmq'
    : undefined;
}

const home = mkdtempSync(join(tmpdir(), 'cmbs-documents-'));
const ports = new Map<string, string>();
const background: ChildProcess[] = [];
let stack: Stack;

/** Settings before `npm start`: `NAME=value npm start`. */
const START = /^(CMBS_(?:IDENTITIES|FILES_DIR)=\S+ (?:[A-Z_]+=\S+ )*)npm start$/;

/** The block that starts a stack with settings, and the settings; undefined for a document that uses the usual stack. */
function startOf({ blocks }: Document): { readonly block: Block; readonly settings: string } | undefined {
  for (const block of blocks) {
    if (block.language !== 'sh' || block.note !== 'repository') continue;
    const [settings] = commandsOf(block.text).flatMap((command) => START.exec(command)?.[1] ?? []);
    if (settings !== undefined) return { block, settings };
  }
  return undefined;
}

/** Replaces the documents' fixed ports with free ones, so that tests can run beside a real stack. */
const moved = (text: string): string =>
  [...ports].reduce((changed, [from, to]) => changed.replaceAll(`127.0.0.1:${from}`, `127.0.0.1:${to}`), text);

function moveFiles(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) moveFiles(path);
    else writeFileSync(path, moved(readFileSync(path, 'utf8')));
  }
}

/** Settings of every stack here. */
function settingsIn(directory: string): Readonly<Record<string, string>> {
  return { PORT: '0', CMBS_DATA_DIR: join(home, directory), CMBS_LOG: 'silent' };
}

/** Starts the stack of a document that starts its own, after the other commands of the same block. */
async function startOwn({
  block,
  settings,
}: {
  readonly block: Block;
  readonly settings: string;
}): Promise<Stack> {
  for (const command of commandsOf(block.text)) {
    if (START.test(command)) break;
    await run(command, false);
  }
  const env = settings
    .trim()
    .split(' ')
    .map((setting) => {
      const [name = '', ...rest] = setting.split('=');
      const value = rest.join('=');
      // The program would run in the folder of the commands.
      return [name, existsSync(join(home, value)) ? join(home, value) : value] as const;
    });
  const config = readConfig({ ...settingsIn('own'), ...Object.fromEntries(env) });
  return startStack({ config, log: silentLog });
}

beforeAll(async () => {
  for (const port of NAMED_PORTS) ports.set(port, String(await freePort()));
  const allotted: number[] = [];
  while (allotted.length < ALLOTTED_PORTS) allotted.push(await freePort());
  const env = { ...settingsIn('data'), CMBS_PORT_RANGE: [...ports.values(), ...allotted].join(',') };
  stack = await startStack({ config: readConfig(env), log: silentLog });
  ports.set('8090', new URL(stack.url).port);
  for (const path of FILES) {
    mkdirSync(join(home, path), { recursive: true });
    cpSync(join(ROOT, path), join(home, path), { recursive: true });
    moveFiles(join(home, path));
  }
  symlinkSync(join(ROOT, 'node_modules'), join(home, 'node_modules'));
  mkdirSync(join(home, 'bin'));
  if (PYTHON.path !== undefined) {
    const { stdout } = spawnSync(PYTHON.path, ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' });
    symlinkSync(stdout.trim(), join(home, 'bin/python3'));
  }
});

afterEach(() => {
  for (const child of background.splice(0)) child.kill('SIGKILL');
});

afterAll(async () => {
  await stack.close();
  rmSync(home, { recursive: true, force: true });
});

async function must(method: string, path: string, body?: Json): Promise<void> {
  const answer = await fetch(stack.url + path, {
    method,
    headers: { 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
}

/** Empties the stack, as for a new reader. One member holds the usual ports, so that no other member gets them. */
async function beginAnew(): Promise<void> {
  await must('DELETE', '/?confirm=all');
  const sockets = BUILT_IN_LAYERS.map(({ name: layer, port }) => [
    `cmbs.member.${layer}_socket`,
    `tcp://127.0.0.1:${port}`,
  ]);
  const attributes = { ...(Object.fromEntries(sockets) as Record<string, string>), 'cmbs.member.local': 'false' };
  await must('PUT', '/cmbs/member/elsewhere', { kind: MEMBER_KIND, attributes });
}

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${join(home, 'bin')}:${process.env.PATH ?? ''}`,
});

/**
 * The output of a command. Rejects when the command fails; for curl also on an error status, unless the document
 * shows the answer.
 */
async function run(command: string, mayFail: boolean): Promise<string> {
  const isCurl = command.startsWith('curl ') && !command.includes('|');
  const line = isCurl ? `${command} -sS${mayFail ? '' : ' --fail-with-body'}` : command;
  const { stdout } = await promisify(execFile)('sh', ['-c', moved(line)], {
    cwd: home,
    env: environment(),
    timeout: PATIENCE_MS,
  });
  return stdout;
}

/** Starts a command that keeps running; resolves at its first line of output. */
async function begin(command: string): Promise<void> {
  const child = spawn('sh', ['-c', `exec ${moved(command)}`], {
    cwd: home,
    env: environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  background.push(child);
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', () => resolve());
    child.once('error', reject).once('exit', (code) => {
      reject(new Error(`${command} ended with ${code} before it wrote a line`));
    });
  });
}

function compare(shown: Block, real: string): string | undefined {
  if (shown.language === 'json')
    return differenceOf(JSON.parse(moved(shown.text)) as Json, JSON.parse(real) as Json);
  return isShownAs(moved(shown.text), real.replaceAll('\r', '')) ? undefined : `the answer is ${real}`;
}

/** The next block, if it shows an answer. */
function answerAfter({ blocks }: Document, at: number): Block | undefined {
  const next = blocks[at + 1];
  return next !== undefined && ['json', 'text'].includes(next.language) ? next : undefined;
}

async function runBlock(document: Document, at: number): Promise<void> {
  const block = document.blocks[at] as Block;
  const commands = commandsOf(block.text);
  if (commands.length === 0) throw new Error('the block has no command');
  if (block.note === 'background') {
    for (const command of commands) await begin(command);
    return;
  }
  const answer = answerAfter(document, at);
  let real = '';
  for (const [index, command] of commands.entries()) {
    real = await run(command, answer !== undefined && index === commands.length - 1);
  }
  const difference = answer === undefined ? undefined : compare(answer, real);
  if (difference !== undefined) throw new Error(`line ${answer?.line}: ${difference}`);
}

describe('the commands of the documents', () => {
  it('are found', () => {
    const blocks = DOCUMENTS.flatMap((document) => document.blocks.filter(isRun));
    expect(blocks.length).toBeGreaterThan(20);
    expect(
      DOCUMENTS.flatMap((document) => document.blocks.filter((_, at) => answerAfter(document, at))).length,
    ).toBeGreaterThan(8);
  });

  async function runAll(path: string, document: Document): Promise<void> {
    for (const [at, block] of document.blocks.entries()) {
      if (!isRun(block)) continue;
      const missing = missingFor(block);
      if (missing !== undefined) {
        if (process.env.CI === 'true')
          throw new Error(`${path}:${block.line} needs ${missing}, which CI must have`);
        console.warn(`skipped: ${path} from line ${block.line} on, since this machine has no ${missing}`);
        return;
      }
      await runBlock(document, at).catch((cause: unknown) => {
        throw new Error(`${path}:${block.line}: ${cause instanceof Error ? cause.message : String(cause)}`, {
          cause,
        });
      });
    }
  }

  it.each(DOCUMENTS.map((document) => [document.path, document] as const))('run in %s', async (path, document) => {
    const start = startOf(document);
    if (start === undefined) {
      await beginAnew();
      await runAll(path, document);
      return;
    }
    const own = await startOwn(start);
    const usual = ports.get('8090') ?? '';
    ports.set('8090', new URL(own.url).port);
    try {
      await runAll(path, document);
    } finally {
      ports.set('8090', usual);
      await own.close();
      rmSync(join(home, 'own'), { recursive: true });
    }
  });
});

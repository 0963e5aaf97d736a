import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock, type Json, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { readDocument, ROOT } from '../../documents/markdown';
import { PATIENCE_MS } from '../../patience';
import { becomes, within } from '../../waits';
import { bundleProgram } from '../bundled-program';
import { freePort } from '../free-port';
import { eventually } from '../../e2e/harness';
import { Modules, moduleOf, moduleReturning, WorkerProgram, writeModule } from './support';
import { serveStore } from './shared-store';
import { MemoryStore } from '../../../examples/extending/memory-store';

let worker: WorkerProgram;

beforeAll(() => {
  worker = new WorkerProgram();
});
afterAll(() => worker.remove());

describe('the local stack with a directory of modules', () => {
  let stack: Stack;
  let data: string;
  let directory: string;
  let files: string;
  let address: string;

  async function ask(method: string, target: string, body: JsonObject): Promise<JsonObject> {
    const response = await fetch(stack.url + target, {
      method,
      headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
      signal: AbortSignal.timeout(PATIENCE_MS),
      body: JSON.stringify(body),
    });
    return (await response.json()) as JsonObject;
  }

  async function call(method: string, params: readonly Json[]): Promise<Json | undefined> {
    const message = await ask('POST', '/cmbs/message/?send', {
      kind: 'http://houssem.org/cmbs#message',
      mixins: ['http://houssem.org/cmbs#l1'],
      attributes: {
        'cmbs.message.l1_socket_receiver_member': address,
        'cmbs.message.message_content': { method, params, id: 1 },
      },
    });
    const { 'cmbs.message.result': result } = message.attributes as JsonObject;
    return (result as JsonObject).result;
  }

  beforeAll(async () => {
    data = mkdtempSync(join(tmpdir(), 'cmbs-stack-'));
    directory = mkdtempSync(join(tmpdir(), 'cmbs-modules-'));
    files = mkdtempSync(join(tmpdir(), 'cmbs-files-'));
    cpSync(join(ROOT, 'examples/modules'), directory, { recursive: true });
    const settings = join(data, 'settings.json');
    writeFileSync(settings, JSON.stringify({ station: { tokyo: 31 } }));
    const config = readConfig({
      PORT: '0',
      CMBS_DATA_DIR: data,
      CMBS_PORT_RANGE: '1024-65535',
      CMBS_MODULES_DIR: directory,
      CMBS_MODULE_SETTINGS: settings,
      CMBS_MODULE_ERRORS: 'fatal',
      CMBS_FILES_DIR: files,
    });
    stack = await startStack({
      config,
      log: silentLog,
      modules: { workerFile: worker.path, functions: { 'test.double': (_caller, [n]) => Number(n) * 2 } },
    });
    address = `tcp://127.0.0.1:${await freePort()}`;
    await ask('PUT', '/cmbs/member/one', {
      kind: 'http://houssem.org/cmbs#member',
      attributes: { 'cmbs.member.l1_socket': address, 'cmbs.member.start': ['l1'] },
    });
  });
  afterAll(async () => {
    await stack.close();
    rmSync(data, { recursive: true });
    rmSync(directory, { recursive: true });
    rmSync(files, { recursive: true });
  });

  it('calls a module by a message', async () => {
    expect(await call('weather.forecast', ['tokyo'])).toEqual({ id: 1, result: 'sunny' });
    expect(await call('weather.forecast', ['constructor'])).toMatchObject({
      error: { code: 404, message: 'There is no forecast for this city.' },
    });
  });

  it('calls a module in TypeScript, which has settings and calls another module', async () => {
    expect(await call('station.report', ['tokyo'])).toEqual({
      id: 1,
      result: { temperature: 31, forecast: 'sunny' },
    });
  });

  it('keeps the data of a module, and of a caller', async () => {
    expect(await call('visits.visit', ['oslo'])).toEqual({ id: 1, result: { all: 1, yours: 1 } });
    expect(await call('visits.visit', ['rome'])).toEqual({ id: 1, result: { all: 1, yours: 1 } });
    expect(await call('visits.merge', ['rome', 'oslo'])).toEqual({ id: 1, result: 2 });
    expect(await call('visits.merge', ['rome', 'oslo'])).toMatchObject({ error: { code: 404 } });
    expect(await call('kv.increment', ['own', 'n', 5])).toEqual({ id: 1, result: 5 });
    expect(await call('kv.list_any', ['module:visits', 'visits'])).toMatchObject({
      result: {
        entries: expect.arrayContaining([
          { key: 'oslo', value: 2, revision: expect.any(String) as string },
        ]) as Json,
      },
    });
    expect(await call('kv.all_databases', [])).toEqual({
      id: 1,
      result: {
        owners: expect.arrayContaining([
          { owner: 'module:visits', databases: ['visits'], reserved_bytes: expect.any(Number) as number },
        ]) as Json,
        next: '',
      },
    });
  });

  it('takes a module that is dropped in, with the functions of the program', async () => {
    cpSync(join(directory, 'weather'), join(directory, 'copied'), { recursive: true });
    expect(await call('copied.forecast', ['oslo'])).toEqual({ id: 1, result: 'snow' });
    writeFileSync(
      join(directory, 'copied', 'index.mjs'),
      moduleOf({ double: '({ test }, [n]) => test.double(n)' }),
    );
    expect(await call('copied.double', [4])).toEqual({ id: 1, result: 8 });
  });

  it('gives a module the files and the services of the program', async () => {
    writeModule(
      directory,
      'archive',
      moduleOf({
        keep: `async ({ file }, [name, text]) => {
          await file.put(name, Buffer.from(text));
          return [Buffer.from(await file.read(name)).toString(), await file.md5(name), (await file.ls()).entries[0].size];
        }`,
        publish: `async ({ discovery }, [name]) => {
          await discovery.register([{ name, endpoint: [{ uri: 'https://a.example/', encoding: 'x' }] }]);
          return [(await discovery.find({ name })).services.length, (await discovery.listNames()).names.includes(name)];
        }`,
        escape: `({ file }) => file.read('../secret')`,
      }),
    );
    expect(await call('archive.keep', ['note', 'text'])).toEqual({
      id: 1,
      result: ['text', createHash('md5').update('text').digest('hex'), 4],
    });
    expect(await call('archive.publish', ['mine'])).toEqual({ id: 1, result: [1, true] });
    expect(await call('archive.escape', [])).toMatchObject({
      error: { code: -32000, data: { code: 'bad_request' } },
    });
  });

  it('runs a schedule as docs/services.md shows', async () => {
    const shown = readDocument('docs/services.md').blocks.find(({ text }) => text.includes('"schedule.cron"'));
    const { method, params } = JSON.parse(shown?.text ?? '') as {
      readonly method: string;
      readonly params: readonly Json[];
    };
    const { result: id } = (await call(method, params)) as { readonly result: string };
    await call('schedule.run_now', [id]);
    const schedule = await eventually(
      () => call('schedule.get', [id]),
      (answer) => JSON.stringify(answer).includes('"outcome"'),
      'it has run',
    );
    expect(schedule).toMatchObject({
      result: { title: 'forecast', state: 'active', runs: 1, last: { outcome: 'answer', result: 'sunny' } },
    });
  });

  it('gives schedules to modules, for their callers', async () => {
    writeModule(
      directory,
      'planner',
      moduleOf({
        plan: "({ schedule }, [city]) => schedule.at(new Date(Date.now() + 3_600_000), 'weather.forecast', [city])",
        drop: '({ schedule }, [id]) => schedule.cancel(id)',
        push: '({ schedule }, [id]) => schedule.runNow(id)',
      }),
    );
    const { result: id } = (await call('planner.plan', ['oslo'])) as { readonly result: string };
    expect(await call('schedule.get', [id])).toMatchObject({
      result: { owner: 'anonymous:anonymous', method: 'weather.forecast', args: ['oslo'], state: 'active' },
    });
    expect(await call('planner.push', [id])).toMatchObject({ result: { id } });
    expect(await call('planner.drop', [id])).toEqual({ id: 1, result: true });
    expect(await call('planner.drop', [id])).toMatchObject({
      error: { code: -32000, data: { code: 'not_found' } },
    });
  });
});

it('methods of modules are unavailable, and not unknown, while the local stack starts', async () => {
  const data = mkdtempSync(join(tmpdir(), 'cmbs-stack-'));
  const modules = mkdtempSync(join(tmpdir(), 'cmbs-modules-'));
  writeModule(modules, 'slow', moduleReturning(1, 'export const startup = (server) => server.test.wait();'));
  let go = (): void => undefined;
  const waiting = new Promise<null>((resolve) => (go = () => resolve(null)));
  const port = await freePort();
  const call = async (): Promise<JsonObject | undefined> => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/rpc`, {
        method: 'POST',
        signal: AbortSignal.timeout(PATIENCE_MS),
        body: '{"jsonrpc":"2.0","id":1,"method":"slow.value"}',
      });
      return (await response.json()) as JsonObject;
    } catch {
      return undefined; // it does not listen yet
    }
  };
  const starting = startStack({
    config: readConfig({
      PORT: String(port),
      CMBS_DATA_DIR: data,
      CMBS_PORT_RANGE: '1024-65535',
      CMBS_MODULES_DIR: modules,
    }),
    log: silentLog,
    modules: { workerFile: worker.path, functions: { 'test.wait': () => waiting } },
  });
  try {
    const first = await eventually(call, (answer) => answer !== undefined, 'the endpoint answers');
    expect(first).toMatchObject({ error: { code: -32000, data: { code: 'unavailable' } } });
    go();
    await starting;
    expect(await call()).toMatchObject({ result: 1 });
  } finally {
    go();
    await (await starting).close();
    rmSync(data, { recursive: true });
    rmSync(modules, { recursive: true });
  }
});

it.each([
  ['a directory that is not there', { CMBS_MODULES_DIR: '/nowhere/modules' }, /is not a directory/],
  [
    'settings that are not there',
    { CMBS_MODULES_DIR: join(ROOT, 'examples/modules'), CMBS_MODULE_SETTINGS: '/nowhere.json' },
    /CMBS_MODULE_SETTINGS cannot be read \(ENOENT\)/,
  ],
])('the local stack does not start with %s', async (_what, settings, says) => {
  const data = mkdtempSync(join(tmpdir(), 'cmbs-stack-'));
  try {
    const config = readConfig({ PORT: '0', CMBS_DATA_DIR: data, ...settings });
    await expect(startStack({ config, log: silentLog, modules: { workerFile: worker.path } })).rejects.toThrow(
      says,
    );
  } finally {
    rmSync(data, { recursive: true });
  }
});

/** The debugger that comes with Node.js, by its standard input and output. */
class Debugger {
  readonly #child: ChildProcess;
  #output = '';

  constructor(address: string) {
    this.#child = spawn(process.execPath, ['inspect', address], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout?.on('data', (text: Buffer) => (this.#output += text.toString()));
  }

  /** Waits until the debugger has written text; what it writes next is looked for from there. */
  async says(text: string): Promise<void> {
    await becomes(() => this.#output.includes(text), `${text}: ${this.#output}`);
    this.#output = this.#output.slice(this.#output.indexOf(text) + text.length);
  }

  enter(command: string): void {
    this.#child.stdin?.write(`${command}\n`);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

describe('under a debugger', () => {
  it('modules run on the main thread, and can be loaded again', async () => {
    const modules = new Modules(worker);
    const program = bundleProgram('test/integration/modules/host-child.ts');
    let child: ChildProcess | undefined;
    try {
      const source = (more: string): string =>
        moduleOf(
          { value: '() => 1' },
          `import inspector from 'node:inspector';
import { isMainThread } from 'node:worker_threads';
export const startup = (server) => server.test.tell([isMainThread, inspector.url() !== undefined, '${more}'].join());`,
        );
      modules.write('table/index.mjs', source('first'));
      modules.write(
        'typed/index.ts',
        `import { part } from './part';
export const methods = {};
export const startup = (server: { test: { tell(text: string): Promise<void> } }) => server.test.tell(part as string);`,
      );
      modules.write('typed/part.ts', "export const part: string = 'part 1';");
      const events: unknown[] = [];
      let output = '';
      child = fork(program.path, [modules.directory, worker.path, '{}', require.resolve('esbuild')], {
        execArgv: ['--inspect=127.0.0.1:0'],
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      child.on('message', (message: object) => 'event' in message && events.push(message.event));
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (text: Buffer) => (output += text.toString()));
      }
      serveStore(child, new MemoryStore(systemClock, silentLog));
      const told = (text: string): Promise<void> => becomes(() => events.includes(text), `${text}: ${output}`);
      await told('true,true,first');
      await told('part 1');
      await told('open');
      modules.write('table/index.mjs', source('second'));
      await told('true,true,second');
      modules.write('typed/part.ts', "export const part: string = 'part 2';");
      await told('part 2');
      const exited = once(child, 'exit');
      child.send({ close: true });
      await told('closed');
      await within(exited, 'the process has ended');
    } finally {
      child?.kill('SIGKILL');
      program.remove();
      await modules.close();
    }
  });

  it('a breakpoint in a method stops the method', async () => {
    const directory = join(ROOT, 'examples/modules');
    const program = bundleProgram('test/integration/modules/host-child.ts');
    let attached: Debugger | undefined;
    const events: unknown[] = [];
    const child = fork(program.path, [directory, worker.path, '{}', require.resolve('esbuild')], {
      execArgv: ['--inspect=127.0.0.1:0'],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    try {
      let output = '';
      child.on('message', (message: object) => 'event' in message && events.push(message.event));
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (text: Buffer) => (output += text.toString()));
      }
      serveStore(child, new MemoryStore(systemClock, silentLog));
      await becomes(() => events.includes('open'), `the host is open: ${output}`);
      const [, address = ''] = /ws:\/\/([^/]+)\//.exec(output) ?? [];
      attached = new Debugger(address);
      await attached.says('debug>');
      const line =
        1 +
        readFileSync(join(directory, 'weather/index.mjs'), 'utf8')
          .split('\n')
          .findIndex((text) => text.includes('if (forecast'));
      attached.enter(`setBreakpoint('weather/index.mjs', ${line})`);
      await attached.says(`>${line} `);
      child.send({ call: ['weather.forecast', ['tokyo']] });
      await attached.says('break in');
      await attached.says(`weather/index.mjs:${line}`);
      attached.enter("exec [city, forecast].join(' is ')");
      await attached.says('tokyo is sunny');
      expect(events).toEqual(['open']);
      attached.enter('cont');
      await becomes(() => events.includes('weather.forecast returned "sunny"'), 'the method goes on');
    } finally {
      attached?.kill();
      child.kill('SIGKILL');
      program.remove();
    }
  });
});

describe('docs/services.md', () => {
  it('shows the example as it is, in 15 lines without the comment', () => {
    const [shown, keeping] = readDocument('docs/services.md').blocks.filter(({ language }) => language === 'js');
    const visits = readFileSync(join(ROOT, 'examples/modules/visits/index.mjs'), 'utf8');
    expect(keeping?.text.trim()).toBe(visits.trim());
    const example = readFileSync(join(ROOT, 'examples/modules/weather/index.mjs'), 'utf8');
    expect(shown?.text.trim()).toBe(example.trim());
    expect(
      example
        .trim()
        .split('\n')
        .filter((line) => !line.startsWith('/**')).length,
    ).toBe(15);
  });

  it('says of the types for authors that the file imports nothing', () => {
    expect(readFileSync(join(ROOT, 'shared/services/modules/kit.ts'), 'utf8')).not.toMatch(/^import|require\(/m);
  });
});

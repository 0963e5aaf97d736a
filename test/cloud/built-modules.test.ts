/**
 * A deployment that was built with service modules (`npm run build -- --modules DIR`): the function `rpc` and the
 * companion as they are deployed, in folders without the sources and the packages of the modules.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { unzipSync } from 'fflate';
import type { JsonObject } from '@cmbs/shared';
import { eventually, MEMBER, MESSAGE } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { PATIENCE_MS } from '../patience';
import { cloudEnvironment } from './deployment';
import { Program } from './processes';
import { describeOnEmulators } from './support';

const ROOT = resolve(__dirname, '../..');
const SOURCES = ['shared', 'functions', 'companion', 'terraform', 'node_modules', 'package.json', 'tsconfig.json'];

const MODULES = {
  // In TypeScript, with a part, a package of its own, and a file that is no code.
  'convert/index.ts': `
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { factor } from 'miles-of-a-package';
import { rounded } from './part';
const title: string = readFileSync(join(__dirname, 'data', 'title.txt'), 'utf8').trim();
export const version = '2.1.0';
export const methods = {
  miles: { documentation: 'Converts.', signatures: ['double,double'], call: (_context: unknown, [km]: [number]) => rounded(km * factor) },
  title: { documentation: 'The title.', signatures: ['string'], call: () => title },
  fail: { documentation: 'Fails.', signatures: ['int'], call: () => { throw new Error('on purpose'); } },
};`,
  'convert/part.ts': 'export const rounded = (n: number): number => Math.round(n * 1000) / 1000;',
  'convert/data/title.txt': 'Miles\n',
  'convert/node_modules/miles-of-a-package/package.json': '{"name":"miles-of-a-package","main":"main.js"}',
  'convert/node_modules/miles-of-a-package/main.js':
    "exports.factor = require('node:util').format('%s', 0.621371) * 1;",
  'count/index.mjs': `
export const methods = {
  up: { documentation: 'Counts.', signatures: ['int'], call: ({ kv }) => kv.increment('counts', 'calls') },
};`,
} as const;

describeOnEmulators('built with service modules', (hosts) => {
  const programs: Program[] = [];
  let tree: string;
  let dist: string;
  let rpc: string;
  let member: string;

  async function ask(url: string, method: string, body: JsonObject): Promise<JsonObject> {
    const response = await fetch(url, {
      method,
      headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
      signal: AbortSignal.timeout(PATIENCE_MS),
      body: JSON.stringify(body),
    });
    return (await response.json()) as JsonObject;
  }

  const call = (method: string, params: readonly (string | number)[] = []): Promise<JsonObject> =>
    ask(`${rpc}/rpc`, 'POST', { jsonrpc: '2.0', method, params, id: 1 });

  beforeAll(async () => {
    tree = realpathSync(mkdtempSync(join(tmpdir(), 'cmbs-built-')));
    dist = join(tree, 'dist');
    for (const name of SOURCES) symlinkSync(join(ROOT, name), join(tree, name));
    for (const [path, source] of Object.entries(MODULES)) {
      mkdirSync(dirname(join(tree, 'modules', path)), { recursive: true });
      writeFileSync(join(tree, 'modules', path), source);
    }
    await promisify(execFile)(process.execPath, [join(ROOT, 'build.mjs'), '--modules', 'modules'], { cwd: tree });
    rmSync(join(tree, 'modules'), { recursive: true });
    const settings = { ...(await cloudEnvironment(hosts, { CMBS_LOG: 'info' })), NODE_ENV: 'production' };
    programs.push(new Program(join(dist, 'companion', 'main.js'), [], settings));
    const start = async (name: string, target: string): Promise<string> => {
      const port = await freePort();
      const program = new Program(
        join(ROOT, 'node_modules/@google-cloud/functions-framework/build/src/main.js'),
        [`--target=${target}`, `--source=${join(dist, 'functions', name)}`],
        { ...settings, PORT: String(port) },
      );
      programs.push(program);
      await program.answers(`http://127.0.0.1:${port}/`);
      return `http://127.0.0.1:${port}`;
    };
    [rpc = '', member = ''] = await Promise.all([start('rpc', 'rpc'), start('occi', 'occi')]);
  }, 240_000);

  afterAll(async () => {
    await Promise.all(programs.map((program) => program.stop()));
    rmSync(tree, { recursive: true, force: true });
  });

  it('the functions that call methods have the modules, also in their zips, and the others do not', async () => {
    const expected = [
      'code.js',
      'index.js',
      'module-worker.js',
      'modules/convert/data/title.txt',
      'modules/convert/index.js',
      'modules/count/index.mjs',
      'package.json',
    ];
    for (const name of ['rpc', 'topic-push']) {
      const zip = unzipSync(await readFile(join(dist, 'functions', `${name}.zip`)));
      expect(Object.keys(zip).sort()).toEqual(expected);
    }
    expect(await readdir(join(dist, 'functions', 'query'))).toEqual(['code.js', 'index.js', 'package.json']);
  });

  it('no file of a module contains a path of the build machine', async () => {
    for (const path of ['convert/index.js', 'count/index.mjs']) {
      const text = await readFile(join(dist, 'companion/modules', path), 'utf8');
      const [, map = ''] = /sourceMappingURL=data:application\/json;base64,(\S+)/.exec(text) ?? [];
      for (const content of [text, Buffer.from(map, 'base64').toString()]) expect(content).not.toContain(tree);
    }
  });

  it('the function rpc calls their methods, with everything that they import', async () => {
    expect(await call('convert.miles', [10])).toMatchObject({ result: 6.214 });
    expect(await call('convert.title')).toMatchObject({ result: 'Miles' });
    expect((await call('system.list_modules')).result).toContainEqual(
      expect.objectContaining({ name: 'convert', version: '2.1.0', built_in: false }),
    );
  });

  it('a failure is in the log with the line of the source', async () => {
    expect(await call('convert.fail')).toMatchObject({ error: { code: -32603 } });
    const stacks = programs.flatMap(({ lines }) => lines.filter((line) => line.includes('on purpose')));
    expect(stacks.join('\n')).toMatch(/convert\/index\.ts:11:/);
  });

  it('the companion has the same modules and the same data', async () => {
    expect(await call('count.up')).toMatchObject({ result: 1 });
    await ask(`${member}/cmbs/member/one`, 'PUT', { kind: MEMBER, attributes: { 'cmbs.member.state': 'active' } });
    await ask(`${member}/cmbs/message/count`, 'PUT', {
      kind: MESSAGE,
      attributes: { 'cmbs.message.message_content': { method: 'count.up', params: [], id: 7 } },
    });
    const message = await eventually(
      () => ask(`${member}/cmbs/message/count?action=execute`, 'POST', { attributes: { from: 'one' } }),
      (answer) => JSON.stringify(answer).includes('"result"'),
      'the companion executes the message',
      PATIENCE_MS,
    );
    expect(JSON.stringify(message)).toContain('{"id":7,"result":2}');
    expect(await call('count.up')).toMatchObject({ result: 3 });
  });
});

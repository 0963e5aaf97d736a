/**
 * Deployed bundles: each bundle in an empty folder outside this repository, installed by npm and started as its
 * package.json says, so that a dependency on the workspaces would fail.
 */
import { cp, mkdtemp, readdir, readFile, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { JsonObject } from '@cmbs/shared';
import functions from '../../terraform/routes.json';
import { CMBS, MEMBER, MESSAGE, type Delivery } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { cloudEnvironment, type EnvironmentVariables } from './deployment';
import { install } from './npm';
import { Program } from './processes';
import { describeOnEmulators } from './support';
import { PATIENCE_MS } from '../patience';

const ROOT = resolve(__dirname, '../..');
const DIST = join(ROOT, 'dist');

/** Functions that the test starts: a query, those that prepare a send, and a send, which uses the bus. */
const STARTED = ['query', 'member', 'message', 'message-send-l32'] as const;

interface Package {
  readonly main: string;
  readonly scripts: { readonly start: string };
  readonly dependencies: Readonly<Record<string, string>>;
}

async function packageOf(bundle: string): Promise<Package> {
  return JSON.parse(await readFile(join(DIST, bundle, 'package.json'), 'utf8')) as Package;
}

/** The `start` script of a folder, run without npm, which would not pass signals on to the program. */
class Started extends Program {
  readonly url: string;

  private constructor(directory: string, script: string, url: string, environment: EnvironmentVariables) {
    const { PATH = '' } = process.env;
    super(
      { command: 'sh' },
      ['-c', `exec ${script}`],
      { NODE_ENV: 'production', ...environment, PATH: `${join(directory, 'node_modules/.bin')}:${PATH}` },
      { cwd: directory },
    );
    this.url = url;
  }

  static async in(directory: string, url: string, environment: EnvironmentVariables): Promise<Started> {
    const { scripts } = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Package;
    return new Started(directory, scripts.start, url, environment);
  }

  async request(method: string, target: string, body?: JsonObject): Promise<{ status: number; json: JsonObject }> {
    const response = await fetch(this.url + target, {
      method,
      headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, json: (text === '' ? {} : JSON.parse(text)) as JsonObject };
  }
}

describeOnEmulators('in the build output', (hosts) => {
  test('every function of the table has a complete folder', async () => {
    for (const { name, entryPoint } of functions) {
      const folder = join(DIST, 'functions', name);
      expect([name, (await readdir(folder)).sort()]).toEqual([name, ['code.js', 'index.js', 'package.json']]);
      const { main, scripts } = await packageOf(`functions/${name}`);
      expect({ main, scripts }).toEqual({
        main: 'index.js',
        scripts: { start: `functions-framework --target=${entryPoint}` },
      });
    }
  });

  test('every folder belongs to a function of the table', async () => {
    const entries = await readdir(join(DIST, 'functions'), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    expect(folders.sort()).toEqual(functions.map(({ name }) => name).sort());
  });

  test('the folders depend only on packages that cannot be bundled, in one version each', async () => {
    const version = expect.stringMatching(/^\d+\.\d+\.\d+$/) as string;
    for (const { name } of functions) {
      const { dependencies } = await packageOf(`functions/${name}`);
      expect([name, dependencies]).toEqual([name, { '@google-cloud/functions-framework': version }]);
    }
    expect((await packageOf('companion')).dependencies).toEqual({ zeromq: version });
  });

  test('no file contains a path of the build machine', async () => {
    const folders = ['companion', ...functions.map(({ name }) => `functions/${name}`)];
    for (const folder of folders) {
      for (const file of await readdir(join(DIST, folder))) {
        const content = await readFile(join(DIST, folder, file));
        expect([folder, file, content.includes(ROOT)]).toEqual([folder, file, false]);
      }
    }
  });

  describe('installed in an empty folder', () => {
    const programs = new Map<string, Started>();
    let directory: string;

    const program = (name: string): Started => {
      const found = programs.get(name);
      if (found === undefined) throw new Error(`${name} was not started`);
      return found;
    };

    beforeAll(async () => {
      directory = await realpath(await mkdtemp(join(tmpdir(), 'cmbs-deployed-')));
      const companion = join(directory, 'companion');
      const [first, ...others] = STARTED.map((name) => join(directory, name)) as [string, ...string[]];
      await cp(join(DIST, 'companion'), companion, { recursive: true });
      await Promise.all(
        STARTED.map((name) => cp(join(DIST, 'functions', name), join(directory, name), { recursive: true })),
      );
      await Promise.all([install(first), install(companion)]);
      // All folders have the same dependencies, so one installation serves all and is faster.
      await Promise.all(others.map((other) => symlink(join(first, 'node_modules'), join(other, 'node_modules'))));
      const settings = await cloudEnvironment(hosts, { CMBS_LOG: 'warn' });
      const control = `http://127.0.0.1:${settings.CMBS_CONTROL_PORT}`;
      programs.set('companion', await Started.in(companion, control, settings));
      for (const name of STARTED) {
        const port = String(await freePort());
        const folder = join(directory, name);
        programs.set(name, await Started.in(folder, `http://127.0.0.1:${port}`, { ...settings, PORT: port }));
      }
      await Promise.all(STARTED.map((name) => program(name).answers(`${program(name).url}/healthz`)));
    }, 240_000);

    afterAll(async () => {
      await Promise.all([...programs.values()].map((one) => one.stop()));
      await rm(directory, { recursive: true, force: true });
    });

    test('the companion starts and holds its shard', async () => {
      const companion = program('companion');
      await companion.answers(`${companion.url}/healthz`, 200);
      await companion.answers(`${companion.url}/readyz`, 200);
    });

    test('a function without the bus answers from the store', async () => {
      const { status, json } = await program('query').request('GET', '/-/');
      expect(status).toBe(200);
      expect(json.kinds).toContainEqual(expect.objectContaining({ term: 'member' }));
    });

    test('a function with the bus publishes messages that other functions stored', async () => {
      const member = await program('member').request('PUT', '/cmbs/member/alice', {
        kind: MEMBER,
        attributes: { 'cmbs.member.state': 'active', 'cmbs.member.local': 'true' },
      });
      expect(member.status).toBe(201);
      const message = await program('message').request('PUT', '/cmbs/message/hello', {
        kind: MESSAGE,
        mixins: [`${CMBS}l32`],
        attributes: {
          'cmbs.message.executable': 'false',
          'cmbs.message.sendable': 'true',
          'cmbs.message.storable': 'true',
          'cmbs.message.message_content': 'hello',
          'cmbs.message.topics': ['news.today'],
        },
      });
      expect(message.status).toBe(201);
      const { status, json } = await program('message-send-l32').request(
        'POST',
        '/cmbs/message/hello?action=send_l32',
        { attributes: { from: 'alice' } },
      );
      expect(status).toBe(200);
      const { 'cmbs.message.delivery': delivery } = json.attributes as JsonObject;
      // No companion of this test delivers the topic message.
      expect((delivery as unknown as Delivery).state).toBe('published');
    });

    test('each program ends when it is stopped, and no longer answers', async () => {
      await Promise.all([...programs.values()].map((one) => one.stop()));
      for (const { url } of programs.values()) await expect(fetch(url)).rejects.toThrow('fetch failed');
    });
  });
});

import type { PortCaller } from '@cmbs/shared/services';
import { moduleOf, moduleReturning, Modules, WorkerProgram } from './support';
import { becomes } from '../../waits';

let worker: WorkerProgram;
let modules: Modules;
let told: string[];

beforeAll(() => {
  worker = new WorkerProgram();
});
afterAll(() => worker.remove());
beforeEach(() => {
  modules = new Modules(worker);
  told = [];
});
afterEach(() => modules.close());

const functions = {
  'test.tell': (_caller: PortCaller, [text]: readonly unknown[]) => {
    told.push(String(text));
    return null;
  },
};

const hooked = (more = ''): string =>
  moduleReturning(
    1,
    `let server;
export const startup = async (given, config) => {
  server = given;
  await server.test.tell('start ' + server.name);
};
export const shutdown = () => server.test.tell('stop ' + server.name);
${more}`,
  );

describe('startup and shutdown', () => {
  it('run in the order of dependencies, then of init_priority, then of names, and in reverse at the end', async () => {
    modules.write('alpha/index.mjs', hooked("export const depends = ['zeta'];"));
    modules.write('beta/index.mjs', hooked());
    modules.write('gamma/index.mjs', hooked('export const init_priority = 200;'));
    modules.write('first/index.mjs', hooked('export const init_priority = -1;'));
    modules.write('zeta/index.mjs', hooked("export const depends = ['echo'];"));
    await modules.open({ functions });
    expect(told).toEqual(['first', 'beta', 'zeta', 'alpha', 'gamma'].map((name) => `start ${name}`));
    told.splice(0);
    await modules.close();
    expect(told).toEqual(['gamma', 'alpha', 'zeta', 'beta', 'first'].map((name) => `stop ${name}`));
  });

  it('do not start modules that depend on each other in a circle, and start the others', async () => {
    modules.write('one/index.mjs', hooked("export const depends = ['two'];"));
    modules.write('two/index.mjs', hooked("export const depends = ['one'];"));
    modules.write('three/index.mjs', hooked("export const depends = ['one'];"));
    modules.write('four/index.mjs', hooked());
    await modules.open({ functions });
    expect(told).toEqual(['start four']);
    const causes = modules.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields.cause);
    expect(causes).toEqual(
      expect.arrayContaining([
        'It depends on itself: one needs two needs one.',
        'It depends on itself: two needs one needs two.',
        'It depends on one, which did not start.',
      ]),
    );
  });

  it('get the server, the settings and a log, and act as the module', async () => {
    modules.write(
      'hooks/index.mjs',
      moduleOf(
        { got: '() => got', who: '({ principal }) => principal' },
        `const got = {};
export const version = '1.2.0';
export async function startup(server, config, log) {
  Object.assign(got, { arguments: arguments.length, name: server.name, version: server.version, config });
  log.info('the table is there', { rows: 3 });
}`,
      ),
    );
    modules.write(
      'later/index.mjs',
      moduleOf(
        { got: '() => got' },
        `let got;
export const depends = ['hooks'];
export async function startup(server) { got = await server.call('hooks.who', []); }`,
      ),
    );
    await modules.open({ settings: { hooks: { table: 'acl' } } });
    await expect(modules.call('hooks.got')).resolves.toEqual({
      arguments: 3,
      name: 'hooks',
      version: '1.2.0',
      config: { table: 'acl' },
    });
    await expect(modules.call('later.got')).resolves.toEqual({ kind: 'service', name: 'module:later' });
    expect(modules.lines.find(({ message }) => message === 'the table is there')?.fields).toEqual({
      rows: 3,
      module: 'hooks',
    });
  });

  it('run once more for a worker that is started again', async () => {
    modules.write('exits/index.mjs', hooked(`methods.leave = { ...methods.value, call: () => process.exit(1) };`));
    await modules.open({ functions });
    await modules.fault('exits.leave');
    await modules.returns('exits.value', 1);
    expect(told).toEqual(['start exits', 'start exits']);
  });

  it('of a module that is loaded again: the new version starts, then the old one stops', async () => {
    modules.write('hooks/index.mjs', hooked('// first'));
    await modules.open({ functions });
    modules.write('hooks/index.mjs', hooked('// second'));
    await becomes(() => told.length === 3, 'the new version has started and the old one stopped');
    expect(told).toEqual(['start hooks', 'start hooks', 'stop hooks']);
  });

  it('are tried again when startup failed, and the version before stays', async () => {
    modules.write('hooks/index.mjs', moduleReturning(1));
    await modules.open({ functions });
    modules.write(
      'hooks/index.mjs',
      moduleReturning(
        2,
        `export const startup = async (server) => {
  if ((await server.call('counter.next', [])) < 3) throw new Error('not yet');
};`,
      ),
    );
    modules.write('counter/index.mjs', moduleOf({ next: '() => (count += 1)' }, 'let count = 0;'));
    await modules.returns('hooks.value', 2);
  });

  it('have deadlines', async () => {
    const never = 'new Promise(() => undefined)';
    modules.write('starts/index.mjs', moduleReturning(1, `export const startup = () => ${never};`));
    modules.write('stops/index.mjs', moduleReturning(1, `export const shutdown = () => ${never};`));
    modules.write('weather/index.mjs', moduleReturning(1));
    await modules.open({
      limits: { startupMs: 2000, shutdownMs: 50, restartFirstMs: 60_000, restartMaxMs: 60_000 },
    });
    expect(modules.lines.find(({ fields }) => fields.module === 'starts')?.fields.cause).toBe(
      'Its startup did not end within 2000 ms.',
    );
    await expect(modules.call('weather.value')).resolves.toBe(1);
    await modules.close();
    await modules.logged(
      ({ message }) => message === 'the shutdown of a module failed',
      'the shutdown is given up',
    );
  });
});

import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FAULT } from '@cmbs/shared/services';
import { moduleOf, moduleReturning, Modules, WorkerProgram } from './support';
import { becomes, deferred, within } from '../../waits';

let worker: WorkerProgram;
let modules: Modules;

beforeAll(() => {
  worker = new WorkerProgram();
});
afterAll(() => worker.remove());
beforeEach(() => {
  modules = new Modules(worker);
});
afterEach(() => modules.close());

const isReport =
  (name: string) =>
  ({ level, message }: { readonly level: string; readonly message: string }): boolean =>
    level === 'error' && message === `the module ${name} was not loaded`;

describe('the folders of modules', () => {
  it.each(['index.mjs', 'index.js'])('are modules with the name of the folder: %s', async (entry) => {
    modules.write(`weather/${entry}`, moduleReturning('sunny'));
    await modules.open();
    await expect(modules.call('weather.value')).resolves.toBe('sunny');
    expect(modules.services.describe('weather.value')).toEqual({
      name: 'weather.value',
      documentation: 'Returns a value.',
      signatures: [['any']],
      flags: {},
    });
  });

  it('may be in CommonJS, and import packages and files beside them', async () => {
    modules.write(
      'old/index.js',
      'const { answer } = require("./lib/part.js");\n' +
        "exports.methods = { value: { documentation: 'D.', signatures: ['int'], call: () => answer } };\n",
    );
    modules.write('old/lib/part.js', 'exports.answer = 42;\n');
    await modules.open();
    await expect(modules.call('old.value')).resolves.toBe(42);
  });

  it('may have links to nothing', async () => {
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    symlinkSync('/nowhere', join(modules.directory, 'weather', 'lock'));
    symlinkSync('/nowhere', join(modules.directory, 'nothing'));
    await modules.open();
    await expect(modules.call('weather.value')).resolves.toBe('sunny');
    expect(modules.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('may be in TypeScript, with several files, and stacks name their lines', async () => {
    modules.write(
      'typed/index.ts',
      `import { depth } from './part';

interface Answer { readonly at: number }

enum Colour { Red = 'red' }

export const methods = {
  value: { documentation: 'D.', signatures: [['struct']], call: (): Answer & { colour: Colour } => ({ at: depth(), colour: Colour.Red }) },
  fail: {
    documentation: 'D.',
    signatures: ['nil'],
    call: (): never => {
      throw new TypeError('no such thing');
    },
  },
};
`,
    );
    modules.write('typed/part.ts', 'export const depth = (): number => 3 as number;\n');
    await modules.open({ debugFaults: true });
    await expect(modules.call('typed.value')).resolves.toEqual({ at: 3, colour: 'red' });
    const fault = await modules.fault('typed.fail');
    expect(fault.message).toContain('TypeError: no such thing');
    expect(fault.message).toMatch(/typed\/index\.ts:13:\d+/);
  });

  it('need Node.js 22.18 or esbuild for TypeScript', async () => {
    if ('typescript' in process.features) return;
    modules.write('typed/index.ts', moduleReturning(1));
    await modules.open({ withoutEsbuild: true });
    expect(modules.lines.find(isReport('typed'))?.fields.cause).toContain('compile the module');
  });

  it('can be called at the next call when they are dropped in', async () => {
    await modules.open();
    const before = await modules.fault('late.value');
    expect(before.code).toBe(FAULT.methodNotFound);
    modules.write('late/index.mjs', moduleReturning('here'));
    await expect(modules.call('late.value')).resolves.toBe('here');
  });

  it('are listed by system.list_methods when they are dropped in', async () => {
    await modules.open();
    modules.write('late/index.mjs', moduleReturning('here'));
    await expect(modules.call('system.list_methods')).resolves.toContain('late.value');
    modules.write('later/index.mjs', moduleReturning('here'));
    await expect(modules.call('system.methodHelp', ['later.value'])).resolves.toBe('Returns a value.');
  });

  it('get a new method at its next call, also when the module was known before', async () => {
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    await modules.open();
    await modules.call('weather.value');
    modules.write('weather/index.mjs', moduleOf({ other: '() => 2' }));
    await expect(modules.call('weather.other')).resolves.toBe(2);
    expect((await modules.fault('weather.value')).code).toBe(FAULT.methodNotFound);
  });

  it('are loaded again when a file is written in place', async () => {
    modules.write('weather/index.mjs', "export { methods } from './part.mjs';\n");
    modules.write('weather/part.mjs', moduleReturning('sunny'));
    await modules.open();
    await expect(modules.call('weather.value')).resolves.toBe('sunny');
    modules.write('weather/part.mjs', moduleReturning('rainy'));
    await modules.returns('weather.value', 'rainy');
  });

  it('are loaded again when a file, the folder, or a link to the folder is replaced', async () => {
    const versions = mkdtempSync(join(tmpdir(), 'cmbs-versions-'));
    try {
      for (const [at, name] of ['one', 'two', 'three', 'four'].entries()) {
        mkdirSync(join(versions, name));
        writeFileSync(join(versions, name, 'index.mjs'), moduleReturning(at + 1));
      }
      const folder = join(modules.directory, 'weather');
      renameSync(join(versions, 'one'), folder);
      await modules.open();
      await expect(modules.call('weather.value')).resolves.toBe(1);

      renameSync(join(versions, 'two', 'index.mjs'), join(folder, 'index.mjs'));
      await modules.returns('weather.value', 2);

      renameSync(folder, join(versions, 'away'));
      renameSync(join(versions, 'three'), folder);
      await modules.returns('weather.value', 3);

      rmSync(folder, { recursive: true });
      symlinkSync(join(versions, 'four'), folder);
      await modules.returns('weather.value', 4);
      writeFileSync(join(versions, 'four', 'index.mjs'), moduleReturning(5));
      await modules.returns('weather.value', 5);
    } finally {
      rmSync(versions, { recursive: true });
    }
  });

  it('let calls in flight end on the version that they began with', async () => {
    const gate = deferred();
    const begun = deferred();
    const functions = {
      'test.wait': async () => {
        begun.resolve();
        await within(gate.promise, 'the gate opens');
        return null;
      },
    };
    const source = (version: number): string =>
      moduleOf({
        slow: `async (context) => { await context.test.wait(); return ${version}; }`,
        value: `() => ${version}`,
      });
    modules.write('weather/index.mjs', source(1));
    await modules.open({ functions });
    const slow = modules.call('weather.slow');
    await within(begun.promise, 'the call has begun');
    modules.write('weather/index.mjs', source(2));
    await modules.returns('weather.value', 2);
    gate.resolve();
    await expect(slow).resolves.toBe(1);
  });

  it('take their methods along when they are removed', async () => {
    modules.write(
      'weather/index.mjs',
      moduleReturning('sunny', "export const shutdown = () => console.log('bye');"),
    );
    await modules.open();
    await modules.call('weather.value');
    rmSync(join(modules.directory, 'weather'), { recursive: true });
    await becomes(() => !modules.services.has('weather'), 'the module is gone');
    expect((await modules.fault('weather.value')).code).toBe(FAULT.methodNotFound);
    await modules.logged(
      ({ message, fields }) => message === 'bye' && fields.module === 'weather',
      'its shutdown',
    );
    modules.write('weather/index.mjs', moduleReturning('back'));
    await expect(modules.call('weather.value')).resolves.toBe('back');
  });

  it('are not loaded again for a file that is touched, or in a hidden folder', async () => {
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    await modules.open();
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    modules.write('.hidden/index.mjs', moduleReturning(1));
    modules.write('node_modules/index.mjs', moduleReturning(1));
    await modules.call('system.list_methods');
    expect(modules.lines.filter(({ message }) => message === 'a module was started')).toHaveLength(1);
    expect(modules.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});

describe('a module that cannot be used', () => {
  it.each<[string, string, RegExp]>([
    [
      'a syntax error',
      'export const methods = {\n  value: { call: (\n',
      /Unexpected end of input.*index\.mjs:\d+/,
    ],
    ['an error while it is imported', "throw new Error('no database');", /no database/],
    ['a value that is not an error', 'throw null;', /not an error: null/],
    ['no methods', 'export const other = 1;', /there is no export methods/],
    [
      'a method without documentation',
      'export const methods = { a: { signatures: ["any"], call() {} } };',
      /methods\.a\.documentation: /,
    ],
    [
      'a method without signatures',
      'export const methods = { a: { documentation: "D.", call() {} } };',
      /methods\.a\.signatures: /,
    ],
    [
      'a method without a function',
      'export const methods = { a: { documentation: "D.", signatures: ["any"] } };',
      /The method a has no function call/,
    ],
    [
      'a private method',
      'export const methods = { _a: { documentation: "D.", signatures: ["any"], call() {} } };',
      /cannot be a method's name/,
    ],
    [
      'a signature without types',
      'export const methods = { a: { documentation: "D.", signatures: [""], call() {} } };',
      /a signature has the type/,
    ],
    [
      'an unknown flag',
      'export const methods = { a: { documentation: "D.", signatures: ["any"], flags: { fast: true }, call() {} } };',
      /methods\.a\.flags: /,
    ],
    [
      'an export that is not a function',
      moduleReturning(1, 'export const startup = 1;'),
      /startup is not a function/,
    ],
    ['process.exit', 'process.exit(3);', /exit code 3/],
    [
      'a startup that fails',
      moduleReturning(1, "export const startup = () => { throw new Error('no table'); };"),
      /no table/,
    ],
    [
      'a dependency that is not there',
      moduleReturning(1, "export const depends = ['nothing'];"),
      /depends on nothing/,
    ],
  ])('is reported by name with its cause, and the others work: %s', async (_what, source, cause) => {
    modules.write('broken/index.mjs', source);
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    await modules.open();
    const report = modules.lines.find(isReport('broken'));
    expect(report?.fields.cause).toMatch(cause);
    expect(report?.fields.module).toBe('broken');
    await expect(modules.call('weather.value')).resolves.toBe('sunny');
    const fault = await modules.fault('broken.value');
    expect([fault.code, fault.message]).toEqual([
      FAULT.methodNotFound,
      'The module broken cannot be called: it could not be loaded. The log has the cause.',
    ]);
  });

  it('is reported with the line of a syntax error in index.js, which has no "type" beside it', async () => {
    modules.write('broken/index.js', 'export const methods = {\n  value: { call: (\n');
    await modules.open();
    expect(modules.lines.find(isReport('broken'))?.fields.cause).toMatch(/SyntaxError: .*index\.js:\d+/);
  });

  it.each<[string, readonly string[], RegExp]>([
    ['empty', [], /has no index\.js, index\.mjs, index\.ts/],
    ['ambiguous', ['index.js', 'index.mjs'], /index\.js and index\.mjs; leave one/],
    ['echo', ['index.mjs'], /built-in module echo/],
    ['bad-name', ['index.mjs'], /its name cannot be/],
  ])('is reported for its folder: %s', async (name, files, cause) => {
    mkdirSync(join(modules.directory, name));
    for (const file of files) modules.write(`${name}/${file}`, moduleReturning(1));
    await modules.open();
    expect(modules.lines.find(isReport(name))?.fields.cause).toMatch(cause);
    await expect(modules.call('echo.echo', [1])).resolves.toEqual([1]);
  });

  it('is reported once for each change, however often it is called', async () => {
    modules.write('broken/index.mjs', 'nonsense(');
    await modules.open();
    await modules.fault('broken.value');
    await modules.fault('broken.value');
    expect(modules.lines.filter(isReport('broken'))).toHaveLength(1);
  });

  it('keeps the version before while it is half written, and is tried again', async () => {
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    await modules.open();
    const whole = moduleReturning('rainy');
    modules.write('weather/index.mjs', whole.slice(0, whole.length / 2));
    await modules.logged(isReport('weather'), 'the half-written module is reported');
    await expect(modules.call('weather.value')).resolves.toBe('sunny');
    modules.write('weather/index.mjs', whole);
    await modules.returns('weather.value', 'rainy');
  });

  it('is read again when it changes while it is read', async () => {
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    // The module writes its own files while it is imported, until they are as it wants them.
    modules.write(
      'changing/index.mjs',
      `import { existsSync, writeFileSync } from 'node:fs';
const second = import.meta.dirname + '/second';
export const wasThere = existsSync(second);
if (!wasThere) writeFileSync(second, '');
export const methods = { value: { documentation: 'D.', signatures: ['any'], call: () => wasThere } };
`,
    );
    await modules.open();
    await expect(modules.call('changing.value')).resolves.toBe(true);
  });

  it('shows its stack with log-stack, and ends the start with fatal', async () => {
    modules.write('broken/index.mjs', "function open() { throw new Error('no database'); }\nopen();\n");
    await modules.open({ errors: 'log-stack' });
    expect(String(modules.lines.find(isReport('broken'))?.fields.cause)).toMatch(
      /at open .*broken\/index\.mjs:1:\d+/,
    );

    const fatal = new Modules(worker);
    fatal.write('broken/index.mjs', "throw new Error('no database');\n");
    await expect(fatal.open({ errors: 'fatal' })).rejects.toThrow(
      /The module broken was not loaded: Error: no database\nCMBS_MODULE_ERRORS=fatal/,
    );
    await fatal.close();
  });

  it('that never ends its import is given up', async () => {
    modules.write('endless/index.mjs', 'await new Promise((resolve) => setTimeout(resolve, 1e6));');
    modules.write('busy/index.mjs', 'for (;;);');
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    await modules.open({ limits: { loadMs: 500 } });
    for (const name of ['endless', 'busy']) {
      expect(modules.lines.find(isReport(name))?.fields.cause).toBe('It was not loaded within 500 ms.');
    }
  });

  it('starts when the module that it needs is dropped in', async () => {
    modules.write('report/index.mjs', moduleReturning('sunny', "export const depends = ['weather'];"));
    await modules.open();
    expect((await modules.fault('report.value')).code).toBe(FAULT.methodNotFound);
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    await modules.call('weather.value');
    await modules.returns('report.value', 'sunny');
  });
});

describe('the directory of modules', () => {
  it('must exist', async () => {
    rmSync(modules.directory, { recursive: true });
    await expect(modules.open()).rejects.toThrow(/CMBS_MODULES_DIR=".*" is not a directory/);
  });
});

/** Modules whose signatures have schemas of zod, and the faults and loads of modules that the thread bounds. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ExactNumber } from '@cmbs/shared/exact-json';
import { FAULT } from '@cmbs/shared/services';
import { moduleOf, Modules, WorkerProgram } from './support';

const worker = new WorkerProgram();
afterAll(() => worker.remove());
let modules: Modules;
beforeEach(() => {
  modules = new Modules(worker);
});
afterEach(() => modules.close());

/** Gives the modules zod, as an author has it in `node_modules`. */
function withZod(): void {
  mkdirSync(join(modules.directory, 'node_modules'));
  symlinkSync(dirname(require.resolve('zod/package.json')), join(modules.directory, 'node_modules', 'zod'));
}

const SOURCE = `
import { z } from 'zod';
const user = z.object({ name: z.string().min(2), age: z.int().min(0).optional() });
export const methods = {
  greet: {
    documentation: 'Greets.',
    signatures: [[z.string(), user], [z.string(), z.string().trim().min(1), 'int']],
    call: (_context, [first, times]) => typeof first === 'string' ? first.repeat(times) : 'Hello ' + first.name,
  },
  all: {
    documentation: 'Takes every type.',
    signatures: [[z.array(z.any()), z.boolean(), z.number(), z.int(), z.array(z.int()), z.null(), z.instanceof(Uint8Array), z.union([z.string(), z.int()])]],
    call: (_context, args) => args.map((one) => one instanceof Uint8Array ? one.length : one),
  },
  wrong: { documentation: 'Returns text in place of a number.', signatures: [[z.number()]], call: () => 'text' },
};`;

describe('a module with schemas', () => {
  beforeEach(async () => {
    withZod();
    modules.write('people/index.mjs', SOURCE);
    await modules.open();
  });

  it('gets the arguments that its schemas have checked and changed', async () => {
    await expect(modules.call('people.greet', [{ name: 'Ada' }])).resolves.toBe('Hello Ada');
    await expect(modules.call('people.greet', [' ha ', 3])).resolves.toBe('hahaha');
    const args = [true, 1.5, 3, [1], null, Uint8Array.of(1, 2), 'x'];
    await expect(modules.call('people.all', args)).resolves.toEqual([true, 1.5, 3, [1], null, 2, 'x']);
  });

  it.each([
    [[{ name: 'A' }], /^The arguments of people.greet are wrong; argument 1: name: /],
    [[{ name: 'Ada', age: -1 }], /argument 1: age: /],
    [['  ', 1], /argument 1: /],
    [['x', 1.5], /^people.greet takes \(struct\) or \(string, int\), not \(string, double\)\.$/],
    [[], /^people.greet takes \(struct\) or \(string, int\), not \(\)\.$/],
    [[{ name: new ExactNumber('1e400') }], /argument 1: name: /],
  ])('refuses %j', async (args, text) => {
    const fault = await modules.fault('people.greet', args);
    expect(fault.code).toBe(FAULT.invalidParams);
    expect(fault.message).toMatch(text);
  });

  it('describes itself by types, and by JSON Schemas', () => {
    expect(modules.services.describe('people.greet')).toMatchObject({
      signatures: [
        ['string', 'struct'],
        ['string', 'string', 'int'],
      ],
      schemas: [
        [{ type: 'string' }, { type: 'object', required: ['name'] }],
        [{ type: 'string' }, { type: 'string', minLength: 1 }, null],
      ],
    });
    expect(modules.services.describe('people.all').signatures).toEqual([
      ['array', 'boolean', 'double', 'i8', 'array', 'nil', 'any', 'any'],
    ]);
  });

  it('fails when its result does not fit, with the cause in the log alone', async () => {
    const fault = await modules.fault('people.wrong');
    expect(fault.code).toBe(FAULT.internalError);
    expect(fault.message).not.toContain('number');
    expect(JSON.stringify(modules.lines.map(({ fields }) => String(fields.cause)))).toContain(
      'The result of people.wrong does not fit its signature',
    );
  });
});

describe('a fault of a module', () => {
  it.each([-32601, -32000, -32768, -32001])('cannot have the reserved code %i', async (code) => {
    modules.write(
      'faulty/index.mjs',
      moduleOf({
        given: `({ Fault }) => { throw new Fault(${code}, 'There is nothing.'); }`,
        own: `() => { throw Object.assign(new Error('There is nothing.'), { name: 'Fault', code: ${code} }); }`,
      }),
    );
    await modules.open();
    for (const method of ['faulty.given', 'faulty.own']) {
      const fault = await modules.fault(method);
      expect(fault.code).toBe(FAULT.internalError);
      expect(fault.message).not.toContain('nothing');
    }
  });

  it.each([-32602, -32500, 0, 7, -1, 2147483647, -32769, -31999])('may have the code %i', async (code) => {
    modules.write(
      'faulty/index.mjs',
      moduleOf({ given: `({ Fault }) => { throw new Fault(${code}, 'No.', ['why']); }` }),
    );
    await modules.open();
    expect(await modules.fault('faulty.given')).toMatchObject({ code, message: 'No.', data: ['why'] });
  });

  it('of another method is passed on unchanged', async () => {
    modules.write('asks/index.mjs', moduleOf({ it: "({ call }) => call('no.such', [])" }));
    await modules.open();
    expect((await modules.fault('asks.it')).code).toBe(FAULT.methodNotFound);
  });
});

describe('the calls of a module in flight', () => {
  /** A method that ends when it is told to. */
  const WAITING = moduleOf(
    {
      wait: '(_context, [name]) => new Promise((resolve) => waiting.push([name, resolve]))',
      end: '() => { for (const [name, resolve] of waiting.splice(0)) resolve(name.length); return null; }',
    },
    'const waiting = [];',
  );

  it('have a bound in number', async () => {
    modules.write('waits/index.mjs', WAITING);
    await modules.open({ limits: { callsInFlight: 2 } });
    const first = [modules.call('waits.wait', ['a']), modules.call('waits.wait', ['b'])];
    const fault = await modules.fault('waits.wait', ['c']);
    expect(fault).toMatchObject({
      code: FAULT.refused,
      message: 'The module waits has too many calls in flight; call again later.',
      data: { code: 'queue_full' },
    });
    await modules.close();
    await Promise.allSettled(first);
  });

  it('have a bound in bytes, which a call gives back when it ends', async () => {
    modules.write('waits/index.mjs', WAITING);
    await modules.open({ limits: { bytesInFlight: 1000 } });
    const first = modules.call('waits.wait', ['x'.repeat(900)]);
    expect(await modules.fault('waits.wait', ['x'.repeat(200)])).toMatchObject({ data: { code: 'queue_full' } });
    await modules.call('waits.end');
    await expect(first).resolves.toBe(900);
    const alone = modules.call('waits.wait', ['x'.repeat(5000)]);
    expect(await modules.fault('waits.end', [])).toMatchObject({ data: { code: 'queue_full' } });
    await modules.close();
    await expect(alone).rejects.toMatchObject({ code: FAULT.outcomeUnknown });
  });
});

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FAULT } from '@cmbs/shared/services';
import { ExactNumber } from '@cmbs/shared/exact-json';
import type { Value } from '@cmbs/shared/services';
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

const started = (name: string): number =>
  modules.lines.filter(({ message, fields }) => message === 'a module was started' && fields.module === name)
    .length;

describe('the thread of a module', () => {
  it('is tried again for a module of the program that could not be loaded, though its folder does not change', async () => {
    const flag = join(modules.directory, '.ready');
    modules.write(
      'late/index.mjs',
      `import { existsSync } from 'node:fs';
if (!existsSync(${JSON.stringify(flag)})) throw new Error('not yet');
export const methods = { value: { documentation: 'D.', signatures: ['int'], call: () => 1 } };`,
    );
    await modules.open({ changes: false });
    expect(modules.services.has('late')).toBe(false);
    writeFileSync(flag, '');
    await becomes(() => modules.services.has('late'), 'the module is loaded');
    await expect(modules.call('late.value')).resolves.toBe(1);
  });

  it('does not stop the calls of other modules while it is blocked, and its calls time out', async () => {
    modules.write(
      'busy/index.mjs',
      `const described = { documentation: 'D.', signatures: ['any'] };
export const methods = {
  block: { ...described, flags: { timeoutMs: 300 }, call: () => { for (;;); } },
  value: { ...described, call: () => 1 },
};`,
    );
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    await modules.open({ limits: { blockedMs: 200 } });
    const blocked = modules.fault('busy.block');
    for (let calls = 0; calls < 20; calls += 1) {
      await expect(modules.call('weather.value')).resolves.toBe('sunny');
    }
    expect((await blocked).code).toBe(FAULT.deadlineExceeded);
    // The blocked thread is ended, and another one takes the next calls.
    await modules.returns('busy.value', 1);
    expect(started('busy')).toBe(2);
  });

  it('has a deadline of its own for a method that asks for one', async () => {
    modules.write(
      'slow/index.mjs',
      `export const methods = {
  never: { documentation: 'D.', signatures: ['any'], flags: { timeoutMs: 50 }, call: () => new Promise(() => undefined) },
};`,
    );
    await modules.open();
    const fault = await modules.fault('slow.never');
    expect([fault.code, fault.message]).toEqual([
      FAULT.deadlineExceeded,
      'slow.never took longer than 50 ms; it may have run.',
    ]);
  });

  it('tells the method that its caller is gone', async () => {
    const told = deferred();
    const begun = deferred();
    const functions = {
      'test.begun': () => (begun.resolve(), null),
      'test.told': () => (told.resolve(), null),
    };
    modules.write(
      'slow/index.mjs',
      moduleOf({
        wait: `async (context) => {
          await context.test.begun();
          await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
          globalThis.wasTold = true;
          return null;
        }`,
        wasTold: '() => globalThis.wasTold === true',
      }),
    );
    await modules.open({ functions });
    const caller = new AbortController();
    const call = modules.fault('slow.wait', [], { signal: caller.signal });
    await within(begun.promise, 'the call has begun');
    caller.abort();
    expect((await call).code).toBe(FAULT.outcomeUnknown);
    await modules.returns('slow.wasTold', true);
  });

  it('contains process.exit: calls in flight get a fault, and the next ones an answer', async () => {
    modules.write('exits/index.mjs', moduleOf({ leave: '() => process.exit(3)', value: '() => 1' }));
    modules.write('weather/index.mjs', moduleReturning('sunny'));
    await modules.open();
    const fault = await modules.fault('exits.leave');
    expect([fault.code, fault.message]).toEqual([
      FAULT.outcomeUnknown,
      'The module exits stopped during the call; the method may have run. The log has the reason.',
    ]);
    await expect(modules.call('weather.value')).resolves.toBe('sunny');
    await modules.returns('exits.value', 1);
    const line = modules.lines.find(({ message }) => message === 'a module stopped and is started again');
    expect(line?.fields).toEqual({ module: 'exits', reason: 'it ended with exit code 3' });
  });

  it('takes the calls that come while it is started again', async () => {
    modules.write(
      'exits/index.mjs',
      moduleOf(
        { leave: '() => process.exit(1)', value: '() => 1' },
        'export const startup = (server) => server.test.start();',
      ),
    );
    const gate = deferred();
    let starts = 0;
    const functions = {
      'test.start': async () => {
        starts += 1;
        if (starts > 1) await within(gate.promise, 'the gate opens');
        return null;
      },
    };
    await modules.open({ functions });
    await modules.fault('exits.leave');
    const call = modules.call('exits.value');
    await becomes(() => starts === 2, 'the module starts again');
    gate.resolve();
    await expect(call).resolves.toBe(1);
  });

  it('answers every call while versions replace each other', async () => {
    modules.write('weather/index.mjs', moduleReturning(0));
    await modules.open();
    const versions = [1, 2, 3, 4, 5];
    let current = 0;
    const answers: Value[] = [];
    const calling = (async () => {
      while (current < versions.length) answers.push(await modules.call('weather.value'));
    })();
    for (const version of versions) {
      modules.write('weather/index.mjs', moduleReturning(version));
      await modules.returns('weather.value', version);
      current = version;
    }
    await within(calling, 'every call is answered');
    // No call goes back to an earlier version.
    expect(answers).toEqual([...answers].sort());
  });

  it('is started again with back-off when it dies again and again', async () => {
    modules.write('exits/index.mjs', moduleOf({ leave: '() => process.exit(1)', value: '() => 1' }));
    await modules.open({ limits: { restartFirstMs: 1_000_000, restartMaxMs: 1_000_000 } });
    await modules.fault('exits.leave');
    await modules.returns('exits.value', 1);
    await modules.fault('exits.leave');
    const fault = await modules.fault('exits.value');
    expect([fault.code, fault.data]).toEqual([FAULT.refused, { code: 'unavailable' }]);
    expect(started('exits')).toBe(2);
  });

  it('has a bounded heap', async () => {
    modules.write(
      'greedy/index.mjs',
      moduleOf({
        take: `() => { const all = []; for (;;) all.push(new Array(1000).fill(Math.random())); }`,
        value: '() => 1',
      }),
    );
    await modules.open({ limits: { heapMb: 16 } });
    expect((await modules.fault('greedy.take')).code).toBe(FAULT.outcomeUnknown);
    await modules.returns('greedy.value', 1);
    await modules.logged(
      ({ fields }) => fields.reason === 'it used more than 16 MB of heap',
      'the reason in the log',
    );
  });

  it('contains throws of what is no error, and errors that come later', async () => {
    modules.write(
      'wild/index.mjs',
      moduleOf({
        text: "() => { throw 'text'; }",
        nothing: '() => { throw undefined; }',
        hostile: '() => { throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 2; } }); }',
        late: "() => { void Promise.reject(new Error('late rejection')); setTimeout(() => { throw new Error('late error'); }); return 1; }",
        unsendable: '() => () => 1',
        circle: '() => { const a = []; a.push(a); return a; }',
        instance: '() => new Map()',
        large: "() => 'x'.repeat(17 * 1024 * 1024)",
        value: '() => 1',
      }),
    );
    await modules.open();
    for (const name of ['text', 'nothing', 'hostile', 'unsendable', 'circle', 'instance', 'large']) {
      const fault = await modules.fault(`wild.${name}`);
      expect(fault.code).toBe(FAULT.internalError);
      expect(fault.message).toMatch(/^The method wild\.\w+ failed; the log has the cause under [0-9a-f-]+\.$/);
    }
    await expect(modules.call('wild.late')).resolves.toBe(1);
    for (const text of ['late rejection', 'late error']) {
      await modules.logged(
        ({ level, fields }) =>
          level === 'error' && fields.module === 'wild' && String(fields.cause).includes(text),
        text,
      );
    }
    await expect(modules.call('wild.value')).resolves.toBe(1);
    expect(started('wild')).toBe(1);
  });

  it('keeps arguments and results exactly', async () => {
    modules.write(
      'echoes/index.mjs',
      moduleOf(
        { back: '(_context, args) => args', make: 'make' },
        `
function make({ ExactNumber }) {
  return [new ExactNumber('12345678901234567890'), new Date(0), Uint8Array.of(1, 2), undefined, { a: undefined, ['__proto__']: 1 }];
}`,
      ),
    );
    await modules.open();
    const struct = JSON.parse('{"__proto__":{"a":1},"constructor":2}') as Value;
    const args = [
      null,
      true,
      -0,
      1.5,
      2 ** 53,
      '',
      '\u0000\ud800',
      new ExactNumber('1e400'),
      [new ExactNumber('0.1000000000000000055511151231257827')],
      struct,
      Uint8Array.of(0, 255),
      new Date(86_400_000),
    ] as readonly Value[];
    const result = await modules.call('echoes.back', args);
    expect(result).toEqual(args);
    expect((result as readonly unknown[])[7]).toBeInstanceOf(ExactNumber);
    expect(Object.is((result as readonly unknown[])[2], -0)).toBe(true);
    expect(Object.keys((result as readonly object[])[9] ?? {})).toEqual(['__proto__', 'constructor']);
    const made = (await modules.call('echoes.make')) as readonly unknown[];
    expect(made[0]).toEqual(new ExactNumber('12345678901234567890'));
    expect(made.slice(1, 4)).toEqual([new Date(0), Uint8Array.of(1, 2), null]);
    expect(Object.keys(made[4] as object)).toEqual(['__proto__']);
  });

  it('refuses arguments that are too large', async () => {
    modules.write('echoes/index.mjs', moduleOf({ back: '(_context, args) => args' }));
    await modules.open();
    const fault = await modules.fault('echoes.back', ['x'.repeat(17 * 1024 * 1024)]);
    expect([fault.code, fault.message]).toEqual([
      FAULT.invalidParams,
      'The arguments of echoes.back cannot be passed on: larger than 16777216 bytes.',
    ]);
  });

  it('does not expose what is not in the table of methods', async () => {
    modules.write('weather/index.mjs', moduleReturning('sunny', 'export const secret = () => 1;'));
    await modules.open();
    for (const name of ['secret', 'constructor', '__proto__', 'toString', 'methods', '_value', '']) {
      expect((await modules.fault(`weather.${name}`)).code).toBe(FAULT.methodNotFound);
    }
    for (const name of [
      '__proto__.value',
      'constructor.name',
      '../weather.value',
      'a/../weather.value',
      '.value',
      // No folder can have such a name.
      `${'a'.repeat(256)}.value`,
      `${'a'.repeat(100_000)}.value`,
    ]) {
      expect((await modules.fault(name)).code).toBe(FAULT.methodNotFound);
    }
  });

  it.each(['null', "{ type: 'thrown', id }", "{ type: 'log', level: 'no such' }", "{ type: 'failed' }"])(
    'does not end the program when the module sends %s on the port of its thread',
    async (message) => {
      modules.write(
        'forger/index.mjs',
        `import { MessageChannel } from 'node:worker_threads';
${moduleOf({
  value: '() => 1',
  forge: `({ log, callId: id }) => {
    const { port1 } = new MessageChannel();
    const prototype = Object.getPrototypeOf(port1);
    const { postMessage } = prototype;
    prototype.postMessage = function () { postMessage.call(this, ${message}); };
    log.info('found');
    prototype.postMessage = postMessage;
    return new Promise(() => undefined);
  }`,
})}`,
      );
      modules.write('weather/index.mjs', moduleReturning('sunny'));
      await modules.open();
      const forged = modules.fault('forger.forge');
      if (message !== "{ type: 'failed' }") expect((await forged).code).toBe(FAULT.outcomeUnknown);
      await expect(modules.call('weather.value')).resolves.toBe('sunny');
      await modules.returns('forger.value', 1);
      forged.catch(() => undefined);
    },
  );

  it('passes on to the log what the module prints, line by line', async () => {
    modules.write(
      'prints/index.mjs',
      moduleOf({ value: "() => { console.log('one\\ntwo\\u001b[2J'); return 1; }" }),
    );
    await modules.open();
    await modules.call('prints.value');
    await becomes(
      () => modules.lines.filter(({ fields }) => fields.output === true).length === 2,
      'two lines in the log',
    );
    expect(modules.lines.filter(({ fields }) => fields.output === true).map(({ message }) => message)).toEqual([
      'one',
      'two [2J',
    ]);
  });
});

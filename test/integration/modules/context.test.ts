import { CmbsError, type Principal } from '@cmbs/shared';
import { FAULT } from '@cmbs/shared/services';
import type { PortCaller } from '@cmbs/shared/services';
import { moduleOf, Modules, WorkerProgram } from './support';
import { deferred, within } from '../../waits';

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

const ALICE: Principal = { kind: 'user', name: 'alice', token: '/cmbs/access/token/1' };

describe('the context of a method', () => {
  it('has the caller, the name of the method, the claimed sender, the session and the settings', async () => {
    modules.write(
      'tells/index.mjs',
      moduleOf({
        all: `async ({ principal, methodName, sender, session, settings, callId, groups }) =>
          ({ principal, methodName, sender, session, settings, hasId: callId.length > 10, groups: await groups() })`,
      }),
    );
    await modules.open({ settings: { tells: { city: 'tokyo' }, other: { secret: 'no' } } });
    await expect(
      modules.call('tells.all', [], { principal: ALICE, sender: 'http://one/', session: 'nonce' }),
    ).resolves.toEqual({
      principal: ALICE,
      methodName: 'tells.all',
      sender: 'http://one/',
      session: 'nonce',
      settings: { city: 'tokyo' },
      hasId: true,
      groups: ['friends of alice'],
    });
    await expect(modules.call('tells.all')).resolves.toMatchObject({ principal: { kind: 'user', name: 'alice' } });
  });

  it('passes faults unchanged, with debug and without', async () => {
    const source = moduleOf({
      fault: "(context) => { throw new context.Fault(77, 'No such city:\\n x', { city: 'x' }); }",
      copy: "() => { const fault = new Error('A copy.'); fault.name = 'Fault'; fault.code = 78; throw fault; }",
      malformed:
        "() => { const fault = new Error('A copy.'); fault.name = 'Fault'; fault.code = 1.5; throw fault; }",
    });
    for (const debugFaults of [false, true]) {
      const own = new Modules(worker);
      own.write('faulty/index.mjs', source);
      await own.open({ debugFaults });
      const fault = await own.fault('faulty.fault');
      expect([fault.code, fault.message, fault.data]).toEqual([77, 'No such city:\n x', { city: 'x' }]);
      expect(await own.fault('faulty.copy')).toMatchObject({ code: 78, message: 'A copy.' });
      expect((await own.fault('faulty.malformed')).code).toBe(FAULT.internalError);
      await own.close();
    }
  });

  it('writes lines with the module, the method and the id of the call, each on one line', async () => {
    modules.write(
      'logs/index.mjs',
      moduleOf({
        value: `({ log, callId }) => {
          log.error('my value=1\\n2020-01-01 error forged', { city: 'a\\nb', method: 'forged', 'bad name\\n': 1, cause: new Error('x') });
          return callId;
        }`,
      }),
    );
    await modules.open();
    const call = await modules.call('logs.value');
    const line = await modules.logged(({ level }) => level === 'error', 'the line');
    expect(line).toMatchObject({
      message: 'my value=1 2020-01-01 error forged',
      fields: {
        module: 'logs',
        method: 'logs.value',
        call,
        city: 'a b',
        cause: expect.stringMatching(/^Error: x /) as unknown,
      },
    });
    expect(Object.keys(line.fields)).not.toContain('bad name\n');
  });

  it('calls another method as the caller, which the module cannot change', async () => {
    const asked: string[] = [];
    const authorize = async (
      principal: Principal,
      _operation: string,
      { path }: { path: string },
    ): Promise<void> => {
      asked.push(`${principal.name} ${path}`);
      if (path === 'service:secret.value') throw new CmbsError('forbidden', 'You may not call it.');
    };
    modules.write(
      'caller/index.mjs',
      moduleOf({
        ask: `async (context, [method, args]) => {
          try { context.principal = { kind: 'administrator', name: 'root' }; } catch {}
          try { context.principal.name = 'root'; } catch {}
          return context.call(method, args);
        }`,
      }),
    );
    modules.write('secret/index.mjs', moduleOf({ value: '() => 1' }));
    modules.write('tells/index.mjs', moduleOf({ who: '({ principal, sender }) => [principal.name, sender]' }));
    await modules.open({ authorize });
    await expect(modules.call('caller.ask', ['tells.who', []], { sender: 'http://one/' })).resolves.toEqual([
      'alice',
      'http://one/',
    ]);
    await expect(modules.call('caller.ask', ['echo.echo', [1, 2]])).resolves.toEqual([1, 2]);
    const fault = await modules.fault('caller.ask', ['secret.value', []]);
    expect([fault.code, fault.message, fault.data]).toEqual([
      FAULT.refused,
      'You may not call it.',
      { code: 'forbidden' },
    ]);
    expect((await modules.fault('caller.ask', ['no.such', []])).code).toBe(FAULT.methodNotFound);
    expect((await modules.fault('caller.ask', [1])).code).toBe(FAULT.invalidParams);
    expect(asked.every((one) => one.startsWith('alice '))).toBe(true);
  });

  it('bounds how deep methods call each other', async () => {
    modules.write('deep/index.mjs', moduleOf({ down: "(context) => context.call('deep.down', [])" }));
    await modules.open();
    const fault = await modules.fault('deep.down');
    expect([fault.code, fault.message]).toEqual([
      FAULT.refused,
      'deep.down was not called: methods call each other too deeply.',
    ]);
  });

  it('offers the functions of the program, bound to the caller and to the call', async () => {
    const callers: PortCaller[] = [];
    const functions = {
      'kv.get': (caller: PortCaller, [name]: readonly unknown[]) => {
        callers.push(caller);
        return `${String(name)} of ${caller.principal.name}`;
      },
      'kv.put': () => {
        throw new CmbsError('too_large', 'The value is too large.');
      },
      broken: () => {
        throw new Error('a secret of the program');
      },
    };
    modules.write(
      'uses/index.mjs',
      moduleOf({
        get: "(context) => context.kv.get('key')",
        put: "(context) => context.kv.put('key', 1)",
        broken: '(context) => context.broken()',
        unsendable: '(context) => context.kv.get(() => 1)',
        keep: '(context) => { globalThis.kept = context; return 1; }',
        late: '() => globalThis.kept.kv.get(2)',
      }),
    );
    await modules.open({ functions });
    await expect(modules.call('uses.get', [], { clientAddress: '192.0.2.1' })).resolves.toBe('key of alice');
    expect(callers[0]).toMatchObject({
      module: 'uses',
      methodName: 'uses.get',
      clientAddress: '192.0.2.1',
      depth: 0,
    });
    expect(await modules.fault('uses.put')).toMatchObject({
      code: FAULT.refused,
      message: 'The value is too large.',
      data: { code: 'too_large' },
    });
    const broken = await modules.fault('uses.broken');
    expect(broken.message).not.toContain('secret');
    expect((await modules.fault('uses.unsendable')).code).toBe(FAULT.internalError);
    // The context of a call that is over gives no rights.
    await modules.call('uses.keep');
    const late = await modules.fault('uses.late', [], { principal: { kind: 'user', name: 'mallory' } });
    expect([late.code, late.message]).toEqual([FAULT.refused, 'kv.get was not done: the call is over.']);
  });

  it('ends what the program does for a call when the caller is gone', async () => {
    const begun = deferred();
    const ended = deferred();
    const functions = {
      'test.wait': ({ signal }: PortCaller) => {
        signal.addEventListener('abort', () => ended.resolve());
        begun.resolve();
        return new Promise<null>(() => undefined);
      },
    };
    modules.write('waits/index.mjs', moduleOf({ wait: '(context) => context.test.wait()' }));
    await modules.open({ functions });
    const caller = new AbortController();
    const call = modules.fault('waits.wait', [], { signal: caller.signal });
    await within(begun.promise, 'the function has begun');
    caller.abort();
    await within(ended.promise, 'the function was ended');
    expect((await call).code).toBe(FAULT.outcomeUnknown);
  });
});

describe('the settings of modules', () => {
  it.each([
    ['not JSON', '{"tells": {"password": "hunter2"', /is not JSON/],
    ['not an object for each module', '{"tells": "hunter2"}', /must have an object for each module/],
    ['no object', '["hunter2"]', /must have an object for each module/],
  ])('are refused without a word of their content: %s', async (_what, text, says) => {
    modules.write('tells/index.mjs', moduleOf({ value: '() => 1' }));
    const opened = modules.open({ settingsText: text });
    await expect(opened).rejects.toThrow(says);
    const refusal = await opened.catch((error: unknown) => String((error as Error).stack));
    expect(`${String(refusal)} ${JSON.stringify(modules.lines)}`).not.toContain('hunter2');
  });
});

describe('a fault of an unexpected error', () => {
  const SOURCE = `
const secret = 'hunter2';
export const methods = {
  divide: {
    documentation: 'D.',
    signatures: ['any'],
    call: () => {
      return null.x;
    },
  },
};`;

  it('has a correlation id and nothing else', async () => {
    modules.write('divides/index.mjs', SOURCE);
    await modules.open();
    const fault = await modules.fault('divides.divide', [], { clientAddress: '192.0.2.1' });
    const { correlationId } = fault.data as { correlationId: string };
    expect(fault.message).toBe(`The method divides.divide failed; the log has the cause under ${correlationId}.`);
    expect(Object.keys(fault.data as object)).toEqual(['correlationId']);
    const line = await modules.logged(
      ({ fields }) => fields.correlationId === correlationId,
      'the cause in the log',
    );
    expect(String(line.fields.cause)).toMatch(/TypeError: .*divides\/index\.mjs:8:/s);
  });

  it('shows the stack with file and line, the principal and the client with debug', async () => {
    modules.write('divides/index.mjs', SOURCE);
    await modules.open({ debugFaults: true });
    const fault = await modules.fault('divides.divide', [], { clientAddress: '192.0.2.1' });
    expect(fault.message).toMatch(
      /Called by user:alice from 192\.0\.2\.1\.\nTypeError: .*divides\/index\.mjs:8:/s,
    );
    expect(fault.data).toMatchObject({ principal: 'user:alice', clientAddress: '192.0.2.1' });
  });
});

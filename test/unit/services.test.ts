import { EventEmitter, once } from 'node:events';
import { CmbsError, systemClock, type Json, type Log, type LogFields } from '@cmbs/shared';
import {
  codecsOf,
  type Call,
  Fault,
  FAULT,
  type ServiceModule,
  type Services,
  standardServices,
  type Value,
} from '@cmbs/shared/services';
import type { ServiceContext, ServiceMethod } from '../../shared/services/module';
import type { CallContext } from '../../shared/services/services';
import { PATIENCE_MS } from '../patience';
import fc from '../property';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

function recordingLog(onLine: (line: Line) => void = () => undefined): { log: Log; lines: Line[] } {
  const lines: Line[] = [];
  const write =
    (level: string) =>
    (message: string, fields?: LogFields): void => {
      const line = { level, message, fields };
      lines.push(line);
      onLine(line);
    };
  return {
    lines,
    log: { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') },
  };
}

const context = (more: Partial<CallContext> = {}): CallContext => ({
  principal: { kind: 'user' as const, name: 'tester' },
  signal: new AbortController().signal,
  log: recordingLog().log,
  ...more,
});

const method = (call: ServiceMethod['call'], more: Partial<ServiceMethod> = {}): ServiceMethod => ({
  documentation: 'Does what a test needs.',
  signatures: [['any']],
  call,
  ...more,
});

function fail(text: string): never {
  throw new Error(text);
}

const moduleOf = (methods: ServiceModule['methods'], name = 'trial'): ServiceModule => ({ name, methods });

function servicesWith(methods: ServiceModule['methods'], deadlineMs = 5000): Services {
  const services = standardServices({ clock: systemClock, newId: () => 'c0ffee', deadlineMs });
  services.register(moduleOf(methods));
  return services;
}

async function faultOf(call: Promise<Value>): Promise<Fault> {
  const outcome = await call.then(
    (value) => new Error(`The call succeeded with ${JSON.stringify(value)}.`),
    (thrown: unknown) => thrown,
  );
  if (!(outcome instanceof Fault)) throw outcome;
  return outcome;
}

describe('the dispatcher of service methods', () => {
  it('answers echo.echo with the array of its arguments', async () => {
    const services = servicesWith({});
    await expect(services.call('echo.echo', ['x'], context())).resolves.toEqual(['x']);
    await expect(services.call('echo.echo', [], context())).resolves.toEqual([]);
    await expect(services.call('echo.echo', [1, { a: [null] }], context())).resolves.toEqual([1, { a: [null] }]);
  });

  it('gives a method the principal, the name, the log and the arguments of its call', async () => {
    const seen: [ServiceContext, readonly Value[]][] = [];
    const services = servicesWith({
      look: method((...given) => {
        seen.push(given);
        return null;
      }),
    });
    const given = context();
    await services.call('trial.look', ['a', 2], given);
    expect(seen).toHaveLength(1);
    expect(seen[0]![0]).toMatchObject({
      principal: { kind: 'user' as const, name: 'tester' },
      methodName: 'trial.look',
      log: given.log,
    });
    expect(seen[0]![1]).toEqual(['a', 2]);
  });

  it.each([
    'nothing',
    'trial',
    'trial.',
    '.look',
    '',
    'trial.constructor',
    'trial.__proto__',
    'trial.toString',
    '__proto__.look',
    'constructor',
    'trial._hidden',
    '_trial.look',
    'trial.inherited',
    'TRIAL.look',
    'trial.look.call',
  ])('knows no method %j (-32601)', async (name) => {
    const inherited = Object.create({ inherited: method(() => 'reached') }) as Record<string, ServiceMethod>;
    inherited.look = method(() => 'reached');
    const fault = await faultOf(servicesWith(inherited).call(name, [], context()));
    expect(fault.code).toBe(-32601);
  });

  it('shows only the beginning of a long unknown name', async () => {
    const fault = await faultOf(servicesWith({}).call('x'.repeat(100_000), [], context()));
    expect(fault.message.length).toBeLessThan(300);
  });

  it('passes the code, text and data of a fault on unchanged', async () => {
    const services = servicesWith({
      refuse: method(() => {
        throw new Fault(42, 'No, because of the moon.', { moon: 'full' });
      }),
    });
    const fault = await faultOf(services.call('trial.refuse', [], context()));
    expect([fault.code, fault.message, fault.data]).toEqual([42, 'No, because of the moon.', { moon: 'full' }]);
  });

  it('reports a refusal of the product with its code', async () => {
    const services = servicesWith({
      send: method(() => Promise.reject(new CmbsError('queue_full', 'Too many messages wait; come again later.'))),
    });
    const fault = await faultOf(services.call('trial.send', [], context()));
    expect([fault.code, fault.message, fault.data]).toEqual([
      FAULT.refused,
      'Too many messages wait; come again later.',
      { code: 'queue_full' },
    ]);
  });

  it.each([
    ['thrown', (): never => fail('secret')],
    ['rejected', async (): Promise<Value> => Promise.reject(new Error('secret /etc/passwd'))],
    ['internal', async (): Promise<Value> => Promise.reject(new CmbsError('internal', 'secret'))],
  ])('hides an error that a method has %s behind a correlation id, which the log has too', async (_how, call) => {
    const { log, lines } = recordingLog();
    const fault = await faultOf(servicesWith({ fail: method(call) }).call('trial.fail', [], context({ log })));
    expect(fault.code).toBe(-32603);
    expect(fault.data).toEqual({ correlationId: 'c0ffee' });
    expect(fault.message).toContain('c0ffee');
    expect(fault.message).not.toContain('secret');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: 'error', fields: { method: 'trial.fail', correlationId: 'c0ffee' } });
    expect(String(lines[0]!.fields!.cause)).toContain('secret');
  });

  it('ends a call at its deadline, aborts the method, and logs a late failure', async () => {
    const logged = new EventEmitter();
    const { log } = recordingLog((line) => logged.emit('line', line));
    const late = once(logged, 'line', { signal: AbortSignal.timeout(PATIENCE_MS) });
    let aborting: AbortSignal | undefined;
    const services = servicesWith(
      {
        hang: method(
          ({ signal }) =>
            new Promise((_resolve, reject) => {
              aborting = signal;
              signal.addEventListener('abort', () => setImmediate(() => reject(new Error('too late'))));
            }),
        ),
      },
      20,
    );
    const fault = await faultOf(services.call('trial.hang', [], context({ log })));
    expect(fault.code).toBe(FAULT.deadlineExceeded);
    expect(aborting?.aborted).toBe(true);
    const [line] = (await late) as [Line];
    expect(line.fields).toMatchObject({ method: 'trial.hang' });
  });

  it('ends a call whose caller has left with an unknown outcome', async () => {
    const caller = new AbortController();
    const services = servicesWith({
      hang: method(() => {
        setImmediate(() => caller.abort());
        return new Promise(() => undefined);
      }),
    });
    const fault = await faultOf(services.call('trial.hang', [], context({ signal: caller.signal })));
    expect(fault.code).toBe(FAULT.outcomeUnknown);
  });

  it('does not start a call whose caller has already left', async () => {
    let runs = 0;
    const services = servicesWith({ count: method(() => ++runs) });
    const fault = await faultOf(services.call('trial.count', [], context({ signal: AbortSignal.abort() })));
    expect([fault.code, runs]).toEqual([FAULT.refused, 0]);
  });
});

describe('the registry of service modules', () => {
  it.each([
    ['has no documentation', moduleOf({ a: method(() => 1, { documentation: ' ' }) })],
    ['needs at least one signature', moduleOf({ a: method(() => 1, { signatures: [] }) })],
    ['needs at least one signature', moduleOf({ a: method(() => 1, { signatures: [[]] }) })],
    ["cannot be a method's name", moduleOf({ _a: method(() => 1) })],
    ["cannot be a method's name", moduleOf({ 'a.b': method(() => 1) })],
    ["cannot be a module's name", moduleOf({}, '_trial')],
    ['There is a module echo already', moduleOf({ shout: method(() => 1) }, 'echo')],
  ])('refuses a module that %s', (why, bad) => {
    expect(() => standardServices({ clock: systemClock, newId: () => '1' }).register(bad)).toThrow(why);
  });

  it('exposes no method of a module that it refused', async () => {
    const services = servicesWith({});
    const half = moduleOf({ good: method(() => 1), bad: method(() => 1, { documentation: '' }) }, 'half');
    expect(() => services.register(half)).toThrow();
    expect((await faultOf(services.call('half.good', [], context()))).code).toBe(-32601);
  });
});

describe('introspection', () => {
  const services = servicesWith({
    late: method(() => 1, { documentation: 'Help.', signatures: [['int', 'string']] }),
  });

  it('lists all methods, also those of modules that are registered later', async () => {
    await expect(services.call('system.list_methods', [], context())).resolves.toEqual([
      'echo.echo',
      'system.auth',
      'system.discover',
      'system.getCapabilities',
      'system.get_capabilities',
      'system.listMethods',
      'system.list_methods',
      'system.list_modules',
      'system.logout',
      'system.methodHelp',
      'system.methodSignature',
      'system.method_help',
      'system.method_signature',
      'system.multicall',
      'system.whoami',
      'trial.late',
    ]);
  });

  it('returns the documentation and the signatures of a method', async () => {
    await expect(services.call('system.methodHelp', ['trial.late'], context())).resolves.toBe('Help.');
    await expect(services.call('system.methodSignature', ['trial.late'], context())).resolves.toEqual([
      ['int', 'string'],
    ]);
    await expect(services.call('system.methodSignature', ['echo.echo'], context())).resolves.toContainEqual([
      'array',
      'string',
    ]);
  });

  it.each([
    ['system.methodHelp', [], -32602],
    ['system.methodHelp', [1], -32602],
    ['system.methodSignature', ['a', 'b'], -32602],
    ['system.list_methods', ['a'], -32602],
    ['system.methodHelp', ['no.such'], -32601],
  ])('answers %s%j with fault %i', async (name, args, code) => {
    expect((await faultOf(services.call(name, args, context()))).code).toBe(code);
  });
});

describe('a fault', () => {
  it.each([1.5, Number.NaN, 2 ** 31])('cannot have the code %d, which XML-RPC could not carry', (code) => {
    expect(() => new Fault(code, 'x')).toThrow(RangeError);
  });
});

describe('a call inside a content', () => {
  it.each<[string, Json, Call | undefined]>([
    ['JSON text', '{"method":"echo.echo","params":["x"],"id":7}', { method: 'echo.echo', params: ['x'], id: 7 }],
    ['JSON text after white space', ' \n{"method":"a.b"}', { method: 'a.b', params: [] }],
    ['an object', { method: 'a.b', params: [1] }, { method: 'a.b', params: [1] }],
    [
      'version 2.0',
      { jsonrpc: '2.0', method: 'm', id: null },
      { jsonrpc: '2.0', method: 'm', params: [], id: null },
    ],
    ['named parameters, as one argument', { method: 'm', params: { a: 1 } }, { method: 'm', params: [{ a: 1 }] }],
  ])('is found in %s', (_what, content, call) => {
    expect(codecsOf().decode(content)).toEqual(call);
  });

  it.each<[string, Json]>([
    ['plain text', 'hello'],
    ['text that begins like JSON', '{hello'],
    ['nothing', ''],
    ['null', null],
    ['a number', 3],
    ['an object without method', { params: [] }],
    ['a method that is no string', { method: 1 }],
    ['parameters that are a string', { method: 'm', params: 'x' }],
    ['parameters that are null', { method: 'm', params: null }],
    ['an id that is an object', { method: 'm', id: {} }],
    ['another version', { method: 'm', jsonrpc: '3.0' }],
    ['an array', [{ method: 'm' }]],
  ])('is not found in %s', (_what, content) => {
    expect(codecsOf().decode(content)).toBeUndefined();
  });

  it('is answered with the id and version that the caller gave', () => {
    const answerOf = (call: Partial<Call>, outcome: Json | Fault): unknown =>
      JSON.parse(codecsOf().encode({ method: 'm', params: [], ...call }, outcome));
    expect(answerOf({}, 1)).toEqual({ result: 1 });
    expect(answerOf({ id: null }, ['x'])).toEqual({ id: null, result: ['x'] });
    expect(answerOf({ id: 'a', jsonrpc: '2.0' }, null)).toEqual({ jsonrpc: '2.0', id: 'a', result: null });
    expect(answerOf({ id: 1 }, new Fault(-32601, 'No.'))).toEqual({
      id: 1,
      error: { code: -32601, message: 'No.' },
    });
    expect(answerOf({ id: 1 }, new Fault(5, 'No.', ['why']))).toEqual({
      id: 1,
      error: { code: 5, message: 'No.', data: ['why'] },
    });
  });

  it('never throws for any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((text) => `{${text}`),
        ),
        (text) => {
          const call = codecsOf().decode(text);
          expect(call === undefined || typeof call.method === 'string').toBe(true);
        },
      ),
    );
  });
});
